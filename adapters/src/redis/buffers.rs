//! How large the buffers of a connection have grown. Those of the redis crate never shrink: a connection that has carried one
//! large value keeps the memory for it until it is closed.

use std::sync::atomic::{AtomicUsize, Ordering};

/// What the two buffers of a connection hold at least, and what they may hold.
///
/// Both grow by doubling. The one for replies shows itself when it is read into: right after it has grown, half of it is
/// free. The one for requests shows itself when it is written out: that is all that is in it. So one that is larger than
/// twice the bound is never overlooked, and one that is smaller than the bound never taken for larger. Replies that are
/// taken out one by one make no buffer grow, however many they are.
#[derive(Debug)]
pub(crate) struct Buffers {
    largest: AtomicUsize,
    bound: AtomicUsize,
}

impl Buffers {
    /// Without a bound.
    pub(crate) fn new() -> Self {
        Self { largest: AtomicUsize::new(0), bound: AtomicUsize::new(usize::MAX) }
    }

    pub(crate) fn set_bound(&self, bound: usize) {
        self.bound.store(bound, Ordering::Relaxed);
    }

    /// A buffer holds, or has room for, so many bytes.
    pub(crate) fn note(&self, bytes: usize) {
        if bytes > self.largest.load(Ordering::Relaxed) {
            self.largest.store(bytes, Ordering::Relaxed);
        }
    }

    /// Whether one is larger than it may be.
    pub(crate) fn have_outgrown(&self) -> bool {
        self.largest.load(Ordering::Relaxed) > self.bound.load(Ordering::Relaxed)
    }
}
