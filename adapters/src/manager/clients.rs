//! How clients of the manager's nodes are lent.

use std::time::Duration;

#[cfg(test)]
use crate::error::AddNodeError;
use crate::error::GetClientError;
use crate::manager::node_key::node_key;
use crate::manager::{RedisManager, hide_password};
use crate::redis_node::{Client, SharedClient};

impl RedisManager {
    /// Lends a client of a node within `default_timeout`; see [`get_client_timeout`](RedisManager::get_client_timeout).
    ///
    /// # Errors
    ///
    /// At the deadline or earlier: [`NoHealthyPools`](GetClientError::NoHealthyPools), [`Timeout`](GetClientError::Timeout). At
    /// once: [`UnknownNode`](GetClientError::UnknownNode), [`Saturated`](GetClientError::Saturated),
    /// [`Closed`](GetClientError::Closed), [`RuntimeEnded`](GetClientError::RuntimeEnded).
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time: the caller leaves the queue, and a client that was granted to it goes to the next caller.
    pub async fn get_client(&self, url: &str) -> Result<Client, GetClientError> {
        self.get_client_timeout(url, self.nodes.config().default_timeout()).await
    }

    /// Lends a client of a node: an idle one of the healthy pool with the fewest clients on loan. If none is idle, the call
    /// waits in order of arrival for the first that is returned or dialled.
    ///
    /// # Errors
    ///
    /// The call ends at the end of `timeout` at the latest, whatever the server does.
    ///
    /// - [`NoHealthyPools`](GetClientError::NoHealthyPools) if the node is down: at the end of `timeout`, or at once with
    ///   [`OnNodeDown::FailFast`](crate::OnNodeDown::FailFast) or if the server rejects the connection permanently.
    /// - [`Timeout`](GetClientError::Timeout) at the end of `timeout` otherwise, with what the call was waiting for.
    /// - [`UnknownNode`](GetClientError::UnknownNode) at once if the node was never added or has been closed.
    /// - [`Saturated`](GetClientError::Saturated) at once if `max_waiters` callers wait already.
    /// - [`Closed`](GetClientError::Closed) at once when the node or the manager is closed.
    /// - [`RuntimeEnded`](GetClientError::RuntimeEnded) at once when the runtime has ended.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time: the caller leaves the queue, and a client that was granted to it goes to the next caller.
    pub async fn get_client_timeout(&self, url: &str, timeout: Duration) -> Result<Client, GetClientError> {
        if let Some(deployment) = self.deployments.find(url) {
            return deployment.get_client(timeout).await;
        }
        self.nodes.get(&node_key(url), timeout).await.map(Client::new).map_err(hide_password)
    }

    /// Lends a client that is idle now; never waits. If none is idle, one is dialled in the background if the limits allow it.
    ///
    /// # Errors
    ///
    /// At once: [`UnknownNode`](GetClientError::UnknownNode), [`NoHealthyPools`](GetClientError::NoHealthyPools) if the node is
    /// down, [`Timeout`](GetClientError::Timeout) if no client is idle, [`Closed`](GetClientError::Closed),
    /// [`RuntimeEnded`](GetClientError::RuntimeEnded).
    pub fn try_get_client(&self, url: &str) -> Result<Client, GetClientError> {
        if let Some(deployment) = self.deployments.find(url) {
            return deployment.try_get_client();
        }
        self.nodes.try_get(&node_key(url)).map(Client::new).map_err(hide_password)
    }

    /// Makes a client that many tasks share, within `default_timeout`; see
    /// [`get_shared_client_timeout`](RedisManager::get_shared_client_timeout).
    ///
    /// # Errors
    ///
    /// At the deadline or earlier: [`NoHealthyPools`](GetClientError::NoHealthyPools), [`Timeout`](GetClientError::Timeout). At
    /// once: [`UnknownNode`](GetClientError::UnknownNode), [`Saturated`](GetClientError::Saturated),
    /// [`Closed`](GetClientError::Closed), [`RuntimeEnded`](GetClientError::RuntimeEnded).
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub async fn get_shared_client(&self, url: &str) -> Result<SharedClient, GetClientError> {
        self.get_shared_client_timeout(url, self.nodes.config().default_timeout()).await
    }

    /// Makes a client that many tasks share, for plain commands. All shared clients of a node use `shared_connections_per_node`
    /// connections, leased from the node's pools until the last shared client of the node is dropped. The call waits until
    /// there is a connection, for at most `timeout`.
    ///
    /// # Errors
    ///
    /// At the deadline or earlier: [`NoHealthyPools`](GetClientError::NoHealthyPools), [`Timeout`](GetClientError::Timeout). At
    /// once: [`UnknownNode`](GetClientError::UnknownNode), [`Saturated`](GetClientError::Saturated),
    /// [`Closed`](GetClientError::Closed), [`RuntimeEnded`](GetClientError::RuntimeEnded).
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
    /// At the deadline or earlier: [`NoHealthyPools`](GetClientError::NoHealthyPools), [`Timeout`](GetClientError::Timeout). At
    /// once: [`UnknownNode`](GetClientError::UnknownNode), [`NoOwner`](GetClientError::NoOwner),
    /// [`NoFloorLeft`](GetClientError::NoFloorLeft), [`Saturated`](GetClientError::Saturated),
    /// [`Closed`](GetClientError::Closed), [`RuntimeEnded`](GetClientError::RuntimeEnded).
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time: the caller leaves the queue, and a client that was granted to it goes to the next caller.
    pub async fn get_client_for_key(&self, name: &str, key: impl AsRef<[u8]>) -> Result<Client, GetClientError> {
        self.get_client_for_key_timeout(name, key, self.nodes.config().default_timeout()).await
    }

    /// Lends a client of the primary that owns a key of a cluster, for exclusive use: for `WATCH`, transactions, commands that
    /// block, scripts and subscriptions. It comes from that node's own pools, as with
    /// [`get_client_timeout`](RedisManager::get_client_timeout). If the key gets another owner while the call waits, the call
    /// continues to wait there. Of a plain node it lends a client as [`get_client_timeout`](RedisManager::get_client_timeout)
    /// does.
    ///
    /// If the key gets another owner later, commands on the client fail with `MOVED`; the next client comes from the new owner.
    /// All keys that are used on the client must belong to its node.
    ///
    /// # Errors
    ///
    /// - [`NoHealthyPools`](GetClientError::NoHealthyPools), [`Timeout`](GetClientError::Timeout),
    ///   [`Saturated`](GetClientError::Saturated), [`Closed`](GetClientError::Closed) and
    ///   [`RuntimeEnded`](GetClientError::RuntimeEnded) as with [`get_client_timeout`](RedisManager::get_client_timeout).
    /// - [`UnknownNode`](GetClientError::UnknownNode) if the cluster or node was never added or has been closed.
    /// - [`NoOwner`](GetClientError::NoOwner) if no node owns the key's slot.
    /// - [`NoFloorLeft`](GetClientError::NoFloorLeft) if `max_total_connections` is too small to reserve
    ///   `min_connections_per_node` for the owner.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time: the caller leaves the queue, and a client that was granted to it goes to the next caller.
    pub async fn get_client_for_key_timeout(
        &self,
        name: &str,
        key: impl AsRef<[u8]>,
        timeout: Duration,
    ) -> Result<Client, GetClientError> {
        match self.deployments.find(name) {
            Some(deployment) => deployment.get_client_for_key(key.as_ref(), timeout).await,
            None => self.get_client_timeout(name, timeout).await,
        }
    }

    /// Lends a client of one node of a cluster, by its host and port as the cluster names it, within `default_timeout`: for
    /// what is asked of one node (`INFO`, `CONFIG`, `SLOWLOG`, `SCAN`, `FLUSHALL`).
    /// [`cluster_status`](RedisManager::cluster_status) has the addresses.
    ///
    /// # Errors
    ///
    /// As [`get_client`](RedisManager::get_client); [`UnknownNode`](GetClientError::UnknownNode) also at once if the cluster has
    /// no node at this address, and for a plain node.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time: the caller leaves the queue, and a client that was granted to it goes to the next caller.
    pub async fn get_client_of_node(&self, name: &str, address: &str) -> Result<Client, GetClientError> {
        self.get_client_of_node_timeout(name, address, self.nodes.config().default_timeout()).await
    }

    /// The same within `timeout`; see [`get_client_of_node`](RedisManager::get_client_of_node).
    ///
    /// # Errors
    ///
    /// As [`get_client_of_node`](RedisManager::get_client_of_node).
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time: the caller leaves the queue, and a client that was granted to it goes to the next caller.
    pub async fn get_client_of_node_timeout(
        &self,
        name: &str,
        address: &str,
        timeout: Duration,
    ) -> Result<Client, GetClientError> {
        let unknown = || hide_password(GetClientError::UnknownNode { node: format!("{address} of {name}") });
        self.deployments.find(name).ok_or_else(unknown)?.get_client_of_node(address, timeout).await
    }

    /// What the shared clients of a node have in common.
    #[cfg(test)]
    pub(crate) fn connections(&self, url: &str) -> Result<std::sync::Arc<crate::redis_node::SharedConnections>, AddNodeError> {
        let key = node_key(url);
        let pool = self.nodes.node(&key).expect("the node was added");
        self.context.connections(&key, &pool)
    }
}
