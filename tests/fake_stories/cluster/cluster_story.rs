//! What each story begins with: a runtime, a network, a cluster, and a manager that has added it.

use std::collections::BTreeSet;
use std::future::Future;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis_manager::redis::{AsyncCommands, RedisResult};
use redis_manager::runtime::{Instant, Spawn, Timer};
use redis_manager::testing::{ClusterShape, FakeCluster, FakeNetwork, FakeRuntime};
use redis_manager::{ClusterArgs, NodeHandle, RedisManager, RedisManagerBuilder, SharedClient};
use redis_manager_tests::cluster::slot_of;

use crate::story::{MS, SECOND, Spawned, spawn, timed};

/// The seeds that a story of a cluster is told with: fewer than others, because each takes longer.
pub(crate) const SEEDS: Range<u64> = 0..5;

/// The name of the cluster in the manager.
pub(crate) const CLUSTER: &str = "orders";

pub(crate) struct StoryCluster {
    pub(crate) runtime: FakeRuntime,
    pub(crate) network: FakeNetwork,
    pub(crate) cluster: FakeCluster,
    pub(crate) manager: RedisManager,
    pub(crate) node: NodeHandle,
}

/// Three primaries, each with a replica that takes its place after some three seconds. They talk seldom: that costs the test its time.
pub(crate) fn slow_shape() -> ClusterShape {
    ClusterShape::default().node_timeout(3 * SECOND).gossip_interval(500 * MS)
}

impl StoryCluster {
    pub(crate) fn begin(seed: u64) -> Self {
        Self::begin_with(seed, slow_shape(), ClusterArgs::default(), |builder| builder)
    }

    pub(crate) fn begin_with(
        seed: u64,
        shape: ClusterShape,
        args: ClusterArgs,
        change: impl FnOnce(RedisManagerBuilder) -> RedisManagerBuilder,
    ) -> Self {
        let runtime = FakeRuntime::new(seed);
        let network = FakeNetwork::new(&runtime);
        let cluster = FakeCluster::start(&network, shape).expect("a free name");
        let manager = change(RedisManager::builder()).build(network.clone()).expect("valid settings");
        let node = runtime.block_on(manager.add_cluster(CLUSTER, cluster.urls(), args)).expect("it answers");
        Self { runtime, network, cluster, manager, node }
    }

    pub(crate) fn client(&self) -> SharedClient {
        self.runtime.block_on(self.node.get_shared_client()).expect("it is up")
    }

    /// The result of a future, and how long it took.
    pub(crate) fn timed<T>(&self, future: impl Future<Output = T>) -> (T, Duration) {
        timed(&self.runtime, future)
    }

    pub(crate) fn spawn<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> Spawned<T> {
        spawn(&self.network, future)
    }

    /// A writer that goes on until the story ends: `key` is set to 0, 1, 2 and so on.
    pub(crate) fn writer(&self, key: &str) -> StoryWriter {
        let written: Arc<Mutex<Written>> = Arc::default();
        let (mut client, network, noted, key) = (self.client(), self.network.clone(), Arc::clone(&written), String::from(key));
        self.network.spawn(Box::pin(async move {
            for number in 0_u64.. {
                let begun_at = network.now();
                let result: RedisResult<()> = client.set(&key, number).await;
                if note(&noted, begun_at, network.now(), result) {
                    return;
                }
                network.sleep(20 * MS).await;
            }
        }));
        StoryWriter { written }
    }

    /// A key whose slot the node owns, by its own belief.
    pub(crate) fn key_of(&self, number: usize) -> String {
        self.keys_of(number, 1).remove(0)
    }

    /// The same, several of them in different slots.
    pub(crate) fn keys_of(&self, number: usize, count: usize) -> Vec<String> {
        let ranges = self.cluster.nodes()[number].slots.clone();
        let owned = |key: &String| ranges.iter().any(|range| range.contains(&slot_of(key)));
        let mut slots = BTreeSet::new();
        (0..).map(|number| format!("key:{number}")).filter(owned).filter(|key| slots.insert(slot_of(key))).take(count).collect()
    }

    /// Lets time pass until a node is primary of a slot, and says when that was.
    pub(crate) fn until_promoted(&self, slot: u16, from: usize) -> Instant {
        for _ in 0..60_000 {
            if self.cluster.primary_of(slot).is_some_and(|number| number != from) {
                return self.runtime.now();
            }
            self.runtime.advance(MS);
        }
        panic!("nobody was promoted for slot {slot}");
    }

    /// How often all nodes have carried out a command.
    pub(crate) fn count_of(&self, command: &str) -> u64 {
        (0..self.cluster.nodes().len()).map(|number| self.cluster.node(number).count_of(command)).sum()
    }

    /// Closes everything: no stream and no task is left.
    pub(crate) fn end(self) {
        let Self { runtime, network, cluster, manager, node } = self;
        runtime.block_on(manager.close_all_pools());
        drop((manager, node));
        runtime.advance(SECOND);
        assert_eq!(network.open_streams(), 0, "streams of our own are left");
        drop(cluster);
        runtime.advance(60 * SECOND);
        assert_eq!(runtime.tasks(), 0, "tasks are left, with {} timers", runtime.timers());
    }
}

#[derive(Debug, Default)]
struct Written {
    errors: Vec<String>,
    longest: Duration,
    first_success: Option<Instant>,
    is_over: bool,
}

/// Notes how a write has ended; true if it was the last one.
fn note(written: &Mutex<Written>, begun_at: Instant, now: Instant, result: RedisResult<()>) -> bool {
    let mut written = written.lock().unwrap_or_else(PoisonError::into_inner);
    written.longest = written.longest.max(now.saturating_duration_since(begun_at));
    match result {
        Ok(()) => {
            written.first_success.get_or_insert(now);
        }
        Err(error) => written.errors.push(error.to_string()),
    }
    written.is_over
}

/// Writes one key in a loop.
pub(crate) struct StoryWriter {
    written: Arc<Mutex<Written>>,
}

impl StoryWriter {
    fn lock(&self) -> std::sync::MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn errors(&self) -> Vec<String> {
        self.lock().errors.clone()
    }

    /// How long the slowest write took.
    pub(crate) fn longest(&self) -> Duration {
        self.lock().longest
    }

    /// From now on the first success is looked for.
    pub(crate) fn look(&self) {
        self.lock().first_success = None;
    }

    /// When the first write succeeded since the look.
    pub(crate) fn first_success(&self) -> Option<Instant> {
        self.lock().first_success
    }

    pub(crate) fn stop(&self) {
        self.lock().is_over = true;
    }
}

impl Drop for StoryWriter {
    fn drop(&mut self) {
        self.stop();
    }
}
