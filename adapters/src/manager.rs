//! The manager of many Redis nodes, and its builder.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use redis_manager_core::{
    ConfigError, GetClientError, Knob, Loop, Manager, NodeConfig, NodeConfigBuilder, NodeStatus, OnNodeDown, Runtime,
    TotalConnections, TotalLimit,
};

#[cfg(feature = "cluster")]
use crate::cluster::{ClusterArgs, ClusterStatus, Clusters, Plan};
use crate::network::Network;
use crate::redis_node::{AddNodeError, Address, Client, Hub, NodeHandle, PoolArgs, RedisConnector, SharedClient, Tls, redact};
use crate::waits::close_then;

/// Pools of connections to many Redis nodes, by URL. Cheap to clone; clones are the same manager. When the last one is
/// dropped, all pools close, but for those of nodes that a [`NodeHandle`] or a [`SharedClient`] still uses.
///
/// A node is known by its URL as it was given: `redis://localhost` and `redis://localhost:6379` are two nodes, each with
/// its own pools. Errors and pictures show URLs with the password replaced.
///
/// Health checks run from the start; cleanup runs when it is [started](RedisManager::start_cleanup).
#[derive(Clone)]
pub struct RedisManager {
    nodes: Manager<RedisConnector>,
    network: Arc<dyn Network>,
    args: PoolArgs,
    tls: Arc<Tls>,
    shared_connections_per_node: usize,
    /// In cluster mode: what the nodes belong to.
    #[cfg(feature = "cluster")]
    clusters: Option<Clusters>,
    /// What the shared clients of each node have in common, for as long as there is one.
    hubs: Arc<Mutex<HashMap<String, Weak<Hub>>>>,
}

const SHARED_CONNECTIONS: RangeInclusive<usize> = 1..=256;
const DEFAULT_SHARED_CONNECTIONS: usize = 1;

impl RedisManager {
    /// The table of all knobs with their defaults and ranges.
    #[must_use]
    pub fn knobs() -> Vec<Knob> {
        let shared = Knob::new(
            "shared_connections_per_node",
            "connections",
            DEFAULT_SHARED_CONNECTIONS.to_string(),
            format!("{} to {}", SHARED_CONNECTIONS.start(), SHARED_CONNECTIONS.end()),
            "what all shared clients of a node send their commands over, each over the one with the fewest in flight",
        );
        let knobs = NodeConfig::knobs()
            .into_iter()
            .chain(TotalLimit::knobs())
            .chain([shared])
            .chain(Tls::knob())
            .chain(PoolArgs::knobs());
        #[cfg(feature = "cluster")]
        let knobs = knobs.chain(ClusterArgs::knobs());
        knobs.collect()
    }

    /// Every knob at its default.
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
    /// has as many of those as the other nodes leave it, and `min_connections_per_node` at least. Adding a node that is
    /// there already does nothing.
    ///
    /// The URL is `redis://[user][:password@]host[:port][/db]`, the same with `valkey://`, or
    /// `unix:///path/to/socket[?db=n&user=u&pass=p]`; `protocol=resp2` or `resp3` may be added as a query. `rediss://` and
    /// `valkeys://` are the same over TLS, with the feature `tls-rustls`; see `PoolArgs::tls`. The server's certificate
    /// must be valid for the host, which may be an IP address; `#insecure` at the end takes any certificate, if
    /// `allow_insecure_tls(true)` was set.
    ///
    /// # Errors
    ///
    /// [`InvalidUrl`](AddNodeError::InvalidUrl) at once. [`NoHealthyPools`](AddNodeError::NoHealthyPools) with the cause
    /// at the end of `timeout`, or at once if the server refuses for good (a wrong password, a db that does not exist, a
    /// certificate).
    /// [`NoFloorLeft`](AddNodeError::NoFloorLeft) at once if `max_total_connections` leaves no `min_connections_per_node` for
    /// one more node, [`NothingLeft`](AddNodeError::NothingLeft) if other nodes had all of it on loan until the end of
    /// `timeout`. [`Closed`](AddNodeError::Closed) after [`close_all_pools`](RedisManager::close_all_pools). The node is then
    /// forgotten with all its tasks and sockets; adding it again simply works.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; the node is forgotten then, too.
    pub async fn add_node_pool_timeout(&self, url: &str, timeout: Duration) -> Result<(), AddNodeError> {
        #[cfg(feature = "cluster")]
        if let Some(clusters) = &self.clusters {
            return clusters.add(url, timeout).await;
        }
        let address = Address::parse(url, self.args.protocol, &self.tls)?;
        let name = address.name.clone();
        let connector = || {
            let check_timeout = self.nodes.config().health_check_timeout();
            RedisConnector::new(Arc::clone(&self.network), address, self.args.clone(), check_timeout)
        };
        self.nodes.add(url, timeout, connector).await.map_err(|error| AddNodeError::from_wait(error, name))
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
    /// [`Closed`](GetClientError::Closed).
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time: its place in line is given up, and a client that it was granted goes to the next.
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
        SharedClient::of_node(self.hub(url).map_err(hide_password)?, timeout).await
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
    /// nobody owns the key's slot, and if the manager is not in cluster mode.
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
    /// [`UnknownNode`](GetClientError::UnknownNode) if it was never added.
    pub fn node(&self, url: &str) -> Result<NodeHandle, GetClientError> {
        #[cfg(feature = "cluster")]
        if let Some(clusters) = &self.clusters {
            return clusters.node(url).map_err(hide_password);
        }
        self.nodes.node(url).map(NodeHandle::new).map_err(hide_password)
    }

    /// A picture of every node by URL, password hidden; each is consistent in itself. Closed nodes are left out. A cluster is
    /// there by its URL, and each of its nodes as `host:port`.
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
        self.nodes.set_health_checks(Loop::Running);
        #[cfg(feature = "cluster")]
        self.clusters.iter().for_each(|clusters| clusters.set_health_checks(Loop::Running));
    }

    /// Stops the periodic health checks, until they are started again. Broken connections are found on use, and by
    /// their end, all the same.
    pub fn stop_health_checks(&self) {
        self.nodes.set_health_checks(Loop::Stopped);
        #[cfg(feature = "cluster")]
        self.clusters.iter().for_each(|clusters| clusters.set_health_checks(Loop::Stopped));
    }

    /// Whether health checks run. False once the manager is closed.
    #[must_use]
    pub fn is_health_check_running(&self) -> bool {
        self.nodes.is_health_check_running()
    }

    /// Starts the periodic cleanup: each `cleanup_interval` it closes what has been idle for `max_idle_time`, never
    /// below `min_idle`, and drops empty pools beyond those at start. Starting twice starts one.
    pub fn start_cleanup(&self) {
        self.nodes.set_cleanup(Loop::Running);
        #[cfg(feature = "cluster")]
        self.clusters.iter().for_each(|clusters| clusters.set_cleanup(Loop::Running));
    }

    /// Stops the periodic cleanup, until it is started again.
    pub fn stop_cleanup(&self) {
        self.nodes.set_cleanup(Loop::Stopped);
        #[cfg(feature = "cluster")]
        self.clusters.iter().for_each(|clusters| clusters.set_cleanup(Loop::Stopped));
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

    /// Closes the pools of a node: new gets and new commands of shared clients fail and those in line are told at once;
    /// clients on loan are closed when they come back, or where they are at the end of `timeout`. Returns when no connection is left. The node can be
    /// added again; one that was never added is closed already.
    ///
    /// # Cancel safety
    ///
    /// Closing goes on when the future is dropped.
    pub async fn close_node_pools_timeout(&self, url: &str, timeout: Duration) {
        #[cfg(feature = "cluster")]
        if let Some(clusters) = &self.clusters {
            return clusters.close(url, timeout).await;
        }
        close_then(self.nodes.close_node(url, timeout), || close_hubs(self.hubs().remove(url))).await;
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
        let take_hubs = || std::mem::take(&mut *self.hubs());
        let closed = close_then(self.nodes.close(timeout), || close_hubs(take_hubs().into_values()));
        #[cfg(feature = "cluster")]
        if let Some(clusters) = &self.clusters {
            return clusters.close_all(closed, timeout).await;
        }
        closed.await;
    }

    /// What the shared clients of a node have in common; made for the first one.
    fn hub(&self, url: &str) -> Result<Arc<Hub>, GetClientError> {
        let pool = self.nodes.node(url)?;
        if let Some(hub) = self.hubs().get(url).and_then(Weak::upgrade).filter(|hub| hub.is_of(&pool)) {
            return Ok(hub);
        }
        let address = Address::parse(url, self.args.protocol, &self.tls);
        let home = address.map_err(|_| GetClientError::UnknownNode { node: String::from(url) })?.login.db();
        let runtime = Arc::clone(&self.network) as Arc<dyn Runtime>;
        let made = Arc::new(Hub::new(pool.clone(), runtime, self.shared_connections_per_node, home, self.args.command_timeout));
        let mut hubs = self.hubs();
        // Another call may have been quicker.
        let hub = hubs.get(url).and_then(Weak::upgrade).filter(|hub| hub.is_of(&pool));
        if hub.is_none() {
            hubs.insert(String::from(url), Arc::downgrade(&made));
        }
        drop(hubs);
        Ok(hub.unwrap_or(made))
    }

    fn hubs(&self) -> MutexGuard<'_, HashMap<String, Weak<Hub>>> {
        self.hubs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for RedisManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisManager").field("nodes", &self.fetch_pool_status().keys()).finish_non_exhaustive()
    }
}

fn close_hubs(hubs: impl IntoIterator<Item = Weak<Hub>>) {
    hubs.into_iter().filter_map(|hub| hub.upgrade()).for_each(|hub| hub.close());
}

/// The core names an unknown node as it was asked for; all others by their connector, which hides the password itself.
fn hide_password(mut error: GetClientError) -> GetClientError {
    if let GetClientError::UnknownNode { node } = &mut error {
        *node = redact(node);
    }
    error
}

/// Sets the knobs of a [`RedisManager`]; [`build`](RedisManagerBuilder::build) checks them. The defaults are valid.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct RedisManagerBuilder {
    node: NodeConfigBuilder,
    args: PoolArgs,
    #[cfg(feature = "tls-rustls")]
    allow_insecure_tls: bool,
    max_total_connections: Option<usize>,
    min_connections_per_node: usize,
    shared_connections_per_node: usize,
    #[cfg(feature = "cluster")]
    plan: Plan,
    /// The first value of the environment that could not be read; told by `build`.
    unreadable: Option<ConfigError>,
}

impl Default for RedisManagerBuilder {
    fn default() -> Self {
        Self {
            node: NodeConfigBuilder::default(),
            args: PoolArgs::default(),
            #[cfg(feature = "tls-rustls")]
            allow_insecure_tls: false,
            max_total_connections: None,
            min_connections_per_node: TotalLimit::DEFAULT_MIN_CONNECTIONS_PER_NODE,
            shared_connections_per_node: DEFAULT_SHARED_CONNECTIONS,
            #[cfg(feature = "cluster")]
            plan: Plan::default(),
            unreadable: None,
        }
    }
}

/// Passes a knob on to the node's builder, where it is documented, too.
macro_rules! node_knobs {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)*) => {
        $($(#[$doc])* pub fn $name(mut self, $name: $type) -> Self { self.node = self.node.$name($name); self })*
    };
}

impl RedisManagerBuilder {
    node_knobs! {
        /// Pools that a node has from the start and never fewer. Count, default 1, 1 to 256.
        connection_pools_per_node_at_start: usize,
        /// Connections of one pool at most, in whatever phase. Count, default 50, 1 to 65 536.
        max_connection_size: usize,
        /// Pools that a node may grow to. Count, default 4 or the number at start where that is higher, from the number
        /// at start to 256. A node has at most this times `max_connection_size` connections.
        max_pools_per_node: usize,
        /// Connections that each pool at start keeps open, borrowed ones included. Count, default 1, 0 to
        /// `max_connection_size`.
        min_idle: usize,
        /// Callers in line for one node at most; the next one gets `Saturated`. Count, default 10 000, 1 to 10 000 000.
        max_waiters: usize,
        /// The deadline of calls that name none. Default 10 s, 10 ms to 7 days.
        default_timeout: Duration,
        /// How often an idle connection is checked at most; up to 25 % more, so that checks spread. Default 60 s, 10 ms
        /// to 7 days.
        health_check_interval: Duration,
        /// How long a health check may take. Default 1 s, 10 ms to 7 days.
        health_check_timeout: Duration,
        /// How often cleanup looks for connections that are idle for too long. Default 120 s, 10 ms to 7 days.
        cleanup_interval: Duration,
        /// How long a connection may be idle before cleanup closes it. Default 180 s, 10 ms to 7 days.
        max_idle_time: Duration,
        /// How old a connection may grow; each one is given up to 25 % less, fixed at birth. Default 30 min, 10 ms to 7
        /// days.
        max_lifetime: Duration,
        /// What a new caller gets while the node is down. Default `Wait`.
        on_node_down: OnNodeDown,
    }

    /// The pauses between probes of a node that is down: drawn evenly from nothing up to a cap that doubles with each
    /// failure, from `start` to `max_with_waiters` while callers wait and to `max_without_waiters` while nobody does.
    /// Default 50 ms, 500 ms and 5 s, but none longer than `default_timeout`; 10 ms to 7 days, in ascending order.
    pub fn probe_backoff(mut self, start: Duration, max_with_waiters: Duration, max_without_waiters: Duration) -> Self {
        self.node = self.node.probe_backoff(start, max_with_waiters, max_without_waiters);
        self
    }

    /// Connections of all nodes together at most, in whatever phase: idle, on loan, being dialled, checked, cleaned or
    /// closed. For fleets whose servers are shared by many services, each with its part of their `maxclients`. Count,
    /// default none, 1 to 16 777 216; no fewer than `min_idle` times `connection_pools_per_node_at_start`.
    ///
    /// Each node may always have [`min_connections_per_node`](RedisManagerBuilder::min_connections_per_node), and has more
    /// while there is some left. When there is not, nodes that have more close what idles to make room for nodes whose
    /// callers wait, the one who has waited longest first. What is on loan is not taken back, and while a node has callers
    /// in line it keeps what it has: only for the floor of a node that is being added, what comes back from a borrower is
    /// closed.
    pub fn max_total_connections(mut self, connections: usize) -> Self {
        self.max_total_connections = Some(connections);
        self
    }

    /// Connections that each node may have at any time, whatever the other nodes need: its floor. Count, default 1, 1 to
    /// 65 536; no more than a node may have at all, and no more than `max_total_connections`, without which it is of no
    /// effect. A node for which no floor is left cannot be added.
    pub fn min_connections_per_node(mut self, connections: usize) -> Self {
        self.min_connections_per_node = connections;
        self
    }

    /// Connections that all shared clients of a node send their commands over, leased from its pools. Count, default 1,
    /// 1 to 256, and no more than the node may have, nor all nodes together.
    pub fn shared_connections_per_node(mut self, connections: usize) -> Self {
        self.shared_connections_per_node = connections;
        self
    }

    /// How connections are made.
    pub fn pool_args(mut self, args: PoolArgs) -> Self {
        self.args = args;
        self
    }

    /// Whether what is added are clusters. Default false. Needs [`startup_nodes`](RedisManagerBuilder::startup_nodes).
    ///
    /// All names under which a cluster is added are the same cluster: that of the startup nodes.
    #[cfg(feature = "cluster")]
    pub fn use_cluster(mut self, use_cluster: bool) -> Self {
        self.plan.use_cluster = use_cluster;
        self
    }

    /// URLs of nodes of the cluster, at least one, all with the same login: they are asked for the others.
    #[cfg(feature = "cluster")]
    pub fn startup_nodes<U: Into<String>>(mut self, urls: impl IntoIterator<Item = U>) -> Self {
        self.plan.startup_nodes = urls.into_iter().map(Into::into).collect();
        self
    }

    /// How the cluster is used.
    #[cfg(feature = "cluster")]
    pub fn cluster_args(mut self, args: ClusterArgs) -> Self {
        self.plan.args = Some(args);
        self
    }

    /// Whether URLs with TLS may end with `#insecure`, which takes any certificate, so that anybody in between may read and
    /// write along. For experiments. Default false: such a URL is refused.
    #[cfg(feature = "tls-rustls")]
    pub fn allow_insecure_tls(mut self, allow: bool) -> Self {
        self.allow_insecure_tls = allow;
        self
    }

    /// Takes knobs from the environment, where they are set: `MAX_CONNECTION_SIZE` (a count), `HEALTH_CHECK_INTERVAL`,
    /// `CLEANUP_INTERVAL` and `MAX_IDLE_TIME` (seconds, decimals allowed), `USE_REDIS_CLUSTER` (true or false; true needs the
    /// feature `cluster`). What cannot be read is told by [`build`](RedisManagerBuilder::build).
    pub fn from_env(self) -> Self {
        self.set_from(|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }

    fn set_from(mut self, variable: impl Fn(&'static str) -> Option<String>) -> Self {
        let unreadable = |knob, value, expected| ConfigError::Unreadable { knob, value, expected };
        let seconds = |name: &'static str| -> Result<Option<Duration>, ConfigError> {
            let Some(value) = variable(name) else { return Ok(None) };
            let length = value.trim().parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            length.map(Some).ok_or_else(|| unreadable(name, value, "a number of seconds"))
        };
        let count = |name: &'static str| -> Result<Option<usize>, ConfigError> {
            let Some(value) = variable(name) else { return Ok(None) };
            value.trim().parse().map(Some).map_err(|_| unreadable(name, value, "a whole number"))
        };
        let switch = |name: &'static str| -> Result<Option<bool>, ConfigError> {
            let Some(value) = variable(name) else { return Ok(None) };
            match value.trim().to_ascii_lowercase().as_str() {
                "" | "false" | "0" | "no" | "off" => Ok(Some(false)),
                "true" | "1" | "yes" | "on" => Ok(Some(true)),
                _ => Err(unreadable(name, value, "true or false")),
            }
        };
        let mut take = || -> Result<(), ConfigError> {
            let mut node = self.node.clone();
            if let Some(size) = count("MAX_CONNECTION_SIZE")? {
                node = node.max_connection_size(size);
            }
            if let Some(interval) = seconds("HEALTH_CHECK_INTERVAL")? {
                node = node.health_check_interval(interval);
            }
            if let Some(interval) = seconds("CLEANUP_INTERVAL")? {
                node = node.cleanup_interval(interval);
            }
            if let Some(longest) = seconds("MAX_IDLE_TIME")? {
                node = node.max_idle_time(longest);
            }
            let use_cluster = switch("USE_REDIS_CLUSTER")?;
            #[cfg(feature = "cluster")]
            if let Some(use_cluster) = use_cluster {
                self.plan.use_cluster = use_cluster;
            }
            #[cfg(not(feature = "cluster"))]
            if use_cluster == Some(true) {
                return Err(unreadable("USE_REDIS_CLUSTER", String::from("true"), "false: true needs the feature `cluster`"));
            }
            self.node = node;
            Ok(())
        };
        let taken = take();
        self.unreadable = self.unreadable.or(taken.err());
        self
    }

    /// Checks every knob and makes the manager; certificates and keys are read, if there are any. Nothing is connected yet.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the knob, its value and what it may be.
    #[cfg_attr(not(feature = "tls-rustls"), expect(unused_mut, reason = "taken from only with TLS"))]
    pub fn build(mut self, runtime: impl Network) -> Result<RedisManager, ConfigError> {
        if let Some(unreadable) = self.unreadable {
            return Err(unreadable);
        }
        self.args.check()?;
        #[cfg(feature = "tls-rustls")]
        // Taken: what is secret in it need not be kept twice.
        let tls = Tls::new(&std::mem::take(&mut self.args.tls), self.allow_insecure_tls)?;
        #[cfg(not(feature = "tls-rustls"))]
        let tls = Tls;
        let total = self.total_limit()?;
        let config: NodeConfig = self.node.connect_timeout(self.args.connect_timeout).build()?;
        let shared = self.shared_connections_per_node;
        let (knob, value) = ("shared_connections_per_node", shared.to_string());
        let most = config.max_connection_size() * config.max_pools_per_node();
        if !SHARED_CONNECTIONS.contains(&shared) {
            let range = format!("{} to {}", SHARED_CONNECTIONS.start(), SHARED_CONNECTIONS.end());
            return Err(ConfigError::OutOfRange { knob, value, range });
        }
        if shared > most {
            let limit_knob = "max_connection_size times max_pools_per_node";
            return Err(ConfigError::Contradiction { knob, value, limit_knob, limit: most.to_string() });
        }
        #[cfg(feature = "cluster")]
        let startup = self.plan.check(self.args.protocol, &tls)?;
        if let Some(total) = total {
            total.check(&config)?;
            if shared > total.max_total_connections {
                let (limit_knob, limit) = ("max_total_connections", total.max_total_connections.to_string());
                return Err(ConfigError::Contradiction { knob, value, limit_knob, limit });
            }
        }
        let network: Arc<dyn Network> = Arc::new(runtime);
        let runtime = Arc::clone(&network) as Arc<dyn Runtime>;
        let nodes = match total {
            Some(limit) => Manager::with_total_limit(config, limit, runtime)?,
            None => Manager::new(config, runtime),
        };
        #[cfg(feature = "cluster")]
        let clusters = startup.map(|startup| {
            let (network, args) = (Arc::clone(&network), self.args.clone());
            Clusters::new(self.plan, startup, nodes.clone(), network, args, shared)
        });
        Ok(RedisManager {
            nodes,
            network,
            args: self.args,
            tls: Arc::new(tls),
            shared_connections_per_node: shared,
            #[cfg(feature = "cluster")]
            clusters,
            hubs: Arc::default(),
        })
    }

    fn total_limit(&self) -> Result<Option<TotalLimit>, ConfigError> {
        TotalLimit::check_floor(self.min_connections_per_node)?;
        Ok(self.max_total_connections.map(|connections| {
            let mut limit = TotalLimit::new(connections);
            limit.min_connections_per_node = self.min_connections_per_node;
            limit
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &'static str, value: &'static str) -> RedisManagerBuilder {
        RedisManager::builder().set_from(move |asked| (asked == name).then(|| String::from(value)))
    }

    /// Seen to bite: with each of the checks left out of `build`.
    #[cfg(feature = "smol")]
    #[test]
    fn a_total_that_contradicts_another_knob_is_refused_in_words_that_name_both() {
        let refused = |builder: RedisManagerBuilder| {
            builder.build(crate::smol::SmolRuntime::new()).map(drop).expect_err("must be refused").to_string()
        };
        let builder = RedisManager::builder;
        assert_eq!(refused(builder().max_total_connections(0)), "max_total_connections is 0: must be 1 to 16777216");
        assert_eq!(refused(builder().min_connections_per_node(0)), "min_connections_per_node is 0: must be 1 to 65536");
        assert_eq!(
            refused(builder().max_total_connections(3).min_connections_per_node(4)),
            "min_connections_per_node is 4: must be at most max_total_connections, which is 3"
        );
        assert_eq!(
            refused(builder().max_total_connections(3).min_idle(2).connection_pools_per_node_at_start(2)),
            "min_idle times connection_pools_per_node_at_start is 4: must be at most max_total_connections, which is 3"
        );
        assert_eq!(
            refused(builder().max_total_connections(3).shared_connections_per_node(4)),
            "shared_connections_per_node is 4: must be at most max_total_connections, which is 3"
        );
        assert!(builder().max_total_connections(4).min_connections_per_node(2).build(crate::smol::SmolRuntime::new()).is_ok());
        assert!(builder().min_connections_per_node(4).build(crate::smol::SmolRuntime::new()).is_ok(), "of no effect alone");
    }

    #[test]
    fn the_environment_sets_knobs_and_what_cannot_be_read_is_named() {
        assert_eq!(with("MAX_CONNECTION_SIZE", "7").node, NodeConfig::builder().max_connection_size(7));
        let half = Duration::from_millis(500);
        assert_eq!(with("HEALTH_CHECK_INTERVAL", "0.5").node, NodeConfig::builder().health_check_interval(half));
        assert_eq!(with("CLEANUP_INTERVAL", "0.5").node, NodeConfig::builder().cleanup_interval(half));
        assert_eq!(with("MAX_IDLE_TIME", " 0.5 ").node, NodeConfig::builder().max_idle_time(half));
        assert!(with("USE_REDIS_CLUSTER", "false").unreadable.is_none());
        for (name, value) in [("MAX_CONNECTION_SIZE", "many"), ("MAX_IDLE_TIME", "-1"), ("USE_REDIS_CLUSTER", "perhaps")] {
            let message = with(name, value).unreadable.map(|error| error.to_string()).unwrap_or_default();
            assert!(message.starts_with(&format!("{name} is {value:?}: expected ")), "{message}");
        }
    }
}
