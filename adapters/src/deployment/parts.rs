//! What a manager makes a deployment of, beside the deployment's own settings.

use std::sync::Arc;

use redis_manager_core::Manager;

use crate::network::Network;
use crate::redis_node::{Hooks, PoolArgs, RedisConnector};

/// What a manager makes the nodes of a deployment with.
pub(crate) struct DeploymentParts {
    /// Of this deployment alone.
    pub(crate) nodes: Manager<RedisConnector>,
    pub(crate) network: Arc<dyn Network>,
    pub(crate) args: PoolArgs,
    pub(crate) hooks: Hooks,
    /// Shared connections of each node.
    pub(crate) lanes: usize,
}
