//! The door of a node: read the clock, lock, put one input into the ledger, take its outputs, unlock, then act.
//!
//! Nothing of a user's runs under the lock: no waker is woken, cloned or dropped there, no connection is asked or closed.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::task::Waker;

use crate::alarm::Alarmed;
use crate::budget::Seat;
use crate::config::NodeConfig;
use crate::connector::{CloseReason, Connector, KillSwitch, Residue};
use crate::error::GetClientError;
use crate::runtime::Runtime;
#[cfg(feature = "testing")]
pub(crate) use crate::state::Counts;
use crate::state::{
    Acquired, Action, Checkup, Closing, ConnId, Failure, FailureKind, Finding, Input, Ledger, Loan, NodeStatus, Outcome, Place,
    Returned, Ticket, Verdict, WaiterId, Want,
};
use crate::sync::{AtomicBool, Mutex, MutexGuard, Ordering, PoisonError};
use crate::time::Instant;

/// Rounds of spinning before a thread sleeps, of 1, 2, 4 to 512 pauses of the processor. Measured with 16 tasks that never
/// wait on two busy cores: with rounds that grow like these 1.3 to 1.5 times as many cycles as without any; with short rounds,
/// however many, fewer than without.
#[cfg(not(any(loom, shuttle)))]
const SPIN_ROUNDS: u32 = 10;

/// One node: the ledger behind its lock, and all that acts for it.
pub(crate) struct Door<K: Connector> {
    inner: Mutex<Inner<K::Connection>>,
    /// Whether somebody waited for a connection when the lock was last opened: a hint, so that nobody locks in vain.
    crowded: AtomicBool,
    /// Its place among the nodes that share a limit, if there is one; taken before the first input.
    seat: OnceLock<Seat>,
    connector: K,
    runtime: Arc<dyn Runtime>,
    config: NodeConfig,
    name: String,
}

struct Inner<C> {
    ledger: Ledger<C>,
    /// Whom to wake, by the slot of the waiter.
    waiters: Vec<Option<Waker>>,
    /// Connects and checks under way, by the slot of the connection; woken when the pool closes.
    jobs: Vec<Option<Waker>>,
    /// By the slot of the connection, for the one that it was given for.
    kill_switches: Vec<Option<(ConnId, KillSwitch)>>,
    driver: Driver,
    handles: Handles,
}

/// Whether anybody can still ask for a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Handles {
    Held,
    /// The door lives only as long as the lease or the task that comes through it, so that one performs the actions.
    Dropped,
}

/// What the door knows of its driver.
///
/// ```text
///  Busy <--> Asleep --> Gone        its work is then done by whoever comes through the door
/// ```
enum Driver {
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

impl Driver {
    /// Whether nobody puts in ticks any more.
    fn is_gone(&self) -> bool {
        matches!(self, Self::Gone(_))
    }
}

/// What is left to do after the lock is open again.
pub(crate) struct Errands<C> {
    /// Mostly there is no more than one.
    first_waker: Option<Waker>,
    wakers: Vec<Waker>,
    /// Only if there is no driver to do them.
    actions: Vec<Action<C>>,
}

/// What the driver is to do next.
pub(crate) struct Turn<C> {
    pub(crate) actions: Vec<Action<C>>,
    pub(crate) next: Next,
}

pub(crate) enum Next {
    Sleep { until: Option<Instant> },
    End,
}

impl<K: Connector> Door<K> {
    pub(crate) fn new(connector: K, config: NodeConfig, runtime: Arc<dyn Runtime>) -> Self {
        let inner = Inner {
            ledger: Ledger::new(config.clone(), runtime.seed()),
            waiters: Vec::new(),
            jobs: Vec::new(),
            kill_switches: Vec::new(),
            driver: Driver::Busy,
            handles: Handles::Held,
        };
        let name = catch_unwind(AssertUnwindSafe(|| connector.name())).unwrap_or_else(|_| String::from("node"));
        let (inner, crowded) = (Mutex::new(inner), AtomicBool::new(false));
        Self { inner, crowded, seat: OnceLock::new(), connector, runtime, config, name }
    }

    /// From now on the node has what the others leave it; to be called before the first input.
    pub(crate) fn take_seat(&self, seat: Seat) {
        self.lock().ledger.start_with_nothing();
        let taken = self.seat.set(seat);
        debug_assert!(taken.is_ok(), "a node has one seat");
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
        self.lock().ledger.status(now)
    }

    /// The counts of the node, for checkers that look at every step.
    #[cfg(feature = "testing")]
    pub(crate) fn counts(&self) -> Counts {
        self.lock().ledger.counts()
    }

    #[cfg(feature = "testing")]
    pub(crate) fn marks(&self) -> crate::state::Marks {
        self.lock().ledger.marks()
    }

    pub(crate) fn is_retired(&self, id: ConnId) -> bool {
        self.lock().ledger.is_retired(id)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.lock().ledger.is_open()
    }

    /// Books one fact.
    pub(crate) fn put(&self, input: Input<K::Connection>) {
        self.enter(|inner, now| inner.ledger.handle(now, input));
    }

    /// The fast path of a get: no clock, no allocation, nobody to wake.
    pub(crate) fn take_idle(&self) -> Option<Loan<K::Connection>> {
        loop {
            if self.crowded.load(Ordering::Relaxed) {
                return None;
            }
            let mut loan = self.lock().ledger.take_idle()?;
            if self.is_sound(&mut loan) {
                return Some(loan);
            }
            self.put(Input::Release(loan, Verdict::Stale));
        }
    }

    /// Takes a connection back from its borrower; the fast path needs no clock and no allocation.
    pub(crate) fn give_back(&self, mut loan: Loan<K::Connection>) {
        let verdict = self.inspect(&mut loan);
        let rest = match verdict {
            Verdict::Sound => self.put_back(loan),
            Verdict::Broken(_) | Verdict::Stale | Verdict::Silent | Verdict::Soiled => Some(loan),
        };
        if let Some(loan) = rest {
            self.put(Input::Release(loan, verdict));
        }
    }

    /// Takes a connection back that its borrower does not want to be lent again.
    pub(crate) fn discard(&self, loan: Loan<K::Connection>) {
        self.put(Input::Release(loan, Verdict::Broken(CloseReason::Discarded)));
    }

    /// The fast path of a return, and the waiter that it serves.
    fn put_back(&self, loan: Loan<K::Connection>) -> Option<Loan<K::Connection>> {
        let mut inner = self.lock();
        match inner.ledger.put_back(loan) {
            Returned::Shelved => None,
            Returned::HandedOver(waiter) => {
                let waker = entry(&mut inner.waiters, waiter.slot).take();
                self.note_crowd(&inner);
                drop(inner);
                waker.into_iter().for_each(wake);
                None
            }
            Returned::Refused(loan) => Some(loan),
        }
    }

    /// Asks for a connection; if there is none, `waker` is woken when the outcome is there.
    pub(crate) fn acquire(&self, deadline: impl FnOnce(Instant) -> Instant, waker: &Waker) -> Acquired<K::Connection> {
        self.enlist_waiter(waker, |ledger, now| ledger.acquire(now, deadline(now)))
    }

    /// Waits for something else than a connection.
    pub(crate) fn wait_for(
        &self,
        want: Want,
        deadline: impl FnOnce(Instant) -> Instant,
        waker: &Waker,
    ) -> Acquired<K::Connection> {
        self.enlist_waiter(waker, |ledger, now| ledger.wait_for(now, want, deadline(now)))
    }

    /// Gives a granted connection back as broken and takes the same place in line again.
    pub(crate) fn refuse(&self, loan: Loan<K::Connection>, place: Place, waker: &Waker) -> Acquired<K::Connection> {
        self.enlist_waiter(waker, |ledger, now| ledger.refuse(now, loan, place))
    }

    /// The outcome of a wait, or a note whom to wake when it is there.
    pub(crate) fn collect(&self, id: WaiterId, waker: &Waker) -> Option<Outcome<K::Connection>> {
        // Mostly it is there: that is why whoever asks was woken.
        let outcome = self.lock().ledger.take_outcome(id);
        if outcome.is_some() {
            return outcome;
        }
        let mut latest = Some(waker.clone());
        let mut inner = self.lock();
        let outcome = inner.ledger.take_outcome(id);
        if outcome.is_none() {
            std::mem::swap(entry(&mut inner.waiters, id.slot), &mut latest);
        }
        // `latest` now holds the waker that is not needed any more; it is dropped after the lock.
        drop(inner);
        outcome
    }

    /// A waiter has left.
    pub(crate) fn cancel(&self, id: WaiterId) {
        let mut inner = self.lock();
        if inner.ledger.leave_line(id) {
            let waker = entry(&mut inner.waiters, id.slot).take();
            self.note_crowd(&inner);
            drop(inner);
            drop(waker);
            return;
        }
        drop(inner);
        let waker = self.enter(|inner, now| {
            inner.ledger.handle(now, Input::Cancel(id));
            entry(&mut inner.waiters, id.slot).take()
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
            let mut loan = self.enter(|inner, now| inner.ledger.try_acquire(now))?;
            if self.is_sound(&mut loan) {
                return Ok(loan);
            }
            self.put(Input::Release(loan, Verdict::Stale));
        }
    }

    /// A dial has succeeded.
    pub(crate) fn connected(&self, ticket: Ticket, conn: K::Connection, kill_switch: Option<KillSwitch>) {
        let id = ticket.id;
        let previous = self.enter(|inner, now| {
            inner.ledger.handle(now, Input::Connected(ticket, conn));
            std::mem::replace(entry(&mut inner.kill_switches, id.slot()), kill_switch.map(|kill_switch| (id, kill_switch)))
        });
        let _ = catch_unwind(AssertUnwindSafe(|| drop(previous)));
    }

    /// Notes the waker of a connect or check; false if it is to stop because the pool is closed.
    pub(crate) fn enlist_job(&self, id: ConnId, waker: &Waker) -> bool {
        let mut waker = Some(waker.clone());
        let mut inner = self.lock();
        let open = inner.ledger.is_open();
        if open {
            std::mem::swap(entry(&mut inner.jobs, id.slot()), &mut waker);
        }
        drop(inner);
        open
    }

    /// The driver asks what to do and goes to sleep.
    pub(crate) fn turn(&self, waker: &Waker) -> Turn<K::Connection> {
        let waker = waker.clone();
        // Before it looks: what comes afterwards wakes it.
        let previous = self.seat.get().and_then(|seat| seat.listen(waker.clone()));
        drop(previous);
        let now = self.runtime.now();
        let mut errands = Errands::new();
        let mut inner = self.lock();
        if inner.driver.is_gone() {
            drop(inner);
            return Turn { actions: Vec::new(), next: Next::End };
        }
        let old = std::mem::replace(&mut inner.driver, Driver::Busy);
        if inner.ledger.next_deadline().is_some_and(|at| at <= now) {
            inner.ledger.handle(now, Input::Tick);
        }
        self.share(&mut inner, now, &mut errands);
        inner.collect(&mut errands);
        let actions: Vec<_> = std::iter::from_fn(|| inner.ledger.poll_action()).collect();
        let until = inner.ledger.next_deadline();
        let next = if inner.ledger.is_finished() && actions.is_empty() {
            inner.driver = Driver::Gone(DriverEnd::Retired);
            Next::End
        } else {
            inner.driver = Driver::Asleep { waker, until };
            Next::Sleep { until }
        };
        self.note_crowd(&inner);
        drop(inner);
        drop(old);
        self.run(errands);
        Turn { actions, next }
    }

    /// The last handle is gone: idle connections are closed here and now. A close that is under way goes on to its
    /// deadline.
    pub(crate) fn abandon(&self) {
        let was_open = self.enter(|inner, _| {
            inner.handles = Handles::Dropped;
            inner.ledger.is_open()
        });
        if was_open {
            self.retire_driver();
        }
    }

    /// The driver is not needed any more: the pool closes, and whoever comes through the door does the rest.
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
            let end = if inner.ledger.is_open() { end } else { DriverEnd::Retired };
            inner.ledger.handle(now, Input::DriverLost);
            std::mem::replace(&mut inner.driver, Driver::Gone(end))
        });
        if let Driver::Asleep { waker, .. } = old {
            waker.wake();
        }
    }

    /// Whether the pool has closed because its runtime has ended.
    pub(crate) fn has_lost_runtime(&self) -> bool {
        matches!(self.lock().driver, Driver::Gone(DriverEnd::RuntimeEnded))
    }

    /// The first step of a close: the pool lends nothing any more. What follows from it is left for
    /// [`tell_close`](Self::tell_close), so that other pools can be closed before anything comes back.
    pub(crate) fn begin_close(&self, force_at: Instant) -> Errands<K::Connection> {
        let now = self.runtime.now();
        let mut errands = Errands::new();
        let mut inner = self.lock();
        inner.ledger.handle(now, Input::Close { force_at: Some(force_at) });
        self.share(&mut inner, now, &mut errands);
        inner.collect(&mut errands);
        self.note_crowd(&inner);
        errands
    }

    /// The second step of a close.
    pub(crate) fn tell_close(&self, errands: Errands<K::Connection>) {
        self.run(errands);
        // A panic of a user's costs nothing but what it was to end.
        let _ = catch_unwind(AssertUnwindSafe(|| self.connector.pool_closing()));
    }

    /// Closes a connection and says so to the ledger.
    pub(crate) fn close(&self, closing: Closing, conn: K::Connection, reason: CloseReason) {
        // A panic in a user's close costs nothing but the connection.
        let _ = catch_unwind(AssertUnwindSafe(|| self.connector.close(conn, reason)));
        let kill_switch = self.closed(closing);
        let _ = catch_unwind(AssertUnwindSafe(|| drop(kill_switch)));
    }

    /// A connection counts no more; its kill switch is not needed any more.
    fn closed(&self, closing: Closing) -> Option<KillSwitch> {
        self.enter(|inner, now| {
            let kill_switch = closing.id.and_then(|id| inner.take_kill_switch(id));
            inner.ledger.handle(now, Input::Closed(closing));
            kill_switch
        })
    }

    /// Ends a connection that is on loan and says so to the ledger.
    pub(crate) fn kill(&self, closing: Closing) {
        let kill_switch = closing.id.and_then(|id| self.lock().take_kill_switch(id));
        if let Some(kill) = kill_switch {
            let _ = catch_unwind(AssertUnwindSafe(kill));
        }
        self.put(Input::Closed(closing));
    }

    pub(crate) fn connect_failed(&self, ticket: Ticket, message: String, kind: FailureKind) {
        self.put(Input::ConnectFailed(ticket, Failure { message, kind }));
    }

    pub(crate) fn checked(&self, checkup: Checkup<K::Connection>, finding: Finding) {
        self.put(Input::Checked(checkup, finding));
    }

    /// What is to be said of a connection that a borrower gives back; outside the lock, and a panic means that it is not to
    /// be lent again.
    fn inspect(&self, loan: &mut Loan<K::Connection>) -> Verdict {
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
            Ok(Some(Residue::None)) => Verdict::Sound,
            Ok(Some(Residue::Removable)) => Verdict::Soiled,
            Ok(Some(Residue::Lasting)) => Verdict::Broken(CloseReason::Unclean),
            Ok(Some(Residue::Oversized)) => Verdict::Broken(CloseReason::Oversized),
            Ok(None) => self.ailment(loan),
            Err(_) if asked_residue => Verdict::Broken(CloseReason::Unclean),
            Err(_) => Verdict::Broken(CloseReason::Broken),
        }
    }

    /// Whether a connection is fit to be lent; outside the lock, and a panic means that it is not.
    pub(crate) fn is_sound(&self, loan: &mut Loan<K::Connection>) -> bool {
        catch_unwind(AssertUnwindSafe(|| !self.connector.is_broken(&mut loan.conn))).unwrap_or(false)
    }

    /// How a connection is broken.
    #[cold]
    fn ailment(&self, loan: &mut Loan<K::Connection>) -> Verdict {
        match catch_unwind(AssertUnwindSafe(|| self.connector.is_silent(&mut loan.conn))) {
            Ok(true) => Verdict::Silent,
            Ok(false) | Err(_) => Verdict::Broken(CloseReason::Broken),
        }
    }

    /// The error for an outcome that is not a connection.
    pub(crate) fn error(&self, outcome: Outcome<K::Connection>) -> GetClientError {
        let node = self.name.clone();
        match outcome {
            Outcome::TimedOut(refusal) => GetClientError::timeout(node, *refusal),
            Outcome::Down(refusal) => GetClientError::down(node, *refusal),
            Outcome::Closed | Outcome::Ready | Outcome::Granted(..) => match self.has_lost_runtime() {
                true => GetClientError::RuntimeEnded { node },
                false => GetClientError::Closed { node },
            },
        }
    }

    fn enlist_waiter(
        &self,
        waker: &Waker,
        ask: impl FnOnce(&mut Ledger<K::Connection>, Instant) -> Acquired<K::Connection>,
    ) -> Acquired<K::Connection> {
        let mut waker = Some(waker.clone());
        let acquired = self.enter(|inner, now| {
            if inner.driver.is_gone() {
                // Nobody would end the wait.
                return Acquired::Closed;
            }
            let acquired = ask(&mut inner.ledger, now);
            if let Acquired::Waiting(id) = acquired {
                std::mem::swap(entry(&mut inner.waiters, id.slot), &mut waker);
            }
            acquired
        });
        drop(waker);
        acquired
    }

    /// The one way through the door.
    fn enter<R>(&self, put: impl FnOnce(&mut Inner<K::Connection>, Instant) -> R) -> R {
        let now = self.runtime.now();
        let mut errands = Errands::new();
        let mut inner = self.lock();
        let result = put(&mut inner, now);
        self.share(&mut inner, now, &mut errands);
        inner.collect(&mut errands);
        self.note_crowd(&inner);
        drop(inner);
        self.run(errands);
        result
    }

    /// Tells the other nodes what this one has and would have, and the ledger what they leave it, until both agree.
    #[inline]
    fn share(&self, inner: &mut Inner<K::Connection>, now: Instant, errands: &mut Errands<K::Connection>) {
        if let Some(seat) = self.seat.get() {
            agree(seat, &mut inner.ledger, now, errands);
        }
    }

    /// Written only when it changes: others read it all the time.
    fn note_crowd(&self, inner: &Inner<K::Connection>) {
        let crowded = inner.ledger.has_line();
        if self.crowded.load(Ordering::Relaxed) != crowded {
            self.crowded.store(crowded, Ordering::Relaxed);
        }
    }

    #[inline(always)]
    fn run(&self, errands: Errands<K::Connection>) {
        // Mostly there is nothing to do.
        if errands.first_waker.is_some() || !errands.wakers.is_empty() || !errands.actions.is_empty() {
            self.do_all(errands);
        }
    }

    fn do_all(&self, errands: Errands<K::Connection>) {
        errands.first_waker.into_iter().for_each(wake);
        errands.wakers.into_iter().for_each(wake);
        for action in errands.actions {
            match action {
                Action::Close(closing, conn, reason) => self.close(closing, conn, reason),
                Action::Kill(closing) => self.kill(closing),
                Action::Connect(ticket) => self.connect_failed(ticket, gone(), FailureKind::Passing),
                Action::Check(checkup) | Action::Clean(checkup) => self.checked(checkup, Finding::Failed(gone())),
            }
        }
    }

    #[inline]
    fn lock(&self) -> MutexGuard<'_, Inner<K::Connection>> {
        #[cfg(not(any(loom, shuttle)))]
        if let Ok(inner) = self.inner.try_lock() {
            return inner;
        }
        self.lock_later()
    }

    /// Waits for the lock: spinning at first, in ever longer pauses, for it is held for a fraction of a microsecond, and to
    /// sleep and be woken costs many; a pause leaves its line to the core that works on it.
    #[cold]
    fn lock_later(&self) -> MutexGuard<'_, Inner<K::Connection>> {
        #[cfg(not(any(loom, shuttle)))]
        for round in 0..SPIN_ROUNDS {
            (0..1 << round).for_each(|_| std::hint::spin_loop());
            if let Ok(inner) = self.inner.try_lock() {
                return inner;
            }
        }
        // Only a broken invariant panics under the lock; the ledger's plain values are then as good as they get.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C> Inner<C> {
    /// A slot may belong to the next connection by now, which keeps its own.
    fn take_kill_switch(&mut self, id: ConnId) -> Option<KillSwitch> {
        entry(&mut self.kill_switches, id.slot()).take_if(|(owner, _)| *owner == id).map(|(_, kill_switch)| kill_switch)
    }

    /// Takes the ledger's outputs: whom to wake, and the driver if there is something for it.
    fn collect(&mut self, errands: &mut Errands<C>) {
        while let Some(id) = self.ledger.poll_wake() {
            if let Some(waker) = entry(&mut self.waiters, id.slot).take() {
                errands.wake(waker);
            }
        }
        if !self.ledger.is_open() {
            // All of them, once: no job is listed any more.
            errands.wakers.extend(std::mem::take(&mut self.jobs).into_iter().flatten());
        }
        if self.driver.is_gone() || self.handles == Handles::Dropped {
            errands.actions.extend(std::iter::from_fn(|| self.ledger.poll_action()));
        }
        match &self.driver {
            Driver::Busy => {}
            Driver::Asleep { until, .. } => {
                let sooner = match (self.ledger.next_deadline(), until) {
                    (Some(next), Some(until)) => next < *until,
                    (Some(_), None) => true,
                    (None, _) => false,
                };
                if (sooner || self.ledger.has_actions() || self.ledger.is_finished())
                    && let Driver::Asleep { waker, .. } = std::mem::replace(&mut self.driver, Driver::Busy)
                {
                    errands.wake(waker);
                }
            }
            Driver::Gone(_) => {}
        }
    }
}

impl<C> Errands<C> {
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

impl<K: Connector> Alarmed for Door<K> {
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

impl<K: Connector> fmt::Debug for Door<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A waker that panics must keep nobody else from being woken.
fn wake(waker: Waker) {
    let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
}

/// Each round in which something changes has dials ordered or idle connections closed, or is the last but one.
#[cold]
fn agree<C>(seat: &Seat, ledger: &mut Ledger<C>, now: Instant, errands: &mut Errands<C>) {
    loop {
        let appetite = ledger.appetite();
        let allowance = seat.report(appetite, |driver| errands.wake(driver));
        if allowance == ledger.allowance() {
            return ledger.note_agreement(&appetite);
        }
        ledger.handle(now, Input::Allowance(allowance));
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
