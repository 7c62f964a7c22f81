//! The settings of a limit that all nodes of a manager share; checked once, together with those of the nodes.

use std::ops::RangeInclusive;

use crate::config::{NodeConfig, Setting};
use crate::config_error::{ConfigError, at_most, count};

/// As many as a node of the largest pools could have.
const TOTAL: RangeInclusive<usize> = 1..=16_777_216;
const FLOOR: RangeInclusive<usize> = 1..=65_536;

/// A limit for all nodes of a manager together: their clients share the `maxclients` of their servers.
///
/// Given to [`Manager::with_total_limit`](crate::Manager::with_total_limit), which checks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TotalLimit {
    /// Connections of all nodes together at most, in whatever phase: idle, on loan, being dialled, checked, cleaned or
    /// closed. Count, 1 to 16 777 216, and no fewer than `min_connections_per_node` and than `min_idle` times
    /// `connection_pools_per_node_at_start`.
    pub max_total_connections: usize,
    /// Connections that a node may have at any time, whatever the others have: its *floor*. Count, default 1, 1 to 65 536,
    /// and no more than a node may have at all. Of no effect without a total.
    pub min_connections_per_node: usize,
}

impl TotalLimit {
    /// What a floor is when it is not set.
    pub const DEFAULT_MIN_CONNECTIONS_PER_NODE: usize = 1;

    /// So many connections together, and a floor of 1 for each node.
    #[must_use]
    pub fn new(max_total_connections: usize) -> Self {
        Self { max_total_connections, min_connections_per_node: Self::DEFAULT_MIN_CONNECTIONS_PER_NODE }
    }

    /// Checks it for nodes with these settings.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the first setting that is out of its range, or the two that contradict each other.
    pub fn check(&self, config: &NodeConfig) -> Result<(), ConfigError> {
        let (total, floor) = (self.max_total_connections, self.min_connections_per_node);
        let limit_setting = "max_total_connections";
        count(limit_setting, total, TOTAL)?;
        Self::check_floor(floor)?;
        at_most("min_connections_per_node", floor, limit_setting, total)?;
        let most = config.max_connections_per_node();
        at_most("min_connections_per_node", floor, "max_connections_per_node", most)?;
        let warm = config.min_idle() * config.connection_pools_per_node_at_start();
        at_most("min_idle times connection_pools_per_node_at_start", warm, limit_setting, total)
    }

    /// Checks a floor alone, which is of no effect then.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`](ConfigError::OutOfRange).
    #[doc(hidden)]
    pub fn check_floor(floor: usize) -> Result<(), ConfigError> {
        count("min_connections_per_node", floor, FLOOR)
    }

    /// The rows of these settings.
    #[must_use]
    pub fn settings() -> Vec<Setting> {
        let range = |range: RangeInclusive<usize>| format!("{} to {}", range.start(), range.end());
        vec![
            Setting::new(
                "max_total_connections",
                "connections",
                String::from("none"),
                format!("{}, at least what one node keeps warm", range(TOTAL)),
                "the most connections of all nodes together, for servers whose `maxclients` a whole fleet shares",
            ),
            Setting::new(
                "min_connections_per_node",
                "connections",
                Self::DEFAULT_MIN_CONNECTIONS_PER_NODE.to_string(),
                format!("{}, at most what a node may have", range(FLOOR)),
                "with a total: what each node may always have, whatever the others need",
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::NodeConfigBuilder;

    fn message(limit: TotalLimit, builder: NodeConfigBuilder) -> String {
        let config = builder.build().expect("the test's settings are valid");
        limit.check(&config).expect_err("must be refused").to_string()
    }

    /// Seen to bite: with each of the checks left out.
    #[test]
    fn what_contradicts_the_total_is_named_with_its_value_and_the_limit() {
        let builder = NodeConfig::builder;
        let floor = |total, floor| TotalLimit { min_connections_per_node: floor, ..TotalLimit::new(total) };
        assert_eq!(message(floor(0, 1), builder()), "max_total_connections is 0: must be 1 to 16777216");
        assert_eq!(message(floor(5, 0), builder()), "min_connections_per_node is 0: must be 1 to 65536");
        assert_eq!(
            message(floor(5, 6), builder()),
            "min_connections_per_node is 6: must be at most max_total_connections, which is 5"
        );
        assert_eq!(
            message(floor(5, 3), builder().max_connection_size(2).max_pools_per_node(1)),
            "min_connections_per_node is 3: must be at most max_connections_per_node, which is 2"
        );
        assert_eq!(
            message(floor(5, 1), builder().min_idle(3).connection_pools_per_node_at_start(2)),
            "min_idle times connection_pools_per_node_at_start is 6: must be at most max_total_connections, which is 5"
        );
        let config = builder().min_idle(3).connection_pools_per_node_at_start(2).build().expect("valid");
        assert_eq!(floor(6, 6).check(&config), Ok(()));
    }
}
