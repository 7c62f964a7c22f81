//! What a node may have of what all nodes may have together: the numbers it is given, and those it gives in return.

use crate::close_reason::CloseReason;
use crate::state::node_state::{Lifecycle, NodeState};
use crate::state::phase::Phase;
use crate::state::token::ConnId;
use crate::state::wait_queue::WaitKind;
use crate::time::Instant;

/// How many waits of a node are told one by one; those behind them count as no older than the last of these.
pub(crate) const REPORTED_WAITS: usize = 8;

/// What a node may have; an input of the node's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Connections that it may have, in whatever phase; never fewer than it has.
    pub most: usize,
    /// Of them, those that nobody else can claim.
    pub floor: usize,
    /// Idle connections that it is to close now for the sake of others.
    pub give: usize,
    /// How it takes connections back.
    pub mode: SharingMode,
}

impl Quota {
    /// As much as its own settings let it have, and nobody else to think of.
    pub(super) const UNLIMITED: Self = Self { most: usize::MAX, floor: usize::MAX, give: 0, mode: SharingMode::Unshared };

    /// Nothing yet.
    pub(crate) const NONE: Self = Self { most: 0, floor: 0, give: 0, mode: SharingMode::Contended };
}

/// How a node takes connections back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharingMode {
    /// Nobody else needs to know.
    Unshared,
    /// Somebody here or elsewhere is short of connections: every change is told.
    Contended,
    /// Another node is below its floor: what comes free beyond the own floor is held back from the own queue until that
    /// is settled.
    Yielding,
}

/// What a node has and would have; an output of the node's state, after every input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Whether it still lends; a node that does not has no floor.
    pub is_open: bool,
    /// Connections that it has, in whatever phase.
    pub total: usize,
    /// Of them, those being closed.
    pub closing: usize,
    /// Of them, those that idle.
    pub idle: usize,
    /// Whether callers are in the queue.
    pub has_waiters: bool,
    /// Dials that callers in the queue would have now, and nothing but the quota forbids.
    pub callers: usize,
    /// Since when they wait, the first of them.
    pub since: [Instant; REPORTED_WAITS],
    /// Dials beyond them that nobody waits for: to keep a minimum, to probe, to have one to spare.
    pub more: usize,
}

impl Demand {
    /// That of a node that has not said anything yet.
    pub(crate) const UNKNOWN: Self = Self {
        is_open: true,
        total: 0,
        closing: 0,
        idle: 0,
        has_waiters: false,
        callers: 0,
        since: [Instant::ZERO; REPORTED_WAITS],
        more: 0,
    };
}

/// What the node's state keeps of its quota; the number itself is kept with the connections, in the connection table.
#[derive(Clone, Copy, Debug)]
pub(super) struct QuotaState {
    pub(super) given: Quota,
    /// A probe was due, there was room for it, and the quota was used up.
    pub(super) is_probe_put_off: bool,
    /// The same for a dial that somebody wanted who did not wait.
    pub(super) is_spare_put_off: bool,
}

impl QuotaState {
    pub(super) const UNLIMITED: Self = Self { given: Quota::UNLIMITED, is_probe_put_off: false, is_spare_put_off: false };
}

impl<C> NodeState<C> {
    /// What the node has and would have.
    #[must_use]
    pub fn demand(&self) -> Demand {
        let counts = self.connections.counts();
        let (total, closing) = (counts.total(), counts.of(Phase::Closing));
        if self.life != Lifecycle::Open {
            return Demand { is_open: false, total, closing, ..Demand::UNKNOWN };
        }
        let connecting = counts.of(Phase::Connecting);
        let gate = if self.sharing.is_probe_put_off { 1 } else { self.dialer.width_left(connecting) };
        let most = self.connections.room(self.config.max_pools_per_node()).min(gate);
        let waiting = self.queue.len(WaitKind::Loan);
        let callers = waiting.saturating_sub(connecting).min(most);
        let minimum = self.connections.shortfall(self.config.connection_pools_per_node_at_start(), self.config.min_idle());
        let spare = self.sharing.is_spare_put_off && counts.of(Phase::Idle) == 0;
        let others = self.dials_without_waiters().max(usize::from(spare)).saturating_sub(connecting);
        let all = callers.max(minimum).max(others).min(most);
        let mut since = [Instant::ZERO; REPORTED_WAITS];
        if callers > 0 {
            self.queue.waiting_since(WaitKind::Loan, connecting, &mut since);
        }
        let (idle, has_waiters) = (counts.of(Phase::Idle), waiting > 0);
        Demand { is_open: true, total, closing, idle, has_waiters, callers, since, more: all - callers }
    }

    /// What it may have: what it was told last, less the places of connections that are no more.
    pub(crate) fn quota(&self) -> Quota {
        Quota { most: self.connections.quota(), ..self.sharing.given }
    }

    /// Before the first input: the node may have nothing until it is given a quota.
    pub fn start_with_nothing(&mut self) {
        self.take_quota(Quota::NONE);
    }

    /// The other nodes have heard of this demand and leave no more: with its floor the node is as warm as it can be.
    pub fn note_agreement(&mut self, demand: &Demand) {
        let counts = self.connections.counts();
        let lacks_some = self.connections.is_at_quota() && demand.callers + demand.more > 0;
        let has_floor = counts.dialled() == 0 && counts.open() >= self.sharing.given.floor;
        if lacks_some && has_floor && self.has_met_server && self.life == Lifecycle::Open {
            self.finish_ready(WaitKind::Warm);
        }
    }

    pub(super) fn on_quota(&mut self, now: Instant, quota: Quota) {
        let raised = quota.most > self.connections.quota();
        self.take_quota(quota);
        for _ in 0..quota.give {
            let Some(id) = self.idle_for_longest() else { break };
            mark!(self, Yielded);
            self.close_idle(now, id, CloseReason::Yielded);
        }
        if raised && self.life == Lifecycle::Open {
            let was_due = std::mem::take(&mut self.sharing.is_probe_put_off);
            if self.dialer.made_room(now, was_due) && was_due {
                mark!(self, ProbeAllowed);
            }
            if std::mem::take(&mut self.sharing.is_spare_put_off) && self.connections.counts().of(Phase::Idle) == 0 {
                self.dial_spare(now);
            }
        }
    }

    fn take_quota(&mut self, quota: Quota) {
        self.connections.set_quota(quota.most, quota.floor);
        self.sharing.given = Quota { give: 0, ..quota };
        self.set_return_path();
    }

    /// Whether what idles is held back from the queue, until others have said whether they need it for their floor.
    pub(super) fn is_yielding(&self) -> bool {
        let counts = self.connections.counts();
        self.sharing.given.mode == SharingMode::Yielding && counts.total() - counts.of(Phase::Closing) > self.sharing.given.floor
    }

    /// Whether there is room for a dial, and the quota is used up.
    pub(super) fn is_short_of_quota(&self) -> bool {
        self.connections.is_at_quota() && self.connections.room(self.config.max_pools_per_node()) > 0
    }

    /// Dials that are wanted whether or not somebody is in the queue: the first contact of a node that is being added, and the
    /// probe of one that fails.
    pub(super) fn dials_without_waiters(&self) -> usize {
        let first_contact = !self.has_met_server && !self.queue.is_empty(WaitKind::Warm);
        usize::from(first_contact || self.dialer.is_failing())
    }

    /// Of the connections that idle, the one that has been unused for longest.
    fn idle_for_longest(&self) -> Option<ConnId> {
        let idle = self.connections.records().filter(|(_, record)| record.phase == Phase::Idle);
        // One whose time was not noted came back not long ago.
        idle.min_by_key(|(_, record)| (record.idle_since.is_none(), record.idle_since)).map(|(id, _)| id)
    }
}
