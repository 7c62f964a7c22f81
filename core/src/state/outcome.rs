//! What becomes of a request for a connection, of a return, and of a wait.

use std::sync::Arc;
use std::time::Duration;

use crate::state::ids::WaiterId;
use crate::state::input::DialFailureKind;
use crate::state::status::Snapshot;
use crate::state::token::Loan;
use crate::state::wait_queue::QueuePosition;

/// What the node's state says to somebody who asks for a connection.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub enum Acquired<C> {
    /// Here it is.
    Loan(Loan<C>),
    /// In line; the outcome will be there after a wake.
    Waiting(WaiterId),
    /// The queue is full.
    Saturated {
        /// How many wait already.
        waiting: usize,
    },
    /// The node is down and its callers are not to wait.
    Down(Box<WaitFailure>),
    /// The pool is closed.
    Closed,
}

/// What became of a connection that came back without a look at the clock.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub enum Returned<C> {
    /// It idles.
    Idle,
    /// It was granted to this waiter, which is to be woken.
    HandedOver(WaiterId),
    /// There is more to do, which is for `Release`.
    Refused(Loan<C>),
}

/// How a wait ended.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome<C> {
    /// A connection, and the position in the queue that it was granted to.
    Granted(Loan<C>, QueuePosition),
    /// What was waited for, and is no connection, has come true: the node is warm, the pool is drained.
    Ready,
    /// Without what was waited for.
    Failed(WaitError),
}

/// Why a wait brought nothing.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub enum WaitError {
    /// The deadline came first.
    TimedOut(Box<WaitFailure>),
    /// The node is down.
    Down(Box<WaitFailure>),
    /// The pool was closed.
    Closed,
}

/// How a wait ended that brought no connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum WaitResult {
    Ready,
    Failed(WaitError),
}

impl<C> From<WaitResult> for Outcome<C> {
    fn from(result: WaitResult) -> Self {
        match result {
            WaitResult::Ready => Outcome::Ready,
            WaitResult::Failed(error) => Outcome::Failed(error),
        }
    }
}

/// The numbers of a wait that brought nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitFailure {
    /// How long the caller waited.
    pub(crate) waited: Duration,
    /// What kept it waiting.
    pub(crate) phase: WaitPhase,
    /// What the pools looked like at that moment.
    pub(crate) seen: Snapshot,
    /// The node's last error.
    pub(crate) last_error: Option<Arc<str>>,
    /// How the dial failed that this is the error of; none if it is that of something else.
    pub(crate) dial_failure: Option<DialFailureKind>,
}

/// What a caller was waiting for when its time was up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum WaitPhase {
    /// Every connection was on loan and none came back in time.
    LeasesHeld,
    /// A connection was being dialled, which took too long.
    Dialling,
    /// Dials were failing.
    DialsFailing,
    /// Connections were being checked or closed.
    Housekeeping,
    /// The node had all that `max_total_connections` left for it, and no connection of it came free in time.
    TotalLimit,
}

impl std::fmt::Display for WaitPhase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::LeasesHeld => "all connections are on loan",
            Self::Dialling => "a connection is still being dialled",
            Self::DialsFailing => "dials are failing",
            Self::Housekeeping => "connections are being checked or closed",
            Self::TotalLimit => "other nodes have all that max_total_connections leaves",
        })
    }
}
