//! Counts the reads of a connection, to compare with later, and limits how much is read at a time.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// Approximate number of bytes that are read before other tasks run: parsing so many replies takes a millisecond at worst.
pub(crate) const BYTES_A_TURN: usize = 32 * 1_024;

/// The amount of data from a server. Written only by the task that reads.
pub(crate) struct Received {
    reads: AtomicU32,
    pushes: AtomicU32,
    /// The bytes that may still be read in this turn of the reading task.
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

    /// Whether the limit of this turn is reached, so that other tasks run first.
    pub(crate) fn is_turn_over(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0
    }

    /// Runs the reader. The redis driver reads as long as there is data: without a limit per turn, a server that sends without
    /// end would keep a thread of the executor busy.
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

/// The amount of data that a server had sent at some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReceivedMark {
    reads: u32,
    pushes: u32,
}

impl ReceivedMark {
    /// Whether any data has arrived since `earlier`.
    pub(crate) fn is_beyond(self, earlier: Self) -> bool {
        self.reads != earlier.reads
    }

    /// Whether data that is no push has arrived since `earlier`: it belongs to a reply, which may be incomplete.
    pub(crate) fn has_reply_since(self, earlier: Self) -> bool {
        self.is_beyond(earlier) && self.pushes == earlier.pushes
    }
}
