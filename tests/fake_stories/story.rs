//! What each story begins with: a runtime, a network, a server, and a manager with one node of one pool.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use redis_manager::redis::{self, RedisResult, aio::ConnectionLike};
use redis_manager::runtime::{Instant, Spawn, Timer};
use redis_manager::testing::{FakeNetwork, FakeRedis, FakeRuntime};
use redis_manager::{Client, GetClientError, NodeHandle, NodeStatus, RedisManager, RedisManagerBuilder, SharedClient};

pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// The name of the server.
pub(crate) const NAME: &str = "redis.test";

/// The seeds that a story is told with: what holds must hold in any order of the tasks.
pub(crate) const SEEDS: std::ops::Range<u64> = 0..8;

pub(crate) struct Story {
    pub(crate) runtime: FakeRuntime,
    pub(crate) network: FakeNetwork,
    pub(crate) redis: FakeRedis,
    pub(crate) manager: RedisManager,
    pub(crate) node: NodeHandle,
}

impl Story {
    /// At most two connections; checks that come by themselves are an hour apart, so that all that is seen is caused.
    pub(crate) fn begin(seed: u64) -> Self {
        Self::begin_with(seed, "", |builder| builder)
    }

    /// With other settings, and with what follows the name in the URL.
    pub(crate) fn begin_with(
        seed: u64,
        parameters: &str,
        change: impl FnOnce(RedisManagerBuilder) -> RedisManagerBuilder,
    ) -> Self {
        let runtime = FakeRuntime::new(seed);
        let network = FakeNetwork::new(&runtime);
        let redis = FakeRedis::start(&network, NAME).expect("a free address");
        let manager = change(quiet_builder(2)).build(network.clone()).expect("valid settings");
        let node = runtime.block_on(manager.add_node_pool(&format!("redis://{NAME}{parameters}"))).expect("it answers");
        Self { runtime, network, redis, manager, node }
    }

    pub(crate) fn client(&self) -> Client {
        self.runtime.block_on(self.node.get_client()).expect("it answers")
    }

    pub(crate) fn shared_client(&self) -> SharedClient {
        self.runtime.block_on(self.node.get_shared_client()).expect("it answers")
    }

    pub(crate) fn status(&self) -> NodeStatus {
        self.node.status()
    }

    /// The result of a future, and how long it took.
    pub(crate) fn timed<T>(&self, future: impl Future<Output = T>) -> (T, Duration) {
        timed(&self.runtime, future)
    }

    pub(crate) fn ask<T: redis::FromRedisValue>(&self, connection: &mut impl ConnectionLike, words: &str) -> RedisResult<T> {
        self.runtime.block_on(command(words).query_async(connection))
    }

    /// Polls a future for so long, and drops it. Nothing if it has not ended by then.
    pub(crate) fn within<T>(&self, length: Duration, future: impl Future<Output = T>) -> Option<T> {
        within(&self.runtime, &self.network, length, future)
    }

    /// Runs a future as a task.
    pub(crate) fn spawn<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> Spawned<T> {
        spawn(&self.network, future)
    }

    /// The ids of the connections that the server has.
    pub(crate) fn connections(&self) -> Vec<u64> {
        self.redis.connections().into_iter().map(|connection| connection.id).collect()
    }

    /// Connections made and PINGs answered so far: what a suspicion costs.
    pub(crate) fn cost(&self) -> (u64, u64) {
        (self.redis.host().connections_made(), self.redis.count_of("PING"))
    }

    /// At rest exactly so many clients can be held at once, each answers with its own token, one more is refused, and the server sees
    /// as many.
    #[track_caller]
    pub(crate) fn assert_full_capacity(&self, limit: usize) {
        let mut clients: Vec<Client> = (0..limit).map(|_| self.client()).collect();
        for (number, client) in clients.iter_mut().enumerate() {
            let echo: usize = self.ask(client, &format!("ECHO {number}")).expect("a sound client");
            assert_eq!(echo, number);
        }
        let more = self.runtime.block_on(self.node.get_client_timeout(30 * MS));
        assert!(matches!(more, Err(GetClientError::Timeout { .. })), "one more than the limit: {more:?}");
        self.runtime.advance(SECOND);
        assert_eq!(self.redis.connections().len(), limit);
    }
}

/// Polls a future for so long, and drops it. Nothing if it has not ended by then.
pub(crate) fn within<T>(
    runtime: &FakeRuntime,
    network: &FakeNetwork,
    length: Duration,
    future: impl Future<Output = T>,
) -> Option<T> {
    let mut future = pin!(future);
    let mut sleep = network.sleep(length);
    runtime.block_on(poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => sleep.as_mut().poll(cx).map(|()| None),
    }))
}

/// What a task has ended with, and when.
pub(crate) struct Spawned<T> {
    ended: Arc<Mutex<Option<(T, Instant)>>>,
}

impl<T> Spawned<T> {
    /// Nothing while it runs, and after it was taken.
    pub(crate) fn take(&self) -> Option<(T, Instant)> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Runs a future as a task.
pub(crate) fn spawn<T: Send + 'static>(network: &FakeNetwork, future: impl Future<Output = T> + Send + 'static) -> Spawned<T> {
    let ended = Arc::new(Mutex::new(None));
    let (place, clock) = (Arc::clone(&ended), network.clone());
    network.spawn(Box::pin(async move {
        let value = future.await;
        *place.lock().unwrap_or_else(PoisonError::into_inner) = Some((value, clock.now()));
    }));
    Spawned { ended }
}

/// The result of a future, and how long it took.
pub(crate) fn timed<T>(runtime: &FakeRuntime, future: impl Future<Output = T>) -> (T, Duration) {
    let begun_at = runtime.now();
    let result = runtime.block_on(future);
    (result, runtime.now().saturating_duration_since(begun_at))
}

/// One pool of at most so many connections, without checks of its own accord.
pub(crate) fn quiet_builder(limit: usize) -> RedisManagerBuilder {
    RedisManager::builder().max_pools_per_node(1).max_connection_size(limit).health_check_interval(3_600 * SECOND)
}

/// A command by its words.
pub(crate) fn command(words: &str) -> redis::Cmd {
    let mut cmd = redis::Cmd::new();
    cmd.arg(words.split(' ').collect::<Vec<_>>());
    cmd
}
