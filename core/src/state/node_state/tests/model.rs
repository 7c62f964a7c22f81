//! The reference model: what one pool of one node promises, written down as naively as can be; lists are searched,
//! nothing is counted in advance, and time goes by in whole beats.
//!
//! It knows nothing of slots, generations, epochs, idle stacks by pool, jitter or tables of deadlines. Its one concession:
//! where the rules leave an order open (waits that end at the same instant), it follows the order that it is shown.

mod facts;
mod rules;

use super::SECOND;
use crate::close_reason::CloseReason;
use crate::state::Health;
use crate::time::Instant;

/// The unit of time. Longer than any pause between two probes; exactly as long as a close may hang.
pub(super) const BEAT: std::time::Duration = SECOND;

/// What has happened since a dial began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct DialAge {
    /// The node became suspect.
    distrusted: bool,
    /// Another server was wanted.
    outdated: bool,
}

/// What the model expects the node's state to say unasked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Said {
    Wake(u32),
    Connect,
    Check(u32),
    Clean(u32),
    Close(u32, CloseReason),
    Kill(u32),
}

/// What somebody who asks, or who has waited, is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Loan(u32),
    Waiting,
    Saturated,
    TimedOut { beats: u64 },
    Down { beats: u64 },
    Closed,
}

/// How a connection comes back, or what a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Sound,
    Broken,
    Stale,
    Silent,
    Soiled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    Idle,
    Granted,
    Leased,
    /// On loan, and dead.
    Lost,
    Checking,
    Cleaning,
    Closing {
        since: Instant,
    },
}

#[derive(Debug)]
struct Conn {
    conn: u32,
    at: At,
    born: Instant,
    /// Has answered since something was last silent.
    trusted: bool,
    /// Why it is to be closed once it is in reach again.
    retire: Option<CloseReason>,
    /// Was made to the server that is wanted.
    current: bool,
}

#[derive(Debug)]
struct ModelWaiter {
    waiter: u32,
    arrival: u64,
    since: Instant,
    deadline: Instant,
    wait: ModelWait,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ModelWait {
    Queued,
    Granted(u32),
    Told(Told),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ModelGate {
    Open,
    /// 1, then 2, then 4 dials at once.
    Ramp {
        width: usize,
        done: usize,
    },
    /// One dial at a time; the next one by `by`. `refused`: a dial has failed, it is more than a suspicion.
    Failing {
        refused: bool,
        by: Instant,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ModelLifecycle {
    Open,
    Closing { force_at: Instant },
    Closed,
}

/// What of the configuration matters here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope {
    pub(super) limit: usize,
    pub(super) min_idle: usize,
    pub(super) max_waiters: usize,
    pub(super) fail_fast: bool,
}

#[derive(Debug)]
pub(super) struct Model {
    scope: Scope,
    now: Instant,
    conns: Vec<Conn>,
    /// The idle ones; the last is lent first.
    idle: Vec<u32>,
    dials: usize,
    /// How many of them had begun when a new connection was lost: they end first, and prove nothing.
    stale_dials: usize,
    /// What has happened since each of them began, in the order of their begins.
    dial_ages: Vec<DialAge>,
    /// In the order of arrival.
    waiters: Vec<ModelWaiter>,
    arrivals: u64,
    gate: ModelGate,
    /// Before then the server is not replaced again.
    next_generation_at: Instant,
    /// The last dial was refused for good.
    hopeless: bool,
    life: ModelLifecycle,
    said: Vec<Said>,
}

impl Model {
    pub(super) fn new(scope: Scope) -> Self {
        let mut model = Self {
            scope,
            now: Instant::ZERO,
            conns: Vec::new(),
            idle: Vec::new(),
            dials: 0,
            stale_dials: 0,
            dial_ages: Vec::new(),
            waiters: Vec::new(),
            arrivals: 0,
            gate: ModelGate::Open,
            next_generation_at: Instant::ZERO,
            hopeless: false,
            life: ModelLifecycle::Open,
            said: Vec::new(),
        };
        model.dispatch();
        model
    }

    pub(super) fn take_said(&mut self) -> Vec<Said> {
        std::mem::take(&mut self.said)
    }

    pub(super) fn is_open(&self) -> bool {
        self.life == ModelLifecycle::Open
    }

    pub(super) fn is_closed(&self) -> bool {
        self.life == ModelLifecycle::Closed
    }

    pub(super) fn queued(&self) -> usize {
        self.waiters.iter().filter(|waiter| waiter.wait == ModelWait::Queued).count()
    }

    pub(super) fn dials(&self) -> usize {
        self.dials
    }

    pub(super) fn count(&self, is: impl Fn(At) -> bool) -> usize {
        self.conns.iter().filter(|conn| is(conn.at)).count()
    }

    /// The connections in a place, the lowest number first.
    pub(super) fn those(&self, at: At) -> Vec<u32> {
        let mut those: Vec<_> = self.conns.iter().filter(|conn| conn.at == at).map(|conn| conn.conn).collect();
        those.sort_unstable();
        those
    }

    pub(super) fn knows(&self, conn: u32) -> bool {
        self.conns.iter().any(|known| known.conn == conn)
    }

    /// Whether this waiter has something to collect, and whether that is a connection.
    pub(super) fn has_outcome(&self, waiter: u32) -> (bool, bool) {
        let wait = self.waiters.iter().find(|other| other.waiter == waiter).expect("a known waiter").wait;
        (wait != ModelWait::Queued, matches!(wait, ModelWait::Granted(_)))
    }

    pub(super) fn health(&self) -> Health {
        let usable = self.count(|at| matches!(at, At::Idle | At::Granted | At::Leased));
        match self.gate {
            ModelGate::Open | ModelGate::Ramp { .. } => Health::Up,
            ModelGate::Failing { refused, .. } if usable == 0 && (refused || self.is_full_of_lost()) => Health::Down,
            ModelGate::Failing { .. } => Health::Suspect,
        }
    }

    /// Whether all places are taken by dead connections that are still on loan.
    fn is_full_of_lost(&self) -> bool {
        self.scope.limit > 0 && self.count(|at| at == At::Lost) == self.scope.limit
    }

    /// The latest time by which a tick is needed.
    pub(super) fn tick_by(&self) -> Option<Instant> {
        let waits = self.waiters.iter().filter(|waiter| !matches!(waiter.wait, ModelWait::Told(_))).map(|waiter| waiter.deadline);
        let closes = self.conns.iter().filter_map(|conn| match conn.at {
            At::Closing { since } => Some(since + BEAT),
            At::Idle | At::Granted | At::Leased | At::Lost | At::Checking | At::Cleaning => None,
        });
        let end = match self.life {
            ModelLifecycle::Closing { force_at } => Some(force_at),
            ModelLifecycle::Open | ModelLifecycle::Closed => None,
        };
        let probe = match self.gate {
            ModelGate::Failing { by, .. } if self.life == ModelLifecycle::Open && self.dials == 0 => Some(by),
            ModelGate::Failing { .. } | ModelGate::Open | ModelGate::Ramp { .. } => None,
        };
        waits.chain(closes).chain(end).chain(probe).min()
    }
}
