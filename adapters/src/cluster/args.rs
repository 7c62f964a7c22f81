//! How a cluster is used.

use std::ops::RangeInclusive;
use std::time::Duration;

use redis_manager_core::{ConfigError, NodeConfig, Setting};

use crate::setters::setters;

const RETRIES: RangeInclusive<u32> = 0..=1_000;

/// How a cluster is used. Begin with [`ClusterArgs::default`], and set fields or call setters; `build` checks them.
///
/// ```
/// use redis_manager::ClusterArgs;
///
/// let args = ClusterArgs::default().read_from_replicas(true).retries(8);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterArgs {
    /// Whether the cluster counts as down while a slot has no owner: it cannot be added, and no new client of it is made; those
    /// that idle are found out by their next health check. `get_client_for_key` asks only for an owner of that key's slot.
    /// Default true, as the servers' own
    /// `cluster-require-full-coverage`. An owner that is down is an owner all the same, so that one shard that fails over
    /// does not stop the others.
    pub require_full_coverage: bool,
    /// Whether commands that only read go to replicas. What they read may be older than what was written. A replica
    /// that fails is not read from; if none is left, the primary is. Default false.
    pub read_from_replicas: bool,
    /// How often a command is sent on after MOVED or ASK, or after the owner of its slot has changed before it could be sent.
    /// Count, default 16, 0 to 1 000. One that a node refuses for the moment (TRYAGAIN, CLUSTERDOWN) is sent there again until
    /// its time is up. A command that may have been carried out is never sent again.
    pub retries: u32,
    /// How often the cluster is asked for its slots; up to 25 % more. Default 30 s, 10 ms to [`Duration::MAX`], which is never. It is asked sooner, but
    /// once a second at most, when a node answers MOVED, when a replica has been promoted, and while a primary fails none of
    /// whose replicas answers.
    pub topology_refresh_interval: Duration,
    /// How often each primary, and with `read_from_replicas` each replica, is asked for a sign of life, over the shared
    /// connections of its pools; up to 25 % more. Default 1 s, 10 ms to [`Duration::MAX`], which is never. A primary that gives none within `health_check_timeout` is suspected, and its replicas are asked ten times
    /// a second whether one of them has been promoted.
    pub node_check_interval: Duration,
}

impl Default for ClusterArgs {
    fn default() -> Self {
        Self {
            require_full_coverage: true,
            read_from_replicas: false,
            retries: 16,
            topology_refresh_interval: Duration::from_secs(30),
            node_check_interval: Duration::from_secs(1),
        }
    }
}

impl ClusterArgs {
    setters! {
        require_full_coverage: bool,
        read_from_replicas: bool,
        retries: u32,
        topology_refresh_interval: Duration,
        node_check_interval: Duration,
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if !RETRIES.contains(&self.retries) {
            let range = format!("{} to {}", RETRIES.start(), RETRIES.end());
            return Err(ConfigError::OutOfRange { setting: "cluster_args.retries", value: self.retries.to_string(), range });
        }
        let periods = &NodeConfig::PERIODS;
        ConfigError::unless_within("cluster_args.topology_refresh_interval", self.topology_refresh_interval, periods)?;
        ConfigError::unless_within("cluster_args.node_check_interval", self.node_check_interval, periods)
    }

    /// The rows of the table of settings.
    pub(crate) fn settings() -> Vec<Setting> {
        let args = Self::default();
        let switch =
            |name, default: bool, why| Setting::new(name, "switch", default.to_string(), String::from("true or false"), why);
        let length = |name, default: Duration, why| Setting::duration(name, default, &NodeConfig::PERIODS, why);
        let none = || String::from("none");
        vec![
            switch("use_cluster", false, "every node that is added is a cluster"),
            Setting::new(
                "startup_nodes",
                "URLs",
                none(),
                String::from("at least 1 with use_cluster"),
                "asked for the nodes of the cluster",
            ),
            switch(
                "cluster_args.require_full_coverage",
                args.require_full_coverage,
                "no new client of a cluster is made while a slot has no owner",
            ),
            switch(
                "cluster_args.read_from_replicas",
                args.read_from_replicas,
                "commands that only read go to replicas, which may lag",
            ),
            Setting::new(
                "cluster_args.retries",
                "times",
                args.retries.to_string(),
                format!("{} to {}", RETRIES.start(), RETRIES.end()),
                "how often a command is sent on after MOVED or ASK; never one that may have been carried out",
            ),
            length(
                "cluster_args.topology_refresh_interval",
                args.topology_refresh_interval,
                "how often it is asked for its slots; sooner when there is reason to, once a second at most",
            ),
            length("cluster_args.node_check_interval", args.node_check_interval, "each primary is asked for a sign of life"),
        ]
    }
}
