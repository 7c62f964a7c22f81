//! How clients of the manager's nodes are lent.

use std::time::Duration;

#[cfg(test)]
use crate::error::AddNodeError;
use crate::error::GetClientError;
use crate::manager::node_key::node_key;
use crate::manager::{RedisManager, hide_password};
use crate::redis_node::{Client, SharedClient};

impl RedisManager {
    /// Lends a client of a node within `default_timeout`; see
    /// [`get_client_timeout`](RedisManager::get_client_timeout).
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// As there.
    pub async fn get_client(&self, url: &str) -> Result<Client, GetClientError> {
        self.get_client_timeout(url, self.nodes.config().default_timeout()).await
    }

    /// Lends a client of a node: one that idles in the healthy pool with the fewest on loan; if none idles, the first
    /// that comes free or is dialled, in order of arrival.
    ///
    /// # Errors
    ///
    /// By the end of `timeout` at the latest, whatever the server does:
    /// [`NoHealthyPools`](GetClientError::NoHealthyPools) if the node is down (at once with
    /// [`OnNodeDown::FailFast`](crate::OnNodeDown::FailFast), or if the server refuses for good), else
    /// [`Timeout`](GetClientError::Timeout) with what it was waiting for. At once:
    /// [`UnknownNode`](GetClientError::UnknownNode), [`Saturated`](GetClientError::Saturated),
    /// [`Closed`](GetClientError::Closed), [`RuntimeEnded`](GetClientError::RuntimeEnded).
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time: its position in the queue is given up, and a client that it was granted goes to the next.
    pub async fn get_client_timeout(&self, url: &str, timeout: Duration) -> Result<Client, GetClientError> {
        #[cfg(feature = "cluster")]
        if let Some(clusters) = &self.clusters {
            return clusters.get(url, timeout).await.map_err(hide_password);
        }
        self.nodes.get(&node_key(url), timeout).await.map(Client::new).map_err(hide_password)
    }

    /// Lends a client that idles now, and never waits. If there is none, one is dialled in the background where the
    /// limits allow it.
    ///
    /// # Errors
    ///
    /// As [`get_client_timeout`](RedisManager::get_client_timeout) after a wait of no length.
    pub fn try_get_client(&self, url: &str) -> Result<Client, GetClientError> {
        #[cfg(feature = "cluster")]
        if let Some(clusters) = &self.clusters {
            return clusters.try_get(url).map_err(hide_password);
        }
        self.nodes.try_get(&node_key(url)).map(Client::new).map_err(hide_password)
    }

    /// Makes a client that many tasks share, within `default_timeout`; see
    /// [`get_shared_client_timeout`](RedisManager::get_shared_client_timeout).
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// As there.
    pub async fn get_shared_client(&self, url: &str) -> Result<SharedClient, GetClientError> {
        self.get_shared_client_timeout(url, self.nodes.config().default_timeout()).await
    }

    /// Makes a client that many tasks share: plain commands over `shared_connections_per_node` connections, which are
    /// leased from the node's pools until the last shared client of the node is dropped. Waits until there is one, as
    /// [`get_client_timeout`](RedisManager::get_client_timeout) does.
    ///
    /// # Errors
    ///
    /// As [`get_client_timeout`](RedisManager::get_client_timeout).
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub async fn get_shared_client_timeout(&self, url: &str, timeout: Duration) -> Result<SharedClient, GetClientError> {
        self.node(url)?.get_shared_client_timeout(timeout).await
    }

    /// Lends a client of the node that owns a key, within `default_timeout`; see
    /// [`get_client_for_key_timeout`](RedisManager::get_client_for_key_timeout).
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// As there.
    #[cfg(feature = "cluster")]
    pub async fn get_client_for_key(&self, url: &str, key: impl AsRef<[u8]>) -> Result<Client, GetClientError> {
        self.get_client_for_key_timeout(url, key, self.nodes.config().default_timeout()).await
    }

    /// Lends a client of the primary that owns a key of a cluster, for itself alone: for `WATCH`, transactions, commands that
    /// block, scripts and subscriptions. It comes from that node's own pools, with all that
    /// [`get_client_timeout`](RedisManager::get_client_timeout) promises; if the key gets another owner while the call
    /// waits, it waits there.
    ///
    /// If the key gets another owner later, its node answers so (`MOVED`), and the next client comes from
    /// the new owner. All keys that are used on it must belong to this node.
    ///
    /// # Errors
    ///
    /// As [`get_client_timeout`](RedisManager::get_client_timeout). [`NoOwner`](GetClientError::NoOwner) if no node owns the key's
    /// slot, [`UnknownNode`](GetClientError::UnknownNode) also if the manager is not in cluster mode. [`NoFloorLeft`](GetClientError::NoFloorLeft) if
    /// `max_total_connections` leaves no `min_connections_per_node` for the owner.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    #[cfg(feature = "cluster")]
    pub async fn get_client_for_key_timeout(
        &self,
        url: &str,
        key: impl AsRef<[u8]>,
        timeout: Duration,
    ) -> Result<Client, GetClientError> {
        let unknown = || GetClientError::UnknownNode { node: String::from(url) };
        let lent = match &self.clusters {
            Some(clusters) => clusters.get_for_key(url, key.as_ref(), timeout).await,
            None => Err(unknown()),
        };
        lent.map_err(hide_password)
    }

    /// What the shared clients of a node have in common.
    #[cfg(test)]
    pub(crate) fn connections(&self, url: &str) -> Result<std::sync::Arc<crate::redis_node::SharedConnections>, AddNodeError> {
        let key = node_key(url);
        let pool = self.nodes.node(&key).expect("the node was added");
        self.context.connections(&key, &pool)
    }
}
