//! What was read from a connection, to compare with later, and how much more may be read at a time.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// The bytes, more or less, that are read before other tasks have their turn: to make replies of so many takes a
/// millisecond at worst.
pub(crate) const BYTES_A_TURN: usize = 32 * 1_024;

/// What a server has sent so far. Only the task that reads counts; others look.
pub(crate) struct Received {
    reads: AtomicU32,
    pushes: AtomicU32,
    /// What may still be read in this turn of the task that reads.
    left: AtomicUsize,
}

impl Received {
    pub(crate) fn new() -> Self {
        Self { reads: AtomicU32::new(0), pushes: AtomicU32::new(0), left: AtomicUsize::new(BYTES_A_TURN) }
    }

    pub(crate) fn mark(&self) -> ReceivedMark {
        ReceivedMark { reads: self.reads.load(Ordering::Relaxed), pushes: self.pushes.load(Ordering::Relaxed) }
    }

    pub(crate) fn note_read(&self, bytes: usize) {
        count(&self.reads);
        let left = self.left.load(Ordering::Relaxed);
        self.left.store(left.saturating_sub(bytes), Ordering::Relaxed);
    }

    pub(crate) fn note_push(&self) {
        count(&self.pushes);
    }

    /// Whether so much was read in this turn that others are to have theirs.
    pub(crate) fn is_turn_over(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0
    }

    /// Runs what reads. The redis driver reads for as long as there is something: without a limit to each of its turns, a
    /// server that never stops would keep a thread of the executor for itself.
    pub(crate) async fn in_turns<T>(&self, reading: impl Future<Output = T>) -> T {
        let mut reading = pin!(reading);
        poll_fn(|cx| {
            self.left.store(BYTES_A_TURN, Ordering::Relaxed);
            reading.as_mut().poll(cx)
        })
        .await
    }
}

fn count(counter: &AtomicU32) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
}

/// How much a server had sent at some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReceivedMark {
    reads: u32,
    pushes: u32,
}

impl ReceivedMark {
    /// Whether anything has come since `earlier`.
    pub(crate) fn is_beyond(self, earlier: Self) -> bool {
        self.reads != earlier.reads
    }

    /// Whether what has come since `earlier` was no push: then it belongs to a reply, which may still be under way.
    pub(crate) fn has_reply_since(self, earlier: Self) -> bool {
        self.is_beyond(earlier) && self.pushes == earlier.pushes
    }
}
