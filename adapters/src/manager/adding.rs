//! How nodes are added to the manager.

use std::sync::Arc;
use std::time::Duration;

use crate::deployment::sentinel::is_sentinel_url;
use crate::deployment::{Deployment, OpenByName};
use crate::error::AddNodeError;
use crate::manager::node_key::node_key;
use crate::manager::{NodeHandle, RedisManager};
use crate::redis_node::{RedisConnector, redact};

impl RedisManager {
    /// Adds a node within `default_timeout` and returns its handle; see
    /// [`add_node_pool_timeout`](RedisManager::add_node_pool_timeout).
    ///
    /// # Errors
    ///
    /// At once: [`InvalidUrl`](AddNodeError::InvalidUrl), [`NoFloorLeft`](AddNodeError::NoFloorLeft),
    /// [`Closed`](AddNodeError::Closed), [`RuntimeEnded`](AddNodeError::RuntimeEnded). At the deadline or earlier:
    /// [`NoHealthyPools`](AddNodeError::NoHealthyPools), [`NothingLeft`](AddNodeError::NothingLeft).
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time. The node is removed when no other call waits for it.
    pub async fn add_node_pool(&self, url: &str) -> Result<NodeHandle, AddNodeError> {
        self.add_node_pool_timeout(url, self.nodes.config().default_timeout()).await
    }

    /// Adds a node within `timeout` and returns its handle, which may be dropped. A node that was added already is left as it
    /// is.
    ///
    /// Waits until each of the node's pools at start has `min_idle` connections that have answered; with a `min_idle` of 0,
    /// until one connection has answered. With [`max_total_connections`](crate::RedisManagerBuilder::max_total_connections)
    /// fewer are enough: as many as the other nodes leave free, and at least `min_connections_per_node`. Calls that want a
    /// client of the node wait meanwhile, each until its own deadline.
    ///
    /// With `use_cluster` the URL is a name of your choice and is not parsed. The call then adds the cluster of
    /// `startup_nodes`, and [`InvalidUrl`](AddNodeError::InvalidUrl), [`NoFloorLeft`](AddNodeError::NoFloorLeft) and
    /// [`NothingLeft`](AddNodeError::NothingLeft) do not occur.
    ///
    /// # URLs
    ///
    /// - `redis://[user][:password@]host[:port][/db]`, or the same with `valkey://`.
    /// - `rediss://` and `valkeys://`: the same over TLS, with the feature `tls-rustls`; see `PoolArgs::tls`. The server's
    ///   certificate must be valid for the host, which may be an IP address. `#insecure` at the end accepts any certificate; it
    ///   needs `allow_insecure_tls(true)`.
    /// - `unix:///path/to/socket[?db=n&user=u&pass=p]`.
    /// - `redis+sentinel://[user[:password]@]host[:port][,host[:port]…]/name[/db]`: a primary behind sentinels. The hosts are those
    ///   of the sentinels (default port 26379), the login is that of the data nodes. `valkey+sentinel://` is the same;
    ///   `rediss+sentinel://` and `valkeys+sentinel://` use TLS, with the sentinels, too, unless the query has
    ///   `sentinel_tls=false`. The query may also contain `sentinel_username=`, `sentinel_password=`, `protocol=` and `db=`. The URL
    ///   is then the name of the deployment; see [`add_sentinel_timeout`](RedisManager::add_sentinel_timeout).
    ///
    /// The query may contain `protocol=resp2` or `protocol=resp3`, and `db=n`, which is the same as `/n`. `%XX` is decoded; a
    /// `+` is a `+`. Unknown parts are rejected, and the error names them.
    ///
    /// # Errors
    ///
    /// - [`InvalidUrl`](AddNodeError::InvalidUrl) at once.
    /// - [`NoFloorLeft`](AddNodeError::NoFloorLeft) at once if `max_total_connections` is too small to reserve
    ///   `min_connections_per_node` for one more node.
    /// - [`NoHealthyPools`](AddNodeError::NoHealthyPools) with the cause at the end of `timeout`, or at once if the server
    ///   rejects the connection permanently (a wrong password, a database that does not exist, a certificate).
    /// - [`NothingLeft`](AddNodeError::NothingLeft) at the end of `timeout` if other nodes held all of `max_total_connections`.
    /// - [`Closed`](AddNodeError::Closed) after [`close_all_pools`](RedisManager::close_all_pools), or if the node is closed
    ///   meanwhile.
    /// - [`RuntimeEnded`](AddNodeError::RuntimeEnded) after the end of the runtime.
    ///
    /// After an error the node is removed with all its tasks and sockets. It may be added again.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time. The node is removed when no other call waits for it.
    pub async fn add_node_pool_timeout(&self, url: &str, timeout: Duration) -> Result<NodeHandle, AddNodeError> {
        if let Some(opened) = &self.by_name {
            return self.add_deployment(url, || self.open_by_name(url, &**opened), timeout).await;
        }
        if is_sentinel_url(url) {
            return self.add_sentinel_url(url, timeout).await;
        }
        let (name, connector) = self.connector(url)?;
        let key = node_key(url);
        let added = self.nodes.add(&key, timeout, || connector).await;
        let pool = added.map_err(|error| AddNodeError::from_wait(error, name))?;
        Ok(NodeHandle::new(&self.nodes, &self.context, &key, pool))
    }

    /// Adds a node without waiting for its server, for services that may start before Redis. Not async, and no server is
    /// dialled before it returns. A node that was added already is left as it is.
    ///
    /// The node is `down` until it has answered. Its pools are filled in the background, as for any node that is down: one
    /// probe at a time, with a back-off, without a limit. Calls that want a client of it wait or fail according to
    /// [`on_node_down`](crate::RedisManagerBuilder::on_node_down).
    ///
    /// With `use_cluster`, adds the cluster of `startup_nodes`.
    ///
    /// # Errors
    ///
    /// - [`InvalidUrl`](AddNodeError::InvalidUrl).
    /// - [`NoFloorLeft`](AddNodeError::NoFloorLeft) if `max_total_connections` is too small to reserve
    ///   `min_connections_per_node` for one more node.
    /// - [`Closed`](AddNodeError::Closed) after [`close_all_pools`](RedisManager::close_all_pools).
    /// - [`RuntimeEnded`](AddNodeError::RuntimeEnded) after the end of the runtime.
    pub fn add_node_pool_lazy(&self, url: &str) -> Result<NodeHandle, AddNodeError> {
        if let Some(opened) = &self.by_name {
            return self.open_deployment(url, || self.open_by_name(url, &**opened));
        }
        if is_sentinel_url(url) {
            return self.open_sentinel_url(url);
        }
        let (name, connector) = self.connector(url)?;
        let key = node_key(url);
        let pool = self.nodes.open(&key, || connector).map_err(|error| AddNodeError::from_wait(error, name))?;
        Ok(NodeHandle::new(&self.nodes, &self.context, &key, pool))
    }

    /// From now on this is added, under any name.
    pub(crate) fn adding_by_name(mut self, opened: Option<Arc<dyn OpenByName>>) -> Self {
        self.by_name = opened;
        self
    }

    pub(super) fn open_by_name(&self, name: &str, opened: &dyn OpenByName) -> Arc<dyn Deployment> {
        opened.open(name, &|| self.context.deployment_parts(self.nodes.beside()))
    }

    /// Adds a deployment and waits until it serves.
    pub(super) async fn add_deployment(
        &self,
        name: &str,
        open: impl FnOnce() -> Arc<dyn Deployment>,
        timeout: Duration,
    ) -> Result<NodeHandle, AddNodeError> {
        self.check_open(name)?;
        let added = self.deployments.add(name, open, timeout).await;
        let deployment = added.map_err(|error| AddNodeError::from_get(error, redact(name)))?;
        self.check_open(name)?;
        Ok(NodeHandle::of_deployment(&self.deployments, name, deployment))
    }

    /// Adds a deployment without waiting for it.
    pub(super) fn open_deployment(
        &self,
        name: &str,
        open: impl FnOnce() -> Arc<dyn Deployment>,
    ) -> Result<NodeHandle, AddNodeError> {
        self.check_open(name)?;
        Ok(NodeHandle::of_deployment(&self.deployments, name, self.deployments.open(name, open)))
    }

    /// Whether something may be added under this name.
    fn check_open(&self, name: &str) -> Result<(), AddNodeError> {
        match (self.nodes.is_closed(), self.context.has_ended()) {
            (true, _) => Err(AddNodeError::Closed { node: redact(name) }),
            (false, true) => Err(AddNodeError::RuntimeEnded { node: redact(name) }),
            (false, false) => Ok(()),
        }
    }

    /// The connector for a URL, and the name that shows the node.
    fn connector(&self, url: &str) -> Result<(String, RedisConnector), AddNodeError> {
        let address = self.context.address(url)?;
        Ok((address.name.clone(), self.context.connector(address, self.nodes.config())))
    }
}
