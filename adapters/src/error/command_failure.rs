//! The part of a [`RedisError`] that is ours: whether a command without a reply was sent.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use redis::RedisError;

use crate::error::{AddNodeError, GetClientError, Sent};

/// Whether the server is the reason that a command has no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outage {
    /// The server cannot be reached, or does not reply.
    Server,
    /// The pools were closed, or the runtime has ended.
    Ours,
}

/// Whether a command was sent, and why it has no reply; the inner error of the [`io::Error`] in a [`RedisError`].
#[derive(Clone, Debug)]
pub(crate) struct CommandFailure {
    text: String,
    pub(crate) sent: Sent,
    pub(crate) outage: Outage,
    pub(crate) node: Option<Arc<str>>,
    /// Why there was no connection, if that is it.
    pub(crate) no_connection: Option<NoConnection>,
}

/// An error of another type that became a [`RedisError`].
#[derive(Clone, Debug)]
pub(crate) enum NoConnection {
    Get(GetClientError),
    Add(AddNodeError),
}

impl CommandFailure {
    /// The server did not get the command.
    pub(crate) fn not_sent(node: Option<&str>, outage: Outage, why: &str) -> Self {
        Self { text: format!("not sent: {why}"), sent: Sent::NotSent, outage, node: node.map(Arc::from), no_connection: None }
    }

    /// The server may have executed the command; `text` says so.
    pub(crate) fn unknown(node: Option<&str>, outage: Outage, text: impl Into<String>) -> Self {
        Self { text: text.into(), sent: Sent::Unknown, outage, node: node.map(Arc::from), no_connection: None }
    }

    /// There was no connection to send it on.
    fn no_connection(error: NoConnection) -> Self {
        let (node, text, unavailable) = match &error {
            NoConnection::Get(error) => (error.node(), format!("not sent: {error}"), error.is_unavailable()),
            NoConnection::Add(error) => (error.node(), error.to_string(), error.is_unavailable()),
        };
        let outage = if unavailable { Outage::Server } else { Outage::Ours };
        Self { text, sent: Sent::NotSent, outage, node: Some(Arc::from(node)), no_connection: Some(error) }
    }

    /// The failure in an error, if the error is one of ours.
    pub(crate) fn of(error: &RedisError) -> Option<&Self> {
        // The redis crate returns the pointer around the error, not the error itself.
        let source = error.source()?;
        let io = match source.downcast_ref::<Arc<dyn Error + Send + Sync>>() {
            Some(shared) => shared.downcast_ref::<io::Error>(),
            None => source.downcast_ref(),
        };
        io?.get_ref()?.downcast_ref()
    }

    /// As the error of a connection that was lost.
    pub(crate) fn lost(self) -> RedisError {
        self.of_kind(io::ErrorKind::BrokenPipe)
    }

    /// As the error of a command that took too long.
    pub(crate) fn timed_out(self) -> RedisError {
        self.of_kind(io::ErrorKind::TimedOut)
    }

    fn of_kind(self, kind: io::ErrorKind) -> RedisError {
        RedisError::from(io::Error::new(kind, self))
    }
}

impl fmt::Display for CommandFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for CommandFailure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self.no_connection.as_ref()? {
            NoConnection::Get(error) => Some(error),
            NoConnection::Add(error) => Some(error),
        }
    }
}

/// For functions that return [`redis::RedisResult`]. Nothing was sent.
/// [`get_client_error`](crate::RedisErrorExt::get_client_error) returns the original error.
impl From<GetClientError> for RedisError {
    fn from(error: GetClientError) -> Self {
        let kind = match &error {
            GetClientError::Timeout { .. } | GetClientError::NoHealthyPools { .. } | GetClientError::NoReplica { .. } => {
                io::ErrorKind::TimedOut
            }
            GetClientError::UnknownNode { .. }
            | GetClientError::Saturated { .. }
            | GetClientError::NoFloorLeft { .. }
            | GetClientError::NoOwner { .. }
            | GetClientError::Closed { .. }
            | GetClientError::RuntimeEnded { .. } => io::ErrorKind::NotConnected,
        };
        CommandFailure::no_connection(NoConnection::Get(error)).of_kind(kind)
    }
}

/// For functions that return [`redis::RedisResult`]. Nothing was sent. The original error is a `source()` of the result.
impl From<AddNodeError> for RedisError {
    fn from(error: AddNodeError) -> Self {
        let kind = match &error {
            AddNodeError::NoHealthyPools { .. } | AddNodeError::NothingLeft { .. } => io::ErrorKind::TimedOut,
            AddNodeError::InvalidUrl { .. } | AddNodeError::InvalidSetting { .. } => io::ErrorKind::InvalidInput,
            AddNodeError::NoFloorLeft { .. } | AddNodeError::Closed { .. } | AddNodeError::RuntimeEnded { .. } => {
                io::ErrorKind::NotConnected
            }
        };
        CommandFailure::no_connection(NoConnection::Add(error)).of_kind(kind)
    }
}
