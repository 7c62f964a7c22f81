//! What the node's state hands out: tokens that cannot be copied and must come back exactly once.

use crate::close_reason::CloseReason;
use crate::state::status::Snapshot;
use crate::state::wait_queue::QueuePosition;
use crate::time::Instant;
use std::sync::Arc;
use std::time::Duration;

/// Which connection: a place in the node's state and how often that place has been reused. An identity, not a token.
///
/// One word, so that a loan of a boxed connection travels in two registers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(u64);

impl ConnId {
    pub(crate) fn new(slot: u32, generation: u32) -> Self {
        Self(u64::from(slot) << 32 | u64::from(generation))
    }

    pub(crate) fn slot(self) -> u32 {
        (self.0 >> 32) as u32
    }

    pub(crate) fn generation(self) -> u32 {
        self.0 as u32
    }
}

impl std::fmt::Debug for ConnId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnId").field("slot", &self.slot()).field("generation", &self.generation()).finish()
    }
}

/// Permission to connect. Comes back as `Connected` or `ConnectFailed`.
#[must_use = "a ticket must come back to the state"]
#[derive(Debug, PartialEq, Eq)]
pub struct Ticket {
    pub(crate) id: ConnId,
    /// When the attempt must have ended.
    pub(crate) deadline: Instant,
}

/// A connection out for a health check, or to be cleaned. Comes back as `Checked`.
#[must_use = "a checkup must come back to the state"]
#[derive(Debug, PartialEq, Eq)]
pub struct Checkup<C> {
    pub(crate) id: ConnId,
    /// When the check must have ended.
    pub(crate) deadline: Instant,
    pub(crate) conn: C,
}

/// A connection on loan. Comes back as `Release`.
#[must_use = "a loan must come back to the state"]
#[derive(Debug, PartialEq, Eq)]
pub struct Loan<C> {
    pub(crate) id: ConnId,
    pub(crate) conn: C,
}

impl<C> Loan<C> {
    /// Which connection it is.
    #[must_use]
    pub fn id(&self) -> ConnId {
        self.id
    }
}

/// A connection that is being closed. Comes back as `Closed`.
#[must_use = "a closing must come back to the state"]
#[derive(Debug, PartialEq, Eq)]
pub struct Closing {
    /// None when the node's state no longer counts the connection: its loan outlived a forced close.
    pub(crate) id: Option<ConnId>,
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
    pub(crate) message: String,
    /// How it failed, as far as the next attempt is concerned.
    pub(crate) kind: DialFailureKind,
}

impl DialFailure {
    /// A failure, for those who drive a node's state by hand.
    #[must_use]
    pub fn new(message: String, kind: DialFailureKind) -> Self {
        Self { message, kind }
    }
}

/// How a connect failed, as far as the next attempt is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialFailureKind {
    /// Worth trying again soon.
    Passing,
    /// Will fail again until somebody changes something.
    Permanent,
    /// Gave no answer by its deadline.
    TimedOut,
}

/// What the node's state says to somebody who asks for a connection.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub enum Acquired<C> {
    /// Here it is.
    Loan(Loan<C>),
    /// In line; the outcome will be there after a wake.
    Waiting(crate::state::wait_queue::WaiterId),
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
    HandedOver(crate::state::wait_queue::WaiterId),
    /// There is more to do, which is for `Release`.
    Refused(Loan<C>),
}

/// How a wait ended.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome<C> {
    /// A connection, and the place in the queue that it was granted to.
    Granted(Loan<C>, QueuePosition),
    /// What was waited for has come true (the node is warm, the pool is drained).
    Ready,
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
    TimedOut(Box<WaitFailure>),
    Down(Box<WaitFailure>),
    Closed,
}

impl<C> From<WaitResult> for Outcome<C> {
    fn from(result: WaitResult) -> Self {
        match result {
            WaitResult::Ready => Outcome::Ready,
            WaitResult::TimedOut(failure) => Outcome::TimedOut(failure),
            WaitResult::Down(failure) => Outcome::Down(failure),
            WaitResult::Closed => Outcome::Closed,
        }
    }
}

/// All that is told to a caller who gets no connection.
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
}

/// What a caller was waiting for when its time was up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

/// One fact for the node's state.
#[derive(Debug)]
pub enum Input<C> {
    /// What the node may have of what all nodes may have together has changed, or what it is to give up for others.
    Quota(crate::state::quota::Quota),
    /// A waiter has left, in whatever state its wait was.
    Cancel(crate::state::wait_queue::WaiterId),
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
    /// The node has said on a connection that it is not ready, in these words.
    Distrusted(ConnId, String),
    /// Nobody will put in `Tick`s any more: the pool closes, and nobody is to wait for it.
    DriverLost,
    /// The server at the other end of a connection is not the one that is wanted, in these words.
    Outdated(ConnId, String),
    /// A borrower gave a connection back.
    Release(Loan<C>, ReleaseKind),
    /// Periodic health checks were switched on or off.
    SetChecks(Loop),
    /// Periodic cleanup was switched on or off.
    SetCleanup(Loop),
    /// Time has passed.
    Tick,
}

/// Whether a background loop runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loop {
    /// It runs.
    Running,
    /// It does not.
    Stopped,
}

/// One order of the node's state.
#[must_use = "an action must be performed"]
#[derive(Debug, PartialEq, Eq)]
pub enum Action<C> {
    /// Open a connection.
    Connect(Ticket),
    /// Check a connection.
    Check(Checkup<C>),
    /// Clean a connection.
    Clean(Checkup<C>),
    /// Close a connection.
    Close(Closing, C, CloseReason),
    /// WaitEnd a connection that is still on loan.
    Kill(Closing),
}
