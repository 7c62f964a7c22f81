//! The watch of a cluster: one task that asks primaries for signs of life, and nodes for the topology. Decides nothing else.

use std::sync::{Arc, Weak};
use std::time::Duration;

use redis::Value;
use redis_manager_core::{Instant, Task};

use crate::cluster::nodes::Cluster;
use crate::cluster::signal::Signal;

/// How often the replicas of a primary that ails are asked whether one of them has taken its place.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// Holds the cluster weakly: it does not keep alive what it watches.
pub(crate) struct ClusterMonitor {
    cluster: Weak<Cluster>,
    doubted: Arc<Signal>,
}

impl ClusterMonitor {
    /// Starts the watch of a cluster that has none.
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
            // Not before it is: waiting for it would hold up the checks.
            if cluster.is_refresh_due() && (is_due(&cluster, next_refresh) || cluster.take_moved()) {
                // It fails only if nobody answers; the checks tell as much.
                let _ = cluster.refresh().await;
                next_refresh = Some(cluster.soon(args.topology_refresh_interval));
            }
            if is_due(&cluster, next_check) {
                let checked = Arc::clone(&cluster);
                // A task of its own: one that is silent must not hold up the look at the others.
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

/// Asks the replicas of primaries that ail whether they have taken their place, and if so the cluster for its topology. True
/// if no primary ails any more.
async fn look_for_promotion(cluster: &Cluster) -> bool {
    let topology = cluster.topology();
    let replicas: Vec<String> = cluster.ailing().iter().flat_map(|primary| topology.replicas_of(primary)).collect();
    let roles = cluster.ask_each(&replicas, &redis::cmd("ROLE"), BETWEEN_LOOKS).await;
    let promoted = roles.iter().find(|(_, role)| role.as_ref().is_ok_and(is_primary)).map(|(address, _)| address.as_str());
    // Without a replica to ask there may be changes all the same. With one, a turn is saved for the moment of its promotion.
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
        // Each sum saturates: an interval may be as long as never.
        self.runtime().now() + interval + (interval / 4).mul_f64(self.chance())
    }
}
