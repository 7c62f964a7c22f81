//! The outstanding replies of a connection: data from the server that was not requested is found by them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use redis_manager_core::Instant;

/// The requests of one connection whose replies may still arrive. Senders set it; the stream reads it.
pub(crate) struct Outstanding {
    /// True until the reply of the HELLO, or of the last request of the one borrower, has arrived.
    asked: AtomicBool,
    /// No reply marks the end: pushes were requested, or a reply that is not waited for.
    open_ended: AtomicBool,
    /// When a shared client last dropped a request before its reply, in nanoseconds; 0 if all those replies have arrived.
    left_at: AtomicU64,
}

impl Outstanding {
    /// For a connection whose login has not begun.
    pub(crate) fn new() -> Self {
        Self { asked: AtomicBool::new(true), open_ended: AtomicBool::new(false), left_at: AtomicU64::new(0) }
    }

    /// Whether the server may send something, apart from replies to requests of shared clients in flight. Never false while a
    /// reply without a waiting caller may arrive.
    pub(crate) fn is_any(&self) -> bool {
        self.asked.load(Ordering::Relaxed) || self.left_at.load(Ordering::Relaxed) > 0 || self.open_ended.load(Ordering::Relaxed)
    }

    /// The one borrower has sent a request, or has got the reply to its last one.
    pub(crate) fn set_asked(&self, asked: bool) {
        self.asked.store(asked, Ordering::Relaxed);
    }

    /// Whether from now on anything may arrive at any time.
    pub(crate) fn set_open_ended(&self, open_ended: bool) {
        self.open_ended.store(open_ended, Ordering::Relaxed);
    }

    /// A shared client drops its request before the reply; it is still in flight.
    pub(crate) fn leave(&self, now: Instant) {
        self.left_at.fetch_max(now.as_nanos().max(1), Ordering::Relaxed);
    }

    /// A request that began at `begun_at` was answered, and with it all that were dropped before then.
    pub(crate) fn answered(&self, begun_at: Instant) {
        let left_at = self.left_at.load(Ordering::Relaxed);
        if left_at > 0 && left_at < begun_at.as_nanos() {
            // Unless another one was dropped meanwhile.
            let _ = self.left_at.compare_exchange(left_at, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// The one borrower takes over from shared clients, together with their dropped requests.
    pub(crate) fn take_over(&self, asked: bool) {
        self.set_asked(asked);
        self.left_at.store(0, Ordering::Relaxed);
    }
}
