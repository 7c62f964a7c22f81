//! Why a connection was closed.

use std::fmt;

/// Why a connection was closed; every connection leaves with exactly one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum CloseReason {
    /// It was found broken: on return, by its monitor, or when it was about to be handed out.
    Broken,
    /// Its holder asked for it to be closed.
    Discarded,
    /// A health check failed or was not answered in time.
    CheckFailed,
    /// Its borrower left something on it that could not be undone, or not cheaply.
    Unclean,
    /// The server at the other end is no longer the one that is wanted; see
    /// [`ConnectionMonitor::failed_over`](crate::ConnectionMonitor::failed_over).
    Outdated,
    /// It had been idle for longer than `max_idle_time`.
    IdleTooLong,
    /// It had reached its `max_lifetime`.
    Expired,
    /// It idled, its node had more than `min_connections_per_node`, and another node needed its place: it was below
    /// that, or had callers in the queue, and `max_total_connections` left nothing.
    Yielded,
    /// The pool was closed.
    PoolClosed,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Broken => "broken",
            Self::Discarded => "discarded",
            Self::CheckFailed => "check failed",
            Self::Unclean => "unclean",
            Self::Outdated => "outdated",
            Self::IdleTooLong => "idle too long",
            Self::Expired => "expired",
            Self::Yielded => "yielded",
            Self::PoolClosed => "pool closed",
        })
    }
}
