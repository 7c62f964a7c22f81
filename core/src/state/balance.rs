//! After every input: give idle connections to those who wait, order dials for the rest, tell who can be told.

use crate::connector::CloseReason;
use crate::state::deadlines::{Deadlines, Kind};
use crate::state::facts::{CLOSED_BY_SERVER, record_idle};
use crate::state::line::Want;
use crate::state::node::{Ledger, Life};
use crate::state::phase::{Phase, Tally};
use crate::state::status::Health;
use crate::state::token::{Action, Checkup, Closing, ConnId, Failure, FailureKind, News, Refusal, Ticket};
use crate::time::Instant;

impl<C> Ledger<C> {
    /// Restores the invariants.
    pub(super) fn settle(&mut self, now: Instant) {
        match self.life {
            Life::Open => {
                self.grant();
                if !self.line.is_empty(Want::Warm) && self.is_warm() {
                    self.tell_ready(Want::Warm);
                }
                if !self.is_saturated() {
                    self.look_for_life(now);
                    self.dial(now);
                    if self.is_hopeless() {
                        self.tell_all(now, Want::Loan, News::Down);
                    }
                    self.note_health(now);
                }
            }
            Life::Closing => {
                self.let_the_dead_go(now);
                if self.roster.tally().total() == 0 {
                    self.life = Life::Closed;
                    self.deadlines = Deadlines::default();
                    self.tell_ready(Want::Drained);
                }
            }
            Life::Closed => self.tell_ready(Want::Drained),
        }
        #[cfg(any(test, debug_assertions, feature = "testing"))]
        self.assert_invariants();
    }

    /// A node that is well, with no dial under way and no room for one: the common state of a busy node, in which there is
    /// nothing to dial, to probe or to tell, whatever comes in.
    fn is_saturated(&self) -> bool {
        self.dialling.is_open()
            && self.dials.is_empty()
            && !self.deadlines.is_armed(Kind::Probe)
            && self.roster.tally().of(Phase::Lost) == 0
            && self.roster.is_full(self.config.max_pools_per_node())
    }

    /// With nothing but dead connections on loan, a dial is what shows whether the node lives.
    fn look_for_life(&mut self, now: Instant) {
        let tally = self.roster.tally();
        if tally.of(Phase::Lost) > 0 && tally.alive() == 0 && !self.dialling.is_failing() {
            self.dialling.suspect(now, CLOSED_BY_SERVER);
        }
    }

    /// A node that fails or comes back is never saturated, so every change passes here.
    fn note_health(&mut self, now: Instant) {
        self.down_since = match self.health() {
            Health::Up | Health::Suspect => None,
            Health::Down => self.down_since.or(Some(now)),
        };
    }

    /// Hands idle connections to the head of the line: the connection itself, so that nobody can overtake.
    fn grant(&mut self) {
        while let Some(waiter) = self.line.head(Want::Loan) {
            // Mostly nothing idles: somebody has just joined the line.
            if !self.roster.has_idle() || self.is_yielding() {
                return;
            }
            let Some((id, conn)) = self.roster.lend() else { return };
            self.roster.park(id, waiter, conn);
            self.line.grant(waiter, id);
            self.wake(waiter);
        }
    }

    /// Whether every pool at start has what it is to keep, and the server has answered at least once.
    pub(super) fn is_warm(&self) -> bool {
        let at_start = self.config.connection_pools_per_node_at_start();
        let filled = |tally: Tally| tally.open() - tally.dialled() >= self.config.min_idle();
        self.has_met_server && self.roster.pools().take_while(|(index, _)| *index < at_start).all(|(_, pool)| filled(pool.tally))
    }

    /// Whether anybody would be served by one more connection.
    pub(super) fn someone_waits(&self) -> bool {
        !self.line.is_empty(Want::Loan) || !self.line.is_empty(Want::Warm)
    }

    /// Orders as many dials as are wanted, allowed and have room.
    fn dial(&mut self, now: Instant) {
        self.note_overdue(now);
        if self.someone_waits() {
            self.dialling.hurry(now, &mut self.chance);
        }
        while let Some(pool) = self.pool_to_dial(now) {
            self.dial_in(now, pool);
        }
        self.arm_probe(now);
    }

    /// A dial that gets no answer for longer than is usual is a failure as far as the next one is concerned.
    fn note_overdue(&mut self, now: Instant) {
        let patience = self.dialling.patience();
        while let Some((started_at, id)) = self.oldest_dial().filter(|(started_at, _)| *started_at + patience <= now) {
            self.roster.shift(id, Phase::Overdue);
            mark!(self, DialOverdue);
            let message = format!("a connect has not been answered for {patience:?}");
            self.dial_failed(now, started_at, Failure { message, kind: FailureKind::TimedOut });
        }
    }

    /// The dial that has been under way for longest, those that are overdue left out.
    fn oldest_dial(&mut self) -> Option<(Instant, ConnId)> {
        while let Some((started_at, id)) = self.dials.front().copied() {
            if self.roster.get(id).is_some_and(|record| record.phase == Phase::Connecting) {
                return Some((started_at, id));
            }
            self.dials.pop_front();
        }
        None
    }

    /// Where the next dial is wanted and allowed: pools below their minimum first, then the line.
    fn pool_to_dial(&mut self, now: Instant) -> Option<usize> {
        let connecting = self.roster.tally().of(Phase::Connecting);
        if !self.dialling.may_dial(now, connecting) {
            return None;
        }
        let at_start = self.config.connection_pools_per_node_at_start();
        self.roster.below_minimum(at_start, self.config.min_idle()).or_else(|| {
            let wanted = self.line.len(Want::Loan).max(self.dials_without_line());
            (wanted > connecting).then(|| self.roster.with_room(self.config.max_pools_per_node())).flatten()
        })
    }

    fn dial_in(&mut self, now: Instant, pool: usize) {
        if pool >= self.config.connection_pools_per_node_at_start() {
            mark!(self, PoolAdded);
        }
        self.share.is_probe_put_off = false;
        let id = self.roster.open(pool, now);
        let deadline = now + self.dialling.cutoff();
        self.dials.push_back((now, id));
        self.order(Action::Connect(Ticket { id, deadline }));
    }

    /// Dials one connection more than anybody waits for, unless one is under way.
    pub(super) fn dial_spare(&mut self, now: Instant) {
        if self.roster.tally().of(Phase::Connecting) > 0 || !self.dialling.may_dial(now, 0) {
            return;
        }
        match self.roster.with_room(self.config.max_pools_per_node()) {
            Some(pool) => self.dial_in(now, pool),
            None => self.share.is_spare_put_off = self.is_short_of_allowance(),
        }
    }

    /// Whoever is down is probed: a dial is under way that will be looked at again, or the time of the next is armed.
    fn arm_probe(&mut self, now: Instant) {
        self.deadlines.disarm(Kind::Probe);
        if let Some((started_at, _)) = self.oldest_dial() {
            self.deadlines.arm(Kind::Probe, started_at + self.dialling.patience());
            return;
        }
        let Some(next_at) = self.dialling.next_probe_at() else {
            self.share.is_probe_put_off = false;
            return;
        };
        if next_at <= now {
            debug_assert!(!self.roster.has_room(self.config.max_pools_per_node()), "a probe that is due has no room");
            let someone_waits = self.someone_waits();
            mark!(self, ProbePostponed);
            self.share.is_probe_put_off = self.is_short_of_allowance();
            self.dialling.postpone(now, someone_waits, &mut self.chance);
        }
        if let Some(next_at) = self.dialling.next_probe_at() {
            self.deadlines.arm(Kind::Probe, next_at);
        }
    }

    /// Something that was trusted at `epoch` stayed silent: whatever has not answered since is checked before it is
    /// lent again, and a dial finds out at once how the node is.
    pub(super) fn distrust_since(&mut self, now: Instant, epoch: u64, what: &str) {
        if epoch != self.epoch || self.life != Life::Open {
            return;
        }
        self.epoch += 1;
        mark!(self, Distrusted);
        self.dialling.suspect(now, what);
        for id in self.roster.select(|record| record.phase == Phase::Idle) {
            self.check_idle(now, id);
        }
    }

    /// Takes an idle connection off its shelf for a check.
    pub(super) fn check_idle(&mut self, now: Instant, id: ConnId) {
        if let Some(conn) = self.roster.unshelve(id, Phase::Checking) {
            self.order_check(now, id, conn);
        }
    }

    /// Has a connection checked that came back from a borrower.
    pub(super) fn check_conn(&mut self, now: Instant, id: ConnId, conn: C) {
        self.roster.shift(id, Phase::Checking);
        // It was used just now; the check will not count as use.
        record_idle(&mut self.roster, id, now);
        self.order_check(now, id, conn);
    }

    /// Has a connection cleaned that came back from a borrower.
    pub(super) fn clean_conn(&mut self, now: Instant, id: ConnId, conn: C) {
        self.roster.shift(id, Phase::Cleaning);
        record_idle(&mut self.roster, id, now);
        let deadline = now + self.config.health_check_timeout();
        self.order(Action::Clean(Checkup { id, deadline, conn }));
    }

    fn order_check(&mut self, now: Instant, id: ConnId, conn: C) {
        let deadline = now + self.config.health_check_timeout();
        self.order(Action::Check(Checkup { id, deadline, conn }));
    }

    /// Closes an idle connection.
    pub(super) fn close_idle(&mut self, now: Instant, id: ConnId, reason: CloseReason) {
        if let Some(conn) = self.roster.unshelve(id, Phase::Closing) {
            self.note_closing(now, id);
            self.order(Action::Close(Closing { id: Some(id) }, conn, reason));
        }
    }

    pub(super) fn tell_ready(&mut self, want: Want) {
        while let Some(waiter) = self.line.head(want) {
            self.line.tell(waiter, News::Ready);
            self.wake(waiter);
        }
    }

    /// Ends every wait of a kind with the same bad news.
    pub(super) fn tell_all(&mut self, now: Instant, want: Want, news: fn(Box<Refusal>) -> News) {
        while let Some(waiter) = self.line.head(want) {
            let since = self.line.place(waiter).map_or(now, |place| place.since);
            let refusal = Box::new(self.refusal(now, since));
            self.line.tell(waiter, news(refusal));
            self.wake(waiter);
        }
    }
}
