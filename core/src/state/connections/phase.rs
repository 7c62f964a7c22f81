//! Where a connection is in its life, and how many are where.

/// Where a connection is in its life.
///
/// ```text
///  Connecting --> (Overdue) --> Idle <--> Granted --> Leased --> (Lost)      a dial that fails leaves at once,
///                                ^ ^------------------'                     every other phase leaves by Closing
///                                '--> Checking    '--> Cleaning --> Idle
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Connecting,
    /// Being dialled for longer than is usual: it may still succeed, but it no longer stands in the way of others.
    Overdue,
    Idle,
    Granted,
    Leased,
    /// On loan, and known to be dead: it keeps its place until it comes back, and is no sign of life.
    Lost,
    Checking,
    /// What its last borrower left on it is being undone.
    Cleaning,
    Closing,
}

const PHASES: usize = 9;

impl Phase {
    /// Whether a connection in this phase is open and grows old.
    pub(crate) fn is_in_use(self) -> bool {
        match self {
            Self::Idle | Self::Granted | Self::Leased | Self::Checking | Self::Cleaning => true,
            Self::Connecting | Self::Overdue | Self::Lost | Self::Closing => false,
        }
    }

    /// Whether a task of the pool's own holds the connection.
    pub(crate) fn is_being_worked_on(self) -> bool {
        match self {
            Self::Connecting | Self::Overdue | Self::Checking | Self::Cleaning => true,
            Self::Idle | Self::Granted | Self::Leased | Self::Lost | Self::Closing => false,
        }
    }
}

/// How many connections are in each phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PhaseCounts([usize; PHASES]);

impl PhaseCounts {
    pub(crate) fn of(&self, phase: Phase) -> usize {
        self.0[phase as usize]
    }

    pub(crate) fn total(&self) -> usize {
        self.0.iter().sum()
    }

    /// On loan, or as good as on loan, and not known to be dead.
    pub(crate) fn active(&self) -> usize {
        self.of(Phase::Granted) + self.of(Phase::Leased)
    }

    /// On loan, dead or alive.
    pub(crate) fn on_loan(&self) -> usize {
        self.active() + self.of(Phase::Lost)
    }

    /// With its borrower or ready for the next one, and not known to be dead: what shows that the node lives.
    pub(crate) fn alive(&self) -> usize {
        self.of(Phase::Idle) + self.active()
    }

    /// Being dialled, whether within the usual time or not.
    pub(crate) fn dialled(&self) -> usize {
        self.of(Phase::Connecting) + self.of(Phase::Overdue)
    }

    /// Out with a task of the pool's own: for a check, or to be cleaned.
    pub(crate) fn examined(&self) -> usize {
        self.of(Phase::Checking) + self.of(Phase::Cleaning)
    }

    /// Ready to be lent, or about to be: what a pool's minimum is about.
    pub(crate) fn spare(&self) -> usize {
        self.of(Phase::Idle) + self.dialled() + self.examined()
    }

    /// Open, or being opened.
    pub(crate) fn open(&self) -> usize {
        self.total() - self.of(Phase::Closing) - self.of(Phase::Lost)
    }

    #[cfg(any(test, debug_assertions, feature = "testing"))]
    pub(crate) fn plus(mut self, other: Self) -> Self {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count += more;
        }
        self
    }

    pub(crate) fn shift(&mut self, from: Phase, to: Phase) {
        self.leave(from);
        self.enter(to);
    }

    pub(crate) fn enter(&mut self, phase: Phase) {
        self.0[phase as usize] += 1;
    }

    pub(crate) fn leave(&mut self, phase: Phase) {
        self.0[phase as usize] -= 1;
    }
}
