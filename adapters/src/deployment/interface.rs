//! What the manager asks of several nodes under one name.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use redis::RedisResult;
use redis_manager_core::{Manager, NodeStatus};

use crate::deployment::add_phase::AddPhase;
use crate::deployment::cluster_metrics::ClusterMetrics;
use crate::deployment::cluster_status::ClusterStatus;
use crate::deployment::parts::DeploymentParts;
use crate::deployment::primary_metrics::PrimaryMetrics;
use crate::deployment::replicas::ReplicaStatus;
use crate::deployment::scan_options::ScanOptions;
use crate::deployment::sentinel::SentinelStatus;
use crate::deployment::subscription_places::SubscriptionPlaces;
use crate::error::GetClientError;
use crate::redis_node::{Client, CommandMetrics, RedisConnector, SharedClient};

/// A call in progress.
pub(crate) type Lending<'a, T> = Pin<Box<dyn Future<Output = Result<T, GetClientError>> + Send + 'a>>;

/// Keys, a batch at a time.
pub(crate) trait KeySource: Send {
    /// The next batch, which is not empty; `None` at the end.
    fn next_batch(self: Box<Self>) -> KeyBatch;
}

/// A batch on its way, with the source of the next one.
pub(crate) type KeyBatch = Pin<Box<dyn Future<Output = (Box<dyn KeySource>, RedisResult<Option<Vec<Vec<u8>>>>)> + Send>>;

/// A close in progress; it goes on by itself.
pub(crate) type ClosingDeployment = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What the manager adds under any name, where that is no single node.
pub(crate) trait OpenByName: Send + Sync {
    /// Opens it under one more name. The parts are asked for if it needs nodes of its own.
    fn open(&self, name: &str, parts: &dyn Fn() -> DeploymentParts) -> Arc<dyn Deployment>;
}

/// Several nodes under one name.
pub(crate) trait Deployment: Send + Sync {
    /// The name, without secrets.
    fn name(&self) -> &str;

    /// Waits until it serves.
    fn ready(&self, timeout: Duration) -> Lending<'_, ()>;

    /// Whether it is still being added.
    fn phase(&self) -> &AddPhase;

    /// A client of the whole.
    fn get_client(&self, timeout: Duration) -> Lending<'_, Client>;

    fn try_get_client(&self) -> Result<Client, GetClientError>;

    /// A client of the whole that many tasks share.
    fn get_shared_client(&self, timeout: Duration) -> Lending<'_, SharedClient>;

    /// A client of a replica that is fit.
    fn get_replica_client(&self, _timeout: Duration) -> Lending<'_, Client> {
        let why = String::from("replicas are known of a primary that was added by add_sentinel or add_primary");
        let error = GetClientError::NoReplica { node: String::from(self.name()), waited: Duration::ZERO, why };
        Box::pin(std::future::ready(Err(error)))
    }

    /// A connection to the node that owns a key.
    fn get_client_for_key<'a>(&'a self, key: &'a [u8], timeout: Duration) -> Lending<'a, Client>;

    /// A connection to one node, by its host and port.
    fn get_client_of_node<'a>(&'a self, address: &'a str, timeout: Duration) -> Lending<'a, Client>;

    /// All keys of the whole. None: those of its shared client.
    fn scan(&self, options: ScanOptions) -> Result<Option<Box<dyn KeySource>>, GetClientError>;

    /// How the whole is doing; it has no pools of its own.
    fn status(&self) -> NodeStatus;

    /// What was counted of its clients.
    fn command_metrics(&self) -> CommandMetrics;

    /// The pools of its nodes, by host and port.
    fn nodes(&self) -> &Manager<RedisConnector>;

    /// From when this returns nothing is lent and no command is sent. The future ends when all is closed.
    fn begin_close(&self, timeout: Duration) -> ClosingDeployment;

    /// The same for calls that do not wait for the end.
    fn close_in_background(&self, timeout: Duration);

    /// Whether it was closed.
    fn is_closed(&self) -> bool;

    /// If it is a cluster.
    fn cluster_status(&self) -> Option<ClusterStatus>;

    /// If it is a cluster.
    fn cluster_metrics(&self) -> Option<ClusterMetrics>;

    /// Where subscriptions belong.
    fn subscription_places(&self) -> Arc<dyn SubscriptionPlaces>;

    /// If it is a primary behind sentinels.
    fn sentinel_status(&self) -> Option<SentinelStatus> {
        None
    }

    /// If it is a primary behind sentinels, or one with replicas.
    fn primary_metrics(&self) -> Option<PrimaryMetrics> {
        None
    }

    /// If it is a primary with replicas.
    fn replica_status(&self) -> Option<ReplicaStatus> {
        None
    }
}
