//! A manager in cluster mode: names for one cluster, and leases on the owner of a key.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use redis::ProtocolVersion;
use redis_manager_core::{Closed, ConfigError, Manager, NodeMetrics, NodePool, NodeStatus, PendingClose, Runtime, WeakManager};

use crate::cluster::args::ClusterArgs;
use crate::cluster::cluster_metrics::ClusterMetrics;
use crate::cluster::connector::ClusterConnector;
use crate::cluster::nodes::{Cluster, ClusterContext};
use crate::cluster::routed_client::{RoutedClient, SharedLease};
use crate::cluster::status::ClusterStatus;
use crate::cluster::topology::slot_of;
use crate::error::{AddNodeError, GetClientError};
use crate::future_util::all;
use crate::network::Network;
use crate::redis_node::{Address, Client, CommandMetrics, Hooks, PoolArgs, RedisConnector, SharedClient, Tls, redact};

/// The builder's settings about clusters.
#[derive(Clone, Default)]
pub(crate) struct ClusterConfig {
    pub(crate) use_cluster: bool,
    pub(crate) startup_nodes: Vec<String>,
    pub(crate) args: Option<ClusterArgs>,
}

impl fmt::Debug for ClusterConfig {
    /// Without passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { use_cluster, startup_nodes, args } = self;
        let startup_nodes: Vec<_> = startup_nodes.iter().map(|url| redact(url)).collect();
        let mut shown = f.debug_struct("ClusterConfig");
        shown.field("use_cluster", use_cluster).field("startup_nodes", &startup_nodes).field("args", args).finish()
    }
}

impl ClusterConfig {
    /// The startup nodes, in cluster mode.
    pub(crate) fn check(&self, protocol: ProtocolVersion, tls: &Tls) -> Result<Option<Vec<Address>>, ConfigError> {
        let off = |setting| {
            Err(ConfigError::OutOfRange { setting, value: String::from("set"), range: String::from("set with use_cluster only") })
        };
        match (self.use_cluster, &self.args) {
            (false, Some(_)) => return off("cluster_args"),
            (false, None) if !self.startup_nodes.is_empty() => return off("startup_nodes"),
            (false, None) => return Ok(None),
            (true, args) => args.clone().unwrap_or_default().check()?,
        }
        if self.startup_nodes.is_empty() {
            let range = String::from("at least 1 URL with use_cluster");
            return Err(ConfigError::OutOfRange { setting: "startup_nodes", value: String::from("empty"), range });
        }
        let mut places: Vec<Address> = Vec::new();
        for url in &self.startup_nodes {
            let unusable = |reason: String| ConfigError::Unusable { setting: "startup_nodes", value: redact(url), reason };
            let place = Address::parse(url, protocol, tls).map_err(|error| unusable(error.to_string()))?;
            if !place.is_tcp() || place.login.db() != 0 {
                return Err(unusable(String::from("a node of a cluster must have a host and a port, and database 0")));
            }
            // The verification of the first one applies to all nodes.
            let is_insecure = |url: &str| url.ends_with("#insecure");
            let differs = is_insecure(url) != is_insecure(&self.startup_nodes[0]);
            if differs || places.first().is_some_and(|first| !place.has_login_of(first)) {
                let reason =
                    "all startup nodes must have the same user, password, protocol and TLS mode (TLS, #insecure or none)";
                return Err(unusable(String::from(reason)));
            }
            places.push(place);
        }
        Ok(Some(places))
    }
}

/// The cluster of a manager, with all names under which it was added.
#[derive(Clone)]
pub(crate) struct Clusters {
    cluster: Arc<Cluster>,
    names: Manager<ClusterConnector>,
    use_of_it: Arc<Mutex<ClusterUse>>,
}

/// The users of a cluster's nodes, beside its names.
#[derive(Default)]
struct ClusterUse {
    /// Calls that add a name.
    adding: usize,
    /// The leases of shared clients, by name.
    shares: HashMap<String, Vec<Weak<SharedLease>>>,
}

impl Clusters {
    pub(crate) fn new(
        plan: ClusterConfig,
        startup: Vec<Address>,
        nodes: Manager<RedisConnector>,
        network: Arc<dyn Network>,
        args: PoolArgs,
        hooks: Hooks,
        lanes: usize,
    ) -> Self {
        let names = Manager::new(nodes.config().clone(), Arc::clone(&network) as Arc<dyn Runtime>);
        let cluster_args = plan.args.unwrap_or_default();
        let cluster = Cluster::new(ClusterContext { nodes, network, args, hooks, cluster_args, startup, lanes });
        Self { cluster, names, use_of_it: Arc::default() }
    }

    pub(crate) async fn add(&self, name: &str, timeout: Duration) -> Result<NodePool<ClusterConnector>, AddNodeError> {
        let _adding = AddClusterGuard::begin(self);
        let connector = || ClusterConnector::new(Arc::clone(&self.cluster), name);
        let added = self.names.add(name, timeout, connector).await;
        added.map_err(|error| AddNodeError::from_wait(error, redact(name)))
    }

    /// Adds a name without waiting for the cluster.
    pub(crate) fn open(&self, name: &str) -> Result<NodePool<ClusterConnector>, AddNodeError> {
        let _adding = AddClusterGuard::begin(self);
        let opened = self.names.open(name, || ClusterConnector::new(Arc::clone(&self.cluster), name));
        opened.map_err(|error| AddNodeError::from_wait(error, redact(name)))
    }

    pub(crate) async fn get(&self, name: &str, timeout: Duration) -> Result<Client, GetClientError> {
        Ok(Client::of_cluster(self.names.get(name, timeout).await?))
    }

    pub(crate) fn try_get(&self, name: &str) -> Result<Client, GetClientError> {
        Ok(Client::of_cluster(self.names.try_get(name)?))
    }

    pub(crate) fn node(&self, name: &str) -> Result<NodePool<ClusterConnector>, GetClientError> {
        Ok(self.names.node(name)?)
    }

    pub(crate) async fn get_for_key(&self, name: &str, key: &[u8], timeout: Duration) -> Result<Client, GetClientError> {
        // The name must have been added, and not closed since.
        self.names.node(name)?;
        self.cluster.lend(name, slot_of(key), timeout).await.map(Client::new)
    }

    pub(crate) fn status(&self) -> BTreeMap<String, NodeStatus> {
        self.names.status()
    }

    pub(crate) fn command_metrics(&self) -> BTreeMap<String, CommandMetrics> {
        self.names.read_connectors(ClusterConnector::command_metrics)
    }

    pub(crate) fn cluster_metrics(&self, name: &str) -> Result<ClusterMetrics, GetClientError> {
        Ok(self.names.node(name)?.connector().cluster_metrics())
    }

    pub(crate) fn metrics(&self) -> BTreeMap<String, NodeMetrics> {
        self.names.metrics()
    }

    pub(crate) fn status_and_metrics(&self) -> BTreeMap<String, (NodeStatus, NodeMetrics)> {
        self.names.status_and_metrics()
    }

    pub(crate) fn cluster_status(&self, name: &str) -> Result<ClusterStatus, GetClientError> {
        self.names.node(name)?;
        Ok(self.cluster.status())
    }

    pub(crate) fn start_health_checks(&self) {
        self.names.start_health_checks();
    }

    pub(crate) fn stop_health_checks(&self) {
        self.names.stop_health_checks();
    }

    pub(crate) fn start_cleanup(&self) {
        self.names.start_cleanup();
    }

    pub(crate) fn stop_cleanup(&self) {
        self.names.stop_cleanup();
    }

    /// Resolves when the names close, or when no manager is left; clients and handles keep the nodes, but not the names.
    pub(crate) fn closed(&self) -> Closed {
        self.names.closed()
    }

    /// The nodes' own pools close with the last name.
    pub(crate) async fn close(&self, name: &str, timeout: Duration) {
        let names = self.names.begin_close_nodes([name], timeout);
        let nodes = self.close_unless_used(&mut self.use_of_it(), timeout);
        self.end_shares(|shares| shares.remove(name).unwrap_or_default());
        drained(names, nodes).await;
    }

    /// Closes all names at once. The manager of the nodes has begun to close them: they lend nothing any more.
    pub(crate) async fn close_all(&self, nodes: PendingClose<RedisConnector>, timeout: Duration) {
        let names = self.names.begin_close(timeout);
        self.end_shares(|shares| std::mem::take(shares).into_values().flatten().collect());
        drop(self.cluster.close(timeout));
        drained(names, Some(nodes)).await;
    }

    fn end_shares(&self, which: impl FnOnce(&mut HashMap<String, Vec<Weak<SharedLease>>>) -> Vec<Weak<SharedLease>>) {
        let ended = which(&mut self.use_of_it().shares);
        ended.iter().filter_map(Weak::upgrade).for_each(|share| share.end());
    }

    /// Begins to close the nodes if no name is open or being added: no command is sent when this returns.
    fn close_unless_used(&self, use_of_it: &mut ClusterUse, timeout: Duration) -> Option<PendingClose<RedisConnector>> {
        let is_used = use_of_it.adding > 0 || !self.names.status().is_empty();
        if is_used { None } else { Some(self.cluster.close(timeout)) }
    }

    fn use_of_it(&self) -> MutexGuard<'_, ClusterUse> {
        lock(&self.use_of_it)
    }

    /// The names alone; it does not keep them open, and not the cluster either.
    #[cfg(any(feature = "metrics", feature = "opentelemetry", feature = "prometheus"))]
    pub(crate) fn downgrade_names(&self) -> WeakManager<ClusterConnector> {
        self.names.downgrade()
    }

    /// The same for the handles of its names; it does not keep them open.
    pub(crate) fn downgrade(&self) -> WeakClusters {
        WeakClusters { cluster: Arc::clone(&self.cluster), names: self.names.downgrade(), use_of_it: Arc::clone(&self.use_of_it) }
    }
}

/// The cluster of a manager, for the handles of its names.
#[derive(Clone)]
pub(crate) struct WeakClusters {
    cluster: Arc<Cluster>,
    names: WeakManager<ClusterConnector>,
    use_of_it: Arc<Mutex<ClusterUse>>,
}

impl WeakClusters {
    /// The clusters, if their manager still exists.
    pub(crate) fn upgrade(&self) -> Option<Clusters> {
        let (cluster, use_of_it) = (Arc::clone(&self.cluster), Arc::clone(&self.use_of_it));
        self.names.upgrade().map(|names| Clusters { cluster, names, use_of_it })
    }

    /// Closes a name whose manager no longer exists, and with it the cluster: there is no list of other names any more.
    pub(crate) async fn close_without_manager(&self, pool: &NodePool<ClusterConnector>, name: &str, timeout: Duration) {
        let closing = pool.close_timeout(timeout);
        let shares = lock(&self.use_of_it).shares.remove(name).unwrap_or_default();
        shares.iter().filter_map(Weak::upgrade).for_each(|share| share.end());
        let nodes = self.cluster.close(timeout);
        let both: [Pin<Box<dyn Future<Output = ()> + Send + '_>>; 2] = [Box::pin(closing), Box::pin(nodes.drained())];
        all(both).await;
    }

    /// A client of the cluster by this name that many tasks share.
    pub(crate) async fn get_shared(
        &self,
        pool: &NodePool<ClusterConnector>,
        name: &str,
        timeout: Duration,
    ) -> Result<SharedClient, GetClientError> {
        let lease = pool.get_timeout(timeout).await?;
        let share = RoutedClient::new(lease, name);
        {
            let mut use_of_it = lock(&self.use_of_it);
            let shares = use_of_it.shares.entry(String::from(name)).or_default();
            shares.retain(|share| share.strong_count() > 0);
            shares.push(Arc::downgrade(share.lease()));
        }
        if !pool.is_open() {
            // Closed by a call that did not see this lease.
            share.lease().end();
            return Err(GetClientError::Closed { node: String::from(pool.name()) });
        }
        Ok(SharedClient::of_cluster(share))
    }
}

fn lock(use_of_it: &Mutex<ClusterUse>) -> MutexGuard<'_, ClusterUse> {
    use_of_it.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A call that adds a name. If there is no name at its end, nothing of the cluster is left behind.
struct AddClusterGuard<'a>(&'a Clusters);

impl<'a> AddClusterGuard<'a> {
    fn begin(clusters: &'a Clusters) -> Self {
        let mut use_of_it = clusters.use_of_it();
        use_of_it.adding += 1;
        if !clusters.names.is_closed() {
            clusters.cluster.reopen();
        }
        Self(clusters)
    }
}

impl Drop for AddClusterGuard<'_> {
    fn drop(&mut self) {
        let closing = {
            let mut use_of_it = self.0.use_of_it();
            use_of_it.adding -= 1;
            self.0.close_unless_used(&mut use_of_it, self.0.names.config().default_timeout())
        };
        if let Some(closing) = closing {
            self.0.cluster.runtime().spawn(Box::pin(closing.drained()));
        }
    }
}

async fn drained(names: PendingClose<ClusterConnector>, nodes: Option<PendingClose<RedisConnector>>) {
    let nodes = async {
        if let Some(nodes) = nodes {
            nodes.drained().await;
        }
    };
    let both: [Pin<Box<dyn Future<Output = ()> + Send>>; 2] = [Box::pin(names.drained()), Box::pin(nodes)];
    all(both).await;
}
