//! The last error of a node, as callers get it: the text, how the dial failed, and the connector's own error.

use std::error::Error;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::state::DialFailureKind;

/// The last error of a node: derefs to its text.
///
/// Two are equal if their texts and kinds are.
#[derive(Clone)]
pub struct LastError {
    text: Arc<str>,
    dial_failure: Option<DialFailureKind>,
    cause: Option<Arc<dyn Error + Send + Sync>>,
}

impl LastError {
    /// For errors of what is made of several nodes.
    #[doc(hidden)]
    #[must_use]
    pub fn new(text: Arc<str>, dial_failure: Option<DialFailureKind>, cause: Option<Arc<dyn Error + Send + Sync>>) -> Self {
        Self { text, dial_failure, cause }
    }

    /// How the dial failed that this is the error of; none if it is the error of a check or of a connection.
    #[must_use]
    pub fn dial_failure(&self) -> Option<DialFailureKind> {
        self.dial_failure
    }

    /// The connector's error, which can be downcast to [`Connector::Error`](crate::Connector::Error). None if the dial was not
    /// answered in time, or if this is no error of a dial. A caller that takes its error late may find the text alone: the
    /// errors of the last 8 failed dials are kept.
    #[must_use]
    pub fn cause(&self) -> Option<&Arc<dyn Error + Send + Sync>> {
        self.cause.as_ref()
    }

    /// The same, as [`Error::source`] gives it.
    #[must_use]
    pub fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as &(dyn Error + 'static))
    }
}

impl Deref for LastError {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl PartialEq for LastError {
    fn eq(&self, other: &Self) -> bool {
        (&self.text, self.dial_failure) == (&other.text, other.dial_failure)
    }
}

impl Eq for LastError {}

impl fmt::Debug for LastError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl fmt::Display for LastError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}
