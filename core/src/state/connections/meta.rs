//! What is kept of one connection beside the connection itself.

use crate::close_reason::CloseReason;
use crate::state::connections::due_index::DueEntry;
use crate::state::connections::phase::Phase;
use crate::state::ids::WaiterId;
use crate::time::Instant;

/// What is kept of one connection. Its phase changes in the connection table alone, where it is counted.
#[derive(Debug)]
pub(crate) struct ConnectionMeta {
    pool: usize,
    phase: Phase,
    trust_epoch: u64,
    server_generation: u64,
    retire: Option<CloseReason>,
    entered_at: Instant,
    born_at: Instant,
    due: DueEntry,
    idle_since: Option<Instant>,
    lent_at: Option<Instant>,
    granted_to: Option<WaiterId>,
}

impl ConnectionMeta {
    /// A dial begins. What it was begun in counts: its last reply may have come before the node became suspect, and its server may be
    /// the one that is no longer wanted.
    pub(crate) fn of_dial(pool: usize, now: Instant, trust_epoch: u64, server_generation: u64) -> Self {
        Self {
            pool,
            phase: Phase::Connecting,
            trust_epoch,
            server_generation,
            retire: None,
            entered_at: now,
            born_at: now,
            due: DueEntry::default(),
            idle_since: None,
            lent_at: None,
            granted_to: None,
        }
    }

    /// The index of its pool.
    pub(crate) fn pool(&self) -> usize {
        self.pool
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    /// The node's trust epoch when the connection last showed a sign of life, or when its dial began.
    pub(crate) fn trust_epoch(&self) -> u64 {
        self.trust_epoch
    }

    /// The node's server generation when its dial began.
    pub(crate) fn server_generation(&self) -> u64 {
        self.server_generation
    }

    /// Why it must not be lent again, if so: set while it is out of reach.
    pub(crate) fn retire(&self) -> Option<CloseReason> {
        self.retire
    }

    /// When its present phase began: of use while it is connecting or closing.
    pub(crate) fn entered_at(&self) -> Instant {
        self.entered_at
    }

    pub(crate) fn born_at(&self) -> Instant {
        self.born_at
    }

    /// Since when it has been unused. None: it came back without a look at the clock, not long ago.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        self.idle_since
    }

    /// When its lease began. None: it is not on loan, or the lease is not timed.
    #[inline]
    pub(crate) fn lent_at(&self) -> Option<Instant> {
        self.lent_at
    }

    /// The waiter that it was granted to.
    pub(crate) fn granted_to(&self) -> Option<WaiterId> {
        self.granted_to
    }

    #[cfg(any(test, debug_assertions, feature = "testing"))]
    pub(crate) fn due(&self) -> &DueEntry {
        &self.due
    }

    pub(crate) fn due_mut(&mut self) -> &mut DueEntry {
        &mut self.due
    }

    /// Whether it may be lent again as it is: it has answered since `trust_epoch` began and is not to be retired.
    fn is_fit(&self, trust_epoch: u64) -> bool {
        self.trust_epoch == trust_epoch && self.retire.is_none()
    }

    /// Whether it may go back without a look at the clock: it may be lent again as it is, and its lease is not timed.
    #[inline]
    pub(crate) fn is_ready(&self, trust_epoch: u64) -> bool {
        self.is_fit(trust_epoch) && self.lent_at.is_none()
    }

    /// Enters a phase; returns the one before. For the connection table alone, which counts.
    pub(crate) fn enter(&mut self, phase: Phase) -> Phase {
        std::mem::replace(&mut self.phase, phase)
    }

    /// Its dial has succeeded.
    pub(crate) fn connected(&mut self, now: Instant) {
        self.born_at = now;
        self.idle_since = Some(now);
    }

    /// It has shown a sign of life in this trust epoch.
    pub(crate) fn trust(&mut self, trust_epoch: u64) {
        self.trust_epoch = trust_epoch;
    }

    pub(crate) fn set_retire(&mut self, reason: CloseReason) {
        self.retire = Some(reason);
    }

    pub(crate) fn set_entered_at(&mut self, at: Instant) {
        self.entered_at = at;
    }

    pub(crate) fn set_idle_since(&mut self, since: Option<Instant>) {
        self.idle_since = since;
    }

    pub(crate) fn set_lent_at(&mut self, at: Option<Instant>) {
        self.lent_at = at;
    }

    /// The lease has ended; returns when it began if it was timed.
    pub(crate) fn take_lent_at(&mut self) -> Option<Instant> {
        self.lent_at.take()
    }

    pub(crate) fn set_granted_to(&mut self, waiter: Option<WaiterId>) {
        self.granted_to = waiter;
    }
}
