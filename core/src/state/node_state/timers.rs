//! What the passing of time does: ends waits, probes, checks, retires, cleans up, and cuts off closes that hang.

use std::time::Duration;

use super::NodeState;
use crate::close_reason::CloseReason;
use crate::state::action::Action;
use crate::state::connections::Phase;
use crate::state::deadlines::DeadlineKind;
use crate::state::event::{Event, GrantRevoked};
use crate::state::ids::ConnId;
use crate::state::input::ReleaseKind;
use crate::state::outcome::{WaitError, WaitResult};
use crate::state::status::Health;
use crate::state::token::Closing;
use crate::state::wait_queue::WaitKind;
use crate::time::Instant;

/// A tick that comes later than this after its deadline means that the clock jumped, or that nobody ran for a while.
const JUMP: Duration = Duration::from_secs(1);

impl<C> NodeState<C> {
    pub(super) fn on_tick(&mut self, now: Instant) {
        self.end_waits(now);
        // A probe that is due needs no more than the settling after every input.
        self.deadlines.take_due(DeadlineKind::Probe, now);
        if self.deadlines.take_due(DeadlineKind::IdleTimes, now) {
            self.connections.note_idle_times(now);
        }
        if self.deadlines.take_due(DeadlineKind::Lifetime, now) {
            self.retire(now);
        }
        // Before the checks: what is out for one cannot be closed, and what has been idle for too long needs none.
        if self.deadlines.take_due(DeadlineKind::Cleanup, now) {
            self.clean_up(now);
        }
        if self.deadlines.take_due(DeadlineKind::Check, now) {
            self.check(now);
        }
        if self.deadlines.take_due(DeadlineKind::CloseCutoff, now) {
            self.cut_off_closes(now);
        }
        if self.deadlines.take_due(DeadlineKind::Force, now) {
            self.force(now);
        }
    }

    /// Time that nobody saw pass wears out nothing: otherwise a clock that jumps ahead would expire all at once.
    pub(super) fn forgive_jump(&mut self, now: Instant) {
        let Some(due) = self.deadlines.first_of_wear() else { return };
        let late = now.saturating_duration_since(due);
        if late <= JUMP {
            return;
        }
        self.deadlines.forgive(late);
        self.outbox.emit(Event::ClockJumped { by: late });
        self.connections.forgive(now, late);
    }

    /// Tells everybody whose deadline has come, wherever in the queue they are, and takes back what they did not collect.
    fn end_waits(&mut self, now: Instant) {
        while let Some((waiter, kind)) = self.queue.due(now) {
            let since = self.queue.position(waiter).map_or(now, |position| position.since());
            let result = match kind {
                WaitKind::Drained => WaitResult::Ready,
                WaitKind::Loan | WaitKind::Warm => {
                    let failure = Box::new(self.failure(now, since));
                    let is_down = self.evidence() == Health::Down;
                    self.emit_failure(kind, is_down, &failure);
                    if is_down {
                        WaitResult::Failed(WaitError::Down(failure))
                    } else {
                        WaitResult::Failed(WaitError::TimedOut(failure))
                    }
                }
            };
            let uncollected = self.queue.finish(waiter, result);
            self.outbox.wake(waiter);
            if let Some(id) = uncollected {
                self.outbox.emit(Event::GrantRevoked { why: GrantRevoked::Deadline });
                self.revoke(now, id, ReleaseKind::Sound);
            }
        }
    }

    /// From now on connections may come back without a look at the clock, for a while.
    pub(super) fn arm_idle_times(&mut self, now: Instant) {
        if self.upkeep.cleanup() && !self.deadlines.is_armed(DeadlineKind::IdleTimes) {
            self.deadlines.arm(DeadlineKind::IdleTimes, self.upkeep.next_idle_times(now));
        }
    }

    fn retire(&mut self, now: Instant) {
        // One at a time: connections that were born together must not go together.
        if let Some((_, id)) = self.connections.next_end().filter(|(end, _)| *end <= now) {
            match self.connections.get(id).map(|meta| meta.phase()) {
                Some(Phase::Idle) => {
                    self.close_idle(now, id, CloseReason::Expired);
                }
                Some(Phase::Granted | Phase::Leased | Phase::Checking | Phase::Cleaning) => {
                    self.connections.retire(id, CloseReason::Expired);
                    self.outbox.emit(Event::ExpiredOnLoan);
                }
                Some(Phase::Connecting | Phase::Overdue | Phase::Lost | Phase::Closing) | None => {}
            }
        }
        if let Some((next, _)) = self.connections.next_end() {
            let pause = self.upkeep.pause_between_expiries(self.connections.counts().total());
            self.deadlines.arm(DeadlineKind::Lifetime, next.max(now + pause));
        }
    }

    fn check(&mut self, now: Instant) {
        if !self.upkeep.checks() {
            return;
        }
        let soon = self.upkeep.put_off_check(now);
        for id in self.connections.due_for_check(now) {
            match self.connections.get(id).map(|meta| meta.phase()) {
                Some(Phase::Idle) => self.check_idle(now, id),
                // While it is on loan it cannot be checked: it is looked at again after a while.
                Some(Phase::Granted | Phase::Leased | Phase::Cleaning) => self.connections.set_check(id, soon),
                Some(Phase::Connecting | Phase::Overdue | Phase::Lost | Phase::Checking | Phase::Closing) | None => {}
            }
        }
        if let Some(next) = self.connections.next_check() {
            self.deadlines.arm(DeadlineKind::Check, next);
        }
    }

    /// Has a connection checked at `at`.
    pub(super) fn check_at(&mut self, id: ConnId, at: Instant) {
        self.connections.set_check(id, at);
        self.deadlines.arm(DeadlineKind::Check, at);
    }

    /// Has a connection retired at `at`, or as soon after that as its turn comes.
    pub(super) fn end_at(&mut self, id: ConnId, at: Instant) {
        self.connections.set_end(id, at);
        self.deadlines.arm(DeadlineKind::Lifetime, at);
    }

    fn clean_up(&mut self, now: Instant) {
        let at_start = self.config.connection_pools_per_node_at_start();
        let mut old: Vec<(Instant, ConnId)> = self
            .connections
            .iter()
            .filter(|(_, meta)| meta.phase() == Phase::Idle)
            .filter_map(|(id, meta)| Some((meta.idle_since()?, id)))
            .filter(|(since, _)| self.upkeep.is_too_old(now, *since))
            .collect();
        old.sort_unstable();
        for (_, id) in old {
            let pool = self.connections.get(id).expect("it was there a moment ago").pool();
            let minimum = if pool < at_start { self.config.min_idle() } else { 0 };
            let spare = self.connections.pools().find(|(index, _)| *index == pool).map_or(0, |(_, counts)| counts.spare());
            if spare > minimum {
                self.close_idle(now, id, CloseReason::IdleTooLong);
            } else {
                self.outbox.emit(Event::KeptForMinimum);
            }
        }
        self.remove_empty_surplus();
        self.deadlines.arm(DeadlineKind::Cleanup, self.upkeep.next_cleanup(now));
    }

    pub(super) fn on_set_checks(&mut self, now: Instant, run: bool) {
        if self.closes.is_open() && self.upkeep.set_checks(run) {
            self.check(now);
        }
    }

    pub(super) fn on_set_cleanup(&mut self, now: Instant, run: bool) {
        if !self.closes.is_open() || !self.upkeep.set_cleanup(run) {
            return;
        }
        if run {
            self.connections.note_idle_times(now);
            self.deadlines.arm(DeadlineKind::Cleanup, self.upkeep.next_cleanup(now));
        } else {
            self.deadlines.disarm(DeadlineKind::Cleanup);
            self.deadlines.disarm(DeadlineKind::IdleTimes);
        }
    }

    /// Removes empty pools beyond those at start.
    pub(super) fn remove_empty_surplus(&mut self) {
        let count = self.connections.remove_empty_surplus(self.config.connection_pools_per_node_at_start());
        if count > 0 {
            self.outbox.emit(Event::PoolsRemoved { count });
        }
    }

    /// Notes when the close of a connection began, so that it can be cut off.
    pub(super) fn note_closing(&mut self, now: Instant, id: ConnId) {
        if let Some(meta) = self.connections.get_mut(id) {
            meta.set_entered_at(now);
            let cut_off_at = self.closes.begin(now, id);
            self.deadlines.arm(DeadlineKind::CloseCutoff, cut_off_at);
        }
    }

    fn cut_off_closes(&mut self, now: Instant) {
        while let Some((cut_off_at, id)) = self.oldest_close().filter(|(at, _)| *at <= now) {
            self.closes.take_oldest();
            if cut_off_at + JUMP < now {
                // Nothing ran for a while, or the clock jumped: the close has not had its time.
                self.note_closing(now, id);
            } else {
                self.outbox.emit(Event::CloseCutOff);
                self.on_closed(now, Closing { id: Some(id) });
            }
        }
        if let Some((cut_off_at, _)) = self.oldest_close() {
            self.deadlines.arm(DeadlineKind::CloseCutoff, cut_off_at);
        }
    }

    /// The close that has been under way for longest, and when it is cut off.
    fn oldest_close(&mut self) -> Option<(Instant, ConnId)> {
        let connections = &self.connections;
        self.closes.oldest(|id, began_at| {
            connections.get(id).is_some_and(|meta| meta.phase() == Phase::Closing && meta.entered_at() == began_at)
        })
    }

    /// The deadline of a close has come: what is still out is ended from here.
    fn force(&mut self, now: Instant) {
        for id in self.connections.select(|meta| matches!(meta.phase(), Phase::Leased | Phase::Lost)) {
            self.outbox.emit(Event::Aborted);
            self.kill(now, id, CloseReason::PoolClosed);
        }
        for id in self.connections.select(|meta| meta.phase().is_being_worked_on()) {
            // The task that holds its token was to stop and did not; its connection will be closed uncounted.
            match self.connections.get(id).map(|meta| meta.phase()) {
                Some(Phase::Connecting | Phase::Overdue) => self.outbox.emit(Event::DialOutlivedPool),
                Some(Phase::Checking | Phase::Cleaning) => self.note_closed(now, id, CloseReason::PoolClosed, false),
                Some(Phase::Idle | Phase::Granted | Phase::Leased | Phase::Lost | Phase::Closing) | None => {}
            }
            self.connections.free(id);
        }
    }

    /// A pool that closes does not wait for what has died on loan: nothing is left of it but its place.
    pub(super) fn let_the_dead_go(&mut self, now: Instant) {
        if self.connections.counts().of(Phase::Lost) == 0 {
            return;
        }
        for id in self.connections.select(|meta| meta.phase() == Phase::Lost) {
            self.outbox.emit(Event::DeadLoanAbandoned);
            self.kill(now, id, CloseReason::Broken);
        }
    }

    /// A connection on loan is ended from here, and counts no more when that is done.
    fn kill(&mut self, now: Instant, id: ConnId, reason: CloseReason) {
        self.end_use(now, id);
        self.note_closed(now, id, reason, false);
        self.connections.shift(id, Phase::Closing);
        self.note_closing(now, id);
        self.outbox.order(Action::Kill(Closing { id: Some(id) }));
    }
}
