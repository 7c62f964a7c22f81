//! What the tests share: a pool in a world of its own, a connector with moods, and the capacity probe.

use std::future::{Future, pending, poll_fn};
use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use redis_manager_core::testing::{FakeConnection, FakeConnector, FakeError, FakeRuntime, FakeServer};
use redis_manager_core::{
    AbortHandle, AcquireError, CloseReason, Condition, ConnectionMonitor, Connector, Instant, Lease, NodeConfig,
    NodeConfigBuilder, NodePool, Spawn, Timer,
};

pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// One pool and nothing else: its runtime, its server.
pub(crate) struct PoolFixture<K: Connector = FakeConnector> {
    pub(crate) runtime: FakeRuntime,
    pub(crate) server: FakeServer,
    pub(crate) pool: NodePool<K>,
    pub(crate) seed: u64,
}

/// One pool of at most `limit` connections, nothing kept warm.
pub(crate) fn one_pool(limit: usize) -> NodeConfigBuilder {
    NodeConfig::builder().max_connection_size(limit).max_pools_per_node(1).min_idle(0)
}

/// A world whose pool has had the time to fill to its minimum.
pub(crate) fn world(seed: u64, settings: NodeConfigBuilder) -> PoolFixture {
    world_of(seed, settings, FakeServer::connector)
}

pub(crate) fn world_of<K: Connector>(
    seed: u64,
    settings: NodeConfigBuilder,
    connector: impl Fn(&FakeServer) -> K,
) -> PoolFixture<K> {
    let runtime = FakeRuntime::new(seed);
    let server = FakeServer::new(&runtime);
    let config = settings.build().expect("the test's settings are valid");
    let pool = NodePool::new(connector(&server), config, Arc::new(runtime.clone()));
    runtime.settle();
    PoolFixture { runtime, server, pool, seed }
}

impl<K: Connector<Connection = FakeConnection>> PoolFixture<K> {
    #[track_caller]
    pub(crate) fn get(&self) -> Lease<K> {
        self.get_within(10 * SECOND).unwrap_or_else(|error| panic!("seed {}: {error}", self.seed))
    }

    pub(crate) fn get_within(&self, timeout: Duration) -> Result<Lease<K>, AcquireError> {
        self.runtime.block_on(self.pool.get_timeout(timeout))
    }

    /// Exactly `limit` connections can be held at once, each answers with its own token, and one more is refused.
    #[track_caller]
    pub(crate) fn assert_capacity(&self, limit: usize) {
        let seed = self.seed;
        let mut leases: Vec<_> = (0..limit).map(|_| self.get()).collect();
        for (token, lease) in (0..).zip(&mut leases) {
            assert_eq!(self.runtime.block_on(lease.echo(token)), Ok(token), "seed {seed}");
        }
        assert!(self.pool.try_get().is_err(), "seed {seed}: one more than {limit} was lent");
        self.runtime.settle();
        assert_eq!(self.server.connections(), limit, "seed {seed}: {:?}", self.pool.status());
        drop(leases);
        self.runtime.settle();
        assert_eq!((self.pool.status().idle, self.pool.status().active), (limit, 0), "seed {seed}");
    }
}

/// Runs a future for at most so many polls, then drops it: at the moment when it has just been woken.
pub(crate) async fn polled<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

/// Runs a future for a while, then drops it.
pub(crate) async fn within<F: Future>(runtime: &FakeRuntime, length: Duration, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut sleep = runtime.sleep(length);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => sleep.as_mut().poll(cx).map(|()| None),
    })
    .await
}

/// Callers that ask again after an error, note when each was served, and hold what they got for a while.
pub(crate) fn callers(world: &PoolFixture, count: usize, hold: Duration) -> Arc<Mutex<Vec<Instant>>> {
    let served = Arc::new(Mutex::new(Vec::new()));
    for _ in 0..count {
        let (pool, runtime, served) = (world.pool.clone(), world.runtime.clone(), Arc::clone(&served));
        world.runtime.spawn(Box::pin(async move {
            loop {
                match pool.get_timeout(3 * SECOND).await {
                    Ok(lease) => {
                        served.lock().expect("not poisoned").push(runtime.now());
                        runtime.sleep(hold).await;
                        drop(lease);
                        return;
                    }
                    Err(AcquireError::Closed { .. }) => return,
                    Err(_) => runtime.sleep(25 * MS).await,
                }
            }
        }));
    }
    world.runtime.settle();
    served
}

/// Chance for tests, by seed.
pub(crate) struct TestRng(AtomicU64);

impl TestRng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    pub(crate) fn below(&self, count: usize) -> usize {
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut z = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % count as u64) as usize
    }

    pub(crate) fn millis(&self, most: usize) -> Duration {
        self.below(most + 1) as u32 * MS
    }
}

/// Counts how often it is woken.
#[derive(Default)]
pub(crate) struct CountingWaker(AtomicUsize);

impl CountingWaker {
    pub(crate) fn rings(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for CountingWaker {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Polls a future once on behalf of `bell`.
pub(crate) fn poll_for<F: Future + Unpin>(bell: &Arc<CountingWaker>, future: &mut F) -> Poll<F::Output> {
    let waker = Waker::from(Arc::clone(bell));
    std::pin::Pin::new(future).poll(&mut Context::from_waker(&waker))
}

/// How a [`Moody`] connector may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Calm,
    /// Any hook may panic, fail or hang, as the dice fall.
    Wild,
    /// New connections are said to be broken.
    Stillborn,
    /// Every inspection of a connection panics.
    Speechless,
}

/// A connector whose hooks panic, fail and hang.
#[derive(Clone)]
pub(crate) struct Moody {
    inner: FakeConnector,
    dice: Arc<TestRng>,
    mood: Arc<Mutex<Mood>>,
    /// Whether a hook was ever seen to panic.
    pub(crate) has_panicked: Arc<AtomicBool>,
    /// How many connections were to be cleaned.
    pub(crate) cleanings: Arc<AtomicUsize>,
    /// Each abort handle holds one.
    pub(crate) switches: Arc<()>,
}

impl Moody {
    pub(crate) fn new(inner: FakeConnector, seed: u64, mood: Mood) -> Self {
        let dice = Arc::new(TestRng::new(seed));
        let (has_panicked, cleanings, switches) = (Arc::default(), Arc::default(), Arc::default());
        Self { inner, dice, mood: Arc::new(Mutex::new(mood)), has_panicked, cleanings, switches }
    }

    pub(crate) fn set_mood(&self, mood: Mood) {
        *self.mood.lock().unwrap_or_else(PoisonError::into_inner) = mood;
    }

    fn mood(&self) -> Mood {
        *self.mood.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One time in `count`, if it is in the mood.
    fn strikes(&self, count: usize) -> bool {
        self.mood() == Mood::Wild && self.dice.below(count) == 0
    }

    fn may_panic(&self) {
        if self.strikes(6) {
            self.has_panicked.store(true, Ordering::SeqCst);
            // As a panic, without the message on the screen.
            resume_unwind(Box::new("a hook"));
        }
    }

    /// How a connection is broken.
    fn broken(&self) -> Condition {
        if self.strikes(3) { Condition::Unresponsive } else { Condition::Broken }
    }

    async fn trouble(&self) -> Result<(), FakeError> {
        self.may_panic();
        if self.strikes(6) {
            return pending().await;
        }
        if self.strikes(6) { Err(FakeError::Lost) } else { Ok(()) }
    }
}

impl Connector for Moody {
    type Connection = FakeConnection;
    type Error = FakeError;

    fn connect(&self) -> impl Future<Output = Result<FakeConnection, FakeError>> + Send {
        self.may_panic();
        async {
            self.trouble().await?;
            self.inner.connect().await
        }
    }

    async fn check(&self, conn: &mut FakeConnection) -> Result<(), FakeError> {
        self.trouble().await?;
        self.inner.check(conn).await
    }

    fn inspect(&self, conn: &mut FakeConnection) -> Condition {
        self.may_panic();
        if self.mood() == Mood::Speechless {
            resume_unwind(Box::new("a hook"));
        }
        match self.inner.inspect(conn) {
            Condition::Broken | Condition::Unresponsive => self.broken(),
            Condition::Clean | Condition::Resettable | Condition::Tainted if self.mood() == Mood::Stillborn => self.broken(),
            seen @ (Condition::Clean | Condition::Resettable | Condition::Tainted) => seen,
        }
    }

    async fn clean(&self, conn: &mut FakeConnection) -> Result<(), FakeError> {
        self.cleanings.fetch_add(1, Ordering::SeqCst);
        self.trouble().await?;
        self.inner.clean(conn).await
    }

    fn close(&self, conn: FakeConnection, reason: CloseReason) {
        self.may_panic();
        self.inner.close(conn, reason);
    }

    fn watch(&self, conn: &mut FakeConnection, monitor: ConnectionMonitor) {
        self.may_panic();
        self.inner.watch(conn, monitor);
    }

    fn abort_handle(&self, conn: &mut FakeConnection) -> Option<AbortHandle> {
        self.may_panic();
        let (kill, held) = (self.inner.abort_handle(conn)?, Arc::clone(&self.switches));
        Some(Box::new(move || {
            kill();
            drop(held);
        }))
    }

    fn is_permanent(&self, error: &FakeError) -> bool {
        self.may_panic();
        self.inner.is_permanent(error)
    }
}
