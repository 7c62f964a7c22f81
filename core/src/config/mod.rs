//! The settings of a node: set on a builder, checked once by its `build`, constant from then on.

mod on_node_down;
mod probe_backoff;
mod setting;
mod table;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use crate::config_error::{ConfigError, at_most, count, sampling};
use crate::observer::{Observer, ObserverSlot};
pub use on_node_down::OnNodeDown;
pub use probe_backoff::ProbeBackoff;
pub use setting::Setting;

const POOLS: RangeInclusive<usize> = 1..=256;
const CONNECTIONS: RangeInclusive<usize> = 1..=65_536;
const MIN_IDLE: RangeInclusive<usize> = 0..=65_536;
const WAITERS: RangeInclusive<usize> = 1..=10_000_000;
const SAMPLINGS: RangeInclusive<usize> = 0..=1_048_576;
/// As many as 256 pools of the largest size have.
const CONNECTIONS_OF_NODE: RangeInclusive<usize> = 1..=16_777_216;

const DEFAULT_MAX_POOLS: usize = 4;

/// The checked settings of a node. Made by [`NodeConfig::builder`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    settings: NodeConfigBuilder,
    max_pools_per_node: usize,
    max_connections_per_node: usize,
    probe_backoff: ProbeBackoff,
}

/// Sets the settings of a node; [`build`](NodeConfigBuilder::build) checks them. The defaults are valid.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a builder does nothing until it is built"]
pub struct NodeConfigBuilder {
    connection_pools_per_node_at_start: usize,
    max_connection_size: usize,
    max_pools_per_node: Option<usize>,
    max_connections_per_node: Option<usize>,
    min_idle: usize,
    max_waiters: usize,
    default_timeout: Duration,
    connect_timeout: Duration,
    health_check_interval: Duration,
    health_check_timeout: Duration,
    cleanup_interval: Duration,
    max_idle_time: Duration,
    max_lifetime: Duration,
    on_node_down: OnNodeDown,
    probe_backoff: Option<ProbeBackoff>,
    use_time_sampling: usize,
    observer: ObserverSlot,
}

impl Default for NodeConfigBuilder {
    fn default() -> Self {
        Self {
            connection_pools_per_node_at_start: 1,
            max_connection_size: 50,
            max_pools_per_node: None,
            max_connections_per_node: None,
            min_idle: 1,
            max_waiters: 10_000,
            default_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            health_check_interval: Duration::from_secs(60),
            health_check_timeout: Duration::from_secs(1),
            cleanup_interval: Duration::from_secs(120),
            max_idle_time: Duration::from_secs(180),
            max_lifetime: Duration::from_secs(30 * 60),
            on_node_down: OnNodeDown::Wait,
            probe_backoff: None,
            use_time_sampling: 64,
            observer: ObserverSlot::default(),
        }
    }
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self::builder().build().expect("the defaults are within their ranges: see the test of this file")
    }
}

/// A setter and a getter of the same name and type, with the same documentation.
macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)*) => {
        impl NodeConfigBuilder {
            $($(#[$doc])* pub fn $name(mut self, $name: $type) -> Self { self.$name = $name; self })*
        }
        impl NodeConfig {
            $($(#[$doc])* #[must_use] pub fn $name(&self) -> $type { self.settings.$name })*
        }
    };
}

settings! {
    /// Pools that a node has from the start and never fewer. Count, default 1, 1 to 256.
    connection_pools_per_node_at_start: usize,
    /// Connections of one pool at most, in whatever phase. Count, default 50, 1 to 65 536.
    max_connection_size: usize,
    /// Connections that each pool at start keeps idle, beside those on loan: they are dialled in the background as others are
    /// lent, while `max_connection_size` allows it. Count, default 1, 0 to `max_connection_size`.
    ///
    /// Cleanup never goes below it; what breaks or expires is replaced up to it in the background.
    min_idle: usize,
    /// Callers in the queue for one node at most; the next one gets `Saturated`. Count, default 10 000, 1 to 10 000 000.
    max_waiters: usize,
    /// The deadline of calls that name none. Default 10 s, 10 ms to 7 days.
    default_timeout: Duration,
    /// The longest a connect may take: address look-up, dial and handshake together. Default 5 s, 10 ms to 7 days.
    connect_timeout: Duration,
    /// How often an idle connection is checked at most; up to 25 % more, so that checks spread. Default 60 s, 10 ms to
    /// [`Duration::MAX`], which is never.
    health_check_interval: Duration,
    /// How long a health check may take. Default 1 s, 10 ms to 7 days.
    health_check_timeout: Duration,
    /// How often cleanup looks for connections that are idle for too long. Default 120 s, 10 ms to
    /// [`Duration::MAX`], which is never.
    cleanup_interval: Duration,
    /// How long a connection may be idle before cleanup closes it. Default 180 s, 10 ms to
    /// [`Duration::MAX`], which is never.
    max_idle_time: Duration,
    /// How old a connection may grow; each one is given up to 25 % less, fixed at birth. Default 30 min, 10 ms to
    /// [`Duration::MAX`], which is never.
    max_lifetime: Duration,
    /// What a new caller gets while the node is down. Default `Wait`.
    on_node_down: OnNodeDown,
    /// Of how many leases one is timed for [`NodeMetrics::use_time`](crate::NodeMetrics::use_time). Count, default 64, 0 or a
    /// power of two up to 1 048 576.
    ///
    /// 1 times all of them, 0 none. A lease that is timed costs two looks at the clock and takes the node's lock three times
    /// more; the others cost nothing of it. The first of each so many is timed, counted apart for those that were lent at once
    /// and those whose caller waited.
    use_time_sampling: usize,
}

impl NodeConfigBuilder {
    /// Sets what learns of the events of the node. None by default; then events are counted and not kept.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = ObserverSlot::new(observer);
        self
    }

    /// Pools that a node may grow to. Count, default 4 or the number at start where that is higher, from the number at
    /// start to 256.
    pub fn max_pools_per_node(mut self, max_pools_per_node: usize) -> Self {
        self.max_pools_per_node = Some(max_pools_per_node);
        self
    }

    /// The same as [`max_connection_size`](NodeConfigBuilder::max_connection_size), by a name that says what it bounds.
    pub fn max_connections_per_pool(self, connections: usize) -> Self {
        self.max_connection_size(connections)
    }

    /// Connections of one node at most, in whatever phase: all of its pools together, of which the last one gets what is
    /// left. Count, default `max_connection_size` times `max_pools_per_node`, 1 to 16 777 216; enough for the pools at start
    /// with `min_idle` connections each.
    pub fn max_connections_per_node(mut self, connections: usize) -> Self {
        self.max_connections_per_node = Some(connections);
        self
    }

    /// The pauses between probes of a node that is down. Default 50 ms doubling to 500 ms while callers wait and to 5 s
    /// while none does (both at most `default_timeout`); 10 ms to 7 days, in ascending order.
    pub fn probe_backoff(mut self, start: Duration, max_with_waiters: Duration, max_without_waiters: Duration) -> Self {
        self.probe_backoff = Some(ProbeBackoff { start, max_with_waiters, max_without_waiters });
        self
    }

    /// Checks every setting: the only gate.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the first setting that is out of its range, or the two that contradict each other.
    pub fn build(self) -> Result<NodeConfig, ConfigError> {
        count("connection_pools_per_node_at_start", self.connection_pools_per_node_at_start, POOLS)?;
        count("max_connection_size", self.max_connection_size, CONNECTIONS)?;
        count("min_idle", self.min_idle, MIN_IDLE)?;
        count("max_waiters", self.max_waiters, WAITERS)?;
        let durations = [
            ("default_timeout", self.default_timeout),
            ("connect_timeout", self.connect_timeout),
            ("health_check_timeout", self.health_check_timeout),
        ];
        for (setting, value) in durations {
            ConfigError::unless_within(setting, value, &NodeConfig::DURATIONS)?;
        }
        let periods = [
            ("health_check_interval", self.health_check_interval),
            ("cleanup_interval", self.cleanup_interval),
            ("max_idle_time", self.max_idle_time),
            ("max_lifetime", self.max_lifetime),
        ];
        for (setting, value) in periods {
            ConfigError::unless_within(setting, value, &NodeConfig::PERIODS)?;
        }
        sampling("use_time_sampling", self.use_time_sampling, SAMPLINGS)?;
        at_most("min_idle", self.min_idle, "max_connection_size", self.max_connection_size)?;
        let at_start = self.connection_pools_per_node_at_start;
        let max_pools_per_node = self.max_pools_per_node.unwrap_or(DEFAULT_MAX_POOLS.max(at_start));
        count("max_pools_per_node", max_pools_per_node, POOLS)?;
        at_most("connection_pools_per_node_at_start", at_start, "max_pools_per_node", max_pools_per_node)?;
        let (max_pools_per_node, max_connections_per_node) = self.pools_within_limit(max_pools_per_node)?;
        let probe_backoff = match self.probe_backoff {
            Some(given) => given.checked(&NodeConfig::DURATIONS, self.default_timeout)?,
            None => ProbeBackoff::DEFAULT.within(self.default_timeout),
        };
        Ok(NodeConfig { settings: self, max_pools_per_node, max_connections_per_node, probe_backoff })
    }

    /// The pools that a node may have within `max_connections_per_node`, and their connections together.
    fn pools_within_limit(&self, max_pools: usize) -> Result<(usize, usize), ConfigError> {
        let (size, most) = (self.max_connection_size, self.max_connection_size * max_pools);
        let Some(limit) = self.max_connections_per_node else { return Ok((max_pools, most)) };
        let limit_setting = "max_connections_per_node";
        count(limit_setting, limit, CONNECTIONS_OF_NODE)?;
        let at_start = self.connection_pools_per_node_at_start;
        at_most(
            "connection_pools_per_node_at_start",
            at_start,
            "max_connections_per_node by max_connection_size",
            limit.div_ceil(size),
        )?;
        // The last pool at start has no more than this.
        let left = limit - (at_start - 1) * size;
        at_most("min_idle", self.min_idle, "what max_connections_per_node leaves the last pool at start", left)?;
        Ok((max_pools.min(limit.div_ceil(size)), most.min(limit)))
    }
}

impl NodeConfig {
    /// What learns of the events of the node, if anything does.
    #[must_use]
    pub fn observer(&self) -> Option<&dyn Observer> {
        self.settings.observer.get()
    }

    /// What a setting that is a length of time may be. The floor is what makes quick tests possible; the ceiling is a guard
    /// against a wrong unit.
    pub const DURATIONS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(7 * 24 * 3_600);

    /// What a setting may be that is a length of time between two things of which the second need not come:
    /// [`Duration::MAX`] is never.
    pub const PERIODS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::MAX;

    /// Every setting at its default.
    pub fn builder() -> NodeConfigBuilder {
        NodeConfigBuilder::default()
    }

    /// Pools that a node may grow to. Count, default 4 or the number at start where that is higher, from the number at
    /// start to 256.
    #[must_use]
    pub fn max_pools_per_node(&self) -> usize {
        self.max_pools_per_node
    }

    /// The same as [`max_connection_size`](NodeConfig::max_connection_size), by a name that says what it bounds.
    #[must_use]
    pub fn max_connections_per_pool(&self) -> usize {
        self.max_connection_size()
    }

    /// Connections of one node at most: those of all pools that it may grow to, or the limit that was set, if less.
    #[must_use]
    pub fn max_connections_per_node(&self) -> usize {
        self.max_connections_per_node
    }

    /// The pauses between probes of a node that is down. Default 50 ms doubling to 500 ms while callers wait and to 5 s
    /// while none does (both at most `default_timeout`).
    #[must_use]
    pub fn probe_backoff(&self) -> ProbeBackoff {
        self.probe_backoff
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn message(builder: NodeConfigBuilder) -> String {
        builder.build().expect_err("must be refused").to_string()
    }

    #[test]
    fn the_defaults_are_valid_and_a_short_timeout_shortens_the_default_back_off() {
        let config = NodeConfig::default();
        assert_eq!(config.probe_backoff().max_with_waiters, 500 * MS);
        let quick = NodeConfig::builder().default_timeout(100 * MS).build().expect("valid");
        assert_eq!(quick.probe_backoff().max_with_waiters, 100 * MS);
    }

    #[test]
    fn a_value_out_of_range_names_the_knob_the_value_and_the_range() {
        let builder = NodeConfig::builder;
        assert_eq!(message(builder().max_connection_size(0)), "max_connection_size is 0: must be 1 to 65536");
        assert!(message(builder().connection_pools_per_node_at_start(0)).starts_with("connection_pools_per_node_at_start is 0"));
        assert!(message(builder().max_pools_per_node(0)).starts_with("max_pools_per_node is 0"));
        assert!(message(builder().max_waiters(0)).starts_with("max_waiters is 0"));
        assert_eq!(
            message(builder().use_time_sampling(48)),
            "use_time_sampling is 48: must be 0 or a power of two up to 1048576"
        );
        assert!(message(builder().use_time_sampling(2_097_152)).starts_with("use_time_sampling is 2097152"));
        assert!([0, 1, 2, 1_048_576].into_iter().all(|leases| builder().use_time_sampling(leases).build().is_ok()));
        assert!(message(builder().cleanup_interval(Duration::ZERO)).starts_with("cleanup_interval is 0ns: must be 10ms to"));
        assert!(message(builder().health_check_interval(9 * MS)).starts_with("health_check_interval is 9ms"));
        assert!(message(builder().max_lifetime(Duration::ZERO)).ends_with("must be 10ms to never"));
        assert!(message(builder().default_timeout(Duration::MAX)).starts_with("default_timeout is "));
        let never = builder().max_lifetime(Duration::MAX).max_idle_time(Duration::MAX);
        assert!(never.cleanup_interval(Duration::MAX).health_check_interval(Duration::MAX).build().is_ok());
    }

    #[test]
    fn contradictions_name_both_knobs() {
        let builder = NodeConfig::builder;
        assert_eq!(
            message(builder().min_idle(6).max_connection_size(5)),
            "min_idle is 6: must be at most max_connection_size, which is 5"
        );
        assert!(
            message(builder().connection_pools_per_node_at_start(3).max_pools_per_node(2))
                .contains("max_pools_per_node, which is 2")
        );
        assert!(message(builder().probe_backoff(50 * MS, 20_000 * MS, 30_000 * MS)).contains("default_timeout, which is 10s"));
        assert!(message(builder().probe_backoff(50 * MS, 40 * MS, 5_000 * MS)).contains("probe_backoff is 50ms"));
        assert!(message(builder().probe_backoff(Duration::ZERO, 40 * MS, 5_000 * MS)).contains("probe_backoff is 0ns"));
    }

    /// Guards against: each of the checks left out of `pools_within_limit`, and the last pool rounded away.
    #[test]
    fn a_limit_of_the_node_bounds_its_pools_and_is_named_where_it_is_too_low() {
        let builder = || NodeConfig::builder().max_connection_size(50);
        assert_eq!(builder().build().expect("valid").max_connections_per_node(), 200);
        let config = builder().max_connections_per_node(120).build().expect("valid");
        assert_eq!((config.max_pools_per_node(), config.max_connections_per_node()), (3, 120));
        let config = builder().max_connections_per_node(1_000).build().expect("valid");
        assert_eq!((config.max_pools_per_node(), config.max_connections_per_node()), (4, 200));
        assert_eq!(message(builder().max_connections_per_node(0)), "max_connections_per_node is 0: must be 1 to 16777216");
        let too_low = builder().max_connections_per_node(50).connection_pools_per_node_at_start(2);
        let text = "connection_pools_per_node_at_start is 2: must be at most max_connections_per_node by max_connection_size, which is 1";
        assert_eq!(message(too_low), text);
        let too_low = builder().max_connections_per_node(60).connection_pools_per_node_at_start(2).min_idle(11);
        assert!(message(too_low).contains("min_idle is 11: must be at most what max_connections_per_node leaves"));
    }

    #[test]
    fn more_pools_at_start_raise_the_default_of_the_maximum() {
        let config = NodeConfig::builder().connection_pools_per_node_at_start(8).build().expect("valid");
        assert_eq!(config.max_pools_per_node(), 8);
    }
}
