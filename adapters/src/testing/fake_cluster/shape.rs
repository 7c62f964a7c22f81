//! What a fake cluster is made of.

use std::time::Duration;

use crate::setters::setters;
use crate::testing::fake_redis::{FakeClusterSettings, PreferredEndpoint};

/// What a [`FakeCluster`](super::FakeCluster) is made of, and how quick it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterShape {
    /// The end of the names of its nodes: `node-0.cluster.test` and so on by default. Each cluster of a network needs its own.
    pub name: String,
    /// Primaries, 1 to 1,000, which share the slots evenly. 3 by default.
    pub primaries: usize,
    /// Replicas of each primary. 1 by default.
    pub replicas_per_primary: usize,
    /// `cluster-node-timeout`: how long a node is silent until another one suspects it. 1 s by default; 15 s in Redis.
    pub node_timeout: Duration,
    /// How often each node tells the others what it believes, at least 1 ms. 100 ms by default. A round costs real time as the square of
    /// the number of nodes: hundreds of them are quicker with a longer interval, of less than `node_timeout`.
    pub gossip_interval: Duration,
    /// How long it takes until the others hear of a change that a node tells at once, such as a promotion. 1 ms by default.
    pub gossip_delay: Duration,
    /// How long a write is under way to a replica: what is acknowledged and not yet there is lost by a failover. 1 ms by default.
    pub replication_delay: Duration,
    /// How long a replica waits, after its primary was declared dead, before it asks for votes; as much again at most is drawn from
    /// the seed. 500 ms by default, as in Redis.
    pub election_delay: Duration,
    /// For how long a node answers `LOADING` after a restart. 0 by default.
    pub loading_time: Duration,
    /// `cluster-require-full-coverage`: whether all slots refuse to serve when one has no living owner. True by default, as in Redis.
    pub require_full_coverage: bool,
    /// `cluster-preferred-endpoint-type`. The address by default.
    pub preferred_endpoint: PreferredEndpoint,
    /// `cluster-announce-hostname`: whether nodes announce their names, `node-0.cluster.test` and so on. False by default.
    pub announce_hostnames: bool,
    /// What INFO and HELLO say; below `7.0` there is no CLUSTER SHARDS. `7.0.15` by default.
    pub version: String,
    /// `cluster-databases` of Valkey 9, 1 to 16. 1 by default.
    pub databases: usize,
}

impl ClusterShape {
    setters! {
        primaries: usize,
        replicas_per_primary: usize,
        node_timeout: Duration,
        gossip_interval: Duration,
        gossip_delay: Duration,
        replication_delay: Duration,
        election_delay: Duration,
        loading_time: Duration,
        require_full_coverage: bool,
        preferred_endpoint: PreferredEndpoint,
        announce_hostnames: bool,
        databases: usize,
    }

    /// Sets [`name`](Self::name).
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Sets [`version`](Self::version).
    #[must_use]
    pub fn version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.version);
        self
    }

    pub(super) fn settings(&self) -> FakeClusterSettings {
        FakeClusterSettings {
            node_timeout: self.node_timeout,
            require_full_coverage: self.require_full_coverage,
            allow_reads_when_down: false,
            election_delay: self.election_delay,
            preferred_endpoint: self.preferred_endpoint,
            databases: self.databases,
        }
    }
}

impl Default for ClusterShape {
    fn default() -> Self {
        Self {
            name: String::from("cluster.test"),
            primaries: 3,
            replicas_per_primary: 1,
            node_timeout: Duration::from_secs(1),
            gossip_interval: Duration::from_millis(100),
            gossip_delay: Duration::from_millis(1),
            replication_delay: Duration::from_millis(1),
            election_delay: Duration::from_millis(500),
            loading_time: Duration::ZERO,
            require_full_coverage: true,
            preferred_endpoint: PreferredEndpoint::Ip,
            announce_hostnames: false,
            version: String::from("7.0.15"),
            databases: 1,
        }
    }
}
