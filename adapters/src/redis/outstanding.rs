//! Which replies are outstanding on a connection, so that it shows whether what the server sends was asked for.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use redis_manager_core::Instant;

/// The requests of one connection whose replies may still come. Those who send say so; the stream asks.
pub(crate) struct Outstanding {
    /// The server says hello, or answers the one borrower: until the reply to that request, or to a later one, has come.
    asked: AtomicBool,
    /// No reply says when the server is done: it was asked for pushes, or for a reply that is not waited for.
    open_ended: AtomicBool,
    /// When a request of shared clients was last left before its reply, in nanoseconds; 0 if all those replies have come.
    left_at: AtomicU64,
}

impl Outstanding {
    /// Of a connection whose server has not said hello yet.
    pub(crate) fn new() -> Self {
        Self { asked: AtomicBool::new(true), open_ended: AtomicBool::new(false), left_at: AtomicU64::new(0) }
    }

    /// Whether the server has any reason to send something, beside the requests of shared clients that are in flight.
    /// Never false while a reply may come that nobody waits for.
    pub(crate) fn is_any(&self) -> bool {
        self.asked.load(Ordering::Relaxed) || self.left_at.load(Ordering::Relaxed) > 0 || self.open_ended.load(Ordering::Relaxed)
    }

    /// The one borrower has sent a request, or has got the reply to its last one.
    pub(crate) fn set_asked(&self, asked: bool) {
        self.asked.store(asked, Ordering::Relaxed);
    }

    /// From now on anything may come at any time.
    pub(crate) fn set_open_ended(&self) {
        self.open_ended.store(true, Ordering::Relaxed);
    }

    /// A shared client leaves its request, which is still in flight, before the reply.
    pub(crate) fn leave(&self, now: Instant) {
        self.left_at.fetch_max(now.as_nanos().max(1), Ordering::Relaxed);
    }

    /// A request that began at `begun_at` was answered, and so were all that were left before then.
    pub(crate) fn answered(&self, begun_at: Instant) {
        let left_at = self.left_at.load(Ordering::Relaxed);
        if left_at > 0 && left_at < begun_at.as_nanos() {
            // Unless another one was left meanwhile.
            let _ = self.left_at.compare_exchange(left_at, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// The one borrower takes over from shared clients: what they have left is its own.
    pub(crate) fn take_over(&self, asked: bool) {
        self.set_asked(asked);
        self.left_at.store(0, Ordering::Relaxed);
    }
}
