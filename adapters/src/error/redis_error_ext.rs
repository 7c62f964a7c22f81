//! The questions that every error answers, for every kind of call.

use redis::{ErrorKind, RedisError};

use crate::connection::resp::answer::cause_of_abort;
use crate::error::{AddNodeError, CommandFailure, GetClientError, NoConnection, Outage, Sent};

/// What an error means, for every kind of call: a lease, a shared client, a routed client, a transaction, a subscription.
///
/// | error | where from | [`was_sent`](Self::was_sent) | [`is_unavailable`](Self::is_unavailable) |
/// |---|---|---|---|
/// | `NoHealthyPools` | get, a shared or routed command | not sent | yes |
/// | `Timeout`, dials are failing | get, a shared or routed command | not sent | yes |
/// | `Timeout` for another reason, `Saturated` | get, a shared or routed command | not sent | no |
/// | `NoOwner` | a client for a key | not sent | yes |
/// | `NoReplica` | a client of a replica, a read of a shared client | not sent | yes |
/// | `UnknownNode`, `NoFloorLeft`, `Closed`, `RuntimeEnded` | get, a shared or routed command | not sent | no |
/// | one of [`AddNodeError`] | `?` in a function that returns a `RedisError` | not sent | as [`AddNodeError::is_unavailable`] |
/// | `not sent: connection lost` | a lease, a transaction, `subscribe` | not sent | yes |
/// | `not sent: the pools of this client are closed`, `… the runtime … has ended` | all | not sent | no |
/// | `not sent: a node that it is meant for fails, or has left` | a routed command | not sent | yes |
/// | `connection lost, outcome unknown` | all | unknown | yes |
/// | `connection closed, outcome unknown`, `… the runtime … has ended` | all | unknown | no |
/// | `no reply within … ms, outcome unknown` | all | unknown | yes |
/// | `outcome unknown: a part of the pipeline was carried out` | a routed pipeline | unknown | as what ended it |
/// | `LOADING`, `MASTERDOWN`, `CLUSTERDOWN`, of the server | all | sent | yes |
/// | any other error of the server | all | sent | no |
/// | a reply of another type than was asked for | all | sent | no |
/// | a command that this crate refuses, of the kinds `Client` and `InvalidClientConfig` | all | not sent | no |
/// | [`TransactionError::Conflict`](crate::TransactionError::Conflict), [`ExecutedWrongType`](crate::TransactionError::ExecutedWrongType) | a transaction | sent | no |
/// | [`TransactionError::WrongType`](crate::TransactionError::WrongType) | a transaction | not sent | no |
///
/// The answers come from types and codes, never from texts. I/O errors that do not come from this crate are `Unknown`.
///
/// ```no_run
/// use redis_manager::{RedisErrorExt, Sent};
///
/// fn may_repeat(error: &redis::RedisError) -> bool {
///     error.was_sent() == Sent::NotSent && error.is_unavailable()
/// }
/// ```
pub trait RedisErrorExt {
    /// Whether the command reached the server.
    #[must_use]
    fn was_sent(&self) -> Sent;

    /// Whether the server is the cause: it cannot be reached, does not reply in time, or replies that it cannot serve now.
    #[must_use]
    fn is_unavailable(&self) -> bool;

    /// Whether this program is the cause: its pools were closed, or the runtime of its manager has ended.
    #[must_use]
    fn is_closed(&self) -> bool;

    /// The node of the command, password hidden, if it is known.
    #[must_use]
    fn node(&self) -> Option<&str>;

    /// Why there was no client, if that is the error. `None` for commands of a routed client: their errors keep only the other
    /// answers.
    #[must_use]
    fn get_client_error(&self) -> Option<&GetClientError>;
}

impl RedisErrorExt for RedisError {
    fn was_sent(&self) -> Sent {
        if let Some(failure) = CommandFailure::of(self) {
            return failure.sent;
        }
        let kind = self.kind();
        if matches!(kind, ErrorKind::Client | ErrorKind::InvalidClientConfig | ErrorKind::ClusterConnectionNotFound) {
            return Sent::NotSent;
        }
        // Parse errors of a connection are ours and were found above: this is a reply of another type.
        let is_reply =
            matches!(kind, ErrorKind::Extension | ErrorKind::Parse | ErrorKind::Server(_) | ErrorKind::UnexpectedReturnType);
        if is_reply { Sent::Sent } else { Sent::Unknown }
    }

    fn is_unavailable(&self) -> bool {
        if let Some(failure) = CommandFailure::of(self) {
            return failure.outage == Outage::Server;
        }
        // By their codes: a routed client passes on errors of the server without their kinds.
        matches!(self.kind(), ErrorKind::Io | ErrorKind::ClusterConnectionNotFound)
            || self.code().is_some_and(cannot_serve_now)
            || (self.code() == Some("EXECABORT") && aborted_by(self, cannot_serve_now))
    }

    fn is_closed(&self) -> bool {
        CommandFailure::of(self).is_some_and(|failure| match &failure.no_connection {
            Some(NoConnection::Get(error)) => error.is_closed(),
            Some(NoConnection::Add(error)) => error.is_closed(),
            None => failure.outage == Outage::Ours,
        })
    }

    fn node(&self) -> Option<&str> {
        CommandFailure::of(self)?.node.as_deref()
    }

    fn get_client_error(&self) -> Option<&GetClientError> {
        match CommandFailure::of(self)?.no_connection.as_ref()? {
            NoConnection::Get(error) => Some(error),
            NoConnection::Add(_) => None,
        }
    }
}

impl RedisErrorExt for GetClientError {
    fn was_sent(&self) -> Sent {
        Sent::NotSent
    }

    fn is_unavailable(&self) -> bool {
        GetClientError::is_unavailable(self)
    }

    fn is_closed(&self) -> bool {
        matches!(self, Self::Closed { .. } | Self::RuntimeEnded { .. })
    }

    fn node(&self) -> Option<&str> {
        Some(GetClientError::node(self))
    }

    fn get_client_error(&self) -> Option<&GetClientError> {
        Some(self)
    }
}

/// No command was sent.
impl RedisErrorExt for AddNodeError {
    fn was_sent(&self) -> Sent {
        Sent::NotSent
    }

    fn is_unavailable(&self) -> bool {
        AddNodeError::is_unavailable(self)
    }

    fn is_closed(&self) -> bool {
        matches!(self, Self::Closed { .. } | Self::RuntimeEnded { .. })
    }

    fn node(&self) -> Option<&str> {
        Some(AddNodeError::node(self))
    }

    fn get_client_error(&self) -> Option<&GetClientError> {
        None
    }
}

/// Whether an error of this code says that the server cannot serve now.
fn cannot_serve_now(code: &str) -> bool {
    matches!(code, "LOADING" | "MASTERDOWN" | "CLUSTERDOWN")
}

/// Whether a transaction was aborted by an error of such a code.
fn aborted_by(error: &RedisError, wanted: fn(&str) -> bool) -> bool {
    let errors = error.clone().into_server_errors();
    errors.is_some_and(|errors| errors.iter().any(|(_, error)| wanted(error.code()) || cause_of_abort(error).is_some_and(wanted)))
}
