//! When a node may be dialled: back-off, the probe of a node that fails, and the ramp after it is back; and the dials that
//! are under way.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{NodeConfig, ProbeBackoff};
use crate::state::ids::ConnId;
use crate::state::input::{DialFailure, DialFailureKind};
use crate::state::rng::Rng;
use crate::time::Instant;

/// How many dials at once are the widest step of the ramp; after it there is no limit but the pools' own.
const WIDEST_RAMP: usize = 4;

/// Every so many probes in a row that got no answer, one may take the full `connect_timeout`: a server that is merely
/// slow must be reachable, too. It does not hold up the next one.
const PATIENT_PROBE_EVERY: u32 = 4;

/// Who may dial, and when.
///
/// ```text
///  Open --- a dial fails, or silence ---> Failing --- a dial succeeds, or a check ---> Ramping 1, 2, 4 ---> Open
///                                          ^  |  one dial at a time, not before next_at        |
///                                          '--'------------------------ a dial fails ----------'
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DialGate {
    Open,
    /// `successes` dials of this step have succeeded; `failures` is where the back-off goes on if the node fails again.
    Ramping {
        width: usize,
        successes: usize,
        failures: u32,
    },
    Failing {
        failures: u32,
        timeouts: u32,
        next_at: Instant,
        /// When a new connection was last lost unused: dials that had begun by then prove nothing.
        lost_at: Option<Instant>,
    },
}

/// An error of a node.
#[derive(Clone, Debug)]
pub(crate) struct NotedError {
    pub(crate) text: Arc<str>,
    pub(crate) at: Instant,
    /// How the dial failed that this is the error of; none if it is that of a check or of a connection.
    pub(crate) dial_failure: Option<DialFailureKind>,
}

/// The state of dialling of one node.
#[derive(Debug)]
pub(crate) struct Dialer {
    gate: DialGate,
    backoff: ProbeBackoff,
    connect_timeout: Duration,
    /// How long a probe may take at least.
    check_timeout: Duration,
    /// About the slowest of the last dials that succeeded.
    slowest: Duration,
    /// The last error, and when it came.
    last_error: Option<NotedError>,
    permanent: bool,
    /// Whether a dial has ever succeeded.
    has_met_server: bool,
    /// Dials in the order in which they began; those that have ended are dropped when they come to the front.
    under_way: VecDeque<(Instant, ConnId)>,
}

impl Dialer {
    pub(crate) fn new(config: &NodeConfig) -> Self {
        Self {
            gate: DialGate::Open,
            backoff: config.probe_backoff(),
            connect_timeout: config.connect_timeout(),
            check_timeout: config.health_check_timeout(),
            slowest: Duration::ZERO,
            last_error: None,
            permanent: false,
            has_met_server: false,
            under_way: VecDeque::new(),
        }
    }

    /// Whether a dial has ever succeeded.
    pub(crate) fn has_met_server(&self) -> bool {
        self.has_met_server
    }

    /// A dial begins; returns when it must have ended.
    pub(crate) fn begin(&mut self, now: Instant, id: ConnId) -> Instant {
        self.under_way.push_back((now, id));
        now + self.cutoff()
    }

    /// The dial that has been under way for longest, those that are overdue left out: `is_connecting` says of which that is
    /// true.
    pub(crate) fn oldest(&mut self, is_connecting: impl Fn(ConnId) -> bool) -> Option<(Instant, ConnId)> {
        while let Some((started_at, id)) = self.under_way.front().copied() {
            if is_connecting(id) {
                return Some((started_at, id));
            }
            self.under_way.pop_front();
        }
        None
    }

    /// Whether no dial is under way.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Whether one more dial may start beside `connecting` others that are not overdue.
    pub(crate) fn may_dial(&self, now: Instant, connecting: usize) -> bool {
        match self.gate {
            DialGate::Open => true,
            DialGate::Ramping { width, .. } => connecting < width,
            DialGate::Failing { next_at, .. } => connecting == 0 && next_at <= now,
        }
    }

    /// How many dials might start now beside `connecting` others; a probe has a time of its own.
    pub(crate) fn width_left(&self, connecting: usize) -> usize {
        match self.gate {
            DialGate::Open => usize::MAX,
            DialGate::Ramping { width, .. } => width.saturating_sub(connecting),
            DialGate::Failing { .. } => 0,
        }
    }

    /// Whether the node is well: dials are limited by the pools' room alone.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.gate, DialGate::Open)
    }

    /// Whether a probe is due or will be: true until the node has answered.
    pub(crate) fn is_failing(&self) -> bool {
        matches!(self.gate, DialGate::Failing { .. })
    }

    /// Whether at least one dial has failed since the node last answered.
    pub(crate) fn has_failed(&self) -> bool {
        matches!(self.gate, DialGate::Failing { failures: 1.., .. })
    }

    /// Whether the last dial failed in a way that another one will not change.
    pub(crate) fn is_refused_for_good(&self) -> bool {
        self.permanent
    }

    /// When the next probe may start, if probing is what goes on.
    pub(crate) fn next_probe_at(&self) -> Option<Instant> {
        match self.gate {
            DialGate::Failing { next_at, .. } => Some(next_at),
            DialGate::Open | DialGate::Ramping { .. } => None,
        }
    }

    /// The last error since the node last answered.
    pub(crate) fn last_error(&self) -> Option<NotedError> {
        self.last_error.clone()
    }

    /// How long a dial may take before it is overdue: a health check's time, or twice what a dial of this node took.
    pub(crate) fn patience(&self) -> Duration {
        self.check_timeout.max(self.slowest * 2).min(self.connect_timeout)
    }

    /// How long the next dial may take at most. A probe of a node that fails is cut off when it is overdue.
    pub(crate) fn cutoff(&self) -> Duration {
        match self.gate {
            DialGate::Failing { timeouts, .. } if (timeouts + 1) % PATIENT_PROBE_EVERY != 0 => self.patience(),
            DialGate::Failing { .. } | DialGate::Open | DialGate::Ramping { .. } => self.connect_timeout,
        }
    }

    /// A dial that began at `started_at` has failed.
    pub(crate) fn failed(&mut self, now: Instant, started_at: Instant, failure: DialFailure, someone_waits: bool, rng: &mut Rng) {
        let (failures, timeouts, planned, lost_at) = match self.gate {
            DialGate::Open => (0, 0, None, None),
            DialGate::Ramping { failures, .. } => (failures, 0, None, None),
            DialGate::Failing { failures, timeouts, next_at, lost_at } => (failures, timeouts, Some(next_at), lost_at),
        };
        let failures = failures.saturating_add(1);
        let timeouts = if failure.kind == DialFailureKind::TimedOut { timeouts.wrapping_add(1) } else { 0 };
        self.permanent = failure.kind == DialFailureKind::Permanent;
        self.note_error(now, failure.message, Some(failure.kind));
        let delay = self.delay(failures, someone_waits, rng);
        // Counted from the start of the dial: one that hung has been waiting already. A dial that was overdue long ago
        // must not move a pause that has begun since.
        let after_pause = (started_at + delay).max(now + Duration::from_millis(1));
        let next_at = planned.filter(|planned| *planned > now).unwrap_or(after_pause);
        self.gate = DialGate::Failing { failures, timeouts, next_at, lost_at };
    }

    /// A new connection was lost unused: that is a failed dial, and those that are under way prove nothing. Else each of them
    /// would open the way for the next.
    pub(crate) fn lost_early(&mut self, now: Instant, failure: DialFailure, someone_waits: bool, rng: &mut Rng) {
        self.failed(now, now, failure, someone_waits, rng);
        if let DialGate::Failing { lost_at, .. } = &mut self.gate {
            *lost_at = Some(now);
        }
    }

    /// A probe was due but there was no room for it: look again later.
    pub(crate) fn postpone(&mut self, now: Instant, someone_waits: bool, rng: &mut Rng) {
        if let DialGate::Failing { failures, timeouts, lost_at, .. } = self.gate {
            // A mere suspicion is looked into as soon as there is room: see `made_room`.
            let pause = if failures == 0 { self.backoff.max_with_waiters } else { self.delay(failures, someone_waits, rng) };
            let next_at = now + pause.max(Duration::from_millis(1));
            self.gate = DialGate::Failing { failures, timeouts, next_at, lost_at };
        }
    }

    /// There is room again: a dial that a mere suspicion wanted at once, and that a full pool put off, may start now, and so
    /// may a probe that `was_due` when others had left no quota for it. Says whether there was one.
    pub(crate) fn made_room(&mut self, now: Instant, was_due: bool) -> bool {
        match &mut self.gate {
            DialGate::Failing { failures, next_at, .. } if *next_at > now && (*failures == 0 || was_due) => {
                *next_at = now;
                true
            }
            DialGate::Open | DialGate::Ramping { .. } | DialGate::Failing { .. } => false,
        }
    }

    /// Another server is dialled from now on: what the dials of the old one have shown is no matter, and the next one may start
    /// at once.
    pub(crate) fn restart(&mut self, now: Instant) {
        if let DialGate::Failing { lost_at, .. } = self.gate {
            self.permanent = false;
            self.gate = DialGate::Failing { failures: 0, timeouts: 0, next_at: now, lost_at };
        }
    }

    /// Callers wait: the next probe comes within the back-off that is meant for them.
    pub(crate) fn hurry(&mut self, now: Instant, rng: &mut Rng) {
        if self.permanent {
            return;
        }
        if let DialGate::Failing { next_at, .. } = &mut self.gate
            && *next_at > now + self.backoff.max_with_waiters
        {
            *next_at = now + rng.up_to(self.backoff.max_with_waiters);
        }
    }

    /// A dial that began at `started_at` has succeeded.
    pub(crate) fn succeeded(&mut self, now: Instant, started_at: Instant) {
        self.slowest = now.saturating_duration_since(started_at).max(self.slowest / 2);
        self.has_met_server = true;
        if matches!(self.gate, DialGate::Failing { lost_at: Some(lost_at), .. } if started_at <= lost_at) {
            return;
        }
        self.answered();
        self.gate = match self.gate {
            DialGate::Open => DialGate::Open,
            DialGate::Failing { failures, .. } => DialGate::Ramping { width: 1, successes: 0, failures },
            DialGate::Ramping { width, successes, failures } if successes + 1 < width => {
                DialGate::Ramping { width, successes: successes + 1, failures }
            }
            DialGate::Ramping { width: WIDEST_RAMP.., .. } => DialGate::Open,
            DialGate::Ramping { width, failures, .. } => DialGate::Ramping { width: width * 2, successes: 0, failures },
        };
    }

    /// A connection has answered a check: a mere suspicion is over, failing dials are not.
    pub(crate) fn reassured(&mut self) {
        if let DialGate::Failing { failures: 0, .. } = self.gate {
            self.answered();
            self.gate = DialGate::Ramping { width: 1, successes: 0, failures: 0 };
        }
    }

    /// Something was asked and not answered in time: a dial is the quickest way to know more.
    pub(crate) fn suspect(&mut self, now: Instant, what: impl Into<Arc<str>>) {
        self.note(now, what);
        if !self.is_failing() {
            self.gate = DialGate::Failing { failures: 0, timeouts: 0, next_at: now, lost_at: None };
        }
    }

    /// Notes an error that says nothing about the node as a whole.
    pub(crate) fn note(&mut self, now: Instant, what: impl Into<Arc<str>>) {
        self.note_error(now, what.into(), None);
    }

    fn note_error(&mut self, at: Instant, text: Arc<str>, dial_failure: Option<DialFailureKind>) {
        self.last_error = Some(NotedError { text, at, dial_failure });
    }

    /// A dial that took too long, and is booked as a failure since it was overdue, says what it was waiting for.
    pub(crate) fn elaborate(&mut self, now: Instant, what: Arc<str>) {
        if self.has_failed() && !self.permanent {
            self.note_error(now, what, Some(DialFailureKind::TimedOut));
        }
    }

    fn answered(&mut self) {
        self.last_error = None;
        self.permanent = false;
    }

    /// Full jitter: evenly from nothing to a cap that doubles with each failure.
    fn delay(&self, failures: u32, someone_waits: bool, rng: &mut Rng) -> Duration {
        let most = match (self.permanent, someone_waits) {
            (false, true) => self.backoff.max_with_waiters,
            (false, false) | (true, true) | (true, false) => self.backoff.max_without_waiters,
        };
        let doubled = self.backoff.start.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
        let cap = if self.permanent { most } else { doubled.min(most) };
        rng.up_to(cap)
    }
}

#[cfg(test)]
mod tests;
