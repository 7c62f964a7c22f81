//! How nodes are added to the manager.

use std::time::Duration;

use crate::error::AddNodeError;
use crate::manager::node_key::node_key;
use crate::manager::{NodeHandle, RedisManager};
use crate::redis_node::RedisConnector;

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
    pub async fn add_node_pool(&self, url: &str) -> Result<NodeHandle, AddNodeError> {
        self.add_node_pool_timeout(url, self.nodes.config().default_timeout()).await
    }

    /// Adds a node and waits until each of its pools at start has `min_idle` connections that have answered (with a
    /// `min_idle` of 0: until one has). With [`max_total_connections`](crate::RedisManagerBuilder::max_total_connections): until it
    /// has as many of those as the other nodes leave it, and `min_connections_per_node` at least. Returns the node's handle,
    /// which may be dropped. Adding a node that is there already does nothing more.
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
    pub async fn add_node_pool_timeout(&self, url: &str, timeout: Duration) -> Result<NodeHandle, AddNodeError> {
        #[cfg(feature = "cluster")]
        if let Some(clusters) = &self.clusters {
            let pool = clusters.add(url, timeout).await?;
            return Ok(NodeHandle::of_cluster(clusters, url, pool));
        }
        let (name, connector) = self.connector(url)?;
        let key = node_key(url);
        let added = self.nodes.add(&key, timeout, || connector).await;
        let pool = added.map_err(|error| AddNodeError::from_wait(error, name))?;
        Ok(NodeHandle::new(&self.nodes, &self.context, &key, pool))
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
            let pool = clusters.open(url)?;
            return Ok(NodeHandle::of_cluster(clusters, url, pool));
        }
        let (name, connector) = self.connector(url)?;
        let key = node_key(url);
        let pool = self.nodes.open(&key, || connector).map_err(|error| AddNodeError::from_wait(error, name))?;
        Ok(NodeHandle::new(&self.nodes, &self.context, &key, pool))
    }

    /// What connects to the node of a URL, and the name that it is shown by.
    fn connector(&self, url: &str) -> Result<(String, RedisConnector), AddNodeError> {
        let address = self.context.address(url)?;
        Ok((address.name.clone(), self.context.connector(address, self.nodes.config().health_check_timeout())))
    }
}
