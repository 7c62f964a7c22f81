//! How a node shares what all nodes may have together: the demand it states, and what it does with its quota.

use super::NodeState;
use crate::close_reason::CloseReason;
use crate::state::connections::Phase;
use crate::state::event::Event;
use crate::state::ids::ConnId;
use crate::state::quota::{Demand, Quota, REPORTED_WAITS, SharingMode};
use crate::state::wait_queue::WaitKind;
use crate::time::Instant;

impl<C> NodeState<C> {
    /// What the node has and would have.
    #[must_use]
    pub fn demand(&self) -> Demand {
        let counts = self.connections.counts();
        let (total, closing) = (counts.total(), counts.of(Phase::Closing));
        if !self.closes.is_open() {
            return Demand { is_open: false, total, closing, ..Demand::UNKNOWN };
        }
        let connecting = counts.of(Phase::Connecting);
        let gate = if self.quota.is_probe_put_off() { 1 } else { self.dialer.width_left(connecting) };
        let most = self.connections.room(self.config.max_pools_per_node()).min(gate);
        let waiting = self.queue.len(WaitKind::Loan);
        let callers = waiting.saturating_sub(connecting).min(most);
        let minimum = self.connections.shortfall(self.config.connection_pools_per_node_at_start(), self.config.min_idle());
        let spare = self.quota.is_spare_put_off() && counts.of(Phase::Idle) == 0;
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
        Quota { most: self.connections.quota(), ..self.quota.granted() }
    }

    /// Before the first input: the node may have nothing until it is given a quota.
    pub fn start_with_nothing(&mut self) {
        self.take_quota(Quota::NONE);
    }

    /// The other nodes have heard of this demand and leave no more: with its floor the node is as warm as it can be.
    pub fn note_agreement(&mut self, demand: &Demand) {
        let counts = self.connections.counts();
        let lacks_some = self.connections.is_at_quota() && demand.callers + demand.more > 0;
        self.quota.set_used_up(lacks_some);
        if self.closes.is_open() {
            self.note_idle_wanted();
        }
        let has_floor = counts.dialled() == 0 && counts.open() >= self.quota.granted().floor;
        if lacks_some && has_floor && self.dialer.has_met_server() && self.closes.is_open() {
            self.finish_ready(WaitKind::Warm);
        }
    }

    pub(super) fn on_quota(&mut self, now: Instant, quota: Quota) {
        let raised = quota.most > self.connections.quota();
        self.take_quota(quota);
        for _ in 0..quota.give {
            let Some(id) = self.idle_for_longest() else { break };
            self.close_idle(now, id, CloseReason::Yielded);
        }
        if raised && self.closes.is_open() {
            let was_due = self.quota.take_put_off_probe();
            if self.dialer.made_room(now, was_due) && was_due {
                self.outbox.emit(Event::ProbeAllowed);
            }
            if self.quota.take_put_off_spare() && self.connections.counts().of(Phase::Idle) == 0 {
                self.dial_spare(now);
            }
        }
    }

    fn take_quota(&mut self, quota: Quota) {
        self.connections.set_quota(quota.most, quota.floor);
        self.quota.grant(quota);
        self.update_return_path();
    }

    /// Whether what idles is held back from the queue, until others have said whether they need it for their floor.
    pub(super) fn is_yielding(&self) -> bool {
        let counts = self.connections.counts();
        self.quota.granted().mode == SharingMode::Yielding
            && counts.total() - counts.of(Phase::Closing) > self.quota.granted().floor
    }

    /// Whether there is room for a dial, and the quota is used up.
    pub(super) fn is_short_of_quota(&self) -> bool {
        self.connections.is_at_quota() && self.connections.room(self.config.max_pools_per_node()) > 0
    }

    /// Dials that are wanted whether or not somebody is in the queue: the first contact of a node that is being added, and the
    /// probe of one that fails.
    pub(super) fn dials_without_waiters(&self) -> usize {
        let first_contact = !self.dialer.has_met_server() && !self.queue.is_empty(WaitKind::Warm);
        usize::from(first_contact || self.dialer.is_failing())
    }

    /// Of the connections that idle, the one that has been unused for longest.
    fn idle_for_longest(&self) -> Option<ConnId> {
        let idle = self.connections.iter().filter(|(_, meta)| meta.phase() == Phase::Idle);
        // One whose time was not noted came back not long ago.
        idle.min_by_key(|(_, meta)| (meta.idle_since().is_none(), meta.idle_since())).map(|(id, _)| id)
    }
}
