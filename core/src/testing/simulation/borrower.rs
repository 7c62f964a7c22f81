//! Borrowers with all habits, good and bad; each checks its own answers and deadlines.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::panic::resume_unwind;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::acquire::Acquire;
use crate::error::AcquireError;
use crate::lease::Lease;
use crate::node_pool::NodePool;
use crate::runtime::{Spawn, Timer};
use crate::state::rng::Rng;
use crate::testing::fake_connection::FakeConnector;
use crate::testing::fake_connection::within;
use crate::testing::fake_runtime::FakeRuntime;
use crate::time::Instant;

/// How long a borrower waits for an answer.
pub(super) const COMMAND_TIMEOUT: Duration = Duration::from_millis(100);

/// What a borrower says when it panics.
pub(super) const ON_PURPOSE: &str = "on purpose";

/// What borrowers did and got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutcomeCounts {
    /// Calls of get and try_get.
    pub gets: u64,
    /// Those that were served.
    pub oks: u64,
    /// Those that heard `Timeout` or `NoHealthyPools`.
    pub refused: u64,
    /// Those that were dropped before their end.
    pub cancels: u64,
}

impl OutcomeCounts {
    /// The sum of both.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            gets: self.gets + other.gets,
            oks: self.oks + other.oks,
            refused: self.refused + other.refused,
            cancels: self.cancels + other.cancels,
        }
    }
}

/// What the borrowers of a run share.
pub(super) struct BorrowerLog {
    pub(super) counts: OutcomeCounts,
    /// The first rule that a borrower saw broken.
    pub(super) broken: Option<String>,
    /// How many borrowers go on.
    pub(super) busy: usize,
    /// Set when they are to stop.
    pub(super) stop: bool,
    /// Those who wait, in order of arrival.
    pub(super) waits: BTreeMap<u64, BorrowerWait>,
    /// How many connections borrowers hold.
    pub(super) held: usize,
    /// How many connections borrowers wanted closed.
    pub(super) discards: usize,
    next_token: u64,
}

/// A get that has not been answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct BorrowerWait {
    /// When it must have heard.
    pub(super) due: Instant,
    /// Whether its owner goes on polling it.
    pub(super) watched: bool,
    /// Who was served although it came later.
    pub(super) overtaken_by: Option<u64>,
    /// Whether it was woken and sent back: its grant was broken, so that others may have been served meanwhile.
    pub(super) sent_back: bool,
}

#[derive(Clone)]
pub(super) struct Borrower {
    pub(super) runtime: FakeRuntime,
    pub(super) pool: NodePool<FakeConnector>,
    pub(super) shared: Arc<Mutex<BorrowerLog>>,
    /// How much later than its deadline a caller may hear: the grid of time, and polls that take time.
    pub(super) slack: Duration,
    pub(super) rng: Rng,
}

impl BorrowerLog {
    pub(super) fn new(busy: usize) -> Self {
        let (counts, waits) = (OutcomeCounts::default(), BTreeMap::new());
        Self { counts, broken: None, busy, stop: false, waits, held: 0, discards: 0, next_token: 1 }
    }

    /// Somebody was served; `None` came just now.
    fn note_served(&mut self, number: Option<u64>) {
        for (_, wait) in self.waits.range_mut(..number.unwrap_or(u64::MAX)) {
            wait.overtaken_by = Some(number.unwrap_or(u64::MAX));
        }
    }
}

/// A lease that is counted.
struct Held {
    lease: Lease<FakeConnector>,
    counted: Counted,
}

struct Counted(Arc<Mutex<BorrowerLog>>);

impl Drop for Counted {
    fn drop(&mut self) {
        lock(&self.0).held -= 1;
    }
}

impl Held {
    fn discard(self) {
        lock(&self.counted.0).discards += 1;
        self.lease.discard();
    }
}

/// Counts a borrower out however it ends, also before it has begun.
struct Leaving(Arc<Mutex<BorrowerLog>>);

impl Drop for Leaving {
    fn drop(&mut self) {
        lock(&self.0).busy -= 1;
    }
}

pub(super) fn lock(shared: &Mutex<BorrowerLog>) -> MutexGuard<'_, BorrowerLog> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Borrower {
    pub(super) fn go_on(self, rounds: usize) -> impl Future<Output = ()> {
        let leaving = Leaving(Arc::clone(&self.shared));
        async move {
            let _leaving = leaving;
            self.live(rounds).await;
        }
    }

    async fn live(mut self, rounds: usize) {
        for _ in 0..rounds {
            if lock(&self.shared).stop {
                return;
            }
            match self.rng.index(16) {
                0..=4 => self.borrow().await,
                5 | 6 => self.loop_greedily().await,
                7 | 8 => self.cancel().await,
                9 => self.poll_once_and_forget().await,
                10 => self.panic_while_holding(),
                11 | 12 => self.try_once().await,
                13 => self.poll_with_a_foreign_waker().await,
                14 => self.cancel_a_request().await,
                _ => self.discard().await,
            }
            let rest = self.rng.up_to(Duration::from_millis(20));
            self.runtime.sleep(rest).await;
        }
    }

    fn timeout(&mut self) -> Duration {
        let most = [10, 200, 2_000, 10_000][self.rng.index(4)];
        self.rng.up_to(Duration::from_millis(most))
    }

    /// Gets and checks that the answer is not late.
    async fn get(&mut self) -> Option<Held> {
        let timeout = self.timeout();
        let pool = self.pool.clone();
        let got = Timed::new(self, pool.get_timeout(timeout), timeout).await;
        self.note(got)
    }

    fn note(&self, got: Result<Lease<FakeConnector>, AcquireError>) -> Option<Held> {
        let mut shared = lock(&self.shared);
        match got {
            Ok(lease) => {
                shared.counts.oks += 1;
                shared.held += 1;
                if lease.is_known_unfit() {
                    shared.broken = Some(String::from("H1, L3: a connection was lent that is known to be unfit"));
                }
                Some(Held { lease, counted: Counted(Arc::clone(&self.shared)) })
            }
            Err(AcquireError::Timeout { .. } | AcquireError::NoHealthyPools { .. }) => {
                shared.counts.refused += 1;
                None
            }
            Err(
                AcquireError::Saturated { .. }
                | AcquireError::Closed { .. }
                | AcquireError::RuntimeEnded { .. }
                | AcquireError::UnknownNode { .. }
                | AcquireError::NoFloorLeft { .. },
            ) => None,
        }
    }

    /// Waits in the queue, and holds until then what it gets.
    pub(super) async fn wait_and_hold(self, timeout: Duration, until: Instant) {
        let pool = self.pool.clone();
        let got = Timed::new(&self, pool.get_timeout(timeout), timeout).await;
        let _held = self.note(got);
        self.runtime.sleep_until(until).await;
    }

    async fn borrow(&mut self) {
        let Some(mut held) = self.get().await else { return };
        self.ask(&mut held).await;
        let hold = self.rng.up_to(Duration::from_millis(15));
        self.runtime.sleep(hold).await;
    }

    async fn ask(&mut self, held: &mut Held) {
        let token = {
            let mut shared = lock(&self.shared);
            shared.next_token += 1;
            shared.next_token
        };
        let asked = held.lease.echo_timeout(token, COMMAND_TIMEOUT).await;
        if let Ok(answer) = asked
            && answer != token
        {
            lock(&self.shared).broken = Some(format!("a wrong reply: {answer} for {token}"));
        }
    }

    async fn loop_greedily(&mut self) {
        for _ in 0..30 {
            let Some(mut held) = self.get().await else { return };
            if self.rng.index(4) == 0 {
                self.ask(&mut held).await;
            }
        }
    }

    async fn cancel(&mut self) {
        let patience = self.rng.up_to(Duration::from_millis(10));
        let until = self.runtime.now() + patience;
        let sleep = self.runtime.sleep_until(until);
        match within(sleep, self.get()).await {
            Some(held) => drop(held),
            None => lock(&self.shared).counts.cancels += 1,
        }
    }

    async fn poll_once_and_forget(&mut self) {
        let timeout = self.timeout();
        let pool = self.pool.clone();
        let mut forgotten = Timed::new(self, pool.get_timeout(timeout), timeout);
        forgotten.watched = false;
        let mut forgotten = pin!(forgotten);
        let polled = poll_fn(|cx| Poll::Ready(forgotten.as_mut().poll(cx))).await;
        match polled {
            Poll::Ready(got) => drop(self.note(got)),
            Poll::Pending => {
                let rest = self.rng.up_to(Duration::from_millis(300));
                self.runtime.sleep(rest).await;
                lock(&self.shared).counts.cancels += 1;
            }
        }
    }

    fn panic_while_holding(&mut self) {
        let mut careless = self.clone();
        careless.rng = Rng::new(self.rng.index(usize::MAX) as u64);
        self.runtime.spawn(Box::pin(async move {
            if let Some(_held) = careless.get().await {
                resume_unwind(Box::new(ON_PURPOSE));
            }
        }));
    }

    async fn try_once(&mut self) {
        lock(&self.shared).counts.gets += 1;
        let got = self.pool.try_get();
        if got.is_ok() {
            lock(&self.shared).note_served(None);
        }
        if let Some(mut held) = self.note(got) {
            self.ask(&mut held).await;
        }
    }

    async fn poll_with_a_foreign_waker(&mut self) {
        let timeout = self.timeout();
        let pool = self.pool.clone();
        let mut moved = pin!(Timed::new(self, pool.get_timeout(timeout), timeout));
        let polled = moved.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let got = match polled {
            Poll::Ready(got) => got,
            Poll::Pending => moved.await,
        };
        drop(self.note(got));
    }

    async fn cancel_a_request(&mut self) {
        let Some(mut held) = self.get().await else { return };
        let patience = self.rng.up_to(Duration::from_millis(5));
        let until = self.runtime.now() + patience;
        let _ = within(self.runtime.sleep_until(until), held.lease.echo(0)).await;
    }

    async fn discard(&mut self) {
        if let Some(held) = self.get().await {
            held.discard();
        }
    }
}

/// A get that knows when it must have ended.
struct Timed<'a> {
    get: Acquire<'a, FakeConnector>,
    runtime: FakeRuntime,
    shared: Arc<Mutex<BorrowerLog>>,
    timeout: Duration,
    slack: Duration,
    /// Whether its owner goes on polling it.
    watched: bool,
    /// Its number among the waits, once it waits.
    number: Option<u64>,
    began_at: Option<Instant>,
}

impl<'a> Timed<'a> {
    fn new(borrower: &Borrower, get: Acquire<'a, FakeConnector>, timeout: Duration) -> Self {
        let (runtime, shared) = (borrower.runtime.clone(), Arc::clone(&borrower.shared));
        Self { get, runtime, shared, timeout, slack: borrower.slack, watched: true, number: None, began_at: None }
    }
}

impl Future for Timed<'_> {
    type Output = Result<Lease<FakeConnector>, AcquireError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let began_at = *this.began_at.get_or_insert_with(|| {
            lock(&this.shared).counts.gets += 1;
            this.runtime.now()
        });
        let polled = Pin::new(&mut this.get).poll(cx);
        let mut shared = lock(&this.shared);
        if let (Poll::Ready(_), Some(number)) = (&polled, this.number) {
            shared.waits.remove(&number);
        }
        match (&polled, this.number) {
            (Poll::Ready(Ok(_)), number) => shared.note_served(number),
            (Poll::Ready(Err(_)), _) => {}
            (Poll::Pending, Some(number)) => {
                if let Some(wait) = shared.waits.get_mut(&number) {
                    wait.sent_back = true;
                }
            }
            (Poll::Pending, None) => {
                shared.next_token += 1;
                let number = shared.next_token;
                this.number = Some(number);
                let due = began_at + this.timeout + this.slack;
                shared.waits.insert(number, BorrowerWait { due, watched: this.watched, overtaken_by: None, sent_back: false });
            }
        }
        polled
    }
}

impl Drop for Timed<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            lock(&self.shared).waits.remove(&number);
        }
    }
}
