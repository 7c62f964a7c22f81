//! One seed of a cluster: the nodes, the manager, the callers, and the order of what happens.

use std::sync::Arc;
use std::time::Duration;

use redis_manager::redis::{AsyncCommands, RedisResult};
use redis_manager::runtime::Spawn;
use redis_manager::testing::{ClusterShape, FakeCluster, FakeNetwork, FakeRuntime, Schedule, SeededRng};
use redis_manager::{ClusterArgs, Health, NodeHandle, PoolArgs, ReadFrom, RedisManager};

use crate::borrower::MS;
use crate::cluster::cluster_caller::{ClusterCaller, STABLE_KEYS};
use crate::cluster::cluster_verdict::{compare, is_at_rest};
use crate::cluster::disturbance::{Aftermath, disturb, put_right};
use crate::cluster::last_failover::fail_over;
use crate::cluster::write_book::WriteBook;
use crate::world::SeedReport;

const SECOND: Duration = Duration::from_secs(1);
pub(crate) const NAME: &str = "simulated";
/// Three primaries, each with a replica.
pub(crate) const NODES: usize = 6;
/// Connections of a node at most.
pub(crate) const POOL_SIZE: usize = 4;
pub(crate) const COMMAND_TIMEOUT: Duration = SECOND;
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long things go wrong.
const FAULTS_FOR: Duration = Duration::from_secs(2);
/// The election of the last failure, a round of questions, the back-off of dials.
const HEALED_WITHIN: Duration = Duration::from_secs(15);
/// What was under way at the heal has ended.
const SETTLES_WITHIN: Duration = Duration::from_millis(1_500);

pub(crate) struct ClusterWorld {
    pub(crate) runtime: FakeRuntime,
    pub(crate) network: FakeNetwork,
    pub(crate) cluster: FakeCluster,
    pub(crate) manager: RedisManager,
    pub(crate) node: NodeHandle,
    pub(crate) read_from: ReadFrom,
    pub(crate) book: Arc<WriteBook>,
}

/// Lives through a seed; the error is the first rule that was broken.
pub(crate) fn simulate_cluster(seed: u64) -> Result<SeedReport, String> {
    let mut rng = SeededRng::new(seed);
    let world = ClusterWorld::new(seed, &mut rng)?;
    let aftermath = world.live(seed, &mut rng);
    world.heal()?;
    is_at_rest(&world, &aftermath)?;
    if let Some(breach) = world.book.lock().breaches.first() {
        return Err(breach.clone());
    }
    let lost = compare(&world, &aftermath)?;
    fail_over(&world, &mut rng)?;
    world.end(lost)
}

impl ClusterWorld {
    fn new(seed: u64, rng: &mut SeededRng) -> Result<Self, String> {
        let runtime = FakeRuntime::with_schedule(seed, Schedule::from_seed(seed));
        let network = FakeNetwork::new(&runtime);
        let shape = ClusterShape::default().node_timeout(600 * MS).election_delay(100 * MS).gossip_interval(200 * MS);
        let cluster = FakeCluster::start(&network, shape.replication_delay(20 * MS)).map_err(|error| error.to_string())?;
        let manager = RedisManager::builder()
            .max_pools_per_node(1)
            .max_connection_size(POOL_SIZE)
            .default_timeout(DEFAULT_TIMEOUT)
            .health_check_timeout(200 * MS)
            .pool_args(PoolArgs::default().command_timeout(COMMAND_TIMEOUT).connect_timeout(SECOND))
            .build(network.clone())
            .map_err(|error| error.to_string())?;
        let reads = [ReadFrom::Primary, ReadFrom::Primary, ReadFrom::PreferReplica, ReadFrom::Any];
        let read_from = reads[rng.index(4)].clone();
        let args = ClusterArgs::default().node_check_interval(300 * MS).read_from(read_from.clone());
        let added = runtime.block_on(manager.add_cluster(NAME, cluster.urls(), args));
        let node = added.map_err(|error| error.to_string())?;
        let mut client = runtime.block_on(node.get_shared_client()).map_err(|error| error.to_string())?;
        let stable: Vec<_> = (0..STABLE_KEYS).map(|number| (format!("stable:{number}"), number)).collect();
        let set: RedisResult<()> = runtime.block_on(client.mset(&stable));
        set.map_err(|error| format!("at the start: {error}"))?;
        drop(client);
        // The replicas have got it.
        runtime.advance(100 * MS);
        Ok(Self { runtime, network, cluster, manager, node, read_from, book: Arc::default() })
    }

    /// The callers work, and the faults come and go.
    fn live(&self, seed: u64, rng: &mut SeededRng) -> Aftermath {
        let mut aftermath = Aftermath::default();
        let until = self.runtime.now() + FAULTS_FOR;
        for number in 0..2 + rng.index(3) {
            let caller = ClusterCaller {
                network: self.network.clone(),
                manager: self.manager.clone(),
                node: self.node.clone(),
                book: Arc::clone(&self.book),
                rng: SeededRng::new(seed.wrapping_mul(31).wrapping_add(number as u64)),
            };
            self.network.spawn(Box::pin(caller.work(until)));
        }
        while self.runtime.now() < until {
            disturb(rng, &self.cluster, &mut aftermath);
            self.runtime.advance(rng.up_to(400 * MS));
        }
        aftermath
    }

    /// Everything works again, by itself.
    fn heal(&self) -> Result<(), String> {
        put_right(&self.cluster).map_err(|error| error.to_string())?;
        let until = self.runtime.now() + HEALED_WITHIN;
        loop {
            self.runtime.advance(SETTLES_WITHIN / 3);
            let status = self.manager.cluster_status(NAME).map_err(|error| error.to_string())?;
            let is_well = (status.health, status.living_slots) == (Health::Up, 16_384);
            if is_well && self.cluster.nodes().iter().all(|node| node.is_ok) {
                break;
            }
            if self.runtime.now() > until {
                return Err(format!("after the heal it is {:?} with {} living slots", status.health, status.living_slots));
            }
        }
        self.runtime.advance(SETTLES_WITHIN);
        Ok(())
    }

    /// Nothing is left behind.
    fn end(self, lost: u64) -> Result<SeedReport, String> {
        let Self { runtime, network, cluster, manager, node, read_from: _, book } = self;
        runtime.block_on(manager.close_all_pools());
        drop((manager, node));
        runtime.advance(SECOND);
        if network.open_streams() != 0 {
            return Err(format!("{} streams are left", network.open_streams()));
        }
        drop(cluster);
        runtime.advance(60 * SECOND);
        if runtime.tasks() != 0 {
            return Err(format!("{} tasks are left, with {} timers", runtime.tasks(), runtime.timers()));
        }
        let told = book.lock();
        let (operations, failures, cancels) = (told.operations, told.failures, told.cancels);
        Ok(SeedReport { steps: runtime.steps(), operations, failures, cancels, lost, digest: network.digest() })
    }
}
