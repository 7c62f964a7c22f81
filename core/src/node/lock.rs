//! The lock of a node: it spins before it sleeps.

use crate::sync::{Mutex, MutexGuard, PoisonError};

/// Rounds of spinning before a thread sleeps, of 1, 2, 4 to 512 pauses of the processor. Measured with 16 tasks that never
/// wait on two busy cores: with rounds that grow like these 1.3 to 1.5 times as many cycles as without any; with short rounds,
/// however many, fewer than without.
#[cfg(not(any(loom, shuttle)))]
const SPIN_ROUNDS: u32 = 10;

/// A mutex for sections of a fraction of a microsecond.
pub(super) struct SpinLock<T> {
    inner: Mutex<T>,
}

impl<T> SpinLock<T> {
    pub(super) fn new(value: T) -> Self {
        Self { inner: Mutex::new(value) }
    }

    #[inline]
    pub(super) fn lock(&self) -> MutexGuard<'_, T> {
        #[cfg(not(any(loom, shuttle)))]
        if let Ok(inner) = self.inner.try_lock() {
            return inner;
        }
        self.lock_later()
    }

    /// Waits for the lock: spinning at first, in ever longer pauses, for it is held for a fraction of a microsecond, and to
    /// sleep and be woken costs many; a pause leaves its cache line to the core that works on it.
    #[cold]
    fn lock_later(&self) -> MutexGuard<'_, T> {
        #[cfg(not(any(loom, shuttle)))]
        for round in 0..SPIN_ROUNDS {
            (0..1 << round).for_each(|_| std::hint::spin_loop());
            if let Ok(inner) = self.inner.try_lock() {
                return inner;
            }
        }
        // Only a broken invariant panics under the lock; the plain values of the state are then as good as they get.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
