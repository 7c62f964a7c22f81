//! The size of a connection's buffers. Buffers of the redis crate never shrink: after one large value the memory is kept until
//! the connection is closed.

use std::sync::atomic::{AtomicUsize, Ordering};

/// A lower bound of the size of a connection's two buffers, and the limit for it.
///
/// Both buffers grow by doubling. The buffer for replies is measured when it is read into: right after it has grown, half of it
/// is free. The buffer for requests is measured when it is written out: all of its content is written then. A buffer of more
/// than twice the limit is always found, and a buffer below the limit is never reported. Many small replies do not grow a
/// buffer: they are taken out one by one.
#[derive(Debug)]
pub(crate) struct Buffers {
    largest: AtomicUsize,
    bound: AtomicUsize,
}

impl Buffers {
    /// Without a limit.
    pub(crate) fn new() -> Self {
        Self { largest: AtomicUsize::new(0), bound: AtomicUsize::new(usize::MAX) }
    }

    pub(crate) fn set_bound(&self, bound: usize) {
        self.bound.store(bound, Ordering::Relaxed);
    }

    /// A buffer contains, or has room for, this many bytes.
    pub(crate) fn note(&self, bytes: usize) {
        if bytes > self.largest.load(Ordering::Relaxed) {
            self.largest.store(bytes, Ordering::Relaxed);
        }
    }

    /// Whether a buffer is larger than allowed.
    pub(crate) fn have_outgrown(&self) -> bool {
        self.largest.load(Ordering::Relaxed) > self.bound.load(Ordering::Relaxed)
    }
}
