//! The monitor of a cluster: one task that lets time pass for its state.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::deployment::cluster::inner::Cluster;
use crate::deployment::cluster::state::cluster_io::ClusterInput;
use crate::deployment::signal::Signal;
use crate::deployment::waiting::either;

/// The least time between two looks at the nodes' pools, however many commands wait for them.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// Has a weak reference: it does not keep the cluster alive.
pub(crate) struct ClusterMonitor {
    cluster: Weak<Cluster>,
    doubted: Arc<Signal>,
}

impl ClusterMonitor {
    pub(crate) fn start(cluster: &Arc<Cluster>) {
        let monitor = Self { cluster: cluster.weak(), doubted: Arc::clone(&cluster.doubted) };
        cluster.runtime().spawn(Box::pin(monitor.run()));
    }

    async fn run(self) {
        loop {
            let seen = self.doubted.version();
            let Some(cluster) = self.cluster.upgrade() else { return };
            if cluster.is_closed() {
                return;
            }
            cluster.tell(ClusterInput::Dials { failing: cluster.failing_dials() });
            cluster.tell(ClusterInput::Tick { jitter: cluster.chance() });
            let now = cluster.runtime().now();
            let next = cluster.state().next_deadline();
            cluster.monitor_sleeps_until.store(next.as_nanos(), Ordering::SeqCst);
            let pause = cluster.runtime().sleep_until(now + BETWEEN_LOOKS);
            let sleep = cluster.runtime().sleep_until(next.max(now + BETWEEN_LOOKS));
            drop(cluster);
            pause.await;
            either(self.doubted.beyond(seen), sleep).await;
        }
    }
}
