//! The table of all settings, and the one setting that belongs to no other part.

use std::ops::RangeInclusive;

use redis_manager_core::{NodeConfig, Setting, TotalLimit};

use crate::deployment::cluster::ClusterConfig;
use crate::deployment::replicas::PrimaryArgs;
use crate::deployment::sentinel::SentinelArgs;
use crate::manager::RedisManager;
use crate::observe::ObserveSettings;
use crate::redis_node::{PoolArgs, Tls};

/// Range of `shared_connections_per_node`.
pub(crate) const SHARED_CONNECTIONS: RangeInclusive<usize> = 1..=256;
/// Default of `shared_connections_per_node`.
pub(crate) const DEFAULT_SHARED_CONNECTIONS: usize = 1;

impl RedisManager {
    /// The table of all settings with their units, defaults and ranges.
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
            .chain(ObserveSettings::settings())
            .chain(Tls::setting())
            .chain(PoolArgs::settings())
            .chain(SentinelArgs::settings())
            .chain(PrimaryArgs::settings())
            .chain(ClusterConfig::settings());
        settings.collect()
    }
}
