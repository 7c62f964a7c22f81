//! The shared node: read the clock, lock, put one input into the node's state, take its outputs, unlock, then act.
//!
//! Nothing of a user's runs under the lock: no waker is woken, cloned or dropped there, no connection is asked or closed.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::task::Waker;

use crate::config::NodeConfig;
use crate::connection_limiter::Membership;
use crate::connection_monitor::MonitorTarget;
use crate::connector::{AbortHandle, CloseReason, Connector, Residue};
use crate::error::GetClientError;
use crate::runtime::Runtime;
#[cfg(feature = "testing")]
pub(crate) use crate::state::CheckerCounts;
use crate::state::{
    Acquired, Action, CheckResult, Checkup, Closing, ConnId, DialFailure, DialFailureKind, Input, Loan, NodeState, NodeStatus,
    Outcome, QueuePosition, ReleaseKind, Returned, Ticket, WaitKind, WaiterId,
};
use crate::sync::{AtomicBool, Mutex, MutexGuard, Ordering, PoisonError};
use crate::time::Instant;

/// Rounds of spinning before a thread sleeps, of 1, 2, 4 to 512 pauses of the processor. Measured with 16 tasks that never
/// wait on two busy cores: with rounds that grow like these 1.3 to 1.5 times as many cycles as without any; with short rounds,
/// however many, fewer than without.
#[cfg(not(any(loom, shuttle)))]
const SPIN_ROUNDS: u32 = 10;

/// One node: the node's state behind its lock, and all that acts for it.
pub(crate) struct Node<K: Connector> {
    inner: Mutex<NodeInner<K::Connection>>,
    /// Whether somebody waited for a connection when the lock was last opened: a hint, so that nobody locks in vain.
    has_waiters: AtomicBool,
    /// Its place among the nodes that share a limit, if there is one; taken before the first input.
    membership: OnceLock<Membership>,
    connector: K,
    runtime: Arc<dyn Runtime>,
    config: NodeConfig,
    name: String,
}

struct NodeInner<C> {
    state: NodeState<C>,
    /// Whom to wake, by the slot of the waiter.
    waiters: Vec<Option<Waker>>,
    /// Connects and checks under way, by the slot of the connection; woken when the pool closes.
    jobs: Vec<Option<Waker>>,
    /// By the slot of the connection, for the one that it was given for.
    abort_handles: Vec<Option<(ConnId, AbortHandle)>>,
    driver: DriverState,
    handles: Handles,
}

/// Whether anybody can still ask for a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Handles {
    Held,
    /// The node lives only as long as the lease or the task that comes through it, so that one performs the actions.
    Dropped,
}

/// What the node knows of its driver.
///
/// ```text
///  Busy <--> Asleep --> Gone        its work is then done by whoever comes through the node
/// ```
enum DriverState {
    /// It is awake, or will be polled for the first time.
    Busy,
    /// It is to be woken for actions and for a deadline before this one.
    Asleep { waker: Waker, until: Option<Instant> },
    /// It has ended.
    Gone(DriverEnd),
}

/// Why a driver is gone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum DriverEnd {
    /// It was not needed any more.
    Retired,
    /// It died with its runtime, while the pool was open.
    RuntimeEnded,
}

impl DriverState {
    /// Whether nobody puts in ticks any more.
    fn is_gone(&self) -> bool {
        matches!(self, Self::Gone(_))
    }
}

/// What is left to do after the lock is open again.
pub(crate) struct Effects<C> {
    /// Mostly there is no more than one.
    first_waker: Option<Waker>,
    wakers: Vec<Waker>,
    /// Only if there is no driver to do them.
    actions: Vec<Action<C>>,
}

/// What the driver is to do next.
pub(crate) struct DriverStep<C> {
    pub(crate) actions: Vec<Action<C>>,
    pub(crate) next: DriverNext,
}

pub(crate) enum DriverNext {
    Sleep { until: Option<Instant> },
    End,
}

impl<K: Connector> Node<K> {
    pub(crate) fn new(connector: K, config: NodeConfig, runtime: Arc<dyn Runtime>) -> Self {
        let inner = NodeInner {
            state: NodeState::new(config.clone(), runtime.seed()),
            waiters: Vec::new(),
            jobs: Vec::new(),
            abort_handles: Vec::new(),
            driver: DriverState::Busy,
            handles: Handles::Held,
        };
        let name = catch_unwind(AssertUnwindSafe(|| connector.name())).unwrap_or_else(|_| String::from("node"));
        let (inner, has_waiters) = (Mutex::new(inner), AtomicBool::new(false));
        Self { inner, has_waiters, membership: OnceLock::new(), connector, runtime, config, name }
    }

    /// From now on the node has what the others leave it; to be called before the first input.
    pub(crate) fn join_limiter(&self, membership: Membership) {
        self.lock().state.start_with_nothing();
        let taken = self.membership.set(membership);
        debug_assert!(taken.is_ok(), "a node has one membership");
    }

    pub(crate) fn connector(&self) -> &K {
        &self.connector
    }

    pub(crate) fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.runtime
    }

    pub(crate) fn config(&self) -> &NodeConfig {
        &self.config
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn status(&self) -> NodeStatus {
        let now = self.runtime.now();
        self.lock().state.status(now)
    }

    /// The counts of the node, for checkers that look at every step.
    #[cfg(feature = "testing")]
    pub(crate) fn counts(&self) -> CheckerCounts {
        self.lock().state.counts()
    }

    #[cfg(feature = "testing")]
    pub(crate) fn coverage(&self) -> crate::state::Coverage {
        self.lock().state.coverage()
    }

    pub(crate) fn is_retired(&self, id: ConnId) -> bool {
        self.lock().state.is_retired(id)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.lock().state.is_open()
    }

    /// Books one fact.
    pub(crate) fn put(&self, input: Input<K::Connection>) {
        self.enter(|inner, now| inner.state.handle(now, input));
    }

    /// The fast path of a get: no clock, no allocation, nobody to wake.
    pub(crate) fn take_idle(&self) -> Option<Loan<K::Connection>> {
        loop {
            if self.has_waiters.load(Ordering::Relaxed) {
                return None;
            }
            let mut loan = self.lock().state.take_idle()?;
            if self.is_sound(&mut loan) {
                return Some(loan);
            }
            self.put(Input::Release(loan, ReleaseKind::Stale));
        }
    }

    /// Takes a connection back from its borrower; the fast path needs no clock and no allocation.
    pub(crate) fn give_back(&self, mut loan: Loan<K::Connection>) {
        let kind = self.inspect(&mut loan);
        let rest = match kind {
            ReleaseKind::Sound => self.put_back(loan),
            ReleaseKind::Broken(_) | ReleaseKind::Stale | ReleaseKind::Silent | ReleaseKind::Soiled => Some(loan),
        };
        if let Some(loan) = rest {
            self.put(Input::Release(loan, kind));
        }
    }

    /// Takes a connection back that its borrower does not want to be lent again.
    pub(crate) fn discard(&self, loan: Loan<K::Connection>) {
        self.put(Input::Release(loan, ReleaseKind::Broken(CloseReason::Discarded)));
    }

    /// The fast path of a return, and the waiter that it serves.
    fn put_back(&self, loan: Loan<K::Connection>) -> Option<Loan<K::Connection>> {
        let mut inner = self.lock();
        match inner.state.put_back(loan) {
            Returned::Idle => None,
            Returned::HandedOver(waiter) => {
                let waker = entry(&mut inner.waiters, waiter.slot()).take();
                self.note_waiters(&inner);
                drop(inner);
                waker.into_iter().for_each(wake);
                None
            }
            Returned::Refused(loan) => Some(loan),
        }
    }

    /// Asks for a connection; if there is none, `waker` is woken when the outcome is there.
    pub(crate) fn acquire(&self, deadline: impl FnOnce(Instant) -> Instant, waker: &Waker) -> Acquired<K::Connection> {
        self.enlist_waiter(waker, |state, now| state.acquire(now, deadline(now)))
    }

    /// Waits for something else than a connection.
    pub(crate) fn wait_for(
        &self,
        want: WaitKind,
        deadline: impl FnOnce(Instant) -> Instant,
        waker: &Waker,
    ) -> Acquired<K::Connection> {
        self.enlist_waiter(waker, |state, now| state.wait_for(now, want, deadline(now)))
    }

    /// Gives a granted connection back as broken and takes the same place in the queue again.
    pub(crate) fn refuse(&self, loan: Loan<K::Connection>, place: QueuePosition, waker: &Waker) -> Acquired<K::Connection> {
        self.enlist_waiter(waker, |state, now| state.refuse(now, loan, place))
    }

    /// The outcome of a wait, or a note whom to wake when it is there.
    pub(crate) fn collect(&self, id: WaiterId, waker: &Waker) -> Option<Outcome<K::Connection>> {
        // Mostly it is there: that is why whoever asks was woken.
        let outcome = self.lock().state.take_outcome(id);
        if outcome.is_some() {
            return outcome;
        }
        let mut latest = Some(waker.clone());
        let mut inner = self.lock();
        let outcome = inner.state.take_outcome(id);
        if outcome.is_none() {
            std::mem::swap(entry(&mut inner.waiters, id.slot()), &mut latest);
        }
        // `latest` now holds the waker that is not needed any more; it is dropped after the lock.
        drop(inner);
        outcome
    }

    /// A waiter has left.
    pub(crate) fn cancel(&self, id: WaiterId) {
        let mut inner = self.lock();
        if inner.state.leave_queue(id) {
            let waker = entry(&mut inner.waiters, id.slot()).take();
            self.note_waiters(&inner);
            drop(inner);
            drop(waker);
            return;
        }
        drop(inner);
        let waker = self.enter(|inner, now| {
            inner.state.handle(now, Input::Cancel(id));
            entry(&mut inner.waiters, id.slot()).take()
        });
        drop(waker);
    }

    /// A connection that idles now, or why there is none.
    pub(crate) fn try_acquire(&self) -> Result<Loan<K::Connection>, Outcome<K::Connection>> {
        loop {
            if let Some(loan) = self.take_idle() {
                return Ok(loan);
            }
            // One may have come back since.
            let mut loan = self.enter(|inner, now| inner.state.try_acquire(now))?;
            if self.is_sound(&mut loan) {
                return Ok(loan);
            }
            self.put(Input::Release(loan, ReleaseKind::Stale));
        }
    }

    /// A dial has succeeded.
    pub(crate) fn connected(&self, ticket: Ticket, conn: K::Connection, abort_handle: Option<AbortHandle>) {
        let id = ticket.id;
        let previous = self.enter(|inner, now| {
            inner.state.handle(now, Input::Connected(ticket, conn));
            std::mem::replace(entry(&mut inner.abort_handles, id.slot()), abort_handle.map(|abort_handle| (id, abort_handle)))
        });
        let _ = catch_unwind(AssertUnwindSafe(|| drop(previous)));
    }

    /// Notes the waker of a connect or check; false if it is to stop because the pool is closed.
    pub(crate) fn enlist_job(&self, id: ConnId, waker: &Waker) -> bool {
        let mut waker = Some(waker.clone());
        let mut inner = self.lock();
        let open = inner.state.is_open();
        if open {
            std::mem::swap(entry(&mut inner.jobs, id.slot()), &mut waker);
        }
        drop(inner);
        open
    }

    /// The driver asks what to do and goes to sleep.
    pub(crate) fn next_step(&self, waker: &Waker) -> DriverStep<K::Connection> {
        let waker = waker.clone();
        // Before it looks: what comes afterwards wakes it.
        let previous = self.membership.get().and_then(|membership| membership.listen(waker.clone()));
        drop(previous);
        let now = self.runtime.now();
        let mut effects = Effects::new();
        let mut inner = self.lock();
        if inner.driver.is_gone() {
            drop(inner);
            return DriverStep { actions: Vec::new(), next: DriverNext::End };
        }
        let old = std::mem::replace(&mut inner.driver, DriverState::Busy);
        if inner.state.next_deadline().is_some_and(|at| at <= now) {
            inner.state.handle(now, Input::Tick);
        }
        self.report_demand(&mut inner, now, &mut effects);
        inner.collect(&mut effects);
        let actions: Vec<_> = std::iter::from_fn(|| inner.state.poll_action()).collect();
        let until = inner.state.next_deadline();
        let next = if inner.state.is_finished() && actions.is_empty() {
            inner.driver = DriverState::Gone(DriverEnd::Retired);
            DriverNext::End
        } else {
            inner.driver = DriverState::Asleep { waker, until };
            DriverNext::Sleep { until }
        };
        self.note_waiters(&inner);
        drop(inner);
        drop(old);
        self.run(effects);
        DriverStep { actions, next }
    }

    /// The last handle is gone: idle connections are closed here and now. A close that is under way goes on to its
    /// deadline.
    pub(crate) fn abandon(&self) {
        let was_open = self.enter(|inner, _| {
            inner.handles = Handles::Dropped;
            inner.state.is_open()
        });
        if was_open {
            self.retire_driver();
        }
    }

    /// The driver is not needed any more: the pool closes, and whoever comes through the node does the rest.
    fn retire_driver(&self) {
        self.end_driver(DriverEnd::Retired);
    }

    /// The driver was dropped before its end, because its runtime has ended: the pool closes, and its callers are told why,
    /// unless it was closing already.
    pub(crate) fn lose_driver(&self) {
        self.end_driver(DriverEnd::RuntimeEnded);
    }

    fn end_driver(&self, end: DriverEnd) {
        let old = self.enter(|inner, now| {
            let end = if inner.state.is_open() { end } else { DriverEnd::Retired };
            inner.state.handle(now, Input::DriverLost);
            std::mem::replace(&mut inner.driver, DriverState::Gone(end))
        });
        if let DriverState::Asleep { waker, .. } = old {
            waker.wake();
        }
    }

    /// Whether the pool has closed because its runtime has ended.
    pub(crate) fn has_lost_runtime(&self) -> bool {
        matches!(self.lock().driver, DriverState::Gone(DriverEnd::RuntimeEnded))
    }

    /// The first step of a close: the pool lends nothing any more. What follows from it is left for
    /// [`tell_close`](Self::tell_close), so that other pools can be closed before anything comes back.
    pub(crate) fn begin_close(&self, force_at: Instant) -> Effects<K::Connection> {
        let now = self.runtime.now();
        let mut effects = Effects::new();
        let mut inner = self.lock();
        inner.state.handle(now, Input::Close { force_at: Some(force_at) });
        self.report_demand(&mut inner, now, &mut effects);
        inner.collect(&mut effects);
        self.note_waiters(&inner);
        effects
    }

    /// The second step of a close.
    pub(crate) fn tell_close(&self, effects: Effects<K::Connection>) {
        self.run(effects);
        // A panic of a user's costs nothing but what it was to end.
        let _ = catch_unwind(AssertUnwindSafe(|| self.connector.pool_closing()));
    }

    /// Closes a connection and says so to the node's state.
    pub(crate) fn close(&self, closing: Closing, conn: K::Connection, reason: CloseReason) {
        // A panic in a user's close costs nothing but the connection.
        let _ = catch_unwind(AssertUnwindSafe(|| self.connector.close(conn, reason)));
        let abort_handle = self.closed(closing);
        let _ = catch_unwind(AssertUnwindSafe(|| drop(abort_handle)));
    }

    /// A connection counts no more; its abort handle is not needed any more.
    fn closed(&self, closing: Closing) -> Option<AbortHandle> {
        self.enter(|inner, now| {
            let abort_handle = closing.id.and_then(|id| inner.take_abort_handle(id));
            inner.state.handle(now, Input::Closed(closing));
            abort_handle
        })
    }

    /// Ends a connection that is on loan and says so to the node's state.
    pub(crate) fn kill(&self, closing: Closing) {
        let abort_handle = closing.id.and_then(|id| self.lock().take_abort_handle(id));
        if let Some(kill) = abort_handle {
            let _ = catch_unwind(AssertUnwindSafe(kill));
        }
        self.put(Input::Closed(closing));
    }

    pub(crate) fn connect_failed(&self, ticket: Ticket, message: String, kind: DialFailureKind) {
        self.put(Input::ConnectFailed(ticket, DialFailure { message, kind }));
    }

    pub(crate) fn checked(&self, checkup: Checkup<K::Connection>, result: CheckResult) {
        self.put(Input::Checked(checkup, result));
    }

    /// What is to be said of a connection that a borrower gives back; outside the lock, and a panic means that it is not to
    /// be lent again.
    fn inspect(&self, loan: &mut Loan<K::Connection>) -> ReleaseKind {
        // One guard for both questions, and no more for most connections: a panic is told apart by what was asked last.
        let mut asked_residue = false;
        let seen = catch_unwind(AssertUnwindSafe(|| {
            let conn = &mut loan.conn;
            if self.connector.is_broken(conn) {
                return None;
            }
            asked_residue = true;
            Some(self.connector.residue(conn))
        }));
        match seen {
            Ok(Some(Residue::None)) => ReleaseKind::Sound,
            Ok(Some(Residue::Removable)) => ReleaseKind::Soiled,
            Ok(Some(Residue::Lasting)) => ReleaseKind::Broken(CloseReason::Unclean),
            Ok(Some(Residue::Oversized)) => ReleaseKind::Broken(CloseReason::Oversized),
            Ok(None) => self.ailment(loan),
            Err(_) if asked_residue => ReleaseKind::Broken(CloseReason::Unclean),
            Err(_) => ReleaseKind::Broken(CloseReason::Broken),
        }
    }

    /// Whether a connection is fit to be lent; outside the lock, and a panic means that it is not.
    pub(crate) fn is_sound(&self, loan: &mut Loan<K::Connection>) -> bool {
        catch_unwind(AssertUnwindSafe(|| !self.connector.is_broken(&mut loan.conn))).unwrap_or(false)
    }

    /// How a connection is broken.
    #[cold]
    fn ailment(&self, loan: &mut Loan<K::Connection>) -> ReleaseKind {
        match catch_unwind(AssertUnwindSafe(|| self.connector.is_silent(&mut loan.conn))) {
            Ok(true) => ReleaseKind::Silent,
            Ok(false) | Err(_) => ReleaseKind::Broken(CloseReason::Broken),
        }
    }

    /// The error for an outcome that is not a connection.
    pub(crate) fn error(&self, outcome: Outcome<K::Connection>) -> GetClientError {
        let node = self.name.clone();
        match outcome {
            Outcome::TimedOut(failure) => GetClientError::timeout(node, *failure),
            Outcome::Down(failure) => GetClientError::down(node, *failure),
            Outcome::Closed | Outcome::Ready | Outcome::Granted(..) => match self.has_lost_runtime() {
                true => GetClientError::RuntimeEnded { node },
                false => GetClientError::Closed { node },
            },
        }
    }

    fn enlist_waiter(
        &self,
        waker: &Waker,
        ask: impl FnOnce(&mut NodeState<K::Connection>, Instant) -> Acquired<K::Connection>,
    ) -> Acquired<K::Connection> {
        let mut waker = Some(waker.clone());
        let acquired = self.enter(|inner, now| {
            if inner.driver.is_gone() {
                // Nobody would end the wait.
                return Acquired::Closed;
            }
            let acquired = ask(&mut inner.state, now);
            if let Acquired::Waiting(id) = acquired {
                std::mem::swap(entry(&mut inner.waiters, id.slot()), &mut waker);
            }
            acquired
        });
        drop(waker);
        acquired
    }

    /// The one way through the node.
    fn enter<R>(&self, put: impl FnOnce(&mut NodeInner<K::Connection>, Instant) -> R) -> R {
        let now = self.runtime.now();
        let mut effects = Effects::new();
        let mut inner = self.lock();
        let result = put(&mut inner, now);
        self.report_demand(&mut inner, now, &mut effects);
        inner.collect(&mut effects);
        self.note_waiters(&inner);
        drop(inner);
        self.run(effects);
        result
    }

    /// Tells the other nodes what this one has and would have, and the node's state what they leave it, until both agree.
    #[inline]
    fn report_demand(&self, inner: &mut NodeInner<K::Connection>, now: Instant, effects: &mut Effects<K::Connection>) {
        if let Some(membership) = self.membership.get() {
            agree(membership, &mut inner.state, now, effects);
        }
    }

    /// Written only when it changes: others read it all the time.
    fn note_waiters(&self, inner: &NodeInner<K::Connection>) {
        let has_waiters = inner.state.has_waiters();
        if self.has_waiters.load(Ordering::Relaxed) != has_waiters {
            self.has_waiters.store(has_waiters, Ordering::Relaxed);
        }
    }

    #[inline(always)]
    fn run(&self, effects: Effects<K::Connection>) {
        // Mostly there is nothing to do.
        if effects.first_waker.is_some() || !effects.wakers.is_empty() || !effects.actions.is_empty() {
            self.do_all(effects);
        }
    }

    fn do_all(&self, effects: Effects<K::Connection>) {
        effects.first_waker.into_iter().for_each(wake);
        effects.wakers.into_iter().for_each(wake);
        for action in effects.actions {
            match action {
                Action::Close(closing, conn, reason) => self.close(closing, conn, reason),
                Action::Kill(closing) => self.kill(closing),
                Action::Connect(ticket) => self.connect_failed(ticket, gone(), DialFailureKind::Passing),
                Action::Check(checkup) | Action::Clean(checkup) => self.checked(checkup, CheckResult::Failed(gone())),
            }
        }
    }

    #[inline]
    fn lock(&self) -> MutexGuard<'_, NodeInner<K::Connection>> {
        #[cfg(not(any(loom, shuttle)))]
        if let Ok(inner) = self.inner.try_lock() {
            return inner;
        }
        self.lock_later()
    }

    /// Waits for the lock: spinning at first, in ever longer pauses, for it is held for a fraction of a microsecond, and to
    /// sleep and be woken costs many; a pause leaves its cache line to the core that works on it.
    #[cold]
    fn lock_later(&self) -> MutexGuard<'_, NodeInner<K::Connection>> {
        #[cfg(not(any(loom, shuttle)))]
        for round in 0..SPIN_ROUNDS {
            (0..1 << round).for_each(|_| std::hint::spin_loop());
            if let Ok(inner) = self.inner.try_lock() {
                return inner;
            }
        }
        // Only a broken invariant panics under the lock; the node's state's plain values are then as good as they get.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C> NodeInner<C> {
    /// A slot may belong to the next connection by now, which keeps its own.
    fn take_abort_handle(&mut self, id: ConnId) -> Option<AbortHandle> {
        entry(&mut self.abort_handles, id.slot()).take_if(|(owner, _)| *owner == id).map(|(_, abort_handle)| abort_handle)
    }

    /// Takes the node's state's outputs: whom to wake, and the driver if there is something for it.
    fn collect(&mut self, effects: &mut Effects<C>) {
        while let Some(id) = self.state.poll_wake() {
            if let Some(waker) = entry(&mut self.waiters, id.slot()).take() {
                effects.wake(waker);
            }
        }
        if !self.state.is_open() {
            // All of them, once: no job is listed any more.
            effects.wakers.extend(std::mem::take(&mut self.jobs).into_iter().flatten());
        }
        if self.driver.is_gone() || self.handles == Handles::Dropped {
            effects.actions.extend(std::iter::from_fn(|| self.state.poll_action()));
        }
        match &self.driver {
            DriverState::Busy => {}
            DriverState::Asleep { until, .. } => {
                let sooner = match (self.state.next_deadline(), until) {
                    (Some(next), Some(until)) => next < *until,
                    (Some(_), None) => true,
                    (None, _) => false,
                };
                if (sooner || self.state.has_actions() || self.state.is_finished())
                    && let DriverState::Asleep { waker, .. } = std::mem::replace(&mut self.driver, DriverState::Busy)
                {
                    effects.wake(waker);
                }
            }
            DriverState::Gone(_) => {}
        }
    }
}

impl<C> Effects<C> {
    fn new() -> Self {
        Self { first_waker: None, wakers: Vec::new(), actions: Vec::new() }
    }

    fn wake(&mut self, waker: Waker) {
        match self.first_waker {
            None => self.first_waker = Some(waker),
            Some(_) => self.wakers.push(waker),
        }
    }
}

impl<K: Connector> MonitorTarget for Node<K> {
    fn died(&self, id: ConnId) {
        self.put(Input::Died(id));
    }

    fn distrusted(&self, id: ConnId, why: &str) {
        self.put(Input::Distrusted(id, String::from(why)));
    }

    fn outdated(&self, id: ConnId, why: &str) {
        self.put(Input::Outdated(id, String::from(why)));
    }
}

impl<K: Connector> fmt::Debug for Node<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A waker that panics must keep nobody else from being woken.
fn wake(waker: Waker) {
    let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
}

/// Each round in which something changes has dials ordered or idle connections closed, or is the last but one.
#[cold]
fn agree<C>(membership: &Membership, state: &mut NodeState<C>, now: Instant, effects: &mut Effects<C>) {
    loop {
        let demand = state.demand();
        let quota = membership.report(demand, |driver| effects.wake(driver));
        if quota == state.quota() {
            return state.note_agreement(&demand);
        }
        state.handle(now, Input::Quota(quota));
    }
}

fn gone() -> String {
    String::from("the runtime has ended")
}

/// The entry of a table by slot, which grows as needed: by a quarter, so that little of a large one is unused.
fn entry<T>(table: &mut Vec<Option<T>>, slot: u32) -> &mut Option<T> {
    let slot = slot as usize;
    if table.len() <= slot {
        if table.capacity() <= slot {
            table.reserve_exact((slot + 1 - table.len()).max(table.len() / 4).max(16));
        }
        table.resize_with(slot + 1, || None);
    }
    &mut table[slot]
}
