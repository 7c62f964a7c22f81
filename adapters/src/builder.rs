//! The builder of a manager: every setting with its default and range, and the one gate that checks them. `configuration` takes
//! them as text, `observing` has those about events.

#[cfg(feature = "cluster")]
mod clusters;
mod configuration;
mod observing;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use redis_manager_core::{ConfigError, Manager, NodeConfig, NodeConfigBuilder, OnNodeDown, Runtime, TotalLimit};

pub use crate::builder::configuration::RedisManagerConfig;
use crate::deployment::cluster::ClusterConfig;
use crate::manager::RedisManager;
use crate::network::Network;
use crate::observe::ObserveSettings;
use crate::redis_node::{Hooks, LendCandidate, NewConnection, PoolArgs, Tls};
use crate::settings::{DEFAULT_SHARED_CONNECTIONS, SHARED_CONNECTIONS};

impl RedisManager {
    /// Every setting at its default.
    pub fn builder() -> RedisManagerBuilder {
        RedisManagerBuilder::default()
    }
}

/// Sets the settings of a [`RedisManager`]; [`build`](RedisManagerBuilder::build) checks them. The defaults are valid.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct RedisManagerBuilder {
    node: NodeConfigBuilder,
    args: PoolArgs,
    hooks: Hooks,
    observe: ObserveSettings,
    #[cfg(feature = "tls-rustls")]
    allow_insecure_tls: bool,
    max_total_connections: Option<usize>,
    min_connections_per_node: usize,
    shared_connections_per_node: usize,
    cluster: ClusterConfig,
    /// The first value of the environment that could not be read; said by `build`.
    unreadable: Option<ConfigError>,
}

impl Default for RedisManagerBuilder {
    fn default() -> Self {
        Self {
            node: NodeConfigBuilder::default(),
            args: PoolArgs::default(),
            hooks: Hooks::default(),
            observe: ObserveSettings::default(),
            #[cfg(feature = "tls-rustls")]
            allow_insecure_tls: false,
            max_total_connections: None,
            min_connections_per_node: TotalLimit::DEFAULT_MIN_CONNECTIONS_PER_NODE,
            shared_connections_per_node: DEFAULT_SHARED_CONNECTIONS,
            cluster: ClusterConfig::default(),
            unreadable: None,
        }
    }
}

/// Passes a setting on to the node's builder, where it is documented, too.
macro_rules! node_settings {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)*) => {
        $($(#[$doc])* pub fn $name(mut self, $name: $type) -> Self { self.node = self.node.$name($name); self })*
    };
}

impl RedisManagerBuilder {
    node_settings! {
        /// Pools that a node has from the start and never fewer. Count, default 1, 1 to 256.
        connection_pools_per_node_at_start: usize,
        /// Connections of one pool at most, in whatever phase. Count, default 50, 1 to 65 536.
        max_connection_size: usize,
        /// Pools that a node may grow to. Count, default 4 or the number at start where that is higher, from the number
        /// at start to 256. A node has at most this times `max_connection_size` connections.
        max_pools_per_node: usize,
        /// The same as `max_connection_size`, by a name that says what it bounds.
        max_connections_per_pool: usize,
        /// Connections of one node at most, in whatever phase: all of its pools together, of which the last one gets what is
        /// left. Count, default `max_connection_size` times `max_pools_per_node`, 1 to 16 777 216; enough for the pools at
        /// start with `min_idle` connections each.
        max_connections_per_node: usize,
        /// Connections that each pool at start keeps idle, beside those on loan: they are dialled in the background as others are
        /// lent, while the limits allow it. Count, default 1, 0 to `max_connection_size`; all pools at start together within
        /// `max_connections_per_node`.
        min_idle: usize,
        /// Callers in the queue for one node at most; the next one gets `Saturated`. Count, default 10 000, 1 to 10 000 000.
        max_waiters: usize,
        /// The deadline of calls that name none. Default 10 s, 10 ms to 7 days.
        default_timeout: Duration,
        /// How often an idle connection is checked at most; up to 25 % more, so that checks spread. Default 60 s, 10 ms
        /// to [`Duration::MAX`], which is never. Then the first command on a shared connection that has idled is not preceded by a
        /// check, either.
        health_check_interval: Duration,
        /// How long a health check may take. Default 1 s, 10 ms to 7 days.
        health_check_timeout: Duration,
        /// How often cleanup looks for connections that are idle for too long. Default 120 s, 10 ms to
        /// [`Duration::MAX`], which is never.
        cleanup_interval: Duration,
        /// How long a connection may be idle before cleanup closes it. Default 180 s, 10 ms to [`Duration::MAX`], which is
        /// never.
        max_idle_time: Duration,
        /// How old a connection may grow; each one is given up to 25 % less, fixed at birth. Default 30 min, 10 ms to
        /// [`Duration::MAX`], which is never.
        max_lifetime: Duration,
        /// What a new caller gets while the node is down. Default `Wait`.
        on_node_down: OnNodeDown,
        /// Of how many leases one, and of how many requests about one, is timed for the metrics of a node. Count, default 64, 0
        /// or a power of two up to 1 048 576; 1 times all of them, 0 none.
        use_time_sampling: usize,
    }

    /// The pauses between probes of a node that is down: drawn evenly from nothing up to a cap that doubles with each
    /// failure, from `start` to `max_with_waiters` while callers wait and to `max_without_waiters` while none does.
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
    /// callers wait, the one that has waited longest first. What is on loan is not taken back, and while a node has callers
    /// in the queue it keeps what it has: only for the floor of a node that is being added, what comes back from a borrower is
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

    /// Runs `hook` once on each new connection, after the login and before the first loan. What it sets on the session (a
    /// `CLIENT NO-EVICT`, a `CLIENT TRACKING`) is the connection's normal state from then on, and survives what borrowers do.
    /// Default none. In a cluster it runs on the connections to each node.
    ///
    /// It runs within `pool_args.connect_timeout`, and an error of it fails the dial: the node is tried again by the rules of
    /// its health, and callers get the error, without credentials that the hook has sent. So does a hook that keeps the
    /// connection, or leaves a transaction open, keys watched, another database selected, channels subscribed or another
    /// protocol; that counts as a refusal for good. A command without a reply is refused with the kind `Client`.
    ///
    /// ```
    /// use redis_manager::RedisManager;
    ///
    /// // Redis 7.0 or later.
    /// let builder = RedisManager::builder().after_connect(|mut connection| async move {
    ///     redis::cmd("CLIENT").arg("NO-EVICT").arg("ON").exec_async(&mut connection).await
    /// });
    /// ```
    pub fn after_connect<F, R>(mut self, hook: F) -> Self
    where
        F: Fn(NewConnection) -> R + Send + Sync + 'static,
        R: Future<Output = redis::RedisResult<()>> + Send + 'static,
    {
        self.hooks.set_after_connect(hook);
        self
    }

    /// Asks `hook` before a connection of a node is lent, and when one comes back, which may go to the next caller at once. One
    /// that it answers false to is closed, with the reason `Broken` before a loan and `Unclean` on return, and the caller gets
    /// another one. Default none: every clean connection is lent.
    ///
    /// It is called on the hot path, by the caller's task and outside of all locks: it must not block. A panic closes the
    /// connection. New connections that it refuses count as failed dials, so that dials are spaced out. The connection of
    /// shared clients is a loan of its own: it is asked about when they take it, not for each command, and the same holds for
    /// clients of a whole cluster.
    ///
    /// ```
    /// use redis_manager::RedisManager;
    /// use std::time::Duration;
    ///
    /// let builder = RedisManager::builder().before_lend(|candidate| candidate.age() < Duration::from_secs(600));
    /// ```
    pub fn before_lend(mut self, hook: impl Fn(&LendCandidate<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.hooks.set_before_lend(hook);
        self
    }

    /// How connections are made.
    pub fn pool_args(mut self, args: PoolArgs) -> Self {
        self.args = args;
        self
    }

    /// Whether URLs with TLS may end with `#insecure`, which takes any certificate, so that a third party in between may read and
    /// write along. For experiments. Default false: such a URL is refused.
    #[cfg(feature = "tls-rustls")]
    pub fn allow_insecure_tls(mut self, allow: bool) -> Self {
        self.allow_insecure_tls = allow;
        self
    }

    /// Checks every setting and makes the manager; certificates and keys are read, if there are any. Nothing is connected yet.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the setting, its value and what it may be.
    #[cfg_attr(not(feature = "tls-rustls"), expect(unused_mut, reason = "taken from only with TLS"))]
    pub fn build(mut self, runtime: impl Network) -> Result<RedisManager, ConfigError> {
        if let Some(unreadable) = self.unreadable {
            return Err(unreadable);
        }
        self.args.check()?;
        self.observe.check()?;
        #[cfg(feature = "tls-rustls")]
        // Taken: what is secret in it need not be kept twice.
        let tls = Tls::new(&std::mem::take(&mut self.args.tls), self.allow_insecure_tls)?;
        #[cfg(not(feature = "tls-rustls"))]
        let tls = Tls;
        let total = self.total_limit()?;
        let (observer, events) = self.observe.start();
        let node = self.node.connect_timeout(self.args.connect_timeout);
        let config: NodeConfig = observer.into_iter().fold(node, NodeConfigBuilder::observer).build()?;
        let shared = self.shared_connections_per_node;
        let (setting, value) = ("shared_connections_per_node", shared.to_string());
        let most = config.max_connections_per_node();
        if !SHARED_CONNECTIONS.contains(&shared) {
            let range = format!("{} to {}", SHARED_CONNECTIONS.start(), SHARED_CONNECTIONS.end());
            return Err(ConfigError::OutOfRange { setting, value, range });
        }
        if shared > most {
            let limit_setting = "max_connections_per_node";
            return Err(ConfigError::Contradiction { setting, value, limit_setting, limit: most.to_string() });
        }
        let cluster = self.cluster.check(self.args.protocol, &tls)?;
        if let Some(total) = total {
            total.check(&config)?;
            if shared > total.max_total_connections {
                let (limit_setting, limit) = ("max_total_connections", total.max_total_connections.to_string());
                return Err(ConfigError::Contradiction { setting, value, limit_setting, limit });
            }
        }
        let network: Arc<dyn Network> = Arc::new(runtime);
        let runtime = Arc::clone(&network) as Arc<dyn Runtime>;
        let nodes = match total {
            Some(limit) => Manager::with_total_limit(config, limit, runtime)?,
            None => Manager::new(config, runtime),
        };
        let manager = RedisManager::new(nodes, network, self.args, self.hooks, tls, shared).with_events(events);
        Ok(manager.adding_by_name(cluster))
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
mod tests;
