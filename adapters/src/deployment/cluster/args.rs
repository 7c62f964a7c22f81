//! How a cluster is used.

use std::ops::RangeInclusive;
use std::time::Duration;

use redis_manager_core::{ConfigError, NodeConfig, Setting};

use crate::deployment::address_map::AddressMap;
use crate::deployment::read_from::ReadFrom;
use crate::setters::setters;

const RETRIES: RangeInclusive<u32> = 0..=1_000;

/// How a cluster is used. Begin with [`ClusterArgs::default`], and set fields or call setters; `build` checks them.
///
/// ```
/// use redis_manager::{ClusterArgs, ReadFrom};
///
/// let args = ClusterArgs::default().read_from(ReadFrom::PreferReplica).retries(8);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterArgs {
    /// Whether the cluster counts as down while a slot has no owner that lives: it cannot be added, and no new client of it is
    /// made. Clients that were made before send to the other slots. `get_client_for_key` asks only for an owner of that key's
    /// slot. Without it such a cluster is suspect, and serves. Default true, as the servers' own
    /// `cluster-require-full-coverage`.
    pub require_full_coverage: bool,
    /// The short form of [`ReadFrom::PreferReplica`]; of no effect beside another choice of `read_from`. Default false.
    pub read_from_replicas: bool,
    /// Where commands that only read are sent. Default [`ReadFrom::Primary`].
    pub read_from: ReadFrom,
    /// Another place to dial for an address that the cluster tells, behind NAT or a tunnel. Default none.
    pub address_map: Option<AddressMap>,
    /// How often a command is sent on after MOVED or ASK, or after the owner of its slot has changed before it could be sent.
    /// Count, default 16, 0 to 1 000. One that a node refuses for the moment (TRYAGAIN, CLUSTERDOWN) is sent there again until
    /// its time is up. A command that may have been carried out is never sent again.
    pub retries: u32,
    /// How often the cluster is asked for its slots; up to 25 % more. Default 30 s, 10 ms to [`Duration::MAX`], which is never. It is asked sooner, but
    /// once a second at most, when a node answers MOVED, when a replica has been promoted, and while a primary fails that has no
    /// replica.
    pub topology_refresh_interval: Duration,
    /// How often each primary, and each replica that is read from, is asked for a sign of life, over the shared
    /// connections of its pools; up to 25 % more. Default 1 s, 10 ms to [`Duration::MAX`], which is never. A primary that gives none within `health_check_timeout` is suspected, and its replicas are asked ten times
    /// a second whether one of them has been promoted.
    pub node_check_interval: Duration,
}

impl Default for ClusterArgs {
    fn default() -> Self {
        Self {
            require_full_coverage: true,
            read_from_replicas: false,
            read_from: ReadFrom::Primary,
            address_map: None,
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
        read_from: ReadFrom,
        retries: u32,
        topology_refresh_interval: Duration,
        node_check_interval: Duration,
    }

    /// Where reads go, by both settings.
    pub(crate) fn reads(&self) -> ReadFrom {
        if self.read_from_replicas && self.read_from == ReadFrom::Primary {
            return ReadFrom::PreferReplica;
        }
        self.read_from.clone()
    }

    /// Dials `map(host, port)` for an address that the cluster tells, where that is another one. Status and errors show the
    /// told one; certificates are checked for it, too.
    #[must_use]
    pub fn address_map(mut self, map: impl Fn(&str, u16) -> Option<(String, u16)> + Send + Sync + 'static) -> Self {
        self.address_map = Some(AddressMap::new(map));
        self
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
                "no new client of a cluster is made while a slot has no owner that lives",
            ),
            switch("cluster_args.read_from_replicas", args.read_from_replicas, "the short form of `prefer replica`"),
            Setting::new(
                "cluster_args.read_from",
                "choice",
                args.read_from.to_string(),
                String::from("primary, prefer replica, replica, any, or a zone"),
                "where commands that only read are sent; replicas may lag",
            ),
            Setting::new(
                "cluster_args.address_map",
                "function",
                none(),
                String::from("none, or host and port to host and port"),
                "where a told address is dialled",
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
