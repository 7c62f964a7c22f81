//! A value with cache lines of its own.

/// Alone in its cache lines: data that many threads read must not share a line with data that one of them writes.
#[repr(align(128))]
pub(crate) struct Padded<T>(pub(crate) T);
