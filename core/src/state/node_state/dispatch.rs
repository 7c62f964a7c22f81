//! After every input: give idle connections to waiting callers, order dials for the rest, end the waits that can be ended.

use std::sync::Arc;

use super::inputs::{CLOSED_BY_SERVER, note_idle_since};
use super::{NodeState, SeenHealth};
use crate::close_reason::CloseReason;
use crate::state::action::Action;
use crate::state::closing::Lifecycle;
use crate::state::connections::{Phase, PhaseCounts};
use crate::state::deadlines::{DeadlineKind, Deadlines};
use crate::state::event::Event;
use crate::state::ids::ConnId;
use crate::state::input::{DialFailure, DialFailureKind};
use crate::state::outcome::{WaitError, WaitFailure, WaitResult};
use crate::state::token::{Checkup, Closing, Ticket};
use crate::state::wait_queue::WaitKind;
use crate::time::Instant;

impl<C> NodeState<C> {
    /// Restores the invariants.
    pub(super) fn dispatch(&mut self, now: Instant) {
        match self.closes.lifecycle() {
            Lifecycle::Open => {
                self.grant(now);
                if !self.queue.is_empty(WaitKind::Warm) && self.is_warm() {
                    self.finish_ready(WaitKind::Warm);
                }
                self.idle_wanted = 0;
                if !self.is_saturated() {
                    self.look_for_life(now);
                    self.dial(now);
                    self.note_idle_wanted();
                    if self.is_hopeless() {
                        self.finish_all_down(now, WaitKind::Loan);
                    }
                    self.note_health(now);
                }
            }
            Lifecycle::Closing => {
                self.idle_wanted = 0;
                self.let_the_dead_go(now);
                if self.connections.counts().total() == 0 {
                    self.closes.enter(Lifecycle::Closed);
                    self.deadlines = Deadlines::default();
                    self.finish_ready(WaitKind::Drained);
                }
            }
            Lifecycle::Closed => self.finish_ready(WaitKind::Drained),
        }
        #[cfg(any(test, debug_assertions, feature = "testing"))]
        self.assert_invariants();
    }

    /// A node that is well, with no dial under way and no room for one: the common state of a busy node, in which there is
    /// nothing to dial, to probe or to tell, whatever comes in.
    fn is_saturated(&self) -> bool {
        self.dialer.is_open()
            && self.dialer.is_at_rest()
            && !self.deadlines.is_armed(DeadlineKind::Probe)
            && self.connections.counts().of(Phase::Lost) == 0
            && self.connections.is_full(self.config.max_pools_per_node())
    }

    /// After a dispatch, and after other nodes have left no more.
    pub(super) fn note_idle_wanted(&mut self) {
        let at_start = self.config.connection_pools_per_node_at_start();
        let counts = self.connections.counts();
        let may_dial = self.dialer.width_left(counts.of(Phase::Connecting)) > 0;
        // At the quota more can be asked for, unless that was in vain.
        let may_have = !self.connections.is_at_quota() || !self.quota.is_used_up();
        self.idle_wanted = 0;
        if may_dial && may_have && self.connections.has_room_at_start(at_start) {
            // Of several pools it is not known here which one is short.
            let to_come = if at_start == 1 { counts.dialled() + counts.examined() } else { 0 };
            self.idle_wanted = self.upkeep.idle_at_start().saturating_sub(to_come);
        }
    }

    /// With nothing but dead connections on loan, a dial is what shows whether the node lives.
    fn look_for_life(&mut self, now: Instant) {
        let counts = self.connections.counts();
        if counts.of(Phase::Lost) > 0 && counts.alive() == 0 && !self.dialer.is_failing() {
            // What was noted just now is why the last one has died.
            let noted = self.dialer.last_error().filter(|error| error.at == now);
            self.dialer.suspect(now, noted.map_or_else(|| Arc::from(CLOSED_BY_SERVER), |error| error.text));
        }
    }

    /// A node that fails or comes back is never saturated, so every change passes here.
    fn note_health(&mut self, now: Instant) {
        let (from, to) = (self.seen_health.health, self.health());
        let since = *self.seen_health.since.get_or_insert(now);
        if from != to {
            self.seen_health = SeenHealth { health: to, since: Some(now) };
            let (lasted, last_error) = (now.saturating_duration_since(since), self.dialer.last_error());
            self.outbox.emit(Event::HealthChanged { from, to, lasted, why: last_error.map(|error| error.text) });
        }
    }

    /// Hands idle connections to the head of the queue: the connection itself, so that nobody can overtake.
    fn grant(&mut self, now: Instant) {
        while let Some(waiter) = self.queue.head(WaitKind::Loan) {
            // Mostly nothing idles: somebody has just joined the queue.
            if !self.connections.has_idle() || self.is_yielding() {
                return;
            }
            let Some((id, conn)) = self.connections.lend() else { return };
            let since = self.queue.position(waiter).map_or(now, |position| position.since());
            self.outbox.emit(Event::Granted { waited: now.saturating_duration_since(since) });
            self.connections.hold_for(id, waiter, conn);
            self.queue.grant(waiter, id);
            self.outbox.wake(waiter);
        }
    }

    /// Whether every pool at start has what it is to keep, and the server has answered at least once.
    pub(super) fn is_warm(&self) -> bool {
        let at_start = self.config.connection_pools_per_node_at_start();
        let filled = |counts: PhaseCounts| counts.open() - counts.dialled() >= self.config.min_idle();
        self.dialer.has_met_server()
            && self.connections.pools().take_while(|(index, _)| *index < at_start).all(|(_, counts)| filled(counts))
    }

    /// Whether anybody would be served by one more connection.
    pub(super) fn someone_waits(&self) -> bool {
        !self.queue.is_empty(WaitKind::Loan) || !self.queue.is_empty(WaitKind::Warm)
    }

    /// Orders as many dials as are wanted, allowed and have room.
    fn dial(&mut self, now: Instant) {
        self.note_overdue(now);
        if self.someone_waits() {
            self.dialer.hurry(now, &mut self.rng);
        }
        while let Some(pool) = self.pool_to_dial(now) {
            self.dial_in(now, pool);
        }
        self.arm_probe(now);
    }

    /// A dial that gets no answer for longer than is usual is a failure as far as the next one is concerned.
    fn note_overdue(&mut self, now: Instant) {
        let patience = self.dialer.patience();
        while let Some((started_at, id)) = self.oldest_dial().filter(|(started_at, _)| *started_at + patience <= now) {
            self.connections.shift(id, Phase::Overdue);
            self.outbox.emit(Event::DialOverdue { after: now.saturating_duration_since(started_at) });
            let message = format!("a connect has not been answered for {patience:?}");
            self.dial_failed(now, started_at, DialFailure::new(message, DialFailureKind::TimedOut));
        }
    }

    /// The dial that has been under way for longest, those that are overdue left out.
    fn oldest_dial(&mut self) -> Option<(Instant, ConnId)> {
        let connections = &self.connections;
        self.dialer.oldest(|id| connections.get(id).is_some_and(|meta| meta.phase() == Phase::Connecting))
    }

    /// Where the next dial is wanted and allowed: pools below their minimum first, then the queue.
    fn pool_to_dial(&mut self, now: Instant) -> Option<usize> {
        let connecting = self.connections.counts().of(Phase::Connecting);
        if !self.dialer.may_dial(now, connecting) {
            return None;
        }
        let at_start = self.config.connection_pools_per_node_at_start();
        self.connections.below_minimum(at_start, self.config.min_idle()).or_else(|| {
            let wanted = self.queue.len(WaitKind::Loan).max(self.dials_without_waiters());
            (wanted > connecting).then(|| self.pool_with_room()).flatten()
        })
    }

    /// A pool that has room, which may be a new one.
    fn pool_with_room(&mut self) -> Option<usize> {
        let before = self.connections.pool_count();
        let pool = self.connections.with_room(self.config.max_pools_per_node())?;
        if self.connections.pool_count() > before {
            self.outbox.emit(Event::PoolAdded { pool });
        }
        Some(pool)
    }

    fn dial_in(&mut self, now: Instant, pool: usize) {
        self.quota.put_off_probe(false);
        let id = self.connections.open(pool, now, self.trust.epoch(), self.trust.server_generation());
        let probe = self.dialer.is_failing();
        self.outbox.emit(Event::DialStarted { pool, probe });
        let deadline = self.dialer.begin(now, id);
        self.outbox.order(Action::Connect(Ticket { id, deadline }));
    }

    /// Dials one connection more than anybody waits for, unless one is under way.
    pub(super) fn dial_spare(&mut self, now: Instant) {
        if self.connections.counts().of(Phase::Connecting) > 0 || !self.dialer.may_dial(now, 0) {
            return;
        }
        match self.pool_with_room() {
            Some(pool) => self.dial_in(now, pool),
            None => self.quota.put_off_spare(self.is_short_of_quota()),
        }
    }

    /// Whoever is down is probed: a dial is under way that will be looked at again, or the time of the next is armed.
    fn arm_probe(&mut self, now: Instant) {
        self.deadlines.disarm(DeadlineKind::Probe);
        if let Some((started_at, _)) = self.oldest_dial() {
            self.deadlines.arm(DeadlineKind::Probe, started_at + self.dialer.patience());
            return;
        }
        let Some(next_at) = self.dialer.next_probe_at() else {
            self.quota.put_off_probe(false);
            return;
        };
        if next_at <= now {
            debug_assert!(!self.connections.has_room(self.config.max_pools_per_node()), "a probe that is due has no room");
            let someone_waits = self.someone_waits();
            self.outbox.emit(Event::ProbePostponed);
            self.quota.put_off_probe(self.is_short_of_quota());
            self.dialer.postpone(now, someone_waits, &mut self.rng);
        }
        if let Some(next_at) = self.dialer.next_probe_at() {
            self.deadlines.arm(DeadlineKind::Probe, next_at);
        }
    }

    /// Something that was trusted at `epoch` stayed silent: whatever has not answered since is checked before it is
    /// lent again, and a dial finds out at once how the node is.
    pub(super) fn distrust_since(&mut self, now: Instant, trust_epoch: u64, what: &str) {
        if !self.closes.is_open() || !self.trust.withdraw(trust_epoch) {
            return;
        }
        let why: Arc<str> = Arc::from(what);
        self.dialer.suspect(now, Arc::clone(&why));
        self.outbox.emit(Event::Suspected { why });
        for id in self.connections.select(|meta| meta.phase() == Phase::Idle) {
            self.check_idle(now, id);
        }
    }

    /// Takes an idle connection off its idle stack for a check.
    pub(super) fn check_idle(&mut self, now: Instant, id: ConnId) {
        if let Some(conn) = self.connections.remove_idle(id, Phase::Checking) {
            self.order_check(now, id, conn);
        }
    }

    /// Has a connection checked that came back from a borrower.
    pub(super) fn check_conn(&mut self, now: Instant, id: ConnId, conn: C) {
        self.connections.shift(id, Phase::Checking);
        // It was used just now; the check will not count as use.
        note_idle_since(&mut self.connections, id, now);
        self.order_check(now, id, conn);
    }

    /// Has a connection cleaned that came back from a borrower.
    pub(super) fn clean_conn(&mut self, now: Instant, id: ConnId, conn: C) {
        self.connections.shift(id, Phase::Cleaning);
        note_idle_since(&mut self.connections, id, now);
        let deadline = now + self.config.health_check_timeout();
        self.outbox.order(Action::Clean(Checkup { id, deadline, conn }));
    }

    fn order_check(&mut self, now: Instant, id: ConnId, conn: C) {
        let deadline = now + self.config.health_check_timeout();
        self.outbox.order(Action::Check(Checkup { id, deadline, conn }));
    }

    /// Closes an idle connection.
    pub(super) fn close_idle(&mut self, now: Instant, id: ConnId, reason: CloseReason) {
        if let Some(conn) = self.connections.remove_idle(id, Phase::Closing) {
            self.note_closed(now, id, reason, true);
            self.order_close(now, id, conn, reason);
        }
    }

    /// Orders a connection out of the pool that is with nobody; it counts until it is closed.
    pub(super) fn close_conn(&mut self, now: Instant, id: ConnId, conn: C, reason: CloseReason) {
        // One that comes back after it was ended on loan is open no more since then.
        if self.connections.get(id).is_some_and(|meta| meta.phase() != Phase::Closing) {
            self.note_closed(now, id, reason, false);
        }
        self.connections.shift(id, Phase::Closing);
        self.order_close(now, id, conn, reason);
    }

    fn order_close(&mut self, now: Instant, id: ConnId, conn: C, reason: CloseReason) {
        self.note_closing(now, id);
        self.outbox.order(Action::Close(Closing { id: Some(id) }, conn, reason));
    }

    pub(super) fn finish_ready(&mut self, kind: WaitKind) {
        while let Some(waiter) = self.queue.head(kind) {
            self.queue.finish(waiter, WaitResult::Ready);
            self.outbox.wake(waiter);
        }
    }

    /// Ends every wait of a kind: the node is down.
    pub(super) fn finish_all_down(&mut self, now: Instant, kind: WaitKind) {
        while let Some(waiter) = self.queue.head(kind) {
            let since = self.queue.position(waiter).map_or(now, |position| position.since());
            let failure = Box::new(self.failure(now, since));
            self.emit_failure(kind, true, &failure);
            self.queue.finish(waiter, WaitResult::Failed(WaitError::Down(failure)));
            self.outbox.wake(waiter);
        }
    }

    /// A wait has ended without a connection.
    pub(super) fn emit_failure(&mut self, kind: WaitKind, is_down: bool, failure: &WaitFailure) {
        let (phase, waited) = (failure.phase, failure.waited);
        match (kind, is_down) {
            (WaitKind::Loan, true) => self.outbox.emit(Event::Unavailable { waited }),
            (WaitKind::Loan, false) => self.outbox.emit(Event::TimedOut { phase, waited }),
            (WaitKind::Warm | WaitKind::Drained, _) => {}
        }
    }
}
