//! A cluster in memory: fake Redis servers that talk to each other on the virtual clock, and what a test does to them.

mod control;
mod driver;
mod moves;
mod shape;

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use redis_manager_core::{Spawn, Timer};

use crate::testing::fake_network::FakeNetwork;
use crate::testing::fake_redis::{LostWrite, SLOTS};
use crate::testing::fake_redis_host::{FakeRedis, catch_up};

use driver::{FakeMember, SharedCluster, drive};
pub use moves::SlotMigration;
pub use shape::ClusterShape;

/// A cluster of [`FakeRedis`] nodes on a [`FakeNetwork`]. Dropping it ends all nodes.
///
/// ```
/// use redis_manager::testing::{ClusterShape, FakeCluster, FakeNetwork, FakeRuntime};
/// use std::time::Duration;
///
/// # fn main() -> std::io::Result<()> {
/// let runtime = FakeRuntime::new(42);
/// let network = FakeNetwork::new(&runtime);
/// let cluster = FakeCluster::start(&network, ClusterShape::default())?;
/// assert_eq!(cluster.primary_of(0), Some(0));
///
/// cluster.kill(0);
/// runtime.advance(Duration::from_secs(3));
/// assert_eq!(cluster.primary_of(0), Some(3), "its replica was promoted");
/// cluster.restart(0)?;
/// runtime.advance(Duration::from_secs(1));
/// assert_eq!(cluster.nodes()[0].primary, Some(3), "it has become a replica");
/// # Ok(())
/// # }
/// ```
///
/// Nodes have numbers, in the order in which they were started: first the primaries, then the replicas of the first primary, of the
/// second one and so on. Each node has its own view of the cluster, and learns from those that it hears: by themselves every
/// [`gossip_interval`](ClusterShape::gossip_interval), and of changes after [`gossip_delay`](ClusterShape::gossip_delay). Failures
/// are suspected, declared and answered with elections as in Redis. The links between the nodes obey [`partition`](Self::partition)
/// and black holes before a node; the clients' links only the latter.
pub struct FakeCluster {
    shared: Arc<SharedCluster>,
}

/// A node of a [`FakeCluster`], by its own belief.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterNodeSeen {
    /// Its number.
    pub number: usize,
    /// As CLUSTER MYID, 40 hexadecimal digits.
    pub id: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// The number of the node that it is a replica of; None: it is a primary, or follows a node that was never a part of this cluster.
    pub primary: Option<usize>,
    /// The slots that it owns.
    pub slots: Vec<RangeInclusive<u16>>,
    /// `cluster_state:ok`.
    pub is_ok: bool,
    /// It runs: it was neither killed, nor frozen, nor removed.
    pub is_running: bool,
}

impl FakeCluster {
    /// Starts a cluster: its nodes know each other, the slots are shared, and it serves.
    ///
    /// # Errors
    ///
    /// `InvalidInput` without a primary or with more than 1,000. `AddrInUse` if the network has a cluster of that name.
    pub fn start(network: &FakeNetwork, shape: ClusterShape) -> io::Result<Self> {
        if !(1..=1_000).contains(&shape.primaries) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{} primaries: 1 to 1000", shape.primaries)));
        }
        let (primaries, replicas) = (shape.primaries, shape.replicas_per_primary);
        let cluster = Self { shared: Arc::new(SharedCluster::new(network.clone(), shape)) };
        for _ in 0..primaries * (1 + replicas) {
            cluster.start_node()?;
        }
        let share = |number: usize| u16::try_from(usize::from(SLOTS) * number / primaries).unwrap_or(SLOTS);
        for number in 0..primaries {
            let slots = share(number)..share(number + 1);
            cluster.node(number).shared().act(|server, now| server.take_slots(now, slots));
        }
        cluster.shared.exchange();
        for number in primaries..primaries * (1 + replicas) {
            let primary = cluster.id_of((number - primaries) / replicas);
            let replica = cluster.node(number);
            replica.shared().act(|server, now| server.replicate_node(now, &primary));
            catch_up(replica.shared());
        }
        cluster.shared.exchange();
        cluster.shared.exchange();
        network.spawn(Box::pin(drive(Arc::downgrade(&cluster.shared))));
        Ok(cluster)
    }

    /// A node alone, of a cluster of its own.
    fn start_node(&self) -> io::Result<usize> {
        let SharedCluster { network, shape, bell, .. } = &*self.shared;
        let number = self.shared.members().len();
        let name = self.name_of(number);
        let redis = FakeRedis::start(network, &name)?;
        redis.set_replication_delay(shape.replication_delay);
        redis.set_loading_time(shape.loading_time);
        redis.set(|behaviour| behaviour.version.clone_from(&shape.version));
        let address = redis.address();
        let (ip, hostname) = (address.ip().to_string(), if shape.announce_hostnames { name.as_str() } else { "" });
        redis.shared().act(|server, now| {
            server.enable_cluster(now, shape.settings(), &ip, address.port());
            server.announce(&ip, address.port(), hostname);
        });
        redis.shared().set_bell(Arc::clone(bell));
        self.shared.members().push(FakeMember { redis: Arc::new(redis), is_removed: false });
        Ok(number)
    }

    /// The server of a node: its journal, its connections, the way to it, its passwords.
    ///
    /// # Panics
    ///
    /// If there is no node of this number; so do all methods that take one.
    #[must_use]
    pub fn node(&self, number: usize) -> Arc<FakeRedis> {
        let members = self.shared.members();
        let member = members.get(number);
        Arc::clone(&member.unwrap_or_else(|| panic!("node {number} of {}", members.len())).redis)
    }

    /// All nodes that were ever started, in the order of their numbers.
    #[must_use]
    pub fn nodes(&self) -> Vec<ClusterNodeSeen> {
        let members = self.shared.members();
        let redis: Vec<_> = members.iter().map(|member| (Arc::clone(&member.redis), member.is_removed)).collect();
        drop(members);
        let ids: Vec<_> = (0..redis.len()).map(|number| self.id_of(number)).collect();
        let seen = |(number, (redis, is_removed)): (usize, &(Arc<FakeRedis>, bool))| {
            let ((slots, primary), is_ok) = redis.shared().act(|server, _| (server.own_slots(), server.cluster_is_ok()));
            ClusterNodeSeen {
                number,
                id: ids[number].clone(),
                address: redis.address(),
                primary: primary.and_then(|primary| ids.iter().position(|id| *id == primary)),
                slots,
                is_ok,
                is_running: redis.shared().is_running() && !is_removed,
            }
        };
        redis.iter().enumerate().map(seen).collect()
    }

    /// Where the nodes are, in the order of their numbers, without those that were removed.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.shared.members().iter().filter(|member| !member.is_removed).map(|member| member.redis.address()).collect()
    }

    /// URLs of the nodes by their addresses, to start from: `redis://10.0.0.1:6379` and so on.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.addresses().iter().map(|address| format!("redis://{address}")).collect()
    }

    /// The number of the node that owns a slot: of those that run and believe so themselves, that of the highest epoch. None: the slot
    /// has no owner that runs.
    #[must_use]
    pub fn primary_of(&self, slot: u16) -> Option<usize> {
        self.shared.primary_of(slot)
    }

    /// Writes that were carried out and are gone: their node has become a replica of one that never got them, or will when it hears
    /// that it was replaced. After a move of slots a key may stand there as `RESTORE key`, for all writes to it; so does one that a move
    /// which was broken off has left where nobody can read it.
    #[must_use]
    pub fn lost_writes(&self) -> Vec<LostWrite> {
        let servers: Vec<_> = self.shared.members().iter().map(|member| Arc::clone(member.redis.shared())).collect();
        let positions: Vec<_> = servers.iter().filter_map(|server| server.act(|server, _| server.position())).collect();
        let mut seen = BTreeSet::new();
        let mut lost = Vec::new();
        for server in &servers {
            let of_server = server.act(|server, _| {
                let behind = positions.iter().flat_map(|position| server.writes_lost_to(position)).collect();
                [server.lost_writes(), behind].concat()
            });
            lost.extend(of_server.into_iter().filter(|write| seen.insert(write.place())));
        }
        lost.extend(self.shared.stranded().into_iter().filter(|write| seen.insert(write.place())));
        lost
    }

    fn name_of(&self, number: usize) -> String {
        format!("node-{number}.{}", self.shared.shape.name)
    }

    fn id_of(&self, number: usize) -> String {
        self.node(number).shared().act(|server, _| server.node_id().unwrap_or_default().to_owned())
    }
}

impl Drop for FakeCluster {
    fn drop(&mut self) {
        let nodes: Vec<_> = self.shared.members().iter().map(|member| Arc::clone(&member.redis)).collect();
        nodes.iter().for_each(|redis| redis.kill());
    }
}

impl fmt::Debug for FakeCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let now = self.shared.network.now();
        f.debug_struct("FakeCluster").field("now", &now).field("addresses", &self.addresses()).finish_non_exhaustive()
    }
}
