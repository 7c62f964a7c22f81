//! What the passing of time does: ends waits, probes, checks, retires, cleans up, and cuts off closes that hang.

use std::time::Duration;

use crate::close_reason::CloseReason;
use crate::state::deadlines::DeadlineKind;
use crate::state::node_state::{Lifecycle, NodeState};
use crate::state::phase::Phase;
use crate::state::status::Health;
use crate::state::token::{Action, Closing, ConnId, Loop, ReleaseKind, WaitResult};
use crate::state::wait_queue::WaitKind;
use crate::time::Instant;

/// A tick that comes later than this after its deadline means that the clock jumped, or that nobody ran for a while.
const JUMP: Duration = Duration::from_secs(1);

/// How long a close may hang before its connection is counted no more.
const CLOSE_CUTOFF: Duration = Duration::from_secs(1);

impl<C> NodeState<C> {
    pub(super) fn on_tick(&mut self, now: Instant) {
        self.end_waits(now);
        // A probe that is due needs no more than the settling after every input.
        self.deadlines.take_due(DeadlineKind::Probe, now);
        if self.deadlines.take_due(DeadlineKind::Stamp, now) {
            self.note_idle_times(now);
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
        mark!(self, JumpForgiven);
        self.connections.forgive(now, late);
    }

    /// Tells everybody whose deadline has come, wherever in the queue they are, and takes back what they did not collect.
    fn end_waits(&mut self, now: Instant) {
        while let Some((waiter, want)) = self.queue.due(now) {
            let since = self.queue.place(waiter).map_or(now, |place| place.since);
            let result = match want {
                WaitKind::Drained => WaitResult::Ready,
                WaitKind::Loan | WaitKind::Warm => {
                    let failure = Box::new(self.failure(now, since));
                    match self.evidence() {
                        Health::Down => {
                            mark!(self, DownAtDeadline);
                            WaitResult::Down(failure)
                        }
                        Health::Up | Health::Suspect => WaitResult::TimedOut(failure),
                    }
                }
            };
            let uncollected = self.queue.finish(waiter, result);
            self.wake(waiter);
            if let Some(id) = uncollected {
                mark!(self, GrantRevokedAtDeadline);
                self.revoke(now, id, ReleaseKind::Sound);
            }
        }
    }

    /// Connections that came back without a look at the clock get the time now: late by one period at most.
    fn note_idle_times(&mut self, now: Instant) {
        for record in self.connections.records_mut() {
            // One that is out for a check meanwhile must not be passed over: the next time may be far off.
            if matches!(record.phase, Phase::Idle | Phase::Checking) && record.idle_since.is_none() {
                record.idle_since = Some(now);
            }
        }
    }

    /// From now on connections may come back without a look at the clock, for a while.
    pub(super) fn arm_idle_times(&mut self, now: Instant) {
        if self.cleanup == Loop::Running && !self.deadlines.is_armed(DeadlineKind::Stamp) {
            let period = (self.config.max_idle_time() / 16).clamp(Duration::from_millis(1), Duration::from_secs(1));
            self.deadlines.arm(DeadlineKind::Stamp, now + period);
        }
    }

    fn retire(&mut self, now: Instant) {
        // One at a time: connections that were born together must not go together.
        if let Some((_, id)) = self.connections.next_end().filter(|(end, _)| *end <= now) {
            match self.connections.get(id).map(|record| record.phase) {
                Some(Phase::Idle) => {
                    mark!(self, ExpiredOnShelf);
                    self.close_idle(now, id, CloseReason::Expired);
                }
                Some(Phase::Granted | Phase::Leased | Phase::Checking | Phase::Cleaning) => {
                    self.connections.retire(id, CloseReason::Expired);
                    mark!(self, ExpiredWhileOut);
                }
                Some(Phase::Connecting | Phase::Overdue | Phase::Lost | Phase::Closing) | None => {}
            }
        }
        if let Some((next, _)) = self.connections.next_end() {
            self.deadlines.arm(DeadlineKind::Lifetime, next.max(now + self.pause_between_expiries()));
        }
    }

    /// Three in a second at most, unless there are so many connections that their lifetimes would not be kept.
    fn pause_between_expiries(&self) -> Duration {
        let spread = self.config.max_lifetime() / 4;
        let connections = u32::try_from(self.connections.counts().total().max(1)).unwrap_or(u32::MAX);
        (spread / connections).min(Duration::from_millis(334)).max(Duration::from_micros(1))
    }

    fn check(&mut self, now: Instant) {
        if self.checks == Loop::Stopped {
            return;
        }
        let soon = now + self.config.health_check_interval() / 16;
        for id in self.connections.due_for_check(now) {
            match self.connections.get(id).map(|record| record.phase) {
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
        let longest = self.config.max_idle_time();
        let mut old: Vec<(Instant, ConnId)> = self
            .connections
            .records()
            .filter(|(_, record)| record.phase == Phase::Idle)
            .filter_map(|(id, record)| Some((record.idle_since?, id)))
            .filter(|(since, _)| now.saturating_duration_since(*since) >= longest)
            .collect();
        old.sort_unstable();
        for (_, id) in old {
            let pool = self.connections.get(id).expect("it was there a moment ago").pool;
            let minimum = if pool < at_start { self.config.min_idle() } else { 0 };
            let open = self.connections.pools().find(|(index, _)| *index == pool).map_or(0, |(_, pool)| pool.counts.open());
            if open > minimum {
                mark!(self, IdleClosed);
                self.close_idle(now, id, CloseReason::IdleTooLong);
            } else {
                mark!(self, KeptForMinimum);
            }
        }
        self.connections.remove_empty_surplus(at_start);
        self.deadlines.arm(DeadlineKind::Cleanup, now + self.config.cleanup_interval());
    }

    pub(super) fn on_set_checks(&mut self, now: Instant, state: Loop) {
        if self.checks != state && self.life == Lifecycle::Open {
            self.checks = state;
            self.check(now);
        }
    }

    pub(super) fn on_set_cleanup(&mut self, now: Instant, state: Loop) {
        if self.cleanup == state || self.life != Lifecycle::Open {
            return;
        }
        self.cleanup = state;
        match state {
            Loop::Running => {
                self.note_idle_times(now);
                self.deadlines.arm(DeadlineKind::Cleanup, now + self.config.cleanup_interval());
            }
            Loop::Stopped => {
                self.deadlines.disarm(DeadlineKind::Cleanup);
                self.deadlines.disarm(DeadlineKind::Stamp);
            }
        }
    }

    /// Notes when the close of a connection began, so that it can be cut off.
    pub(super) fn note_closing(&mut self, now: Instant, id: ConnId) {
        if let Some(record) = self.connections.get_mut(id) {
            record.entered_at = now;
            self.closes.push_back((now, id));
        }
        self.deadlines.arm(DeadlineKind::CloseCutoff, now + CLOSE_CUTOFF);
    }

    fn cut_off_closes(&mut self, now: Instant) {
        while let Some((began_at, id)) = self.oldest_close().filter(|(began_at, _)| *began_at + CLOSE_CUTOFF <= now) {
            self.closes.pop_front();
            if began_at + CLOSE_CUTOFF + JUMP < now {
                // Nobody ran for a while, or the clock jumped: the close has not had its time.
                self.note_closing(now, id);
            } else {
                mark!(self, CloseCutOff);
                self.on_closed(now, Closing { id: Some(id) });
            }
        }
        if let Some((began_at, _)) = self.oldest_close() {
            self.deadlines.arm(DeadlineKind::CloseCutoff, began_at + CLOSE_CUTOFF);
        }
    }

    /// The close that has been under way for longest. One of a connection that was ended on loan begins anew on its return.
    fn oldest_close(&mut self) -> Option<(Instant, ConnId)> {
        while let Some((began_at, id)) = self.closes.front().copied() {
            let record = self.connections.get(id);
            if record.is_some_and(|record| record.phase == Phase::Closing && record.entered_at == began_at) {
                return Some((began_at, id));
            }
            self.closes.pop_front();
        }
        None
    }

    /// The deadline of a close has come: what is still out is ended from here.
    fn force(&mut self, now: Instant) {
        for id in self.connections.select(|record| matches!(record.phase, Phase::Leased | Phase::Lost)) {
            self.kill(now, id);
            mark!(self, Forced);
        }
        for id in self.connections.select(|record| record.phase.is_being_worked_on()) {
            // Whoever holds its token has been told to stop and did not; its connection will be closed uncounted.
            self.connections.free(id);
        }
    }

    /// A pool that closes does not wait for what has died on loan: nothing is left of it but its place.
    pub(super) fn let_the_dead_go(&mut self, now: Instant) {
        if self.connections.counts().of(Phase::Lost) == 0 {
            return;
        }
        for id in self.connections.select(|record| record.phase == Phase::Lost) {
            self.kill(now, id);
            mark!(self, DeadLetGo);
        }
    }

    /// A connection on loan is ended from here, and counts no more when that is done.
    fn kill(&mut self, now: Instant, id: ConnId) {
        self.connections.shift(id, Phase::Closing);
        self.note_closing(now, id);
        self.order(Action::Kill(Closing { id: Some(id) }));
    }

    /// How long a connection born now will live.
    pub(super) fn lifetime(&mut self) -> Duration {
        let most = self.config.max_lifetime();
        most - self.rng.up_to(most / 4)
    }

    /// When a connection that has just answered is asked again.
    pub(super) fn next_check(&mut self, now: Instant) -> Instant {
        let interval = self.config.health_check_interval();
        now + interval + self.rng.up_to(interval / 4)
    }
}
