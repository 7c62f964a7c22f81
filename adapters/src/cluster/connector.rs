//! How the core connects to a cluster: every client on loan shares a cluster connection with others.

use std::sync::{Arc, Mutex, PoisonError};

use redis::ConnectionAddr;
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis_manager_core::{AbortHandle, Condition, Connector};

use crate::cluster::cluster_metrics::ClusterMetrics;
use crate::cluster::error::ClusterError;
use crate::cluster::monitor::ClusterMonitor;
use crate::cluster::nodes::Cluster;
use crate::cluster::replica_routing::FitReplicas;
use crate::cluster::routed_client::{RoutedConnection, ShareState};
use crate::cluster::wire::Wire;
use crate::error::ConnectFailure;
use crate::redis_node::{CommandMetrics, NodeCounters, labels, redact, text_of_label};

/// In milliseconds.
const SHORTEST_PAUSE: u64 = 5;
const LONGEST_PAUSE: u64 = 100;

/// Connects the pools of one name of a cluster.
pub(crate) struct ClusterConnector {
    cluster: Arc<Cluster>,
    name: String,
    /// Number of clients that share one cluster connection.
    sharers: usize,
    shared: Mutex<Vec<(ClusterConnection<Wire>, Arc<ShareState>)>>,
    counters: Arc<NodeCounters>,
}

impl ClusterConnector {
    pub(crate) fn new(cluster: Arc<Cluster>, name: &str) -> Self {
        let sharers = cluster.setup.nodes.config().max_connection_size();
        let (runtime, sampling) = (Arc::clone(&cluster.setup.network), cluster.setup.nodes.config().use_time_sampling());
        let counters = Arc::new(NodeCounters::new(runtime, sampling, labels()));
        Self { cluster, name: redact(name), sharers, shared: Mutex::default(), counters }
    }

    /// What was counted and timed of the requests of the name's clients.
    pub(crate) fn command_metrics(&self) -> CommandMetrics {
        self.counters.read(text_of_label)
    }

    /// What was counted of the cluster.
    pub(crate) fn cluster_metrics(&self) -> ClusterMetrics {
        self.cluster.counters.read(self.cluster.runtime().now())
    }

    /// A cluster connection with room for one more client.
    fn vacant(&self) -> Option<(ClusterConnection<Wire>, Arc<ShareState>)> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        // Unused connections are dropped, except for one, and so are dead ones.
        let mut idle = 0;
        let mut surplus = Vec::new();
        let mut index = 0;
        while index < shared.len() {
            let share = &shared[index].1;
            let is_idle = Arc::strong_count(share) == 1;
            idle += usize::from(is_idle);
            if (idle > 1 && is_idle) || share.is_dead() {
                surplus.push(shared.swap_remove(index));
            } else {
                index += 1;
            }
        }
        let vacant = shared.iter().find(|(_, share)| Arc::strong_count(share) <= self.sharers).cloned();
        drop(shared);
        drop(surplus);
        vacant
    }

    async fn connection(&self) -> Result<(ClusterConnection<Wire>, Arc<ShareState>), ClusterError> {
        if let Some(vacant) = self.vacant() {
            return Ok(vacant);
        }
        let version = self.cluster.changed.version();
        let made = self.make().await.map_err(ClusterError::Redis)?;
        let share = (made, Arc::new(ShareState::of(version)));
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).push(share.clone());
        Ok(share)
    }

    async fn make(&self) -> redis::RedisResult<ClusterConnection<Wire>> {
        let topology = self.cluster.topology();
        let primaries = topology.primaries();
        // The redis crate asks this node for the slots. The answer comes from the topology here, so any node will do.
        let at = primaries.first().map_or("127.0.0.1:1", String::as_str);
        let (host, port) = at.rsplit_once(':').unwrap_or((at, "1"));
        let at = ConnectionAddr::Tcp(String::from(host), port.parse().unwrap_or(1));
        let args = &self.cluster.setup.cluster_args;
        // No timeouts of the redis crate: it would look for a runtime at every command, and ours bound everything.
        let mut builder = ClusterClientBuilder::new([at])
            .username(self.cluster.key.to_string())
            .retries(args.retries)
            // Its own pauses, between tries to find a node at all: they must not grow, or they would overflow.
            .retry_wait_formula(1, 1)
            .min_retry_wait(SHORTEST_PAUSE)
            .max_retry_wait(LONGEST_PAUSE)
            .overall_response_timeout(None);
        if args.read_from_replicas {
            builder = builder.read_routing_strategy(FitReplicas(self.cluster.key));
        }
        builder.build()?.get_async_generic_connection::<Wire>().await
    }
}

impl Connector for ClusterConnector {
    type Connection = Box<RoutedConnection>;
    type Error = ConnectFailure;

    async fn connect(&self) -> Result<Box<RoutedConnection>, ConnectFailure> {
        self.connect_routed().await.map_err(|error| error.to_connect_failure())
    }

    /// Each node's health is that of its own pools. A cluster is up while one primary is.
    async fn check(&self, _: &mut Box<RoutedConnection>) -> Result<(), ConnectFailure> {
        self.cluster.judge();
        let well = if self.cluster.is_down() { Err(ClusterError::AllDown) } else { self.check_coverage() };
        well.map_err(|error| error.to_connect_failure())
    }

    fn inspect(&self, routed: &mut Box<RoutedConnection>) -> Condition {
        if routed.is_broken() { Condition::Broken } else { Condition::Clean }
    }

    fn abort_handle(&self, routed: &mut Box<RoutedConnection>) -> Option<AbortHandle> {
        Some(Box::new(routed.abort_handle()))
    }

    fn is_permanent(&self, error: &ConnectFailure) -> bool {
        error.is_permanent()
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

impl ClusterConnector {
    async fn connect_routed(&self) -> Result<Box<RoutedConnection>, ClusterError> {
        if self.cluster.topology().uncovered() > 0 || self.cluster.is_down() {
            self.cluster.refresh().await?;
        }
        self.check_coverage()?;
        self.cluster.judge();
        if self.cluster.is_down() {
            return Err(ClusterError::AllDown);
        }
        ClusterMonitor::start(&self.cluster);
        let (connection, share) = self.connection().await?;
        Ok(Box::new(RoutedConnection::new(Arc::clone(&self.cluster), connection, share, Arc::clone(&self.counters))))
    }

    fn check_coverage(&self) -> Result<(), ClusterError> {
        let uncovered = self.cluster.topology().uncovered();
        match self.cluster.setup.cluster_args.require_full_coverage && uncovered > 0 {
            true => Err(ClusterError::Uncovered { uncovered }),
            false => Ok(()),
        }
    }
}
