//! A failure of the state as callers get it: with the name of the node, and with the connector's error.

use std::sync::Arc;

use super::Node;
use crate::connector::Connector;
use crate::error::AcquireError;
use crate::last_error::LastError;
use crate::state::{DialFailureKind, WaitError, WaitFailure};

impl<K: Connector> Node<K> {
    /// The last error since the node last answered.
    pub(crate) fn last_error(&self) -> Option<LastError> {
        let (text, dial_failure) = self.inner.lock().state().last_error()?;
        Some(self.with_cause(text, dial_failure))
    }

    fn with_cause(&self, text: Arc<str>, dial_failure: Option<DialFailureKind>) -> LastError {
        let cause = self.causes.of(&text);
        LastError::new(text, dial_failure, cause)
    }

    /// The error of a caller whose wait has failed.
    pub(crate) fn error_of(&self, error: WaitError) -> AcquireError {
        let node = self.name.clone();
        let last_error = |failure: &WaitFailure| Some(self.with_cause(failure.last_error.clone()?, failure.dial_failure));
        match error {
            WaitError::TimedOut(failure) => {
                let (last_error, WaitFailure { waited, phase, seen, .. }) = (last_error(&failure), *failure);
                AcquireError::Timeout { node, phase, waited, seen, last_error }
            }
            WaitError::Down(failure) => {
                let (last_error, WaitFailure { waited, seen, .. }) = (last_error(&failure), *failure);
                AcquireError::NoHealthyPools { node, waited, seen, last_error }
            }
            WaitError::Closed if self.has_lost_runtime() => AcquireError::RuntimeEnded { node },
            WaitError::Closed => AcquireError::Closed { node },
        }
    }
}
