//! The monitor of a cluster: one task that asks primaries for signs of life, and nodes for the topology.

use std::sync::{Arc, Weak};
use std::time::Duration;

use redis::Value;
use redis_manager_core::{Instant, Task};

use crate::cluster::nodes::Cluster;
use crate::cluster::signal::Signal;

/// How often the replicas of a failing primary are asked whether one of them was promoted.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// Has a weak reference: it does not keep the cluster alive.
pub(crate) struct ClusterMonitor {
    cluster: Weak<Cluster>,
    doubted: Arc<Signal>,
}

impl ClusterMonitor {
    /// Starts the monitor of a cluster that has none.
    pub(crate) fn start(cluster: &Arc<Cluster>) {
        if cluster.begin_watch() {
            let watch = Self { cluster: cluster.weak(), doubted: Arc::clone(&cluster.doubted) };
            cluster.runtime().spawn(Box::pin(watch.run()));
        }
    }

    async fn run(self) {
        let (mut next_refresh, mut next_check) = (None, None);
        loop {
            let seen = self.doubted.version();
            let Some(cluster) = self.cluster.upgrade() else { return };
            if cluster.is_closed() {
                cluster.end_watch();
                return;
            }
            let args = &cluster.setup.cluster_args;
            // Not before it is due: waiting for it would delay the checks.
            if cluster.is_refresh_due() && (is_due(&cluster, next_refresh) || cluster.take_moved()) {
                // It fails only if no node answers, and the checks find that, too.
                let _ = cluster.refresh().await;
                next_refresh = Some(cluster.soon(args.topology_refresh_interval));
            }
            if is_due(&cluster, next_check) {
                let checked = Arc::clone(&cluster);
                // A task of its own: a silent node must not delay the checks of the others.
                cluster.runtime().spawn(Box::pin(async move { checked.look_for_silence().await }));
                next_check = Some(cluster.soon(args.node_check_interval));
            }
            let all_well = cluster.judge() || look_for_promotion(&cluster).await;
            let now = cluster.runtime().now();
            let pause = cluster.runtime().sleep_until(now + BETWEEN_LOOKS);
            let next = [next_refresh, next_check].into_iter().flatten().min().filter(|_| all_well);
            let sleep = cluster.runtime().sleep_until(next.unwrap_or(now).max(now + BETWEEN_LOOKS));
            drop(cluster);
            pause.await;
            either(sleep, self.doubted.beyond(seen)).await;
        }
    }
}

fn is_due(cluster: &Cluster, at: Option<Instant>) -> bool {
    at.is_none_or(|at| at <= cluster.runtime().now())
}

/// Asks the replicas of failing primaries whether they were promoted. If one was, requests the topology. True if no primary
/// fails any more.
async fn look_for_promotion(cluster: &Cluster) -> bool {
    let topology = cluster.topology();
    let replicas: Vec<String> = cluster.ailing().iter().flat_map(|primary| topology.replicas_of(primary)).collect();
    let roles = cluster.ask_each(&replicas, &redis::cmd("ROLE"), BETWEEN_LOOKS).await;
    let promoted = roles.iter().find(|(_, role)| role.as_ref().is_ok_and(is_primary)).map(|(address, _)| address.as_str());
    // Without a replica to ask, the topology may have changed all the same. With one, the request is saved for the moment of
    // the promotion.
    if promoted.is_some() || (roles.is_empty() && cluster.is_refresh_due()) {
        let _ = cluster.refresh_from(promoted).await;
    }
    cluster.judge()
}

fn is_primary(role: &Value) -> bool {
    let Value::Array(parts) = role else { return false };
    matches!(parts.first(), Some(Value::BulkString(word)) if word == b"master")
}

async fn either<T>(mut sleep: Task, signal: impl Future<Output = T>) {
    let mut signal = std::pin::pin!(signal);
    std::future::poll_fn(|cx| match signal.as_mut().poll(cx) {
        std::task::Poll::Ready(_) => std::task::Poll::Ready(()),
        std::task::Poll::Pending => sleep.as_mut().poll(cx),
    })
    .await;
}

impl Cluster {
    /// An instant up to a quarter later than `interval` from now, so that a fleet does not ask at once.
    fn soon(&self, interval: Duration) -> Instant {
        // All sums saturate: an interval may be `Duration::MAX`.
        self.runtime().now() + interval + (interval / 4).mul_f64(self.chance())
    }
}
