//! One replica with its pools.

use std::sync::Arc;

use redis_manager_core::{Health, NodePool};

use crate::deployment::host_port::HostPort;
use crate::redis_node::{RedisConnector, SharedConnections};

/// One replica with its pools.
pub(crate) struct ReplicaMember {
    pub(crate) place: HostPort,
    pub(crate) connections: Arc<SharedConnections>,
}

impl ReplicaMember {
    pub(crate) fn pool(&self) -> &NodePool<RedisConnector> {
        &self.connections.pool
    }

    /// Why its dials fail, if they do. Not yet, if it has never been dialled.
    pub(crate) fn fault(&self) -> Option<String> {
        let status = self.pool().status();
        status.last_error.filter(|_| status.health == Health::Down)
    }
}
