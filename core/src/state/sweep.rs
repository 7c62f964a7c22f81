//! What the passing of time does: ends waits, probes, checks, retires, cleans up, and cuts off closes that hang.

use std::time::Duration;

use crate::connector::CloseReason;
use crate::state::deadlines::Kind;
use crate::state::line::Want;
use crate::state::node::{Ledger, Life};
use crate::state::phase::Phase;
use crate::state::status::Health;
use crate::state::token::{Action, Closing, ConnId, Loop, News, Verdict};
use crate::time::Instant;

/// A tick that comes later than this after its deadline means that the clock jumped, or that nobody ran for a while.
const JUMP: Duration = Duration::from_secs(1);

/// How long a close may hang before its connection is counted no more.
const CLOSE_CUTOFF: Duration = Duration::from_secs(1);

impl<C> Ledger<C> {
    pub(super) fn on_tick(&mut self, now: Instant) {
        self.end_waits(now);
        // A probe that is due needs no more than the settling after every input.
        self.deadlines.take_due(Kind::Probe, now);
        if self.deadlines.take_due(Kind::Stamp, now) {
            self.stamp(now);
        }
        if self.deadlines.take_due(Kind::Lifetime, now) {
            self.retire(now);
        }
        // Before the checks: what is out for one cannot be closed, and what has been idle for too long needs none.
        if self.deadlines.take_due(Kind::Cleanup, now) {
            self.clean_up(now);
        }
        if self.deadlines.take_due(Kind::Check, now) {
            self.check(now);
        }
        if self.deadlines.take_due(Kind::CloseCutoff, now) {
            self.cut_off_closes(now);
        }
        if self.deadlines.take_due(Kind::Force, now) {
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
        self.roster.forgive(now, late);
    }

    /// Tells everybody whose deadline has come, wherever in line they are, and takes back what they did not collect.
    fn end_waits(&mut self, now: Instant) {
        while let Some((waiter, want)) = self.line.due(now) {
            let since = self.line.place(waiter).map_or(now, |place| place.since);
            let news = match want {
                Want::Drained => News::Ready,
                Want::Loan | Want::Warm => {
                    let refusal = Box::new(self.refusal(now, since));
                    match self.evidence() {
                        Health::Down => {
                            mark!(self, DownAtDeadline);
                            News::Down(refusal)
                        }
                        Health::Up | Health::Suspect => News::TimedOut(refusal),
                    }
                }
            };
            let uncollected = self.line.tell(waiter, news);
            self.wake(waiter);
            if let Some(id) = uncollected {
                mark!(self, GrantRevokedAtDeadline);
                self.revoke(now, id, Verdict::Sound);
            }
        }
    }

    /// Connections that came back without a look at the clock get the time now: late by one period at most.
    fn stamp(&mut self, now: Instant) {
        for record in self.roster.records_mut() {
            // One that is out for a check meanwhile must not be passed over: the next time may be far off.
            if matches!(record.phase, Phase::Idle | Phase::Checking) && record.idle_since.is_none() {
                record.idle_since = Some(now);
            }
        }
    }

    /// From now on connections may come back without a look at the clock, for a while.
    pub(super) fn arm_stamp(&mut self, now: Instant) {
        if self.cleanup == Loop::Running && !self.deadlines.is_armed(Kind::Stamp) {
            let period = (self.config.max_idle_time() / 16).clamp(Duration::from_millis(1), Duration::from_secs(1));
            self.deadlines.arm(Kind::Stamp, now + period);
        }
    }

    fn retire(&mut self, now: Instant) {
        // One at a time: connections that were born together must not go together.
        if let Some((_, id)) = self.roster.next_end().filter(|(end, _)| *end <= now) {
            match self.roster.get(id).map(|record| record.phase) {
                Some(Phase::Idle) => {
                    mark!(self, ExpiredOnShelf);
                    self.close_idle(now, id, CloseReason::Expired);
                }
                Some(Phase::Granted | Phase::Leased | Phase::Checking | Phase::Cleaning) => {
                    self.roster.retire(id, CloseReason::Expired);
                    mark!(self, ExpiredWhileOut);
                }
                Some(Phase::Connecting | Phase::Overdue | Phase::Lost | Phase::Closing) | None => {}
            }
        }
        if let Some((next, _)) = self.roster.next_end() {
            self.deadlines.arm(Kind::Lifetime, next.max(now + self.pause_between_expiries()));
        }
    }

    /// Three in a second at most, unless there are so many connections that their lifetimes would not be kept.
    fn pause_between_expiries(&self) -> Duration {
        let spread = self.config.max_lifetime() / 4;
        let connections = u32::try_from(self.roster.tally().total().max(1)).unwrap_or(u32::MAX);
        (spread / connections).min(Duration::from_millis(334)).max(Duration::from_micros(1))
    }

    fn check(&mut self, now: Instant) {
        if self.checks == Loop::Stopped {
            return;
        }
        let soon = now + self.config.health_check_interval() / 16;
        for id in self.roster.due_for_check(now) {
            match self.roster.get(id).map(|record| record.phase) {
                Some(Phase::Idle) => self.check_idle(now, id),
                // While it is on loan it cannot be checked: it is looked at again after a while.
                Some(Phase::Granted | Phase::Leased | Phase::Cleaning) => self.roster.set_check(id, soon),
                Some(Phase::Connecting | Phase::Overdue | Phase::Lost | Phase::Checking | Phase::Closing) | None => {}
            }
        }
        if let Some(next) = self.roster.next_check() {
            self.deadlines.arm(Kind::Check, next);
        }
    }

    /// Has a connection checked at `at`.
    pub(super) fn check_at(&mut self, id: ConnId, at: Instant) {
        self.roster.set_check(id, at);
        self.deadlines.arm(Kind::Check, at);
    }

    /// Has a connection retired at `at`, or as soon after that as its turn comes.
    pub(super) fn end_at(&mut self, id: ConnId, at: Instant) {
        self.roster.set_end(id, at);
        self.deadlines.arm(Kind::Lifetime, at);
    }

    fn clean_up(&mut self, now: Instant) {
        let at_start = self.config.connection_pools_per_node_at_start();
        let longest = self.config.max_idle_time();
        let mut old: Vec<(Instant, ConnId)> = self
            .roster
            .records()
            .filter(|(_, record)| record.phase == Phase::Idle)
            .filter_map(|(id, record)| Some((record.idle_since?, id)))
            .filter(|(since, _)| now.saturating_duration_since(*since) >= longest)
            .collect();
        old.sort_unstable();
        for (_, id) in old {
            let pool = self.roster.get(id).expect("it was there a moment ago").pool;
            let minimum = if pool < at_start { self.config.min_idle() } else { 0 };
            let open = self.roster.pools().find(|(index, _)| *index == pool).map_or(0, |(_, pool)| pool.tally.open());
            if open > minimum {
                mark!(self, IdleClosed);
                self.close_idle(now, id, CloseReason::IdleTooLong);
            } else {
                mark!(self, KeptForMinimum);
            }
        }
        self.roster.remove_empty_surplus(at_start);
        self.deadlines.arm(Kind::Cleanup, now + self.config.cleanup_interval());
    }

    pub(super) fn on_set_checks(&mut self, now: Instant, state: Loop) {
        if self.checks != state && self.life == Life::Open {
            self.checks = state;
            self.check(now);
        }
    }

    pub(super) fn on_set_cleanup(&mut self, now: Instant, state: Loop) {
        if self.cleanup == state || self.life != Life::Open {
            return;
        }
        self.cleanup = state;
        match state {
            Loop::Running => {
                self.stamp(now);
                self.deadlines.arm(Kind::Cleanup, now + self.config.cleanup_interval());
            }
            Loop::Stopped => {
                self.deadlines.disarm(Kind::Cleanup);
                self.deadlines.disarm(Kind::Stamp);
            }
        }
    }

    /// Notes when the close of a connection began, so that it can be cut off.
    pub(super) fn note_closing(&mut self, now: Instant, id: ConnId) {
        if let Some(record) = self.roster.get_mut(id) {
            record.entered_at = now;
            self.closes.push_back((now, id));
        }
        self.deadlines.arm(Kind::CloseCutoff, now + CLOSE_CUTOFF);
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
            self.deadlines.arm(Kind::CloseCutoff, began_at + CLOSE_CUTOFF);
        }
    }

    /// The close that has been under way for longest. One of a connection that was ended on loan begins anew on its return.
    fn oldest_close(&mut self) -> Option<(Instant, ConnId)> {
        while let Some((began_at, id)) = self.closes.front().copied() {
            let record = self.roster.get(id);
            if record.is_some_and(|record| record.phase == Phase::Closing && record.entered_at == began_at) {
                return Some((began_at, id));
            }
            self.closes.pop_front();
        }
        None
    }

    /// The deadline of a close has come: what is still out is ended from here.
    fn force(&mut self, now: Instant) {
        for id in self.roster.select(|record| matches!(record.phase, Phase::Leased | Phase::Lost)) {
            self.kill(now, id);
            mark!(self, Forced);
        }
        for id in self.roster.select(|record| record.phase.is_being_worked_on()) {
            // Whoever holds its token has been told to stop and did not; its connection will be closed uncounted.
            self.roster.free(id);
        }
    }

    /// A pool that closes does not wait for what has died on loan: nothing is left of it but its place.
    pub(super) fn let_the_dead_go(&mut self, now: Instant) {
        if self.roster.tally().of(Phase::Lost) == 0 {
            return;
        }
        for id in self.roster.select(|record| record.phase == Phase::Lost) {
            self.kill(now, id);
            mark!(self, DeadLetGo);
        }
    }

    /// A connection on loan is ended from here, and counts no more when that is done.
    fn kill(&mut self, now: Instant, id: ConnId) {
        self.roster.shift(id, Phase::Closing);
        self.note_closing(now, id);
        self.order(Action::Kill(Closing { id: Some(id) }));
    }

    /// How long a connection born now will live.
    pub(super) fn lifetime(&mut self) -> Duration {
        let most = self.config.max_lifetime();
        most - self.chance.up_to(most / 4)
    }

    /// When a connection that has just answered is asked again.
    pub(super) fn next_check(&mut self, now: Instant) -> Instant {
        let interval = self.config.health_check_interval();
        now + interval + self.chance.up_to(interval / 4)
    }
}
