//! The ledger of one node: owns its idle connections, counts all others, holds the line of waiting callers.

use std::collections::VecDeque;

use crate::config::NodeConfig;
use crate::connector::CloseReason;
use crate::state::allowance::{Share, Stance};
use crate::state::chance::Chance;
use crate::state::deadlines::{Deadlines, Kind};
use crate::state::health::Dialling;
use crate::state::line::{End, Line, Place, WaiterId, Want};
use crate::state::phase::Phase;
use crate::state::pool::Roster;
use crate::state::status::Health;
use crate::state::token::{Acquired, Action, Closing, ConnId, Input, Loan, Loop, News, Outcome, Returned, Verdict};
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

/// How connections come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// By the fast paths, where nothing is wrong.
    Fast,
    /// By the long way: the pool closes, or a change must be told to other nodes.
    Careful,
}

/// The plain value that is the truth about one node.
///
/// ```text
///              Connect             Connected               take_idle / grant
///   (nothing) ---------> connecting ----------> idle -------------------------> leased
///       ^                    | ConnectFailed     | ^  Checked(Sound)               |
///       |  <-----------------'  (back-off)  due  v |                               | Release(Sound): to the head of
///       |                                     checking                             |   the line, else to the shelf
///       |                                          ^-- Checked(Sound) -- cleaning <' Release(Soiled)
///       '------ Close(reason) <------- Checked(Broken) / Release(Broken) / expired / idle too long
/// ```
#[derive(Debug)]
pub struct Ledger<C> {
    pub(super) config: NodeConfig,
    pub(super) roster: Roster<C>,
    pub(super) line: Line<News>,
    pub(super) dialling: Dialling,
    pub(super) deadlines: Deadlines,
    pub(super) chance: Chance,
    /// Grows when something stayed silent: connections that have not answered since then are checked before use.
    pub(super) epoch: u64,
    /// Grows when another server takes the place of the one that the connections were made to.
    pub(super) generation: u64,
    /// When it may grow again.
    pub(super) next_generation_at: Instant,
    pub(super) life: Life,
    pub(super) pace: Pace,
    /// What other nodes leave it.
    pub(super) share: Share,
    pub(super) checks: Loop,
    pub(super) cleanup: Loop,
    /// Dials in the order in which they began; those that have ended are dropped when they come to the front.
    pub(super) dials: VecDeque<(Instant, ConnId)>,
    /// Closes in the same way; those that have ended are gone a second later at most.
    pub(super) closes: VecDeque<(Instant, ConnId)>,
    /// Whether a dial has ever succeeded.
    pub(super) has_met_server: bool,
    /// Since when it is down, if it is.
    pub(super) down_since: Option<Instant>,
    #[cfg(feature = "testing")]
    pub(super) marks: crate::state::marks::Marks,
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
            generation: 0,
            next_generation_at: Instant::ZERO,
            life: Life::Open,
            pace: Pace::Fast,
            share: Share::UNLIMITED,
            checks: Loop::Running,
            cleanup: Loop::Stopped,
            dials: VecDeque::new(),
            closes: VecDeque::new(),
            has_met_server: false,
            down_since: None,
            #[cfg(feature = "testing")]
            marks: crate::state::marks::Marks::default(),
            wakes: VecDeque::new(),
            actions: VecDeque::new(),
            config,
        }
    }

    /// Lends an idle connection: the fast path, without a clock and without an allocation. None if none idles or
    /// somebody waits.
    #[must_use]
    #[inline]
    pub fn take_idle(&mut self) -> Option<Loan<C>> {
        if !self.line.is_empty(Want::Loan) {
            return None;
        }
        let (id, conn) = self.roster.lend()?;
        Some(Loan { id, conn })
    }

    /// Takes a sound connection back: the fast path, without a clock and without an allocation.
    ///
    /// Its invariant: nothing is wrong with the connection or the node, and either it goes to the head of the line, which
    /// grows shorter, or nobody waits and it goes to the shelf, and the time of its return will be noted soon (or nobody
    /// asks for it). Nothing else changes, so there is nothing to settle.
    #[inline]
    pub fn put_back(&mut self, loan: Loan<C>) -> Returned<C> {
        if self.pace == Pace::Careful {
            return Returned::Refused(loan);
        }
        match self.line.head(Want::Loan) {
            None if self.cleanup == Loop::Stopped || self.deadlines.is_armed(Kind::Stamp) => {
                match self.roster.shelve_unnoted(loan, self.epoch) {
                    Ok(()) => {
                        mark!(self, FastReturn);
                        Returned::Shelved
                    }
                    Err(loan) => Returned::Refused(loan),
                }
            }
            Some(waiter) if !self.dialling.is_failing() && self.roster.is_fit(loan.id, self.epoch) => {
                mark!(self, HandedOver);
                self.roster.park(loan.id, waiter, loan.conn);
                self.line.grant(waiter, loan.id);
                Returned::HandedOver(waiter)
            }
            Some(_) | None => Returned::Refused(loan),
        }
    }

    /// Whether somebody waits for a connection.
    #[must_use]
    pub fn has_line(&self) -> bool {
        !self.line.is_empty(Want::Loan)
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
            mark!(self, ToldAtOnce);
            // It wants the node, though it does not wait: the next probe comes as soon as for those who do.
            self.dialling.hurry(now, &mut self.chance);
            self.settle(now);
            return Acquired::Down(Box::new(self.refusal(now, now)));
        }
        let waiting = self.line.len(Want::Loan);
        if waiting >= self.config.max_waiters() {
            mark!(self, Saturated);
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
        self.dialling.hurry(now, &mut self.chance);
        self.dial_spare(now);
        self.settle(now);
        let refusal = Box::new(self.refusal(now, now));
        Err(match self.evidence() {
            Health::Down => Outcome::Down(refusal),
            Health::Up | Health::Suspect => Outcome::TimedOut(refusal),
        })
    }

    /// Gives back a connection that was granted but found broken before it was used, and takes the same place in line
    /// again.
    pub fn refuse(&mut self, now: Instant, loan: Loan<C>, place: Place) -> Acquired<C> {
        mark!(self, GrantRefused);
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

    /// A waiter leaves that is still in line: the fast path, without a clock. False if its wait has ended, which is then for
    /// `Cancel`.
    ///
    /// Its invariant: one waiter less gives nobody a connection, wants no dial, and moves no deadline but to a later time,
    /// so there is nothing to settle. (Unless other nodes hear of it: then this is for `Cancel`, too.)
    pub fn leave_line(&mut self, id: WaiterId) -> bool {
        self.pace == Pace::Fast && self.line.leave_queue(id)
    }

    /// How a wait ended, once it has ended. The waiter is then gone.
    pub fn take_outcome(&mut self, id: WaiterId) -> Option<Outcome<C>> {
        match self.line.collect(id)? {
            (End::Granted(id), place) => self.roster.unpark(id).map(|conn| Outcome::Granted(Loan { id, conn }, place)),
            (End::Told(news), _) => Some(news.into()),
        }
    }

    /// Books one fact, then restores the invariants.
    pub fn handle(&mut self, now: Instant, input: Input<C>) {
        self.forgive_jump(now);
        match input {
            Input::Allowance(allowance) => self.on_allowance(now, allowance),
            Input::Cancel(id) => {
                if let Some(End::Granted(conn)) = self.line.leave(id) {
                    mark!(self, CancelAfterGrant);
                    self.revoke(now, conn, Verdict::Sound);
                }
            }
            Input::Checked(checkup, finding) => self.on_checked(now, checkup, finding),
            Input::Close { force_at } => self.on_close(now, force_at),
            Input::Closed(closing) => self.on_closed(now, closing),
            Input::ConnectFailed(ticket, failure) => self.on_connect_failed(now, ticket, failure),
            Input::Connected(ticket, conn) => self.on_connected(now, ticket, conn),
            Input::Died(id) => self.on_died(now, id),
            Input::Distrusted(id, why) => self.on_distrusted(now, id, &why),
            Input::DriverLost => {
                self.on_close(now, None);
                self.tell_ready(Want::Drained);
            }
            Input::Outdated(id, why) => self.on_outdated(now, id, &why),
            Input::Release(loan, verdict) => self.on_release(now, loan, verdict),
            Input::SetChecks(state) => self.on_set_checks(now, state),
            Input::SetCleanup(state) => self.on_set_cleanup(now, state),
            Input::Tick => self.on_tick(now),
        }
        self.settle(now);
    }

    /// The rare turns that were taken so far.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn marks(&self) -> crate::state::marks::Marks {
        self.marks
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

    /// Whether a connection will be closed when it comes back.
    #[must_use]
    pub fn is_retired(&self, id: ConnId) -> bool {
        self.life != Life::Open || self.roster.get(id).is_none_or(|record| record.retire.is_some())
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

    /// After every change of what it depends on.
    pub(super) fn set_pace(&mut self) {
        let at_ease = self.life == Life::Open && self.share.given.stance == Stance::AtEase;
        self.pace = if at_ease { Pace::Fast } else { Pace::Careful };
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
}
