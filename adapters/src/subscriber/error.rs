//! Why a subscription was not confirmed, and why there is no subscriber.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use redis_manager_core::ConfigError;

use crate::error::GetClientError;
use crate::subscriber::event::SubscriberEnd;
use crate::subscriber::topic::Topic;

/// Why `subscribe` or a similar call of a [`Subscriber`](crate::Subscriber) was not confirmed as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The server has refused some of the names, by its ACL for example. All others of the call are subscribed to.
    Refused {
        /// What was refused, each with the words of the server; at least one.
        topics: Vec<(Topic, String)>,
    },
    /// The server has not confirmed all names by the deadline. Those that were not confirmed are not subscribed to.
    Timeout {
        /// How long the call waited.
        waited: Duration,
        /// Why there is no connection, if there was none.
        last_error: Option<Box<GetClientError>>,
    },
    /// A later call wanted the opposite for some of the names, before the server had confirmed them.
    Withdrawn,
    /// The subscriber has ended.
    Ended(SubscriberEnd),
}

impl fmt::Display for SubscribeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { topics } => {
                f.write_str("refused by the server: ")?;
                match topics.split_first() {
                    None => f.write_str("no topic"),
                    Some(((topic, words), [])) => write!(f, "{topic}: {words}"),
                    Some(((topic, words), more)) => write!(f, "{topic}: {words}; and {} more", more.len()),
                }
            }
            Self::Timeout { waited, last_error } => {
                write!(f, "the server has not confirmed it within {} ms", waited.as_millis())?;
                last_error.iter().try_for_each(|error| write!(f, ": {error}"))
            }
            Self::Withdrawn => f.write_str("a later call wanted the opposite before the server had confirmed it"),
            Self::Ended(SubscriberEnd::RuntimeEnded) => f.write_str("the runtime of the manager has ended"),
            Self::Ended(SubscriberEnd::Closed | SubscriberEnd::Overflow | SubscriberEnd::SwitchedOff) => {
                f.write_str("the pools of the subscriber are closed")
            }
        }
    }
}

impl Error for SubscribeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Timeout { last_error: Some(error), .. } => Some(&**error),
            Self::Timeout { last_error: None, .. } | Self::Refused { .. } | Self::Withdrawn | Self::Ended(_) => None,
        }
    }
}

/// Why there is no subscriber.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubscriberError {
    /// The node is not there: [`UnknownNode`](GetClientError::UnknownNode), [`Closed`](GetClientError::Closed) or
    /// [`RuntimeEnded`](GetClientError::RuntimeEnded).
    Node(GetClientError),
    /// A setting is out of its range; the error names it.
    Options(ConfigError),
}

impl fmt::Display for SubscriberError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(error) => error.fmt(f),
            Self::Options(error) => error.fmt(f),
        }
    }
}

impl Error for SubscriberError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Node(error) => error.source(),
            Self::Options(error) => error.source(),
        }
    }
}

impl From<GetClientError> for SubscriberError {
    fn from(error: GetClientError) -> Self {
        Self::Node(error)
    }
}

impl From<ConfigError> for SubscriberError {
    fn from(error: ConfigError) -> Self {
        Self::Options(error)
    }
}
