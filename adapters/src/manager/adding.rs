//! How nodes are added to the manager.

use std::sync::Arc;
use std::time::Duration;

use crate::error::AddNodeError;
use crate::manager::RedisManager;
use crate::redis_node::{Address, NodeHandle, RedisConnector};

impl RedisManager {
    /// Adds a node within `default_timeout`; see [`add_node_pool_timeout`](RedisManager::add_node_pool_timeout).
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// As there.
    pub async fn add_node_pool(&self, url: &str) -> Result<(), AddNodeError> {
        self.add_node_pool_timeout(url, self.nodes.config().default_timeout()).await
    }

    /// Adds a node and waits until each of its pools at start has `min_idle` connections that have answered (with a
    /// `min_idle` of 0: until one has). With [`max_total_connections`](crate::RedisManagerBuilder::max_total_connections): until it
    /// has as many of those as the other nodes leave it, and `min_connections_per_node` at least. Adding a node that is
    /// there already does nothing.
    ///
    /// With `use_cluster` the URL is a name of your choice, which is not parsed; what is added is the cluster of
    /// `startup_nodes`, and [`InvalidUrl`](AddNodeError::InvalidUrl), [`NoFloorLeft`](AddNodeError::NoFloorLeft) and
    /// [`NothingLeft`](AddNodeError::NothingLeft) do not occur.
    ///
    /// The URL is `redis://[user][:password@]host[:port][/db]`, the same with `valkey://`, or
    /// `unix:///path/to/socket[?db=n&user=u&pass=p]`; `protocol=resp2` or `resp3` may be added as a query, and `db=n` is the
    /// same as `/n`. `%XX` is decoded, a `+` is a `+`; what is not understood is refused by its name. `rediss://` and
    /// `valkeys://` are the same over TLS, with the feature `tls-rustls`; see `PoolArgs::tls`. The server's certificate must
    /// be valid for the host, which may be an IP address; `#insecure` at the end takes any certificate, if
    /// `allow_insecure_tls(true)` was set.
    ///
    /// # Errors
    ///
    /// [`InvalidUrl`](AddNodeError::InvalidUrl) at once. [`NoHealthyPools`](AddNodeError::NoHealthyPools) with the cause
    /// at the end of `timeout`, or at once if the server refuses for good (a wrong password, a db that does not exist, a
    /// certificate).
    /// [`NoFloorLeft`](AddNodeError::NoFloorLeft) at once if `max_total_connections` leaves no `min_connections_per_node` for
    /// one more node, [`NothingLeft`](AddNodeError::NothingLeft) if other nodes had all of it on loan until the end of
    /// `timeout`. [`Closed`](AddNodeError::Closed) after [`close_all_pools`](RedisManager::close_all_pools),
    /// [`RuntimeEnded`](AddNodeError::RuntimeEnded) after the end of the runtime. The node is then
    /// forgotten with all its tasks and sockets; adding it again simply works. Calls that want a client of a node that is
    /// being added wait for it, too, each to its own deadline.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; the node is forgotten then, too.
    pub async fn add_node_pool_timeout(&self, url: &str, timeout: Duration) -> Result<(), AddNodeError> {
        #[cfg(feature = "cluster")]
        if let Some(clusters) = &self.clusters {
            return clusters.add(url, timeout).await;
        }
        let (name, connector) = self.connector(url)?;
        self.nodes.add(url, timeout, || connector).await.map_err(|error| AddNodeError::from_wait(error, name))
    }

    /// Adds a node without waiting for its server: for a service that may start before Redis. Not async, and no server is
    /// dialled before it returns.
    ///
    /// The node is there at once, as `down` until it has answered, and its pools are filled in the background as those of
    /// any node that is down: one probe at a time, with a back-off, for ever. Calls that want a client of it wait, as
    /// [`on_node_down`](crate::RedisManagerBuilder::on_node_down) says. Adding a node that is there already does nothing.
    ///
    /// With `use_cluster`, the same for the cluster of `startup_nodes`.
    ///
    /// # Errors
    ///
    /// [`InvalidUrl`](AddNodeError::InvalidUrl), [`NoFloorLeft`](AddNodeError::NoFloorLeft) if `max_total_connections` leaves
    /// no `min_connections_per_node` for one more node, [`Closed`](AddNodeError::Closed) after
    /// [`close_all_pools`](RedisManager::close_all_pools).
    pub fn add_node_pool_lazy(&self, url: &str) -> Result<NodeHandle, AddNodeError> {
        #[cfg(feature = "cluster")]
        if let Some(clusters) = &self.clusters {
            return clusters.open(url);
        }
        let (name, connector) = self.connector(url)?;
        self.nodes.open(url, || connector).map(NodeHandle::new).map_err(|error| AddNodeError::from_wait(error, name))
    }

    /// What connects to the node of a URL, and the name that it is shown by.
    fn connector(&self, url: &str) -> Result<(String, RedisConnector), AddNodeError> {
        let address = Address::parse(url, self.args.protocol, &self.tls)?;
        let check_timeout = self.nodes.config().health_check_timeout();
        let name = address.name.clone();
        Ok((name, RedisConnector::new(Arc::clone(&self.network), address, self.args.clone(), check_timeout)))
    }
}
