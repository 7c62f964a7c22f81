//! The memory that streams are read into: one piece for each thread, since nothing stays in it.

use std::cell::Cell;

/// How much one read brings at most.
const SIZE: usize = 32 * 1_024;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Lends the thread's piece.
pub(super) fn with_scratch<T>(read: impl FnOnce(&mut [u8]) -> T) -> T {
    // There is none at the end of a thread, or while it is lent.
    let mut scratch = SCRATCH.try_with(Cell::take).unwrap_or_default();
    if scratch.is_empty() {
        scratch = vec![0; SIZE];
    }
    let result = read(&mut scratch);
    let _ = SCRATCH.try_with(|place| place.set(scratch));
    result
}
