//! The table of the settings of a node, as the guide shows it.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::{CONNECTIONS, CONNECTIONS_OF_NODE, NodeConfig, OnNodeDown, POOLS, ProbeBackoff, SAMPLINGS, Setting, WAITERS};
use crate::config_error::{in_words, samplings};

impl NodeConfig {
    /// The table of settings with the defaults and ranges that the code uses; that of the guide is checked against it.
    #[must_use]
    pub fn settings() -> Vec<Setting> {
        let config = Self::default();
        let counts = |range: RangeInclusive<usize>| format!("{} to {}", range.start(), range.end());
        let durations = || in_words(&Self::DURATIONS);
        let length = |name, default: Duration, why| Setting::duration(name, default, &Self::DURATIONS, why);
        let period = |name, default: Duration, why| Setting::duration(name, default, &Self::PERIODS, why);
        let ProbeBackoff { start, max_with_waiters, max_without_waiters } = config.probe_backoff;
        vec![
            Setting::new(
                "connection_pools_per_node_at_start",
                "pools",
                config.connection_pools_per_node_at_start().to_string(),
                counts(POOLS),
                "pools that a node always has",
            ),
            Setting::new(
                "max_connection_size",
                "connections",
                config.max_connection_size().to_string(),
                counts(CONNECTIONS),
                "the most connections of one pool; times the pools it must fit the server's `maxclients`",
            ),
            Setting::new(
                "max_pools_per_node",
                "pools",
                format!("{}, or the pools at start if more", config.max_pools_per_node()),
                counts(POOLS),
                "how far a node grows when all its pools are full",
            ),
            Setting::new(
                "max_connections_per_node",
                "connections",
                String::from("`max_connection_size` times `max_pools_per_node`"),
                counts(CONNECTIONS_OF_NODE),
                "the most connections of a node; its last pool gets what is left",
            ),
            Setting::new(
                "min_idle",
                "connections",
                config.min_idle().to_string(),
                String::from("0 to `max_connection_size`"),
                "kept idle in each pool at start, dialled in the background as others are lent",
            ),
            Setting::new(
                "max_waiters",
                "callers",
                config.max_waiters().to_string(),
                counts(WAITERS),
                "bounds the queue of a node: beyond it callers get `Saturated` at once",
            ),
            length("default_timeout", config.default_timeout(), "the deadline of calls that name none"),
            period("health_check_interval", config.health_check_interval(), "idle connections get a PING at most this often"),
            length("health_check_timeout", config.health_check_timeout(), "no PONG by then: the server is taken for silent"),
            period("cleanup_interval", config.cleanup_interval(), "how often cleanup looks, once it was started"),
            period("max_idle_time", config.max_idle_time(), "longer idle than this: closed by cleanup"),
            period("max_lifetime", config.max_lifetime(), "less up to 25 %, fixed at birth: bounds what a connection piles up"),
            Setting::new(
                "on_node_down",
                "choice",
                config.on_node_down().to_string(),
                format!("{} or {}", OnNodeDown::Wait, OnNodeDown::FailFast),
                "whether callers wait for a node that is down",
            ),
            Setting::new(
                "probe_backoff",
                "3 durations",
                format!("{start:?}, {max_with_waiters:?}, {max_without_waiters:?}"),
                format!("{}, ascending; the second at most `default_timeout`", durations()),
                "pauses between probes of a node that is down: first cap, highest with callers waiting, highest without",
            ),
            Setting::new(
                "use_time_sampling",
                "leases",
                config.use_time_sampling().to_string(),
                samplings(&SAMPLINGS),
                "of so many leases one is timed for the metrics; 1 times all, 0 none",
            ),
        ]
    }
}
