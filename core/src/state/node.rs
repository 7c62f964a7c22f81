//! The ledger of one node: owns its idle connections, counts all others, holds the line of waiting callers.

use std::collections::VecDeque;

use crate::config::{NodeConfig, OnNodeDown};
use crate::connector::CloseReason;
use crate::state::chance::Chance;
use crate::state::deadlines::{Deadlines, Kind};
use crate::state::health::Dialling;
use crate::state::line::{Line, Place, WaiterId, Want};
use crate::state::pool::{Phase, Roster};
use crate::state::status::{Health, NodeStatus, PoolStatus, Snapshot};
use crate::state::token::{
    Acquired, Action, Checkup, Closing, ConnId, Failure, FailureKind, Finding, Input, Loan, Loop, Outcome, Refusal, Ticket,
    Verdict, WaitPhase,
};
use crate::time::Instant;

/// Whether the pool lends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Open,
    /// Nothing is lent any more; what is out is closed as it comes back.
    Closing,
    /// No connection is left.
    Closed,
}

/// The plain value that is the truth about one node.
///
/// ```text
///              Connect             Connected               take_idle / grant
///   (nothing) ---------> connecting ----------> idle -------------------------> leased
///       ^                    | ConnectFailed     | ^  Checked(Sound)               |
///       |  <-----------------'  (back-off)  due  v |                               | Release(Sound): to the head of
///       |                                     checking                             |   the line, else to the shelf
///       '------ Close(reason) <------- Checked(Broken) / Release(Broken) / expired / idle too long
/// ```
#[derive(Debug)]
pub struct Ledger<C> {
    pub(super) config: NodeConfig,
    pub(super) roster: Roster<C>,
    pub(super) line: Line<Outcome<C>>,
    pub(super) dialling: Dialling,
    pub(super) deadlines: Deadlines,
    pub(super) chance: Chance,
    /// Grows when something stayed silent: connections that have not answered since then are checked before use.
    pub(super) epoch: u64,
    pub(super) life: Life,
    pub(super) checks: Loop,
    pub(super) cleanup: Loop,
    /// Whether a dial has ever succeeded.
    pub(super) has_met_server: bool,
    wakes: VecDeque<WaiterId>,
    actions: VecDeque<Action<C>>,
}

impl<C> Ledger<C> {
    /// A node without any connection yet; the first input orders them. Health checks run, cleanup does not.
    #[must_use]
    pub fn new(config: NodeConfig, seed: u64) -> Self {
        let roster = Roster::new(config.connection_pools_per_node_at_start(), config.max_connection_size());
        Self {
            roster,
            line: Line::new(),
            dialling: Dialling::new(&config),
            deadlines: Deadlines::default(),
            chance: Chance::new(seed),
            epoch: 0,
            life: Life::Open,
            checks: Loop::Running,
            cleanup: Loop::Stopped,
            has_met_server: false,
            wakes: VecDeque::new(),
            actions: VecDeque::new(),
            config,
        }
    }

    /// Lends an idle connection: the fast path, without a clock and without an allocation. None if none idles or
    /// somebody waits.
    #[must_use]
    pub fn take_idle(&mut self) -> Option<Loan<C>> {
        if !self.line.is_empty(Want::Loan) {
            return None;
        }
        let (id, conn) = self.roster.lend(Phase::Leased)?;
        Some(Loan { id, conn })
    }

    /// Takes a sound connection back: the fast path, without a clock and without an allocation. Gives it back if there
    /// is more to do, which is then for `Release`.
    ///
    /// Its invariant: the connection goes to the shelf and nothing else changes, so nobody waits, nothing is wrong with
    /// it, and the time of its return will be noted soon (or nobody asks for it).
    pub fn put_back(&mut self, loan: Loan<C>) -> Option<Loan<C>> {
        let timed = self.cleanup == Loop::Stopped || self.deadlines.is_armed(Kind::Stamp);
        let epoch = self.epoch;
        match self.roster.get_mut(loan.id) {
            Some(record)
                if timed
                    && self.life == Life::Open
                    && record.epoch == epoch
                    && record.retire.is_none()
                    && self.line.is_empty(Want::Loan) =>
            {
                record.idle_since = None;
                self.roster.shelve(loan.id, loan.conn);
                None
            }
            Some(_) | None => Some(loan),
        }
    }

    /// Asks for a connection: one that idles, or a place in line until `deadline`.
    pub fn acquire(&mut self, now: Instant, deadline: Instant) -> Acquired<C> {
        if self.life != Life::Open {
            return Acquired::Closed;
        }
        if let Some(loan) = self.take_idle() {
            return Acquired::Loan(loan);
        }
        if self.is_hopeless() {
            return Acquired::Down(Box::new(self.refusal(now, now)));
        }
        let waiting = self.line.len(Want::Loan);
        if waiting >= self.config.max_waiters() {
            return Acquired::Saturated { waiting };
        }
        let id = self.line.join(Want::Loan, now, deadline);
        self.settle(now);
        Acquired::Waiting(id)
    }

    /// Asks for a connection that idles now; orders a dial if there is none, so that a later try may succeed.
    ///
    /// # Errors
    ///
    /// Why there is none: an outcome as after a wait of no length.
    pub fn try_acquire(&mut self, now: Instant) -> Result<Loan<C>, Outcome<C>> {
        if self.life != Life::Open {
            return Err(Outcome::Closed);
        }
        if let Some(loan) = self.take_idle() {
            return Ok(loan);
        }
        self.dial_spare(now);
        self.settle(now);
        let refusal = Box::new(self.refusal(now, now));
        Err(match self.health() {
            Health::Down => Outcome::Down(refusal),
            Health::Up | Health::Suspect => Outcome::TimedOut(refusal),
        })
    }

    /// Gives back a connection that was granted but found broken before it was used, and takes the same place in line
    /// again.
    pub fn refuse(&mut self, now: Instant, loan: Loan<C>, place: Place) -> Acquired<C> {
        self.handle(now, Input::Release(loan, Verdict::Stale));
        if self.life != Life::Open {
            return Acquired::Closed;
        }
        let id = self.line.rejoin(Want::Loan, place);
        self.settle(now);
        Acquired::Waiting(id)
    }

    /// Waits until `want` has come true, at most until `deadline`. For connections there is [`Ledger::acquire`].
    pub fn wait_for(&mut self, now: Instant, want: Want, deadline: Instant) -> Acquired<C> {
        match (want, self.life) {
            (Want::Loan, _) => self.acquire(now, deadline),
            (Want::Warm, Life::Closing | Life::Closed) => Acquired::Closed,
            (Want::Warm, Life::Open) if self.dialling.is_refused_for_good() => Acquired::Down(Box::new(self.refusal(now, now))),
            (Want::Warm | Want::Drained, Life::Open) | (Want::Drained, Life::Closing | Life::Closed) => {
                let id = self.line.join(want, now, deadline);
                self.settle(now);
                Acquired::Waiting(id)
            }
        }
    }

    /// How a wait ended, once it has ended. The waiter is then gone.
    pub fn take_outcome(&mut self, id: WaiterId) -> Option<Outcome<C>> {
        let outcome = self.line.collect(id)?;
        if let Outcome::Granted(loan, _) = &outcome {
            self.mark_granted(loan.id, None);
            self.roster.shift(loan.id, Phase::Leased);
        }
        Some(outcome)
    }

    /// Books one fact, then restores the invariants.
    pub fn handle(&mut self, now: Instant, input: Input<C>) {
        self.forgive_jump(now);
        match input {
            Input::Cancel(id) => {
                if let Some(Outcome::Granted(loan, _)) = self.line.leave(id) {
                    self.on_release(now, loan, Verdict::Sound);
                }
            }
            Input::Checked(checkup, finding) => self.on_checked(now, checkup, finding),
            Input::Close { force_at } => self.on_close(now, force_at),
            Input::Closed(closing) => self.on_closed(closing),
            Input::ConnectFailed(ticket, failure) => self.on_connect_failed(now, ticket, failure),
            Input::Connected(ticket, conn) => self.on_connected(now, ticket, conn),
            Input::Died(id) => self.on_died(now, id),
            Input::DriverLost => {
                self.on_close(now, None);
                self.tell_ready(Want::Drained);
            }
            Input::Release(loan, verdict) => self.on_release(now, loan, verdict),
            Input::SetChecks(state) => self.on_set_checks(now, state),
            Input::SetCleanup(state) => self.on_set_cleanup(now, state),
            Input::Tick => self.on_tick(now),
        }
        self.settle(now);
    }

    /// Whom to wake next.
    #[must_use]
    pub fn poll_wake(&mut self) -> Option<WaiterId> {
        self.wakes.pop_front()
    }

    /// What to do next.
    pub fn poll_action(&mut self) -> Option<Action<C>> {
        self.actions.pop_front()
    }

    /// Whether there is something to do.
    #[must_use]
    pub fn has_actions(&self) -> bool {
        !self.actions.is_empty()
    }

    /// When the next `Tick` is wanted; may be early, never late.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.line.next_deadline().into_iter().chain(self.deadlines.next()).min()
    }

    /// Whether the pool still lends.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.life == Life::Open
    }

    /// Whether the pool is closed and nothing of it is left.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.life == Life::Closed && self.actions.is_empty()
    }

    /// How the node is doing: derived, never kept.
    #[must_use]
    pub fn health(&self) -> Health {
        let tally = self.roster.tally();
        if !self.dialling.is_failing() {
            Health::Up
        } else if self.dialling.has_failed() && tally.of(Phase::Idle) + tally.active() == 0 {
            Health::Down
        } else {
            Health::Suspect
        }
    }

    /// One consistent picture of the node.
    #[must_use]
    pub fn status(&self) -> NodeStatus {
        let health = self.health();
        let pools: Vec<_> = self
            .roster
            .pools()
            .map(|(index, pool)| {
                let lends = pool.tally.of(Phase::Idle) + pool.tally.active() > 0;
                PoolStatus {
                    index,
                    healthy: self.life == Life::Open && (health == Health::Up || (health == Health::Suspect && lends)),
                    active_calls: pool.tally.active(),
                    idle: pool.tally.of(Phase::Idle),
                    connecting: pool.tally.dialled(),
                    checking: pool.tally.of(Phase::Checking),
                    closing: pool.tally.of(Phase::Closing),
                    limit: self.roster.limit(),
                }
            })
            .collect();
        let tally = self.roster.tally();
        let healthy_pools = pools.iter().filter(|pool| pool.healthy).count();
        NodeStatus {
            health,
            total_pools: pools.len(),
            healthy_pools,
            unhealthy_pools: pools.len() - healthy_pools,
            active: tally.active(),
            idle: tally.of(Phase::Idle),
            connecting: tally.dialled(),
            checking: tally.of(Phase::Checking),
            closing: tally.of(Phase::Closing),
            waiting: self.line.len(Want::Loan),
            last_error: self.dialling.last_error().map(|text| text.to_string()),
            pools,
        }
    }

    /// What is told to somebody who waited since `since` and gets nothing.
    pub(super) fn refusal(&self, now: Instant, since: Instant) -> Refusal {
        let tally = self.roster.tally();
        let phase = if self.dialling.is_failing() {
            WaitPhase::DialsFailing
        } else if tally.dialled() > 0 {
            WaitPhase::Dialling
        } else if tally.active() > 0 {
            WaitPhase::LeasesHeld
        } else {
            WaitPhase::Housekeeping
        };
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Refusal {
            waited: now.saturating_duration_since(since),
            phase,
            seen: Snapshot {
                pools: count(self.roster.pool_count()),
                active: count(tally.active()),
                idle: count(tally.of(Phase::Idle)),
                connecting: count(tally.dialled()),
                housekeeping: count(tally.of(Phase::Checking) + tally.of(Phase::Closing)),
                waiting: count(self.line.len(Want::Loan)),
            },
            last_error: self.dialling.last_error(),
        }
    }

    pub(super) fn mark_granted(&mut self, id: ConnId, to: Option<WaiterId>) {
        if let Some(record) = self.roster.get_mut(id) {
            record.granted_to = to;
        }
    }

    pub(super) fn wake(&mut self, id: WaiterId) {
        self.wakes.push_back(id);
    }

    pub(super) fn order(&mut self, action: Action<C>) {
        self.actions.push_back(action);
    }

    /// Orders a connection out of the pool; it counts until it is closed.
    pub(super) fn close_conn(&mut self, now: Instant, id: ConnId, conn: C, reason: CloseReason) {
        self.roster.shift(id, Phase::Closing);
        self.note_closing(now, id);
        self.order(Action::Close(Closing { id: Some(id) }, conn, reason));
    }

    /// Takes a connection back from a borrower, or from a waiter that did not collect it.
    pub(super) fn on_release(&mut self, now: Instant, loan: Loan<C>, verdict: Verdict) {
        let Loan { id, conn } = loan;
        let Some(record) = self.roster.get_mut(id) else {
            // The pool was closed by force while it was out: it counts no more, but it still leaves by a close.
            self.order(Action::Close(Closing { id: None }, conn, CloseReason::PoolClosed));
            return;
        };
        record.granted_to = None;
        let (epoch, retire) = (record.epoch, record.retire);
        match (verdict, retire) {
            (Verdict::Broken(reason), _) => self.close_conn(now, id, conn, reason),
            (Verdict::Stale, _) => {
                let born_at = record.born_at;
                self.close_conn(now, id, conn, CloseReason::Broken);
                self.lost_early(now, born_at);
            }
            (Verdict::Silent, _) => {
                self.close_conn(now, id, conn, CloseReason::Broken);
                self.distrust_since(now, epoch, "a command was not answered in time");
            }
            (Verdict::Sound, Some(reason)) => self.close_conn(now, id, conn, reason),
            (Verdict::Sound, None) if self.life != Life::Open => self.close_conn(now, id, conn, CloseReason::PoolClosed),
            (Verdict::Sound, None) if epoch != self.epoch => self.check_conn(now, id, conn),
            (Verdict::Sound, None) => {
                record_idle(&mut self.roster, id, now);
                self.roster.shelve(id, conn);
                self.arm_stamp(now);
            }
        }
    }

    fn on_connected(&mut self, now: Instant, ticket: Ticket, conn: C) {
        let id = ticket.id;
        let lifetime = self.lifetime();
        let check_at = self.next_check(now);
        let epoch = self.epoch;
        let Some(record) = self.roster.get_mut(id) else {
            self.order(Action::Close(Closing { id: None }, conn, CloseReason::PoolClosed));
            return;
        };
        if self.life != Life::Open {
            self.close_conn(now, id, conn, CloseReason::PoolClosed);
            return;
        }
        let started_at = record.entered_at;
        if let Some(reason) = record.retire {
            self.close_conn(now, id, conn, reason);
            self.dial_failed(now, now, lost_at_birth());
            return;
        }
        record.epoch = epoch;
        record.born_at = now;
        record.expires_at = now + lifetime;
        record.check_at = check_at;
        record.idle_since = Some(now);
        let expires_at = record.expires_at;
        self.has_met_server = true;
        self.dialling.succeeded(now, started_at);
        self.deadlines.arm(Kind::Lifetime, expires_at);
        self.deadlines.arm(Kind::Check, check_at);
        self.roster.shelve(id, conn);
    }

    fn on_connect_failed(&mut self, now: Instant, ticket: Ticket, failure: Failure) {
        let Some(record) = self.roster.free(ticket.id) else { return };
        match (self.life, record.phase, failure.kind) {
            // Known since it was overdue.
            (Life::Open, Phase::Overdue, FailureKind::TimedOut) | (Life::Closing | Life::Closed, _, _) => {}
            (Life::Open, _, _) => self.dial_failed(now, record.entered_at, failure),
        }
    }

    pub(super) fn dial_failed(&mut self, now: Instant, started_at: Instant, failure: Failure) {
        let permanent = failure.kind == FailureKind::Permanent;
        let someone_waits = self.someone_waits();
        self.dialling.failed(now, started_at, failure, someone_waits, &mut self.chance);
        if permanent {
            self.tell_all(now, Want::Warm, Outcome::Down);
        }
        if permanent {
            self.tell_all(now, Want::Loan, Outcome::Down);
        }
    }

    /// Whether those who ask are not to wait: nothing is left to lend, and callers fail fast or the server refuses us.
    pub(super) fn is_hopeless(&self) -> bool {
        let told_at_once = self.config.on_node_down() == OnNodeDown::FailFast || self.dialling.is_refused_for_good();
        told_at_once && self.health() == Health::Down
    }

    fn on_checked(&mut self, now: Instant, checkup: Checkup<C>, finding: Finding) {
        let Checkup { id, conn, .. } = checkup;
        let check_at = self.next_check(now);
        let current = self.epoch;
        let Some(record) = self.roster.get_mut(id) else {
            self.order(Action::Close(Closing { id: None }, conn, CloseReason::PoolClosed));
            return;
        };
        let seen = record.epoch;
        match finding {
            Finding::Sound => {
                record.epoch = current;
                record.check_at = check_at;
                let retire = record.retire;
                self.dialling.reassured();
                self.deadlines.arm(Kind::Check, check_at);
                match retire {
                    Some(reason) => self.close_conn(now, id, conn, reason),
                    None if self.life != Life::Open => self.close_conn(now, id, conn, CloseReason::PoolClosed),
                    None => self.roster.shelve_below(id, conn),
                }
            }
            Finding::Failed(message) => {
                self.dialling.note(&message);
                self.close_conn(now, id, conn, CloseReason::CheckFailed);
            }
            Finding::Silent => {
                self.close_conn(now, id, conn, CloseReason::CheckFailed);
                self.distrust_since(now, seen, "a health check was not answered in time");
            }
        }
    }

    fn on_died(&mut self, now: Instant, id: ConnId) {
        let Some(record) = self.roster.get_mut(id) else { return };
        let (phase, born_at, granted_to) = (record.phase, record.born_at, record.granted_to);
        match phase {
            Phase::Idle => {
                self.close_idle(now, id, CloseReason::Broken);
            }
            Phase::Granted => {
                let taken_back = granted_to.and_then(|waiter| self.line.take_back(waiter));
                if let Some(Outcome::Granted(loan, _)) = taken_back {
                    self.on_release(now, loan, Verdict::Broken(CloseReason::Broken));
                }
            }
            Phase::Connecting | Phase::Overdue | Phase::Leased | Phase::Checking => record.retire = Some(CloseReason::Broken),
            Phase::Closing => return,
        }
        self.dialling.note("a connection was closed by the server");
        if matches!(phase, Phase::Idle | Phase::Granted) {
            self.lost_early(now, born_at);
        }
    }

    /// A connection died before anybody used it. A server that accepts and hangs up must not be dialled in a loop.
    fn lost_early(&mut self, now: Instant, born_at: Instant) {
        if self.life == Life::Open && now.saturating_duration_since(born_at) < self.config.probe_backoff().start {
            self.dial_failed(now, now, lost_at_birth());
        }
    }

    fn on_close(&mut self, now: Instant, force_at: Option<Instant>) {
        if let Some(force_at) = force_at {
            self.deadlines.arm(Kind::Force, force_at);
        }
        if self.life != Life::Open {
            return;
        }
        self.life = Life::Closing;
        for kind in [Kind::Probe, Kind::Check, Kind::Cleanup, Kind::Lifetime, Kind::Stamp] {
            self.deadlines.disarm(kind);
        }
        for waiter in self.line.granted() {
            if let Some(Outcome::Granted(loan, _)) = self.line.tell(waiter, Outcome::Closed) {
                self.on_release(now, loan, Verdict::Sound);
            }
            self.wake(waiter);
        }
        for want in [Want::Loan, Want::Warm] {
            while let Some(waiter) = self.line.head(want) {
                self.line.tell(waiter, Outcome::Closed);
                self.wake(waiter);
            }
        }
        for id in self.roster.select(|record| record.phase == Phase::Idle) {
            self.close_idle(now, id, CloseReason::PoolClosed);
        }
    }

    pub(super) fn on_closed(&mut self, closing: Closing) {
        let freed = closing.id.and_then(|id| self.roster.free(id));
        if freed.is_some() && self.cleanup == Loop::Running {
            self.roster.remove_empty_surplus(self.config.connection_pools_per_node_at_start());
        }
    }
}

/// The failure of a dial whose connection was gone before it was of use.
fn lost_at_birth() -> Failure {
    Failure { message: String::from("the server closed a new connection at once"), kind: FailureKind::Passing }
}

pub(super) fn record_idle<C>(roster: &mut Roster<C>, id: ConnId, now: Instant) {
    if let Some(record) = roster.get_mut(id) {
        record.idle_since = Some(now);
    }
}
