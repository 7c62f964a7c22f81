//! Whether a deployment is still being added.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Whether a deployment is still being added, and by how many calls.
#[derive(Default)]
pub(crate) struct AddPhase {
    state: Mutex<AddState>,
}

#[derive(Default)]
struct AddState {
    callers: usize,
    is_settled: bool,
}

impl AddPhase {
    /// One more call waits for it; false if it has been added.
    pub(crate) fn join(&self) -> bool {
        let mut state = self.state();
        state.callers += usize::from(!state.is_settled);
        !state.is_settled
    }

    /// It stays, whatever becomes of the calls that wait for it.
    pub(crate) fn settle(&self) {
        self.state().is_settled = true;
    }

    /// A call has ended. True if it was the last one, and the deployment does not stay.
    pub(crate) fn leave(&self, succeeded: bool) -> bool {
        let mut state = self.state();
        state.callers -= 1;
        state.is_settled |= succeeded;
        !state.is_settled && state.callers == 0
    }

    fn state(&self) -> MutexGuard<'_, AddState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
