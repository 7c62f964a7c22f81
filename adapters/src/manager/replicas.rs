//! Primaries with replicas: how those without sentinels are added, clients of replicas, and their status.

use std::time::Duration;

use crate::deployment::PrimaryMetrics;
use crate::deployment::replicas::{PrimaryArgs, ReplicaStatus};
use crate::deployment::sentinel::SentinelPlan;
use crate::error::{AddNodeError, GetClientError};
use crate::manager::node_key::node_key;
use crate::manager::{NodeHandle, RedisManager, hide_password};
use crate::redis_node::{Client, redact};

impl RedisManager {
    /// Adds a primary with replicas under a name of your choice within `default_timeout` and returns its handle; see
    /// [`add_primary_timeout`](RedisManager::add_primary_timeout).
    ///
    /// # Errors
    ///
    /// As [`add_sentinel`](RedisManager::add_sentinel).
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time. The deployment is removed when no other call waits for it.
    pub async fn add_primary(&self, name: &str, args: PrimaryArgs) -> Result<NodeHandle, AddNodeError> {
        self.add_primary_timeout(name, args, self.nodes.config().default_timeout()).await
    }

    /// Adds a primary with replicas, whose addresses are given, under a name of your choice within `timeout` and returns its handle,
    /// which may be dropped. The name is then used like the URL of a node: `get_client(name)` and `get_shared_client(name)` lead to the
    /// primary, [`get_replica_client`](RedisManager::get_replica_client) to a replica. A name that was added already is left as it
    /// is.
    ///
    /// Which of the servers is the primary is asked of all of them (`INFO replication`) when the deployment is added, each
    /// `poll_interval`, and while dials of the primary fail; each new connection to the primary asks it once more (`ROLE`). If several
    /// say that they are one, the one that has replicas holds, and then the present one. A change is what a failover is with
    /// [sentinels](RedisManager::add_sentinel_timeout).
    ///
    /// # Errors
    ///
    /// As [`add_sentinel_timeout`](RedisManager::add_sentinel_timeout), without `NoSentinel` and `UnknownName`;
    /// [`NotPrimary`](crate::FailureKind::NotPrimary) if no server that answers says that it is a primary.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time. The deployment is removed when no other call waits for it.
    pub async fn add_primary_timeout(
        &self,
        name: &str,
        args: PrimaryArgs,
        timeout: Duration,
    ) -> Result<NodeHandle, AddNodeError> {
        let (protocol, tls) = self.context.protocol_and_tls();
        let plan = SentinelPlan::of_servers(&args, protocol, tls);
        let plan = plan.map_err(|error| AddNodeError::InvalidSetting { node: redact(name), error })?;
        self.add_followed(name, plan, timeout).await
    }

    /// Lends a client of a replica within `default_timeout`; see
    /// [`get_replica_client_timeout`](RedisManager::get_replica_client_timeout).
    ///
    /// # Errors
    ///
    /// As [`get_replica_client_timeout`](RedisManager::get_replica_client_timeout).
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time: the caller leaves the queue, and a client that was granted to it goes to the next caller.
    pub async fn get_replica_client(&self, name: &str) -> Result<Client, GetClientError> {
        self.get_replica_client_timeout(name, self.nodes.config().default_timeout()).await
    }

    /// Lends a client of a replica of a primary that was added by [`add_sentinel`](RedisManager::add_sentinel) or
    /// [`add_primary`](RedisManager::add_primary), for exclusive use. Those that are fit take turns. Each replica has pools of its own.
    ///
    /// # Which replicas are fit
    ///
    /// A replica is fit that answers, has no copy of all data to get, has a link to the primary that is up, and lacks no more than
    /// `max_replica_lag` of its writes. All are asked each `replica_check_interval`; one that a call waits for is asked at once, and
    /// if it is not fit the call goes on to another one within its deadline. While the primary does not answer, replicas that were
    /// near enough before are fit.
    ///
    /// # Staleness
    ///
    /// What is read may be older than what was written last: by `max_replica_lag`, and by what the primary has written since the
    /// replica was asked, up to `replica_check_interval` and the time that it takes to notice that it does not answer.
    ///
    /// # Errors
    ///
    /// - [`NoReplica`](GetClientError::NoReplica) at the end of `timeout` if no replica is fit, with the reasons; at once for a node or
    ///   a cluster, whose replicas are not known here.
    /// - The others as with [`get_client_timeout`](RedisManager::get_client_timeout).
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time: the caller leaves the queue, and a client that was granted to it goes to the next caller.
    pub async fn get_replica_client_timeout(&self, name: &str, timeout: Duration) -> Result<Client, GetClientError> {
        if let Some(deployment) = self.deployments.find(name) {
            return deployment.get_replica_client(timeout).await;
        }
        let pool = self.nodes.node(&node_key(name)).map_err(hide_password)?;
        let why = String::from("replicas are known of a primary that was added by add_sentinel or add_primary");
        Err(GetClientError::NoReplica { node: String::from(pool.name()), waited: Duration::ZERO, why })
    }

    /// What was counted of a primary behind sentinels, or of one with replicas: failovers, how long it was impaired, and how many
    /// sentinels and replicas can be used.
    ///
    /// # Errors
    ///
    /// As [`replica_status`](RedisManager::replica_status).
    pub fn primary_metrics(&self, name: &str) -> Result<PrimaryMetrics, GetClientError> {
        let metrics = self.deployments.find(name).and_then(|deployment| deployment.primary_metrics());
        metrics.ok_or_else(|| self.not_found(name))
    }

    /// The replicas of a primary: how far each of them is, or why it is not read from. They are looked at from the first call of
    /// [`get_replica_client`](RedisManager::get_replica_client) on, or from the beginning if shared clients read from them.
    ///
    /// # Errors
    ///
    /// [`UnknownNode`](GetClientError::UnknownNode) if no primary with replicas was added under this name, or if it has been closed.
    /// [`Closed`](GetClientError::Closed) after [`close_all_pools`](RedisManager::close_all_pools).
    pub fn replica_status(&self, name: &str) -> Result<ReplicaStatus, GetClientError> {
        let status = self.deployments.find(name).and_then(|deployment| deployment.replica_status());
        status.ok_or_else(|| self.not_found(name))
    }
}
