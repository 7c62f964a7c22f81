//! The state of one node, composed of its machines: connections, wait queue, dialer, trust, upkeep, closes, quota, metrics.

mod dispatch;
mod inputs;
#[cfg(any(test, debug_assertions, feature = "testing"))]
mod invariants;
mod metering;
mod picture;
mod questions;
mod sharing;
#[cfg(test)]
mod tests;
mod timers;

use std::time::Duration;

use crate::config::NodeConfig;
use crate::state::action::Action;
use crate::state::closing::Closes;
use crate::state::connections::ConnectionTable;
use crate::state::deadlines::{DeadlineKind, Deadlines};
use crate::state::dialer::Dialer;
use crate::state::event::{Event, GrantRevoked};
use crate::state::ids::WaiterId;
use crate::state::input::{Input, ReleaseKind};
use crate::state::outbox::Outbox;
use crate::state::outcome::{Acquired, Outcome, Returned, WaitError, WaitResult};
use crate::state::quota::{QuotaState, SharingMode};
use crate::state::rng::Rng;
use crate::state::status::Health;
use crate::state::token::Loan;
use crate::state::trust::Trust;
use crate::state::upkeep::Upkeep;
use crate::state::wait_queue::{QueuePosition, WaitEnd, WaitKind, WaitQueue};
use crate::time::Instant;

/// How connections come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReturnPath {
    /// By the fast paths, where nothing is wrong.
    Fast,
    /// By the long way: the pool closes, or other nodes must learn of each change.
    Careful,
}

/// How the node was doing when that was looked at last.
#[derive(Clone, Copy, Debug)]
struct SeenHealth {
    health: Health,
    /// Since when; none: it was not looked at yet.
    since: Option<Instant>,
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
///
/// Call it in this order: ask ([`take_idle`](Self::take_idle), [`acquire`](Self::acquire), [`put_back`](Self::put_back)) or
/// [`handle`](Self::handle) one input; then poll until there is nothing left: [`poll_wake`](Self::poll_wake),
/// [`poll_action`](Self::poll_action), [`poll_event`](Self::poll_event); then sleep until
/// [`next_deadline`](Self::next_deadline).
#[derive(Debug)]
pub struct NodeState<C> {
    config: NodeConfig,
    connections: ConnectionTable<C>,
    queue: WaitQueue<WaitResult>,
    dialer: Dialer,
    trust: Trust,
    upkeep: Upkeep,
    closes: Closes,
    quota: QuotaState,
    deadlines: Deadlines,
    rng: Rng,
    return_path: ReturnPath,
    /// With fewer idle than so many a dial may be wanted, to keep `min_idle` of them: none if there is no room, or the node
    /// fails, or the dials are under way. Nothing that the fast paths do changes it.
    idle_wanted: usize,
    seen_health: SeenHealth,
    outbox: Outbox<C>,
}

/// Asking and giving back.
impl<C> NodeState<C> {
    /// A node without any connection yet; the first input orders them. Health checks run, cleanup does not.
    #[must_use]
    pub fn new(config: NodeConfig, seed: u64) -> Self {
        Self {
            connections: ConnectionTable::new(
                config.connection_pools_per_node_at_start(),
                config.max_connection_size(),
                config.max_connections_per_node(),
            ),
            queue: WaitQueue::new(),
            dialer: Dialer::new(&config),
            trust: Trust::new(),
            upkeep: Upkeep::new(&config),
            closes: Closes::new(),
            quota: QuotaState::new(),
            deadlines: Deadlines::default(),
            rng: Rng::new(seed),
            return_path: ReturnPath::Fast,
            idle_wanted: 0,
            seen_health: SeenHealth { health: Health::Down, since: None },
            outbox: Outbox::new(config.use_time_sampling()),
            config,
        }
    }

    /// Before the first input: from now on events are kept for [`poll_event`](Self::poll_event).
    pub fn observe(&mut self) {
        self.outbox.observe();
    }

    /// Lends an idle connection: the fast path, without a clock and without an allocation. None if none idles or a caller
    /// waits.
    #[must_use]
    #[inline]
    pub fn take_idle(&mut self) -> Option<Loan<C>> {
        if !self.queue.is_empty(WaitKind::Loan) {
            return None;
        }
        let (id, conn) = self.connections.lend()?;
        self.outbox.metrics_mut().note_asked();
        self.outbox.metrics_mut().note_at_once();
        Some(Loan { id, conn })
    }

    /// Takes a sound connection back: the fast path, without a clock and without an allocation.
    ///
    /// Its invariant: nothing is wrong with the connection or the node, and either it goes to the head of the queue, which
    /// grows shorter, or nobody waits and it goes to the idle stack, and the time of its return will be noted soon (or is
    /// not needed). Nothing else changes, so there is nothing to dispatch. A lease that [is timed](Self::is_use_timed) is
    /// refused until its use has [ended](Self::end_use).
    #[inline]
    pub fn put_back(&mut self, loan: Loan<C>) -> Returned<C> {
        if self.return_path == ReturnPath::Careful {
            return Returned::Refused(loan);
        }
        match self.queue.head(WaitKind::Loan) {
            None if !self.upkeep.cleanup() || self.deadlines.is_armed(DeadlineKind::IdleTimes) => {
                match self.connections.add_idle_untimed(loan, self.trust.epoch()) {
                    Ok(()) => {
                        self.outbox.metrics_mut().note_returned_idle();
                        Returned::Idle
                    }
                    Err(loan) => Returned::Refused(loan),
                }
            }
            Some(waiter) if !self.dialer.is_failing() && self.connections.is_ready(loan.id, self.trust.epoch()) => {
                self.outbox.metrics_mut().note_handed_over();
                self.connections.hold_for(loan.id, waiter, loan.conn);
                self.queue.grant(waiter, loan.id);
                Returned::HandedOver(waiter)
            }
            Some(_) | None => Returned::Refused(loan),
        }
    }

    /// Asks for a connection: one that idles, or a position in the queue until `deadline`.
    pub fn acquire(&mut self, now: Instant, deadline: Instant) -> Acquired<C> {
        if !self.closes.is_open() {
            self.note_refused_by_close();
            return Acquired::Closed;
        }
        if let Some(loan) = self.take_idle_at(now) {
            return Acquired::Loan(loan);
        }
        self.outbox.metrics_mut().note_asked();
        if self.is_hopeless() {
            self.outbox.emit(Event::Unavailable { waited: Duration::ZERO });
            // It wants the node, though it does not wait: the next probe comes as soon as for those that do.
            self.dialer.hurry(now, &mut self.rng);
            self.dispatch(now);
            return Acquired::Down(Box::new(self.failure(now, now)));
        }
        let waiting = self.queue.len(WaitKind::Loan);
        if waiting >= self.config.max_waiters() {
            self.outbox.emit(Event::Saturated { waiting });
            return Acquired::Saturated { waiting };
        }
        let id = self.queue.join(WaitKind::Loan, now, deadline);
        self.note_waiting();
        self.dispatch(now);
        Acquired::Waiting(id)
    }

    /// Asks for a connection that idles now; orders a dial if there is none, so that a later try may succeed.
    ///
    /// # Errors
    ///
    /// Why there is none, as after a wait of no length.
    pub fn try_acquire(&mut self, now: Instant) -> Result<Loan<C>, WaitError> {
        if !self.closes.is_open() {
            self.note_refused_by_close();
            return Err(WaitError::Closed);
        }
        if let Some(loan) = self.take_idle_at(now) {
            return Ok(loan);
        }
        self.dialer.hurry(now, &mut self.rng);
        self.dial_spare(now);
        self.dispatch(now);
        let failure = Box::new(self.failure(now, now));
        self.outbox.metrics_mut().note_asked();
        Err(match self.evidence() {
            Health::Down => {
                self.outbox.metrics_mut().note_tried_in_vain(None);
                WaitError::Down(failure)
            }
            Health::Up | Health::Suspect => {
                self.outbox.metrics_mut().note_tried_in_vain(Some(failure.phase));
                WaitError::TimedOut(failure)
            }
        })
    }

    /// Gives back a connection that was granted but found broken before it was used, and takes the same position in the queue
    /// again.
    pub fn refuse(&mut self, now: Instant, loan: Loan<C>, position: QueuePosition) -> Acquired<C> {
        self.outbox.emit(Event::GrantRevoked { why: GrantRevoked::Broken });
        self.handle(now, Input::Release(loan, ReleaseKind::Stale));
        if !self.closes.is_open() {
            self.note_refused_by_close();
            return Acquired::Closed;
        }
        self.outbox.metrics_mut().note_asked();
        let id = self.queue.rejoin(WaitKind::Loan, position);
        self.note_waiting();
        self.dispatch(now);
        Acquired::Waiting(id)
    }

    /// Waits until `kind` has come true, at most until `deadline`. For connections there is [`NodeState::acquire`].
    pub fn wait_for(&mut self, now: Instant, kind: WaitKind, deadline: Instant) -> Acquired<C> {
        match kind {
            WaitKind::Loan => return self.acquire(now, deadline),
            WaitKind::Warm if !self.closes.is_open() => return Acquired::Closed,
            WaitKind::Warm if self.dialer.is_refused_for_good() => return Acquired::Down(Box::new(self.failure(now, now))),
            WaitKind::Warm | WaitKind::Drained => {}
        }
        let id = self.queue.join(kind, now, deadline);
        self.dispatch(now);
        Acquired::Waiting(id)
    }

    /// A waiter leaves that is still queued: the fast path, without a clock. False if its wait has ended, which is then for
    /// `Cancel`.
    ///
    /// Its invariant: one waiter less gives no other a connection, wants no dial, and moves no deadline but to a later time,
    /// so there is nothing to dispatch. (Unless other nodes must learn of it: then this is for `Cancel`, too.)
    pub fn leave_queue(&mut self, id: WaiterId) -> bool {
        self.return_path == ReturnPath::Fast && self.leave_queued(id)
    }

    /// How a wait ended, once it has ended. The waiter is then gone.
    pub fn take_outcome(&mut self, now: Instant, id: WaiterId) -> Option<Outcome<C>> {
        match self.queue.collect(id)? {
            (WaitEnd::Granted(id), position) => {
                let conn = self.connections.take_held(id)?;
                self.note_waited(now, id, position.since());
                Some(Outcome::Granted(Loan { id, conn }, position))
            }
            (WaitEnd::Finished(result), _) => Some(result.into()),
        }
    }
}

/// Inputs.
impl<C> NodeState<C> {
    /// Takes one fact in, then restores the invariants.
    pub fn handle(&mut self, now: Instant, input: Input<C>) {
        self.forgive_jump(now);
        match input {
            Input::Cancel(id) => {
                if !self.leave_queued(id)
                    && let Some(WaitEnd::Granted(conn)) = self.queue.leave(id)
                {
                    self.outbox.emit(Event::GrantRevoked { why: GrantRevoked::Cancelled });
                    self.revoke(now, conn, ReleaseKind::Sound);
                }
            }
            Input::Checked(checkup, result) => self.on_checked(now, checkup, result),
            Input::Close { force_at } => self.on_close(now, force_at),
            Input::Closed(closing) => self.on_closed(now, closing),
            Input::ConnectFailed(ticket, failure) => self.on_connect_failed(now, ticket, failure),
            Input::Connected(ticket, conn) => self.on_connected(now, ticket, conn),
            Input::Died(id) => self.on_died(now, id, None),
            Input::DiedOf(id, why) => self.on_died(now, id, Some(why)),
            Input::Distrusted(id, why) => self.on_distrusted(now, id, &why),
            Input::DriverLost => {
                self.on_close(now, None);
                self.finish_ready(WaitKind::Drained);
            }
            Input::Outdated(id, why) => self.on_outdated(now, id, &why),
            Input::Quota(quota) => self.on_quota(now, quota),
            Input::Release(loan, kind) => self.on_release(now, loan, kind),
            Input::Replaced(why) => self.on_replaced(now, &why),
            Input::SetChecks(run) => self.on_set_checks(now, run),
            Input::SetCleanup(run) => self.on_set_cleanup(now, run),
            Input::Tick => self.on_tick(now),
        }
        self.dispatch(now);
    }
}

/// Outputs.
impl<C> NodeState<C> {
    /// Which waiter to wake next.
    #[must_use]
    pub fn poll_wake(&mut self) -> Option<WaiterId> {
        self.outbox.poll_wake()
    }

    /// What to do next.
    pub fn poll_action(&mut self) -> Option<Action<C>> {
        self.outbox.poll_action()
    }

    /// What has happened, the oldest first; always none unless events are [observed](Self::observe).
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.outbox.poll_event()
    }

    /// When the next `Tick` is wanted; may be early, never late.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.queue.next_deadline().into_iter().chain(self.deadlines.next()).min()
    }
}

impl<C> NodeState<C> {
    /// After every change of what it depends on.
    fn update_return_path(&mut self) {
        let at_ease = self.closes.is_open() && self.quota.granted().mode == SharingMode::Unshared;
        self.return_path = if at_ease { ReturnPath::Fast } else { ReturnPath::Careful };
    }
}
