//! A value that has its cache lines for itself.

/// Alone in its cache lines: what many threads read must not lie beside what one of them writes.
#[repr(align(128))]
pub(crate) struct Padded<T>(pub(crate) T);
