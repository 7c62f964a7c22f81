//! Where the connection of a subscriber comes from: the pools of a node, or of a node of a cluster.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use redis_manager_core::{Lease, NodePool};

use crate::deployment::Deployment;
use crate::error::GetClientError;
use crate::redis_node::RedisConnector;

/// A connection on its way.
pub(super) type LendFuture = Pin<Box<dyn Future<Output = Result<Lease<RedisConnector>, GetClientError>> + Send>>;

/// Keeps the pools open.
pub(crate) enum LeaseSource {
    Node(NodePool<RedisConnector>),
    /// Its first slot says which node it is: all nodes get all messages, except those of sharded channels.
    Deployment(Arc<dyn Deployment>),
}

impl LeaseSource {
    /// Waits for a connection, as any caller does.
    pub(super) fn lend(&self, timeout: Duration) -> LendFuture {
        match self {
            Self::Node(pool) => {
                let pool = pool.clone();
                Box::pin(async move { Ok(pool.get_timeout(timeout).await?) })
            }
            Self::Deployment(deployment) => {
                let deployment = Arc::clone(deployment);
                Box::pin(async move {
                    let client = deployment.get_client_for_key(b"", timeout).await?;
                    let no_lease = || GetClientError::UnknownNode { node: String::from(deployment.name()) };
                    client.into_lease().ok_or_else(no_lease)
                })
            }
        }
    }

    /// Whether sharded channels belong to the nodes of their slots.
    pub(super) fn is_sharded(&self) -> bool {
        match self {
            Self::Node(_) => false,
            Self::Deployment(_) => true,
        }
    }
}
