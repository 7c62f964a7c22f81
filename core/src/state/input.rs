//! What is put into the node's state: one fact at a time.

use std::sync::Arc;

use crate::close_reason::CloseReason;
use crate::state::ids::{ConnId, WaiterId};
use crate::state::quota::Quota;
use crate::state::token::{Checkup, Closing, Loan, Ticket};
use crate::time::Instant;

/// One fact for the node's state.
#[derive(Debug)]
pub enum Input<C> {
    /// A waiter has left, in whatever state its wait was.
    Cancel(WaiterId),
    /// A health check has ended.
    Checked(Checkup<C>, CheckResult),
    /// The pool is to close; connections on loan are ended at `force_at`, or never if none.
    Close {
        /// When to end what is still on loan.
        force_at: Option<Instant>,
    },
    /// A connection has been closed.
    Closed(Closing),
    /// A connect has failed.
    ConnectFailed(Ticket, DialFailure),
    /// A connect has succeeded.
    Connected(Ticket, C),
    /// A connection is known to be dead.
    Died(ConnId),
    /// The same, for a reason in these words.
    DiedOf(ConnId, String),
    /// The node has said on a connection that it is not ready, in these words.
    Distrusted(ConnId, String),
    /// Nobody will put in `Tick`s any more: the pool closes, and nobody is to wait for it.
    DriverLost,
    /// The server at the other end of a connection is not the one that is wanted, in these words.
    Outdated(ConnId, String),
    /// What the node may have of what all nodes may have together has changed, or what it is to give up for others.
    Quota(Quota),
    /// A borrower gave a connection back.
    Release(Loan<C>, ReleaseKind),
    /// Another server has taken the place of the one that was dialled so far, in these words: what leads to that one goes.
    Replaced(String),
    /// Periodic health checks were switched on or off.
    SetChecks(bool),
    /// Periodic cleanup was switched on or off.
    SetCleanup(bool),
    /// Time has passed.
    Tick,
}

/// What is said of a connection that comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReleaseKind {
    /// Fit to be lent again.
    Sound,
    /// To be closed, for this reason.
    Broken(CloseReason),
    /// Found broken before its borrower used it.
    Stale,
    /// Asked and not answered in time: to be closed, and a reason to distrust its neighbours.
    Silent,
    /// Sound, but to be cleaned before it is lent again.
    Soiled,
}

/// What a health check or a cleaning found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckResult {
    /// It answered.
    Sound,
    /// It failed, in the connector's words.
    Failed(String),
    /// It was not answered in time.
    Silent,
}

/// Why a connect failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialFailure {
    /// The connector's own words.
    pub(crate) message: Arc<str>,
    /// How it failed, as far as the next attempt is concerned.
    pub(crate) kind: DialFailureKind,
}

impl DialFailure {
    /// A failure, for those who drive a node's state by hand.
    #[must_use]
    pub fn new(message: String, kind: DialFailureKind) -> Self {
        Self { message: Arc::from(message), kind }
    }
}

/// How a connect failed, as far as the next attempt is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum DialFailureKind {
    /// Worth trying again soon.
    Passing,
    /// Will fail again until somebody changes something.
    Permanent,
    /// Gave no answer by its deadline.
    TimedOut,
}
