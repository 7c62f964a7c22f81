//! What happens in a node, as values: for logs, metrics, alarms and tests.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::close_reason::CloseReason;
use crate::state::input::DialFailureKind;
use crate::state::outcome::WaitPhase;
use crate::state::status::Health;

/// One thing that has happened in a node.
///
/// A get that finds an idle connection, and a return that has nothing else to do than to idle or to go to the head of the
/// queue, are no events: they are counted where they take the fast path, in the [metrics](crate::NodeMetrics), for which all
/// events are counted, too. Texts hold no secret, as far as the connector's errors hold none.
///
/// Every connection that was opened has one `Connected` and one `Closed`, and every `DialStarted` ends with `Connected`,
/// `ConnectFailed` or `DialOutlivedPool`.
///
/// With the feature `serde` an event is serialized as `{"kind": "connect_failed", "data": {"took": 0.1, ..}}`: lengths of time
/// are seconds, and an event without data has no `data`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(tag = "kind", content = "data", rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Event {
    /// A dial has begun.
    DialStarted {
        /// The index of its pool.
        pool: usize,
        /// Whether it is to show if a failing node is back.
        probe: bool,
    },
    /// A dial has succeeded; if it is too late, because the pool is closed or the connection has died since, `Closed` follows.
    Connected {
        /// The index of its pool.
        pool: usize,
        /// How long it took.
        #[cfg_attr(feature = "serde", serde(serialize_with = "crate::seconds::of"))]
        took: Duration,
        /// Whether it had been given up as too slow.
        overdue: bool,
        /// Whether dials had failed before it.
        recovered: bool,
    },
    /// A dial has failed.
    ConnectFailed {
        /// How long it took.
        #[cfg_attr(feature = "serde", serde(serialize_with = "crate::seconds::of"))]
        took: Duration,
        /// Whether another one is worth while.
        kind: DialFailureKind,
        /// The connector's words.
        why: Arc<str>,
    },
    /// A dial has taken longer than is usual: the next one no longer waits for it.
    DialOverdue {
        /// How long it had been under way.
        #[cfg_attr(feature = "serde", serde(serialize_with = "crate::seconds::of"))]
        after: Duration,
    },
    /// A dial ended without a connection because its pool was closed, or was given up at the deadline of a close.
    DialOutlivedPool,
    /// A probe was due and had no room: it is put off.
    ProbePostponed,
    /// A probe that was put off is due, because other nodes have left a quota for it.
    ProbeAllowed,
    /// A connection has left, or has been killed on loan, and there is room for a probe that a full pool had put off.
    ProbeHasRoom,
    /// A connection is being closed, or is given up at the end of its pool: from now on it is not open.
    Closed {
        /// Why.
        reason: CloseReason,
        /// How long it had been open.
        #[cfg_attr(feature = "serde", serde(serialize_with = "crate::seconds::of"))]
        age: Duration,
        /// Whether it was idle.
        idle: bool,
    },
    /// A connection that came back after the forced close of its pool is being closed.
    LoanOutlivedPool,
    /// A connection on loan has been ended from outside, at the deadline of a close.
    Aborted,
    /// A closing pool does not wait for a connection that had died on loan.
    DeadLoanAbandoned,
    /// The close of a connection hung: it is counted no more.
    CloseCutOff,
    /// A connection has died by itself.
    Died {
        /// What it was used for.
        during: ConnectionUse,
    },
    /// A connection has died unused, soon after its dial: that counts as a failed dial.
    LostEarly,
    /// A connection has reached its lifetime while it was out: it is closed when it comes back.
    ExpiredOnLoan,
    /// A waiting caller was given a connection that was idle, or has just been dialled or checked.
    Granted {
        /// How long the caller had waited.
        #[cfg_attr(feature = "serde", serde(serialize_with = "crate::seconds::of"))]
        waited: Duration,
    },
    /// A connection was taken back from a caller that it had been given to.
    GrantRevoked {
        /// Why.
        why: GrantRevoked,
    },
    /// A caller got no connection by its deadline.
    TimedOut {
        /// What it was waiting for.
        phase: WaitPhase,
        /// How long it had waited.
        #[cfg_attr(feature = "serde", serde(serialize_with = "crate::seconds::of"))]
        waited: Duration,
    },
    /// A caller got no connection because the node is down.
    Unavailable {
        /// How long it had waited; zero: it failed at once.
        #[cfg_attr(feature = "serde", serde(serialize_with = "crate::seconds::of"))]
        waited: Duration,
    },
    /// A caller got no connection because the queue is full.
    Saturated {
        /// How many wait.
        waiting: usize,
    },
    /// The node is doing better or worse.
    HealthChanged {
        /// How it was doing.
        from: Health,
        /// How it is doing.
        to: Health,
        /// For how long it had been doing as before; zero if nothing had been noted of it before.
        #[cfg_attr(feature = "serde", serde(serialize_with = "crate::seconds::of"))]
        lasted: Duration,
        /// The last error, if there is one.
        why: Option<Arc<str>>,
    },
    /// Something was asked and not answered in time: connections are checked before they are lent.
    Suspected {
        /// What was not answered.
        why: Arc<str>,
    },
    /// Another server is wanted: all connections are replaced.
    FailedOver {
        /// What said so.
        why: Arc<str>,
    },
    /// A command of a borrower was not answered in time.
    CommandUnanswered,
    /// A connection that came back has not answered since the node became suspect: it is checked.
    DoubtfulReturn,
    /// A connection came back with something on it that must be undone.
    UncleanReturn,
    /// A health check has ended.
    Checked(CheckOutcome),
    /// What a borrower had left on a connection has been undone, or could not be.
    Cleaned(CheckOutcome),
    /// A pool was added, because the others are full.
    PoolAdded {
        /// Its index.
        pool: usize,
    },
    /// Empty surplus pools were removed.
    PoolsRemoved {
        /// How many.
        count: usize,
    },
    /// The cleanup has left a connection that had been idle for too long, because its pool has no more than the minimum.
    KeptForMinimum,
    /// The clock has jumped, or the process was stopped: lifetimes and idle times do not count that time.
    ClockJumped {
        /// By how much.
        #[cfg_attr(feature = "serde", serde(serialize_with = "crate::seconds::of"))]
        by: Duration,
    },
}

/// What a connection was used for when it died.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum ConnectionUse {
    /// Nothing: it was idle.
    Idle,
    /// It had been given to a waiting caller that had not taken it yet.
    Granted,
    /// It was on loan.
    Loan,
    /// It was being dialled, checked or cleaned.
    Upkeep,
}

/// Why a connection was taken back from a caller that it had been given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum GrantRevoked {
    /// The caller had left.
    Cancelled,
    /// The caller had not taken it by its deadline.
    Deadline,
    /// The pool was closed.
    PoolClosed,
    /// It was found broken before its first use; the caller goes on waiting in its position.
    Broken,
}

/// How a health check or a cleaning ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum CheckOutcome {
    /// The server answered.
    Passed,
    /// It failed.
    Failed,
    /// The server did not answer in time.
    Unanswered,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DialStarted { pool, probe: false } => write!(f, "dial started for pool {pool}"),
            Self::DialStarted { pool, probe: true } => write!(f, "probe started for pool {pool}"),
            Self::Connected { pool, took, .. } => write!(f, "connected for pool {pool} in {took:?}"),
            Self::ConnectFailed { took, why, .. } => write!(f, "connect failed after {took:?}: {why}"),
            Self::DialOverdue { after } => write!(f, "dial overdue after {after:?}"),
            Self::DialOutlivedPool => f.write_str("dial ended without a connection: its pool was closed"),
            Self::ProbePostponed => f.write_str("probe postponed: no room"),
            Self::ProbeAllowed => f.write_str("probe allowed by the total limit"),
            Self::ProbeHasRoom => f.write_str("probe has room"),
            Self::Closed { reason, age, .. } => write!(f, "connection closed at the age of {age:?}: {reason:?}"),
            Self::LoanOutlivedPool => f.write_str("connection came back after its pool was closed"),
            Self::Aborted => f.write_str("connection on loan aborted"),
            Self::DeadLoanAbandoned => f.write_str("dead connection on loan abandoned"),
            Self::CloseCutOff => f.write_str("hanging close cut off"),
            Self::Died { during } => write!(f, "connection died: {during:?}"),
            Self::LostEarly => f.write_str("new connection lost unused"),
            Self::ExpiredOnLoan => f.write_str("lifetime ended on loan"),
            Self::Granted { waited } => write!(f, "caller served after {waited:?}"),
            Self::GrantRevoked { why } => write!(f, "grant revoked: {why:?}"),
            Self::TimedOut { phase, waited } => write!(f, "caller timed out after {waited:?}: {phase}"),
            Self::Unavailable { waited } => write!(f, "caller failed after {waited:?}: the node is down"),
            Self::Saturated { waiting } => write!(f, "caller failed: {waiting} callers wait already"),
            Self::HealthChanged { from, to, why: None, .. } => write!(f, "health: {from} -> {to}"),
            Self::HealthChanged { from, to, why: Some(why), .. } => write!(f, "health: {from} -> {to}: {why}"),
            Self::Suspected { why } => write!(f, "connections suspected: {why}"),
            Self::FailedOver { why } => write!(f, "failed over: {why}"),
            Self::CommandUnanswered => f.write_str("command not answered in time"),
            Self::DoubtfulReturn => f.write_str("returned connection is checked"),
            Self::UncleanReturn => f.write_str("returned connection is cleaned"),
            Self::Checked(outcome) => write!(f, "health check: {outcome:?}"),
            Self::Cleaned(outcome) => write!(f, "cleaning: {outcome:?}"),
            Self::PoolAdded { pool } => write!(f, "pool {pool} added"),
            Self::PoolsRemoved { count } => write!(f, "{count} empty pools removed"),
            Self::KeptForMinimum => f.write_str("old idle connection kept for the minimum"),
            Self::ClockJumped { by } => write!(f, "clock jumped by {by:?}"),
        }
    }
}
