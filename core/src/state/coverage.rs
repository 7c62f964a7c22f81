//! Coverage: which rare turns a history has taken. A suite that never takes one of them proves nothing about it.

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
    ExpiredOnShelf,
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
}

impl CoverPoint {
    /// All of them.
    pub const ALL: [Self; 43] = [
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
        Self::ExpiredOnShelf,
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
    ];
}

/// The turns that a history has taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage(u64);

impl Coverage {
    /// Notes a turn.
    pub(crate) fn hit(&mut self, mark: CoverPoint) {
        self.0 |= 1 << mark as u64;
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
