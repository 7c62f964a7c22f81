//! Coverage of a history: which events, and which rare turns of them, were seen. A suite that never takes one of them proves nothing about it.

use std::time::Duration;

use crate::close_reason::CloseReason;
use crate::state::event::{CheckOutcome, ConnectionUse, Event, GrantRevoked};
use crate::state::input::DialFailureKind;
use crate::state::metrics::ReturnCounts;
use crate::state::status::Health;

/// A rare turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum CoverPoint {
    /// A waiter left after it had been granted a connection.
    CancelAfterGrant,
    /// A grant was taken back at its waiter's deadline.
    GrantRevokedAtDeadline,
    /// The pool closed while a grant was not collected.
    CloseOnUncollectedGrant,
    /// A granted connection was found broken before its first use.
    GrantRefused,
    /// A connection died while it was granted.
    DiedWhileGranted,
    /// A connection died while it was idle.
    DiedWhileIdle,
    /// A connection died while it was on loan.
    DiedOnLoan,
    /// A connection died while it was being dialled, checked or cleaned.
    DiedWhileOut,
    /// A connection was lost soon after its birth.
    LostEarly,
    /// A dial ended after the pool was closed.
    DialEndedAfterClose,
    /// A loan came back after the pool had been closed by force.
    LoanOutlivedForce,
    /// A connection on loan was ended from outside.
    Forced,
    /// A closing pool did not wait for a connection that had died on loan.
    DeadLetGo,
    /// A dial took longer than is usual.
    DialOverdue,
    /// A dial that was overdue succeeded.
    OverdueDialSucceeded,
    /// Silence made the node distrust its connections.
    Distrusted,
    /// A connection came back that had not answered since the node grew distrustful.
    OldEpochReturned,
    /// A check was passed.
    CheckPassed,
    /// A check failed.
    CheckFailed,
    /// A check was not answered.
    CheckSilent,
    /// A caller found the queue full.
    Saturated,
    /// A caller was told at once that the node is down.
    ToldAtOnce,
    /// A caller heard at its deadline that the node is down.
    DownAtDeadline,
    /// A pool was added.
    PoolAdded,
    /// Cleanup closed a connection.
    IdleClosed,
    /// Cleanup left an old connection because of the minimum.
    KeptForMinimum,
    /// A connection expired on the idle stack.
    ExpiredWhileIdle,
    /// A connection expired while it was out.
    ExpiredWhileOut,
    /// The clock jumped.
    JumpForgiven,
    /// A probe was due and found no room.
    ProbePostponed,
    /// A connection came back without a look at the clock.
    FastReturn,
    /// A connection went from its borrower to the head of the queue without a look at the clock.
    HandedOver,
    /// The node answered after dials had failed.
    CameBack,
    /// A borrower's command was not answered in time.
    CommandSilent,
    /// A close hung for so long that its connection was counted no more.
    CloseCutOff,
    /// A silence wanted a dial at once, and the pool was full until a connection had left.
    RoomAfterSilence,
    /// A connection came back to be cleaned.
    Soiled,
    /// A connection was cleaned.
    Cleaned,
    /// A connection could not be cleaned.
    CleaningFailed,
    /// A connection was not cleaned in time.
    CleaningSilent,
    /// Another server has taken the node's place.
    Renewed,
    /// An idle connection was closed for the sake of another node.
    Yielded,
    /// A probe that was due started when other nodes had left a quota for it.
    ProbeAllowed,
    /// A caller was given a connection after a wait.
    Granted,
    /// A caller got no connection by its deadline.
    TimedOut,
    /// The node became up.
    BecameUp,
    /// The node became suspect.
    BecameSuspect,
    /// The node became down.
    BecameDown,
    /// Empty surplus pools were removed.
    PoolsRemoved,
    /// The server refused a dial in a way that waiting does not mend.
    RefusedForGood,
    /// A failing node was probed.
    Probed,
}

impl CoverPoint {
    /// All of them.
    pub const ALL: [Self; 51] = [
        Self::CancelAfterGrant,
        Self::GrantRevokedAtDeadline,
        Self::CloseOnUncollectedGrant,
        Self::GrantRefused,
        Self::DiedWhileGranted,
        Self::DiedWhileIdle,
        Self::DiedOnLoan,
        Self::DiedWhileOut,
        Self::LostEarly,
        Self::DialEndedAfterClose,
        Self::LoanOutlivedForce,
        Self::Forced,
        Self::DeadLetGo,
        Self::DialOverdue,
        Self::OverdueDialSucceeded,
        Self::Distrusted,
        Self::OldEpochReturned,
        Self::CheckPassed,
        Self::CheckFailed,
        Self::CheckSilent,
        Self::Saturated,
        Self::ToldAtOnce,
        Self::DownAtDeadline,
        Self::PoolAdded,
        Self::IdleClosed,
        Self::KeptForMinimum,
        Self::ExpiredWhileIdle,
        Self::ExpiredWhileOut,
        Self::JumpForgiven,
        Self::ProbePostponed,
        Self::FastReturn,
        Self::HandedOver,
        Self::CameBack,
        Self::CommandSilent,
        Self::CloseCutOff,
        Self::RoomAfterSilence,
        Self::Soiled,
        Self::Cleaned,
        Self::CleaningFailed,
        Self::CleaningSilent,
        Self::Renewed,
        Self::Yielded,
        Self::ProbeAllowed,
        Self::Granted,
        Self::TimedOut,
        Self::BecameUp,
        Self::BecameSuspect,
        Self::BecameDown,
        Self::PoolsRemoved,
        Self::RefusedForGood,
        Self::Probed,
    ];
}

impl CoverPoint {
    /// What an event shows; none: nothing rare.
    fn of(event: &Event) -> Option<Self> {
        Some(match event {
            Event::GrantRevoked { why: GrantRevoked::Cancelled } => Self::CancelAfterGrant,
            Event::GrantRevoked { why: GrantRevoked::Deadline } => Self::GrantRevokedAtDeadline,
            Event::GrantRevoked { why: GrantRevoked::PoolClosed } => Self::CloseOnUncollectedGrant,
            Event::GrantRevoked { why: GrantRevoked::Broken } => Self::GrantRefused,
            Event::Died { during: ConnectionUse::Granted } => Self::DiedWhileGranted,
            Event::Died { during: ConnectionUse::Idle } => Self::DiedWhileIdle,
            Event::Died { during: ConnectionUse::Loan } => Self::DiedOnLoan,
            Event::Died { during: ConnectionUse::Upkeep } => Self::DiedWhileOut,
            Event::LostEarly => Self::LostEarly,
            Event::DialOutlivedPool => Self::DialEndedAfterClose,
            Event::LoanOutlivedPool => Self::LoanOutlivedForce,
            Event::Aborted => Self::Forced,
            Event::DeadLoanAbandoned => Self::DeadLetGo,
            Event::DialOverdue { .. } => Self::DialOverdue,
            Event::Connected { overdue: true, .. } => Self::OverdueDialSucceeded,
            Event::Connected { recovered: true, .. } => Self::CameBack,
            Event::Suspected { .. } => Self::Distrusted,
            Event::DoubtfulReturn => Self::OldEpochReturned,
            Event::Checked(CheckOutcome::Passed) => Self::CheckPassed,
            Event::Checked(CheckOutcome::Failed) => Self::CheckFailed,
            Event::Checked(CheckOutcome::Unanswered) => Self::CheckSilent,
            Event::Saturated { .. } => Self::Saturated,
            Event::Unavailable { waited: Duration::ZERO } => Self::ToldAtOnce,
            Event::Unavailable { .. } => Self::DownAtDeadline,
            Event::PoolAdded { .. } => Self::PoolAdded,
            Event::Closed { reason: CloseReason::IdleTooLong, .. } => Self::IdleClosed,
            Event::KeptForMinimum => Self::KeptForMinimum,
            Event::Closed { reason: CloseReason::Expired, idle: true, .. } => Self::ExpiredWhileIdle,
            Event::ExpiredOnLoan => Self::ExpiredWhileOut,
            Event::ClockJumped { .. } => Self::JumpForgiven,
            Event::ProbePostponed => Self::ProbePostponed,
            Event::CommandUnanswered => Self::CommandSilent,
            Event::CloseCutOff => Self::CloseCutOff,
            Event::ProbeHasRoom => Self::RoomAfterSilence,
            Event::UncleanReturn => Self::Soiled,
            Event::Cleaned(CheckOutcome::Passed) => Self::Cleaned,
            Event::Cleaned(CheckOutcome::Failed) => Self::CleaningFailed,
            Event::Cleaned(CheckOutcome::Unanswered) => Self::CleaningSilent,
            Event::FailedOver { .. } => Self::Renewed,
            Event::Closed { reason: CloseReason::Yielded, .. } => Self::Yielded,
            Event::ProbeAllowed => Self::ProbeAllowed,
            Event::Granted { .. } => Self::Granted,
            Event::TimedOut { .. } => Self::TimedOut,
            Event::HealthChanged { to: Health::Up, .. } => Self::BecameUp,
            Event::HealthChanged { to: Health::Suspect, .. } => Self::BecameSuspect,
            Event::HealthChanged { to: Health::Down, .. } => Self::BecameDown,
            Event::PoolsRemoved { .. } => Self::PoolsRemoved,
            Event::ConnectFailed { kind: DialFailureKind::Permanent, .. } => Self::RefusedForGood,
            Event::DialStarted { probe: true, .. } => Self::Probed,
            Event::DialStarted { .. } | Event::Connected { .. } | Event::ConnectFailed { .. } | Event::Closed { .. } => {
                return None;
            }
        })
    }
}

/// The turns that a history has taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage(u64);

impl Coverage {
    /// Notes what an event shows.
    pub(crate) fn note(&mut self, event: &Event) {
        if let Some(point) = CoverPoint::of(event) {
            self.hit(point);
        }
    }

    /// Notes a turn.
    fn hit(&mut self, mark: CoverPoint) {
        self.0 |= 1 << mark as u64;
    }

    /// With what is counted instead of being an event.
    pub(crate) fn with_returns(mut self, returns: ReturnCounts) -> Self {
        for (point, count) in [(CoverPoint::FastReturn, returns.idle), (CoverPoint::HandedOver, returns.handed_over)] {
            if count > 0 {
                self.hit(point);
            }
        }
        self
    }

    /// Those of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those of them that are among `some`.
    #[must_use]
    pub fn among(self, some: &[CoverPoint]) -> Self {
        Self(self.0 & some.iter().fold(0, |all, mark| all | 1 << *mark as u64))
    }

    /// The turns that were not taken.
    #[must_use]
    pub fn missing(self) -> Vec<CoverPoint> {
        CoverPoint::ALL.into_iter().filter(|mark| self.0 & (1 << *mark as u64) == 0).collect()
    }
}
