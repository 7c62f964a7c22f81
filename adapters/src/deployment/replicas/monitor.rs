//! The monitor of the replicas of a primary: one task that lets time pass for their state, and reports the roles of the servers to it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use crate::deployment::replicas::group::ReplicaGroup;
use crate::deployment::sentinel::SentinelGroup;
use crate::deployment::signal::Signal;
use crate::deployment::waiting::either;

/// Has a weak reference: it does not keep the deployment alive.
struct ReplicaMonitor {
    group: Weak<ReplicaGroup>,
    woken: Arc<Signal>,
    source: Arc<SentinelGroup>,
}

impl ReplicaGroup {
    /// From now on replicas are asked how far they are.
    pub(crate) fn begin_use(&self) {
        if !self.is_used.swap(true, Ordering::SeqCst) {
            let (group, woken, source) = (Weak::clone(&self.itself), Arc::clone(&self.woken), Arc::clone(&self.context.source));
            self.runtime().spawn(Box::pin(ReplicaMonitor { group, woken, source }.run()));
        }
    }
}

impl ReplicaMonitor {
    async fn run(self) {
        loop {
            let (seen, seen_of_source) = (self.woken.version(), self.source.changed.version());
            let Some(group) = self.group.upgrade() else { return };
            if group.is_closed() {
                return;
            }
            let sleep = group.look();
            drop(group);
            let changed = async {
                let _ = self.source.changed.beyond(seen_of_source).await;
            };
            either(either(self.woken.beyond(seen), changed), sleep).await;
        }
    }
}
