//! The error of a dial or a check of Redis, with our secrets removed. The last one is the source of callers' errors.

use redis_manager_core::{DialFailureKind, LastError};

use crate::error::FailureKind;

/// Why a connect or a check failed: the text of the server or of a library, with our secrets removed.
///
/// [`GetClientError`](crate::GetClientError) and [`AddNodeError`](crate::AddNodeError) have it as their
/// [`source`](std::error::Error::source): the failure of the last dial that ended with an error rather than a timeout.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub struct ConnectFailure {
    words: String,
    kind: FailureKind,
    is_permanent: bool,
}

impl ConnectFailure {
    pub(crate) fn new(words: String, kind: FailureKind, is_permanent: bool) -> Self {
        Self { words, kind, is_permanent }
    }

    /// The same, after a word about where it has happened.
    pub(crate) fn about(mut self, what: &str) -> Self {
        self.words = format!("{what}: {}", self.words);
        self
    }

    /// The category of the failure.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        self.kind
    }

    /// Whether every further attempt fails the same way until a setting or the server is changed.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        self.is_permanent
    }
}

impl FailureKind {
    /// The category for a node that is down.
    pub(crate) fn of_last_error(last_error: Option<&LastError>) -> Self {
        let Some(error) = last_error else { return Self::Unavailable };
        let failure = error.source().and_then(|source| source.downcast_ref::<ConnectFailure>());
        match (failure, error.dial_failure()) {
            (Some(failure), _) => failure.kind(),
            (None, Some(DialFailureKind::TimedOut)) => Self::Silent,
            (None, Some(DialFailureKind::Passing | DialFailureKind::Permanent) | None) => Self::Unavailable,
        }
    }
}

/// Whether every further dial fails the same way until a setting or the server is changed.
pub(crate) fn is_permanent(last_error: Option<&LastError>) -> bool {
    last_error.and_then(LastError::dial_failure) == Some(DialFailureKind::Permanent)
}
