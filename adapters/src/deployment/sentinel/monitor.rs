//! The monitor of a sentinel deployment: one task that lets time pass for its state.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use crate::deployment::sentinel::group::SentinelGroup;
use crate::deployment::sentinel::state::sentinel_io::SentinelInput;
use crate::deployment::signal::Signal;
use crate::deployment::waiting::either;

/// Has a weak reference: it does not keep the deployment alive.
pub(crate) struct SentinelMonitor {
    group: Weak<SentinelGroup>,
    woken: Arc<Signal>,
}

impl SentinelMonitor {
    pub(crate) fn start(group: &Arc<SentinelGroup>) {
        let monitor = Self { group: group.weak(), woken: Arc::clone(&group.woken) };
        group.runtime().spawn(Box::pin(monitor.run()));
    }

    async fn run(self) {
        loop {
            let seen = self.woken.version();
            let Some(group) = self.group.upgrade() else { return };
            if group.is_closed() {
                return;
            }
            group.tell(SentinelInput::Tick);
            let next = group.state().next_deadline();
            group.monitor_sleeps_until.store(next.as_nanos(), Ordering::SeqCst);
            let sleep = group.runtime().sleep_until(next);
            drop(group);
            either(self.woken.beyond(seen), sleep).await;
        }
    }
}
