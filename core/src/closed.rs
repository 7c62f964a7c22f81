//! The signal that a manager closes, for any number of tasks that wait for it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::guard::wake;
use crate::sync::{Mutex, MutexGuard, PoisonError};

/// Given once, for good.
pub(crate) struct ClosedSignal {
    state: Mutex<SignalState>,
}

struct SignalState {
    is_given: bool,
    /// By the entry of the future.
    waiters: Vec<Option<Waker>>,
    free: Vec<usize>,
}

impl ClosedSignal {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(SignalState { is_given: false, waiters: Vec::new(), free: Vec::new() }) })
    }

    pub(crate) fn give(&self) {
        let waiters = {
            let mut state = self.state();
            state.is_given = true;
            std::mem::take(&mut state.waiters)
        };
        waiters.into_iter().flatten().for_each(wake);
    }

    fn state(&self) -> MutexGuard<'_, SignalState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Resolves as soon as a manager begins to close; made by [`Manager::closed`](crate::Manager::closed).
///
/// At once if it has begun already. The future does not keep the manager alive: when the last handle is dropped, it
/// resolves, too.
///
/// # Cancel safety
///
/// May be dropped at any time, and polled again after it has resolved.
#[must_use = "futures do nothing unless polled"]
pub struct Closed {
    signal: Arc<ClosedSignal>,
    slot: Option<usize>,
}

impl Closed {
    pub(crate) fn of(signal: &Arc<ClosedSignal>) -> Self {
        Self { signal: Arc::clone(signal), slot: None }
    }
}

impl Future for Closed {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        // The wakers of users are cloned and dropped outside the lock.
        let mut waker = Some(cx.waker().clone());
        let mut state = this.signal.state();
        if state.is_given {
            return Poll::Ready(());
        }
        let slot = match this.slot.or_else(|| state.free.pop()) {
            Some(slot) => slot,
            None => {
                state.waiters.push(None);
                state.waiters.len() - 1
            }
        };
        std::mem::swap(&mut state.waiters[slot], &mut waker);
        drop(state);
        this.slot = Some(slot);
        Poll::Pending
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        let Some(slot) = self.slot else { return };
        let waker = {
            let mut state = self.signal.state();
            if state.is_given {
                return;
            }
            state.free.push(slot);
            state.waiters[slot].take()
        };
        drop(waker);
    }
}

impl Clone for Closed {
    fn clone(&self) -> Self {
        Self::of(&self.signal)
    }
}

impl fmt::Debug for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Closed").field("is_closed", &self.signal.state().is_given).finish_non_exhaustive()
    }
}
