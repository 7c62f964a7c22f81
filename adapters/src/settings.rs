//! The table of all settings, and the setting that neither the core nor the connections have.

use std::ops::RangeInclusive;

use redis_manager_core::{NodeConfig, Setting, TotalLimit};

#[cfg(feature = "cluster")]
use crate::cluster::ClusterArgs;
use crate::manager::RedisManager;
use crate::redis_node::{PoolArgs, Tls};

/// What `shared_connections_per_node` may be.
pub(crate) const SHARED_CONNECTIONS: RangeInclusive<usize> = 1..=256;
/// What `shared_connections_per_node` is when it is not set.
pub(crate) const DEFAULT_SHARED_CONNECTIONS: usize = 1;

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
}
