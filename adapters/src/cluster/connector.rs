//! How the core connects to a cluster: whoever is lent a client shares a cluster connection with others.

use std::sync::{Arc, Mutex, PoisonError};

use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::cluster_read_routing::RandomReplicaStrategy;
use redis_manager_core::Connector;

use crate::cluster::error::ClusterError;
use crate::cluster::members::Cluster;
use crate::cluster::routed::Routed;
use crate::cluster::watch::Watch;
use crate::cluster::wire::Wire;
use crate::redis_node::redact;

/// Connects the pools of one name of a cluster.
pub(crate) struct ClusterConnector {
    cluster: Arc<Cluster>,
    name: String,
    /// How many share one cluster connection.
    sharers: usize,
    shared: Mutex<Vec<(ClusterConnection<Wire>, Arc<()>)>>,
}

impl ClusterConnector {
    pub(crate) fn new(cluster: Arc<Cluster>, name: &str) -> Self {
        let sharers = cluster.setup.nodes.config().max_connection_size();
        Self { cluster, name: redact(name), sharers, shared: Mutex::default() }
    }

    /// One that has room for one more.
    fn vacant(&self) -> Option<(ClusterConnection<Wire>, Arc<()>)> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        // Connections that nobody shares any more go, but for one.
        let mut idle = 0;
        let mut surplus = Vec::new();
        let mut index = 0;
        while index < shared.len() {
            idle += usize::from(Arc::strong_count(&shared[index].1) == 1);
            if idle > 1 && Arc::strong_count(&shared[index].1) == 1 {
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

    async fn connection(&self) -> Result<(ClusterConnection<Wire>, Arc<()>), ClusterError> {
        if let Some(vacant) = self.vacant() {
            return Ok(vacant);
        }
        let made = self.make().await.map_err(ClusterError::Redis)?;
        let share = (made, Arc::new(()));
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).push(share.clone());
        Ok(share)
    }

    async fn make(&self) -> redis::RedisResult<ClusterConnection<Wire>> {
        let topology = self.cluster.topology();
        let at = topology.primaries().into_iter().next().unwrap_or_default();
        let args = &self.cluster.setup.cluster_args;
        // No timeouts of the redis crate: it would look for a runtime at every command, and ours bound everything.
        let mut builder = ClusterClientBuilder::new([format!("redis://{at}")])
            .username(self.cluster.key.to_string())
            .retries(args.retries)
            .overall_response_timeout(None);
        if args.read_from_replicas {
            builder = builder.read_routing_strategy(RandomReplicaStrategy);
        }
        builder.build()?.get_async_generic_connection::<Wire>().await
    }
}

impl Connector for ClusterConnector {
    type Connection = Box<Routed>;
    type Error = ClusterError;

    async fn connect(&self) -> Result<Box<Routed>, ClusterError> {
        if self.cluster.topology().uncovered() > 0 || self.cluster.is_down() {
            self.cluster.refresh().await?;
        }
        self.check_coverage()?;
        self.cluster.judge();
        if self.cluster.is_down() {
            return Err(ClusterError::AllDown);
        }
        Watch::start(&self.cluster);
        let (connection, share) = self.connection().await?;
        Ok(Box::new(Routed::new(Arc::clone(&self.cluster), connection, share)))
    }

    /// Each node's health is that of its own pools; a cluster is well as long as one primary is.
    async fn check(&self, _: &mut Box<Routed>) -> Result<(), ClusterError> {
        self.cluster.judge();
        if self.cluster.is_down() {
            return Err(ClusterError::AllDown);
        }
        self.check_coverage()
    }

    fn is_broken(&self, routed: &mut Box<Routed>) -> bool {
        routed.is_down()
    }

    fn is_permanent(&self, error: &ClusterError) -> bool {
        error.is_permanent()
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

impl ClusterConnector {
    fn check_coverage(&self) -> Result<(), ClusterError> {
        let uncovered = self.cluster.topology().uncovered();
        match self.cluster.setup.cluster_args.require_full_coverage && uncovered > 0 {
            true => Err(ClusterError::Uncovered { uncovered }),
            false => Ok(()),
        }
    }
}
