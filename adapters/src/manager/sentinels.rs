//! Primaries behind sentinels: how they are added, and their status.

use std::sync::Arc;
use std::time::Duration;

use redis_manager_core::ConfigError;

use crate::deployment::Deployment;
use crate::deployment::sentinel::{SentinelArgs, SentinelName, SentinelPlan, SentinelStatus, read_url};
use crate::error::{AddNodeError, GetClientError};
use crate::manager::{NodeHandle, RedisManager, hide_password};
use crate::redis_node::redact;

impl RedisManager {
    /// Adds a primary behind sentinels under a name of your choice within `default_timeout` and returns its handle; see
    /// [`add_sentinel_timeout`](RedisManager::add_sentinel_timeout).
    ///
    /// # Errors
    ///
    /// At once: [`InvalidSetting`](AddNodeError::InvalidSetting), [`NoFloorLeft`](AddNodeError::NoFloorLeft),
    /// [`Closed`](AddNodeError::Closed), [`RuntimeEnded`](AddNodeError::RuntimeEnded). At the deadline or earlier:
    /// [`NoHealthyPools`](AddNodeError::NoHealthyPools), [`NothingLeft`](AddNodeError::NothingLeft).
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time. The deployment is removed when no other call waits for it.
    pub async fn add_sentinel(&self, name: &str, args: SentinelArgs) -> Result<NodeHandle, AddNodeError> {
        self.add_sentinel_timeout(name, args, self.nodes.config().default_timeout()).await
    }

    /// Adds a primary behind sentinels under a name of your choice within `timeout` and returns its handle, which may be dropped.
    /// The name is then used like the URL of a node: `get_client(name)`, `get_shared_client(name)`. Any number of them may be in
    /// one manager, beside nodes and clusters. A name that was added already is left as it is.
    ///
    /// Waits as [`add_node_pool_timeout`](RedisManager::add_node_pool_timeout) does, until the pools of the primary are warm.
    ///
    /// # Failover
    ///
    /// All sentinels are asked when the deployment is added, each `poll_interval`, and while dials fail; one that announces a
    /// change is asked at once. A server that is named as the primary is used only if it says itself that it is one (`ROLE`). When
    /// another server is the primary, idle connections to the former one are closed at once, those on loan when they come back;
    /// callers in the queue keep their places and their deadlines, and get a connection to the new one. Commands of shared clients
    /// that were not sent go to the new one; those that may have been sent are answered within 100 ms or end as `outcome
    /// unknown`, and are never sent again. While no sentinel answers, the known primary is used.
    ///
    /// # Errors
    ///
    /// - [`InvalidSetting`](AddNodeError::InvalidSetting) at once; it names the setting.
    /// - [`NoFloorLeft`](AddNodeError::NoFloorLeft) at once if `max_total_connections` is too small to reserve
    ///   `min_connections_per_node` for the primary.
    /// - [`NoHealthyPools`](AddNodeError::NoHealthyPools) with the cause at the end of `timeout`, or at once if waiting does not
    ///   mend it. Its [`kind`](AddNodeError::kind) is [`NoSentinel`](crate::FailureKind::NoSentinel) if no sentinel can be asked
    ///   (with each one's reason), [`UnknownName`](crate::FailureKind::UnknownName) if none that answers knows the name,
    ///   [`NotPrimary`](crate::FailureKind::NotPrimary) if the named server says that it is none, and otherwise that of the failed
    ///   dial of the primary.
    /// - [`NothingLeft`](AddNodeError::NothingLeft) at the end of `timeout` if other nodes held all of `max_total_connections`.
    /// - [`Closed`](AddNodeError::Closed) after [`close_all_pools`](RedisManager::close_all_pools), or if the name is closed
    ///   meanwhile.
    /// - [`RuntimeEnded`](AddNodeError::RuntimeEnded) after the end of the runtime.
    ///
    /// After an error nothing of the deployment is left behind.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time. The deployment is removed when no other call waits for it.
    pub async fn add_sentinel_timeout(
        &self,
        name: &str,
        args: SentinelArgs,
        timeout: Duration,
    ) -> Result<NodeHandle, AddNodeError> {
        let plan = self.sentinel_plan(args);
        let plan = plan.map_err(|error| AddNodeError::InvalidSetting { node: redact(name), error })?;
        self.add_followed(name, plan, timeout).await
    }

    pub(super) async fn add_sentinel_url(&self, url: &str, timeout: Duration) -> Result<NodeHandle, AddNodeError> {
        self.add_followed(url, self.plan_of_url(url)?, timeout).await
    }

    pub(super) fn open_sentinel_url(&self, url: &str) -> Result<NodeHandle, AddNodeError> {
        let plan = self.plan_of_url(url)?;
        self.open_deployment(url, || self.open_followed(url, plan))
    }

    /// The settings, checked.
    fn sentinel_plan(&self, args: SentinelArgs) -> Result<SentinelPlan, ConfigError> {
        let (protocol, tls) = self.context.protocol_and_tls();
        SentinelPlan::new(args, protocol, tls)
    }

    fn plan_of_url(&self, url: &str) -> Result<SentinelPlan, AddNodeError> {
        let invalid = |reason: String| AddNodeError::InvalidUrl { node: redact(url), reason };
        let args = read_url(url).map_err(invalid)?;
        self.sentinel_plan(args).map_err(|error| invalid(error.to_string()))
    }

    pub(super) async fn add_followed(
        &self,
        name: &str,
        plan: SentinelPlan,
        timeout: Duration,
    ) -> Result<NodeHandle, AddNodeError> {
        self.add_deployment(name, || self.open_followed(name, plan), timeout).await
    }

    fn open_followed(&self, name: &str, plan: SentinelPlan) -> Arc<dyn Deployment> {
        SentinelName::open(name, plan, self.context.deployment_parts(self.nodes.beside()))
    }

    /// What the sentinels of a primary have said last, and which server is used.
    ///
    /// # Errors
    ///
    /// [`UnknownNode`](GetClientError::UnknownNode) if no primary behind sentinels was added under this name, or if it has been
    /// closed. [`Closed`](GetClientError::Closed) after [`close_all_pools`](RedisManager::close_all_pools).
    pub fn sentinel_status(&self, name: &str) -> Result<SentinelStatus, GetClientError> {
        let status = self.deployments.find(name).and_then(|deployment| deployment.sentinel_status());
        status.ok_or_else(|| self.not_found(name))
    }

    pub(super) fn not_found(&self, name: &str) -> GetClientError {
        let node = String::from(name);
        hide_password(match self.nodes.is_closed() {
            true => GetClientError::Closed { node },
            false => GetClientError::UnknownNode { node },
        })
    }
}
