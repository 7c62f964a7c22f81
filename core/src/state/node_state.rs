//! The state of one node: owns its idle connections, counts all others, holds the queue of waiting callers.

use std::collections::VecDeque;

use crate::close_reason::CloseReason;
use crate::config::NodeConfig;
use crate::state::connection_table::ConnectionTable;
use crate::state::deadlines::{DeadlineKind, Deadlines};
use crate::state::dialer::Dialer;
use crate::state::phase::Phase;
use crate::state::quota::{QuotaState, SharingMode};
use crate::state::rng::Rng;
use crate::state::status::Health;
use crate::state::token::{Acquired, Action, Closing, ConnId, Input, Loan, Loop, Outcome, ReleaseKind, Returned, WaitResult};
use crate::state::wait_queue::{QueuePosition, WaitEnd, WaitKind, WaitQueue, WaiterId};
use crate::time::Instant;

/// Whether the pool lends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifecycle {
    Open,
    /// Nothing is lent any more; what is out is closed as it comes back.
    Closing,
    /// No connection is left.
    Closed,
}

/// How connections come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReturnPath {
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
///       |                                     checking                             |   the queue, else to the idle stack
///       |                                          ^-- Checked(Sound) -- cleaning <' Release(Soiled)
///       '------ Close(reason) <------- Checked(Broken) / Release(Broken) / expired / idle too long
/// ```
#[derive(Debug)]
pub struct NodeState<C> {
    pub(super) config: NodeConfig,
    pub(super) connections: ConnectionTable<C>,
    pub(super) queue: WaitQueue<WaitResult>,
    pub(super) dialer: Dialer,
    pub(super) deadlines: Deadlines,
    pub(super) rng: Rng,
    /// Grows when something stayed silent: connections that have not answered since then are checked before use.
    pub(super) trust_epoch: u64,
    /// Grows when another server takes the place of the one that the connections were made to.
    pub(super) generation: u64,
    /// When it may grow again.
    pub(super) next_generation_at: Instant,
    pub(super) life: Lifecycle,
    pub(super) return_path: ReturnPath,
    /// What other nodes leave it.
    pub(super) sharing: QuotaState,
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
    pub(super) marks: crate::state::coverage::Coverage,
    wakes: VecDeque<WaiterId>,
    actions: VecDeque<Action<C>>,
}

impl<C> NodeState<C> {
    /// A node without any connection yet; the first input orders them. Health checks run, cleanup does not.
    #[must_use]
    pub fn new(config: NodeConfig, seed: u64) -> Self {
        let connections = ConnectionTable::new(config.connection_pools_per_node_at_start(), config.max_connection_size());
        Self {
            connections,
            queue: WaitQueue::new(),
            dialer: Dialer::new(&config),
            deadlines: Deadlines::default(),
            rng: Rng::new(seed),
            trust_epoch: 0,
            generation: 0,
            next_generation_at: Instant::ZERO,
            life: Lifecycle::Open,
            return_path: ReturnPath::Fast,
            sharing: QuotaState::UNLIMITED,
            checks: Loop::Running,
            cleanup: Loop::Stopped,
            dials: VecDeque::new(),
            closes: VecDeque::new(),
            has_met_server: false,
            down_since: None,
            #[cfg(feature = "testing")]
            marks: crate::state::coverage::Coverage::default(),
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
        if !self.queue.is_empty(WaitKind::Loan) {
            return None;
        }
        let (id, conn) = self.connections.lend()?;
        Some(Loan { id, conn })
    }

    /// Takes a sound connection back: the fast path, without a clock and without an allocation.
    ///
    /// Its invariant: nothing is wrong with the connection or the node, and either it goes to the head of the queue, which
    /// grows shorter, or nobody waits and it goes to the idle stack, and the time of its return will be noted soon (or nobody
    /// asks for it). Nothing else changes, so there is nothing to settle.
    #[inline]
    pub fn put_back(&mut self, loan: Loan<C>) -> Returned<C> {
        if self.return_path == ReturnPath::Careful {
            return Returned::Refused(loan);
        }
        match self.queue.head(WaitKind::Loan) {
            None if self.cleanup == Loop::Stopped || self.deadlines.is_armed(DeadlineKind::Stamp) => {
                match self.connections.add_idle_untimed(loan, self.trust_epoch) {
                    Ok(()) => {
                        mark!(self, FastReturn);
                        Returned::Idle
                    }
                    Err(loan) => Returned::Refused(loan),
                }
            }
            Some(waiter) if !self.dialer.is_failing() && self.connections.is_fit(loan.id, self.trust_epoch) => {
                mark!(self, HandedOver);
                self.connections.hold_for(loan.id, waiter, loan.conn);
                self.queue.grant(waiter, loan.id);
                Returned::HandedOver(waiter)
            }
            Some(_) | None => Returned::Refused(loan),
        }
    }

    /// Whether somebody waits for a connection.
    #[must_use]
    pub fn has_waiters(&self) -> bool {
        !self.queue.is_empty(WaitKind::Loan)
    }

    /// Asks for a connection: one that idles, or a place in the queue until `deadline`.
    pub fn acquire(&mut self, now: Instant, deadline: Instant) -> Acquired<C> {
        if self.life != Lifecycle::Open {
            return Acquired::Closed;
        }
        if let Some(loan) = self.take_idle() {
            return Acquired::Loan(loan);
        }
        if self.is_hopeless() {
            mark!(self, ToldAtOnce);
            // It wants the node, though it does not wait: the next probe comes as soon as for those who do.
            self.dialer.hurry(now, &mut self.rng);
            self.dispatch(now);
            return Acquired::Down(Box::new(self.failure(now, now)));
        }
        let waiting = self.queue.len(WaitKind::Loan);
        if waiting >= self.config.max_waiters() {
            mark!(self, Saturated);
            return Acquired::Saturated { waiting };
        }
        let id = self.queue.join(WaitKind::Loan, now, deadline);
        self.dispatch(now);
        Acquired::Waiting(id)
    }

    /// Asks for a connection that idles now; orders a dial if there is none, so that a later try may succeed.
    ///
    /// # Errors
    ///
    /// Why there is none: an outcome as after a wait of no length.
    pub fn try_acquire(&mut self, now: Instant) -> Result<Loan<C>, Outcome<C>> {
        if self.life != Lifecycle::Open {
            return Err(Outcome::Closed);
        }
        if let Some(loan) = self.take_idle() {
            return Ok(loan);
        }
        self.dialer.hurry(now, &mut self.rng);
        self.dial_spare(now);
        self.dispatch(now);
        let failure = Box::new(self.failure(now, now));
        Err(match self.evidence() {
            Health::Down => Outcome::Down(failure),
            Health::Up | Health::Suspect => Outcome::TimedOut(failure),
        })
    }

    /// Gives back a connection that was granted but found broken before it was used, and takes the same place in the queue
    /// again.
    pub fn refuse(&mut self, now: Instant, loan: Loan<C>, place: QueuePosition) -> Acquired<C> {
        mark!(self, GrantRefused);
        self.handle(now, Input::Release(loan, ReleaseKind::Stale));
        if self.life != Lifecycle::Open {
            return Acquired::Closed;
        }
        let id = self.queue.rejoin(WaitKind::Loan, place);
        self.dispatch(now);
        Acquired::Waiting(id)
    }

    /// Waits until `want` has come true, at most until `deadline`. For connections there is [`NodeState::acquire`].
    pub fn wait_for(&mut self, now: Instant, want: WaitKind, deadline: Instant) -> Acquired<C> {
        match (want, self.life) {
            (WaitKind::Loan, _) => self.acquire(now, deadline),
            (WaitKind::Warm, Lifecycle::Closing | Lifecycle::Closed) => Acquired::Closed,
            (WaitKind::Warm, Lifecycle::Open) if self.dialer.is_refused_for_good() => {
                Acquired::Down(Box::new(self.failure(now, now)))
            }
            (WaitKind::Warm | WaitKind::Drained, Lifecycle::Open)
            | (WaitKind::Drained, Lifecycle::Closing | Lifecycle::Closed) => {
                let id = self.queue.join(want, now, deadline);
                self.dispatch(now);
                Acquired::Waiting(id)
            }
        }
    }

    /// A waiter leaves that is still in the queue: the fast path, without a clock. False if its wait has ended, which is then for
    /// `Cancel`.
    ///
    /// Its invariant: one waiter less gives nobody a connection, wants no dial, and moves no deadline but to a later time,
    /// so there is nothing to settle. (Unless other nodes hear of it: then this is for `Cancel`, too.)
    pub fn leave_queue(&mut self, id: WaiterId) -> bool {
        self.return_path == ReturnPath::Fast && self.queue.leave_queued(id)
    }

    /// How a wait ended, once it has ended. The waiter is then gone.
    pub fn take_outcome(&mut self, id: WaiterId) -> Option<Outcome<C>> {
        match self.queue.collect(id)? {
            (WaitEnd::Granted(id), place) => {
                self.connections.take_held(id).map(|conn| Outcome::Granted(Loan { id, conn }, place))
            }
            (WaitEnd::Told(result), _) => Some(result.into()),
        }
    }

    /// Books one fact, then restores the invariants.
    pub fn handle(&mut self, now: Instant, input: Input<C>) {
        self.forgive_jump(now);
        match input {
            Input::Quota(quota) => self.on_quota(now, quota),
            Input::Cancel(id) => {
                if let Some(WaitEnd::Granted(conn)) = self.queue.leave(id) {
                    mark!(self, CancelAfterGrant);
                    self.revoke(now, conn, ReleaseKind::Sound);
                }
            }
            Input::Checked(checkup, result) => self.on_checked(now, checkup, result),
            Input::Close { force_at } => self.on_close(now, force_at),
            Input::Closed(closing) => self.on_closed(now, closing),
            Input::ConnectFailed(ticket, failure) => self.on_connect_failed(now, ticket, failure),
            Input::Connected(ticket, conn) => self.on_connected(now, ticket, conn),
            Input::Died(id) => self.on_died(now, id),
            Input::Distrusted(id, why) => self.on_distrusted(now, id, &why),
            Input::DriverLost => {
                self.on_close(now, None);
                self.finish_ready(WaitKind::Drained);
            }
            Input::Outdated(id, why) => self.on_outdated(now, id, &why),
            Input::Release(loan, kind) => self.on_release(now, loan, kind),
            Input::SetChecks(state) => self.on_set_checks(now, state),
            Input::SetCleanup(state) => self.on_set_cleanup(now, state),
            Input::Tick => self.on_tick(now),
        }
        self.dispatch(now);
    }

    /// The rare turns that were taken so far.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn marks(&self) -> crate::state::coverage::Coverage {
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
        self.queue.next_deadline().into_iter().chain(self.deadlines.next()).min()
    }

    /// Whether a connection will be closed when it comes back.
    #[must_use]
    pub fn is_retired(&self, id: ConnId) -> bool {
        self.life != Lifecycle::Open || self.connections.get(id).is_none_or(|record| record.retire.is_some())
    }

    /// Whether the pool still lends.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.life == Lifecycle::Open
    }

    /// Whether the pool is closed and nothing of it is left.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.life == Lifecycle::Closed && self.actions.is_empty()
    }

    /// After every change of what it depends on.
    pub(super) fn set_return_path(&mut self) {
        let at_ease = self.life == Lifecycle::Open && self.sharing.given.mode == SharingMode::Unshared;
        self.return_path = if at_ease { ReturnPath::Fast } else { ReturnPath::Careful };
    }

    pub(super) fn wake(&mut self, id: WaiterId) {
        self.wakes.push_back(id);
    }

    pub(super) fn order(&mut self, action: Action<C>) {
        self.actions.push_back(action);
    }

    /// Orders a connection out of the pool; it counts until it is closed.
    pub(super) fn close_conn(&mut self, now: Instant, id: ConnId, conn: C, reason: CloseReason) {
        self.connections.shift(id, Phase::Closing);
        self.note_closing(now, id);
        self.order(Action::Close(Closing { id: Some(id) }, conn, reason));
    }
}
