//! The shared node: read the clock, lock, put one input into the node's state, take its outputs, unlock, then act.
//!
//! Nothing of a user's runs under the lock: no waker is woken, cloned or dropped there, no connection is asked or closed.
//!
//! Here are [`Node`], its one entry `enter`, and the operations. `inner` is what the lock guards, `lock` the lock, `slot_table`
//! the tables of wakers; `handshake` is when the driver sleeps, `inspection` what a connection is asked, and `effects` what is
//! left to do once the lock is open; `questions` has what is asked and changes nothing; `causes` has the connector's errors, `errors` those that callers get, `closing`
//! has the operations that end a node and its connections.

mod causes;
mod closing;
mod effects;
mod errors;
mod handshake;
mod inner;
mod inspection;
mod lock;
mod questions;
mod slot_table;

use std::error::Error;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::task::Waker;

use crate::close_reason::CloseReason;
use crate::config::NodeConfig;
use crate::connection_limiter::Membership;
use crate::connection_monitor::MonitorTarget;
use crate::connector::{AbortHandle, Connector};
use crate::guard::{discard, guarded, wake};
use crate::runtime::Runtime;
use crate::state::{
    Acquired, Action, CheckResult, Checkup, ConnId, DialFailure, DialFailureKind, Event, Input, Loan, Outcome, QueuePosition,
    ReleaseKind, Returned, Ticket, WaitError, WaitKind, WaiterId,
};
use crate::sync::{AtomicBool, MutexGuard, Ordering};
use crate::time::Instant;

use self::causes::Causes;
pub(crate) use self::effects::Effects;
pub(crate) use self::handshake::{DriverNext, DriverStep};
use self::inner::NodeInner;
use self::lock::SpinLock;

/// One node: its state behind a lock, and all that acts for it.
pub(crate) struct Node<K: Connector> {
    inner: SpinLock<NodeInner<K::Connection>>,
    /// Whether there were waiters when the lock was last opened: a hint that saves the lock.
    has_waiters: AtomicBool,
    /// Its place among the nodes that share a limit, if there is one; taken before the first input.
    membership: OnceLock<Membership>,
    causes: Causes,
    connector: K,
    runtime: Arc<dyn Runtime>,
    config: NodeConfig,
    name: String,
}

impl<K: Connector> Node<K> {
    pub(crate) fn new(connector: K, config: NodeConfig, runtime: Arc<dyn Runtime>) -> Self {
        let inner = SpinLock::new(NodeInner::new(config.clone(), runtime.seed()));
        let name = guarded(|| connector.name()).unwrap_or_else(|| String::from("node"));
        let has_waiters = AtomicBool::new(false);
        Self { inner, has_waiters, membership: OnceLock::new(), causes: Causes::new(), connector, runtime, config, name }
    }

    /// From now on the node has what the others leave it; to be called before the first input.
    pub(crate) fn join_limiter(&self, membership: Membership) {
        self.inner.lock().start_with_nothing();
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

    /// Books one fact.
    pub(crate) fn put(&self, input: Input<K::Connection>) {
        self.enter(|inner, now| inner.handle(now, input));
    }

    /// The fast path of a get: no clock, no allocation, no wake.
    pub(crate) fn take_idle(&self) -> Option<Loan<K::Connection>> {
        loop {
            if self.has_waiters.load(Ordering::Relaxed) {
                return None;
            }
            let mut inner = self.inner.lock();
            let mut loan = inner.take_idle()?;
            if inner.state().wants_use_timed() || inner.state().lacks_idle() {
                self.follow_up(inner, loan.id());
            } else {
                drop(inner);
            }
            if self.is_sound(&mut loan) {
                return Some(loan);
            }
            self.put(Input::Release(loan, ReleaseKind::Stale));
        }
    }

    /// What the fast path of a get leaves to be done: it has connections dialled, so that `min_idle` of them idle again, and
    /// notes when a lease begins that is to be timed.
    #[cold]
    #[inline(never)]
    fn follow_up(&self, inner: MutexGuard<'_, NodeInner<K::Connection>>, id: ConnId) {
        let (is_timed, lacks_idle) = (inner.state().wants_use_timed(), inner.state().lacks_idle());
        // A clock is somebody else's code.
        drop(inner);
        if is_timed {
            let now = self.runtime.now();
            self.inner.lock().begin_use(now, id);
        }
        if lacks_idle {
            self.put(Input::Tick);
        }
    }

    /// Takes a connection back from its borrower; the fast path needs no clock and no allocation.
    pub(crate) fn give_back(&self, mut loan: Loan<K::Connection>) {
        let kind = inspection::release_kind(&self.connector, &mut loan);
        let rest = if kind == ReleaseKind::Sound { self.put_back(loan) } else { Some(loan) };
        if let Some(loan) = rest {
            self.put(Input::Release(loan, kind));
        }
    }

    /// Takes a connection back that its borrower does not want to be lent again.
    pub(crate) fn discard(&self, loan: Loan<K::Connection>) {
        self.put(Input::Release(loan, ReleaseKind::Broken(CloseReason::Discarded)));
    }

    /// The fast path of a return, and the waiter that it serves. The connection comes back if there is more to do.
    fn put_back(&self, mut loan: Loan<K::Connection>) -> Option<Loan<K::Connection>> {
        let mut inner = self.inner.lock();
        loop {
            loan = match inner.put_back(loan) {
                Returned::Idle => return None,
                Returned::HandedOver(waiter) => {
                    let waker = inner.take_waker(waiter);
                    self.note_waiters(&inner);
                    drop(inner);
                    waker.into_iter().for_each(wake);
                    return None;
                }
                Returned::Refused(loan) if inner.state().is_use_timed(loan.id()) => {
                    drop(inner);
                    inner = self.end_use(loan.id());
                    loan
                }
                Returned::Refused(loan) => return Some(loan),
            };
        }
    }

    /// Ends the use of a connection whose lease is timed, with a look at the clock outside the lock.
    #[cold]
    #[inline(never)]
    fn end_use(&self, id: ConnId) -> MutexGuard<'_, NodeInner<K::Connection>> {
        let now = self.runtime.now();
        let mut inner = self.inner.lock();
        inner.end_use(now, id);
        inner
    }

    /// Asks for a connection; if there is none, `waker` is woken when the outcome is there.
    pub(crate) fn acquire(&self, deadline: impl FnOnce(Instant) -> Instant, waker: &Waker) -> Acquired<K::Connection> {
        self.enlist_waiter(waker, |inner, now, waker| inner.acquire(now, deadline(now), waker))
    }

    /// Waits for something else than a connection.
    pub(crate) fn wait_for(
        &self,
        want: WaitKind,
        deadline: impl FnOnce(Instant) -> Instant,
        waker: &Waker,
    ) -> Acquired<K::Connection> {
        self.enlist_waiter(waker, |inner, now, waker| inner.wait_for(now, want, deadline(now), waker))
    }

    /// Gives a granted connection back as broken and takes the same place in the queue again.
    pub(crate) fn refuse(&self, loan: Loan<K::Connection>, place: QueuePosition, waker: &Waker) -> Acquired<K::Connection> {
        let mut waker = Some(waker.clone());
        let acquired = self.enter(|inner, now| inner.refuse(now, loan, place, &mut waker));
        drop(waker);
        acquired
    }

    /// The outcome of a wait, or a note of the waker for when it is there.
    pub(crate) fn collect(&self, id: WaiterId, waker: &Waker) -> Option<Outcome<K::Connection>> {
        let now = self.runtime.now();
        // Mostly it is there: that is why the caller was woken.
        let outcome = self.inner.lock().take_outcome(now, id);
        if outcome.is_some() {
            return outcome;
        }
        let mut latest = Some(waker.clone());
        let outcome = self.inner.lock().collect_outcome(now, id, &mut latest);
        // Outside the lock: now the waker that is not needed any more.
        drop(latest);
        outcome
    }

    /// A waiter has left.
    pub(crate) fn cancel(&self, id: WaiterId) {
        let mut inner = self.inner.lock();
        if inner.leave_queue(id) {
            let waker = inner.take_waker(id);
            self.note_waiters(&inner);
            drop(inner);
            drop(waker);
            return;
        }
        drop(inner);
        let waker = self.enter(|inner, now| {
            inner.handle(now, Input::Cancel(id));
            inner.take_waker(id)
        });
        drop(waker);
    }

    /// A connection that idles now, or why there is none.
    pub(crate) fn try_acquire(&self) -> Result<Loan<K::Connection>, WaitError> {
        loop {
            if let Some(loan) = self.take_idle() {
                return Ok(loan);
            }
            // One may have come back since.
            let mut loan = self.enter(|inner, now| inner.try_acquire(now))?;
            if self.is_sound(&mut loan) {
                return Ok(loan);
            }
            self.put(Input::Release(loan, ReleaseKind::Stale));
        }
    }

    /// A dial has succeeded.
    pub(crate) fn connected(&self, ticket: Ticket, conn: K::Connection, abort_handle: Option<AbortHandle>) {
        discard(self.enter(|inner, now| inner.connected(now, ticket, conn, abort_handle)));
    }

    /// Notes the waker of a connect or check; false if it is to stop because the pool is closed.
    pub(crate) fn enlist_job(&self, id: ConnId, waker: &Waker) -> bool {
        let mut waker = Some(waker.clone());
        let open = self.inner.lock().enlist_job(id, &mut waker);
        // Outside the lock: now the waker that is not needed any more.
        drop(waker);
        open
    }

    /// The driver asks what to do and goes to sleep.
    pub(crate) fn next_step(&self, waker: &Waker) -> DriverStep<K::Connection> {
        // Before it looks: what comes afterwards wakes it.
        let previous = self.membership.get().and_then(|membership| membership.listen(waker.clone()));
        drop(previous);
        let mut waker = Some(waker.clone());
        let now = self.runtime.now();
        let mut effects = Effects::new();
        let mut inner = self.inner.lock();
        let (step, previous) = inner.next_step(now, &mut waker, self.membership.get(), &mut effects);
        self.note_waiters(&inner);
        drop(inner);
        drop((waker, previous));
        self.run(effects);
        step
    }

    /// A dial has failed without an error of the connector.
    pub(crate) fn connect_failed(&self, ticket: Ticket, message: String, kind: DialFailureKind) {
        self.put(Input::ConnectFailed(ticket, DialFailure::new(message, kind)));
    }

    /// A dial has failed with an error of the connector, which the state gets as text: what is the user's stays outside the
    /// lock.
    pub(crate) fn connect_refused(&self, ticket: Ticket, failure: DialFailure, cause: Arc<dyn Error + Send + Sync>) {
        self.causes.keep(&failure.message, cause);
        self.put(Input::ConnectFailed(ticket, failure));
    }

    pub(crate) fn checked(&self, checkup: Checkup<K::Connection>, result: CheckResult) {
        self.put(Input::Checked(checkup, result));
    }

    /// Whether a connection is fit to be lent; asked outside the lock.
    pub(crate) fn is_sound(&self, loan: &mut Loan<K::Connection>) -> bool {
        inspection::is_fit(&self.connector, loan)
    }

    fn enlist_waiter(
        &self,
        waker: &Waker,
        ask: impl FnOnce(&mut NodeInner<K::Connection>, Instant, &mut Option<Waker>) -> Acquired<K::Connection>,
    ) -> Acquired<K::Connection> {
        let mut waker = Some(waker.clone());
        let acquired = self.enter(|inner, now| ask(inner, now, &mut waker));
        drop(waker);
        acquired
    }

    /// The one way through the node.
    fn enter<R>(&self, put: impl FnOnce(&mut NodeInner<K::Connection>, Instant) -> R) -> R {
        let now = self.runtime.now();
        let mut effects = Effects::new();
        let mut inner = self.inner.lock();
        let result = put(&mut inner, now);
        inner.collect(now, self.membership.get(), &mut effects);
        self.note_waiters(&inner);
        drop(inner);
        self.run(effects);
        result
    }

    /// Written only when it changes: others read it all the time.
    fn note_waiters(&self, inner: &NodeInner<K::Connection>) {
        let has_waiters = inner.state().has_waiters();
        if self.has_waiters.load(Ordering::Relaxed) != has_waiters {
            self.has_waiters.store(has_waiters, Ordering::Relaxed);
        }
    }

    #[inline(always)]
    fn run(&self, effects: Effects<K::Connection>) {
        effects.run(|event| self.observe(&event), |action| self.perform(action));
    }

    fn observe(&self, event: &Event) {
        if let Some(observer) = self.config.observer() {
            let _ = guarded(|| observer.event(&self.name, event));
        }
    }

    /// Performs an action for which there is no driver.
    fn perform(&self, action: Action<K::Connection>) {
        let gone = || String::from("the runtime has ended");
        match action {
            Action::Close(closing, conn, reason) => self.close(closing, conn, reason),
            Action::Kill(closing) => self.kill(closing),
            Action::Connect(ticket) => self.connect_failed(ticket, gone(), DialFailureKind::Passing),
            Action::Check(checkup) | Action::Clean(checkup) => self.checked(checkup, CheckResult::Failed(gone())),
        }
    }
}

impl<K: Connector> MonitorTarget for Node<K> {
    fn died(&self, id: ConnId, why: Option<&str>) {
        self.put(match why {
            None => Input::Died(id),
            Some(why) => Input::DiedOf(id, String::from(why)),
        });
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
