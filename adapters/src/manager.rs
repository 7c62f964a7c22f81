//! The manager of many Redis nodes.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use redis_manager_core::{
    Closed, GetClientError, Manager, NodeConfig, NodeStatus, Runtime, Setting, TotalConnections, TotalLimit,
};

use crate::builder::{DEFAULT_SHARED_CONNECTIONS, RedisManagerBuilder, SHARED_CONNECTIONS};

#[cfg(feature = "cluster")]
use crate::cluster::{ClusterArgs, ClusterStatus, Clusters};
use crate::network::Network;
use crate::redis_node::{
    AddNodeError, Address, Client, NodeHandle, PoolArgs, RedisConnector, Session, SharedClient, SharedConnections, Tls, redact,
};

/// Pools of connections to many Redis nodes, by URL. Cheap to clone; clones are the same manager. When the last one is
/// dropped, all pools close, but for those of nodes that a [`NodeHandle`] or a [`SharedClient`] still uses.
///
/// A node is known by its URL as it was given: `redis://localhost` and `redis://localhost:6379` are two nodes, each with
/// its own pools. Errors and pictures show URLs with the password replaced.
///
/// Health checks run from the start; cleanup runs when it is [started](RedisManager::start_cleanup).
#[derive(Clone)]
pub struct RedisManager {
    pub(crate) nodes: Manager<RedisConnector>,
    pub(crate) network: Arc<dyn Network>,
    pub(crate) args: PoolArgs,
    pub(crate) tls: Arc<Tls>,
    pub(crate) shared_connections_per_node: usize,
    /// In cluster mode: what the nodes belong to.
    #[cfg(feature = "cluster")]
    pub(crate) clusters: Option<Clusters>,
    /// What the shared clients of each node have in common, for as long as there is one.
    pub(crate) hubs: Arc<Mutex<HashMap<String, Weak<SharedConnections>>>>,
}

impl RedisManager {
    /// The table of all settings with their defaults and ranges.
    #[must_use]
    pub fn settings() -> Vec<Setting> {
        let shared = Setting::new(
            "shared_connections_per_node",
            "connections",
            DEFAULT_SHARED_CONNECTIONS.to_string(),
            format!("{} to {}", SHARED_CONNECTIONS.start(), SHARED_CONNECTIONS.end()),
            "what all shared clients of a node send their commands over, each over the one with the fewest in flight",
        );
        let settings = NodeConfig::settings()
            .into_iter()
            .chain(TotalLimit::settings())
            .chain([shared])
            .chain(Tls::setting())
            .chain(PoolArgs::settings());
        #[cfg(feature = "cluster")]
        let settings = settings.chain(ClusterArgs::settings());
        settings.collect()
    }

    /// Every setting at its default.
    pub fn builder() -> RedisManagerBuilder {
        RedisManagerBuilder::default()
    }

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
    /// `min_idle` of 0: until one has). With [`max_total_connections`](RedisManagerBuilder::max_total_connections): until it
    /// has as many of those as the other nodes leave it, and `min_connections_per_node` at least. AddClusterGuard a node that is
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
    /// [`on_node_down`](RedisManagerBuilder::on_node_down) says. AddClusterGuard a node that is there already does nothing.
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
        self.nodes.get(url, timeout).await.map(Client::new).map_err(hide_password)
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
        self.nodes.try_get(url).map(Client::new).map_err(hide_password)
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
        #[cfg(feature = "cluster")]
        if let Some(clusters) = &self.clusters {
            return clusters.get_shared(url, timeout).await.map_err(hide_password);
        }
        SharedClient::of_node(self.connections(url).map_err(hide_password)?, timeout).await
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
    /// If the key gets another owner later, the client is told so by its node (`MOVED`), and the next one comes from the new
    /// owner. All keys that are used on it must belong to this node.
    ///
    /// # Errors
    ///
    /// As [`get_client_timeout`](RedisManager::get_client_timeout). [`UnknownNode`](GetClientError::UnknownNode) also if
    /// nobody owns the key's slot, and if the manager is not in cluster mode. [`NoFloorLeft`](GetClientError::NoFloorLeft) if
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

    /// A picture of a cluster: its nodes, their roles, slots and pools.
    ///
    /// # Errors
    ///
    /// [`UnknownNode`](GetClientError::UnknownNode) if it was never added, or if the manager is not in cluster mode.
    #[cfg(feature = "cluster")]
    pub fn cluster_status(&self, url: &str) -> Result<ClusterStatus, GetClientError> {
        let unknown = || GetClientError::UnknownNode { node: String::from(url) };
        self.clusters.as_ref().ok_or_else(unknown).and_then(|clusters| clusters.cluster_status(url)).map_err(hide_password)
    }

    /// The handle of a node, which saves the look-up.
    ///
    /// # Errors
    ///
    /// [`UnknownNode`](GetClientError::UnknownNode) if it was never added, [`Closed`](GetClientError::Closed) after
    /// [`close_all_pools`](RedisManager::close_all_pools).
    pub fn node(&self, url: &str) -> Result<NodeHandle, GetClientError> {
        #[cfg(feature = "cluster")]
        if let Some(clusters) = &self.clusters {
            return clusters.node(url).map_err(hide_password);
        }
        self.nodes.node(url).map(NodeHandle::new).map_err(hide_password)
    }

    /// A picture of every node by URL, password hidden; each is consistent in itself. Nodes that are being added are there,
    /// as down until they have answered; closed nodes are left out. A cluster is there by its URL, and each of its nodes as
    /// `host:port`.
    #[must_use]
    pub fn fetch_pool_status(&self) -> BTreeMap<String, NodeStatus> {
        let pictures = self.nodes.status();
        #[cfg(feature = "cluster")]
        let pictures = pictures.into_iter().chain(self.clusters.iter().flat_map(Clusters::status)).collect();
        pictures
    }

    /// How much of `max_total_connections` is taken now; none if that is not set.
    #[must_use]
    pub fn total_connections(&self) -> Option<TotalConnections> {
        self.nodes.total_connections()
    }

    /// Starts the periodic health checks of idle connections. They run from the start; starting twice starts one.
    pub fn start_health_checks(&self) {
        self.nodes.start_health_checks();
        #[cfg(feature = "cluster")]
        self.clusters.iter().for_each(Clusters::start_health_checks);
    }

    /// Stops the periodic health checks, until they are started again. Broken connections are found on use, and by
    /// their end, all the same.
    pub fn stop_health_checks(&self) {
        self.nodes.stop_health_checks();
        #[cfg(feature = "cluster")]
        self.clusters.iter().for_each(Clusters::stop_health_checks);
    }

    /// Whether health checks run. False once the manager is closed.
    #[must_use]
    pub fn is_health_check_running(&self) -> bool {
        self.nodes.is_health_check_running()
    }

    /// Starts the periodic cleanup: each `cleanup_interval` it closes what has been idle for `max_idle_time`, never
    /// below `min_idle`, and drops empty pools beyond those at start. Starting twice starts one.
    pub fn start_cleanup(&self) {
        self.nodes.start_cleanup();
        #[cfg(feature = "cluster")]
        self.clusters.iter().for_each(Clusters::start_cleanup);
    }

    /// Stops the periodic cleanup, until it is started again.
    pub fn stop_cleanup(&self) {
        self.nodes.stop_cleanup();
        #[cfg(feature = "cluster")]
        self.clusters.iter().for_each(Clusters::stop_cleanup);
    }

    /// Whether cleanup runs. False once the manager is closed.
    #[must_use]
    pub fn is_cleanup_running(&self) -> bool {
        self.nodes.is_cleanup_running()
    }

    /// Closes the pools of a node within `default_timeout`; see
    /// [`close_node_pools_timeout`](RedisManager::close_node_pools_timeout).
    pub async fn close_node_pools(&self, url: &str) {
        self.close_node_pools_timeout(url, self.nodes.config().default_timeout()).await;
    }

    /// Closes the pools of a node: new gets and new commands of shared clients fail at once, and so do the calls in the queue.
    /// Subscriptions end at once, and commands that block on the server. Other clients on loan are closed when they come back,
    /// or where they are at the end of `timeout`. Returns when no connection is left. The node can be added again; one that
    /// was never added is closed already.
    ///
    /// # Cancel safety
    ///
    /// Closing goes on when the future is dropped.
    pub async fn close_node_pools_timeout(&self, url: &str, timeout: Duration) {
        #[cfg(feature = "cluster")]
        if let Some(clusters) = &self.clusters {
            return clusters.close(url, timeout).await;
        }
        // First no caller is served any more, then what shared clients have comes back.
        let closing = self.nodes.begin_close_nodes([url], timeout);
        let connections = self.hubs().remove(url);
        close_hubs(connections);
        closing.drained().await;
    }

    /// Closes all pools within `default_timeout`; see [`close_all_pools_timeout`](RedisManager::close_all_pools_timeout).
    pub async fn close_all_pools(&self) {
        self.close_all_pools_timeout(self.nodes.config().default_timeout()).await;
    }

    /// Closes all nodes as [`close_node_pools_timeout`](RedisManager::close_node_pools_timeout) does one, for good:
    /// none can be added any more.
    ///
    /// # Cancel safety
    ///
    /// Closing goes on when the future is dropped.
    pub async fn close_all_pools_timeout(&self, timeout: Duration) {
        let closing = self.nodes.begin_close(timeout);
        #[cfg(feature = "cluster")]
        if let Some(clusters) = &self.clusters {
            return clusters.close_all(closing, timeout).await;
        }
        let hubs = std::mem::take(&mut *self.hubs());
        close_hubs(hubs.into_values());
        closing.drained().await;
    }

    /// Resolves as soon as [`close_all_pools`](RedisManager::close_all_pools) has begun, at once if it has, and when the last
    /// handle of the manager is dropped. For tasks that hold a client and are to give it back then; any number of tasks may
    /// wait. The future does not keep the manager alive.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub fn closed(&self) -> Closed {
        self.nodes.closed()
    }

    /// Whether [`close_all_pools`](RedisManager::close_all_pools) has begun. What fails from then on may have failed for it.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.nodes.is_closed()
    }

    /// What connects to the node of a URL, and the name that it is shown by.
    fn connector(&self, url: &str) -> Result<(String, RedisConnector), AddNodeError> {
        let address = Address::parse(url, self.args.protocol, &self.tls)?;
        let check_timeout = self.nodes.config().health_check_timeout();
        let name = address.name.clone();
        Ok((name, RedisConnector::new(Arc::clone(&self.network), address, self.args.clone(), check_timeout)))
    }

    /// What the shared clients of a node have in common; made for the first one.
    pub(crate) fn connections(&self, url: &str) -> Result<Arc<SharedConnections>, GetClientError> {
        let pool = self.nodes.node(url)?;
        if let Some(connections) = self.hubs().get(url).and_then(Weak::upgrade).filter(|connections| connections.is_of(&pool)) {
            return Ok(connections);
        }
        let address = Address::parse(url, self.args.protocol, &self.tls);
        let login = address.map_err(|_| GetClientError::UnknownNode { node: String::from(url) })?.login;
        let session = Session::fresh(&self.args, login.protocol(), login.db());
        let runtime = Arc::clone(&self.network) as Arc<dyn Runtime>;
        let made = Arc::new(SharedConnections::new(pool.clone(), runtime, self.shared_connections_per_node, session));
        let mut hubs = self.hubs();
        // Another call may have been quicker.
        let connections = hubs.get(url).and_then(Weak::upgrade).filter(|connections| connections.is_of(&pool));
        if connections.is_none() {
            hubs.insert(String::from(url), Arc::downgrade(&made));
        }
        drop(hubs);
        Ok(connections.unwrap_or(made))
    }

    fn hubs(&self) -> MutexGuard<'_, HashMap<String, Weak<SharedConnections>>> {
        self.hubs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for RedisManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisManager").field("nodes", &self.fetch_pool_status().keys()).finish_non_exhaustive()
    }
}

fn close_hubs(hubs: impl IntoIterator<Item = Weak<SharedConnections>>) {
    hubs.into_iter().filter_map(|connections| connections.upgrade()).for_each(|connections| connections.close());
}

/// The core names a node that is not there, or not any more, as it was asked for; all others by their connector, which hides
/// the password itself.
fn hide_password(mut error: GetClientError) -> GetClientError {
    if let GetClientError::UnknownNode { node } | GetClientError::Closed { node } | GetClientError::RuntimeEnded { node } =
        &mut error
    {
        *node = redact(node);
    }
    error
}
