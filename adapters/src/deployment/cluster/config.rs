//! The settings of a cluster, checked: its startup nodes and its args.

use std::fmt;
use std::sync::Arc;

use redis::ProtocolVersion;
use redis_manager_core::{ConfigError, Setting};

use crate::deployment::cluster::args::ClusterArgs;
use crate::deployment::cluster::cluster_mode::ClusterMode;
use crate::deployment::cluster::cluster_name::ClusterPlan;
use crate::deployment::interface::OpenByName;
use crate::deployment::read_from::ReadFrom;
use crate::redis_node::{Address, Tls, redact};
use crate::setting_value::{Expected, SettingValue};

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
    /// The settings that can be written as text, by their names in the table of settings.
    pub(crate) fn names() -> &'static [&'static str] {
        &[
            "use_cluster",
            "startup_nodes",
            "cluster_args.require_full_coverage",
            "cluster_args.read_from_replicas",
            "cluster_args.read_from",
            "cluster_args.retries",
            "cluster_args.topology_refresh_interval",
            "cluster_args.node_check_interval",
        ]
    }

    /// Sets the one of this name, if there is one.
    pub(crate) fn set_by_name(&mut self, name: &str, value: &SettingValue) -> Option<Result<(), Expected>> {
        let mut args = self.args.clone().unwrap_or_default();
        let set = match name {
            "use_cluster" => return Some(value.switch().map(|on| self.use_cluster = on)),
            "startup_nodes" => return Some(value.items("one or more URLs").map(|urls| self.startup_nodes = urls)),
            "cluster_args.require_full_coverage" => value.switch().map(|on| args.require_full_coverage = on),
            "cluster_args.read_from_replicas" => value.switch().map(|on| args.read_from_replicas = on),
            "cluster_args.read_from" => read_from(value).map(|from| args.read_from = from),
            "cluster_args.retries" => value.count_u32().map(|times| args.retries = times),
            "cluster_args.topology_refresh_interval" => value.duration().map(|length| args.topology_refresh_interval = length),
            "cluster_args.node_check_interval" => value.duration().map(|length| args.node_check_interval = length),
            _ => return None,
        };
        Some(set.map(|()| self.args = Some(args)))
    }

    /// The rows of the table of settings.
    pub(crate) fn settings() -> Vec<Setting> {
        ClusterArgs::settings()
    }

    /// The cluster, in cluster mode.
    pub(crate) fn check(&self, protocol: ProtocolVersion, tls: &Tls) -> Result<Option<Arc<dyn OpenByName>>, ConfigError> {
        let off = |setting| {
            Err(ConfigError::OutOfRange { setting, value: String::from("set"), range: String::from("set with use_cluster only") })
        };
        match (self.use_cluster, &self.args) {
            (false, Some(_)) => off("cluster_args"),
            (false, None) if !self.startup_nodes.is_empty() => off("startup_nodes"),
            (false, None) => Ok(None),
            (true, args) => {
                let plan = ClusterPlan::new(&self.startup_nodes, args.clone().unwrap_or_default(), protocol, tls)?;
                Ok(Some(Arc::new(ClusterMode::new(plan))))
            }
        }
    }
}

fn read_from(value: &SettingValue) -> Result<ReadFrom, Expected> {
    let expected = "primary, prefer replica, replica, any, or zone and its name";
    let text = value.string()?;
    if let Some((word, zone)) = text.split_once(' ')
        && word.eq_ignore_ascii_case("zone")
        && !zone.trim().is_empty()
    {
        return Ok(ReadFrom::Zone(String::from(zone.trim())));
    }
    match value.word(expected)?.as_str() {
        "primary" => Ok(ReadFrom::Primary),
        "preferreplica" => Ok(ReadFrom::PreferReplica),
        "replica" => Ok(ReadFrom::Replica),
        "any" => Ok(ReadFrom::Any),
        _ => Err(expected),
    }
}

impl ClusterPlan {
    /// Checks what a cluster is made of.
    pub(crate) fn new(
        startup_nodes: &[String],
        args: ClusterArgs,
        protocol: ProtocolVersion,
        tls: &Tls,
    ) -> Result<Self, ConfigError> {
        args.check()?;
        if startup_nodes.is_empty() {
            let range = String::from("at least 1 URL with use_cluster");
            return Err(ConfigError::OutOfRange { setting: "startup_nodes", value: String::from("empty"), range });
        }
        let mut startup: Vec<Address> = Vec::new();
        for url in startup_nodes {
            let unusable = |reason: String| ConfigError::Unusable { setting: "startup_nodes", value: redact(url), reason };
            let place = Address::parse(url, protocol, tls).map_err(|error| unusable(error.to_string()))?;
            if !place.is_tcp() {
                return Err(unusable(String::from("a node of a cluster must have a host and a port")));
            }
            // The verification of the first one applies to all nodes.
            let is_insecure = |url: &str| url.ends_with("#insecure");
            let differs = is_insecure(url) != is_insecure(&startup_nodes[0]);
            if differs || startup.first().is_some_and(|first| !place.has_login_of(first)) {
                let reason = "all startup nodes must have the same user, password, database, protocol and TLS mode (TLS, #insecure or none)";
                return Err(unusable(String::from(reason)));
            }
            startup.push(place);
        }
        Ok(Self { startup, args })
    }
}
