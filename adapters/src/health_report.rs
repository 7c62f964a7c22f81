//! How all nodes are doing, in a form for readiness probes. It is made of statuses and asks no server.

use std::fmt;
use std::time::Duration;

use redis_manager_core::{Health, NodeStatus};

/// How every node of a manager is doing; [`RedisManager::health`](crate::RedisManager::health) makes it. For readiness probes:
/// answer 200 if [`is_ready`](HealthReport::is_ready), else 503, with the report as text or as JSON.
///
/// `Display` writes one line for each node, and `no nodes` without any. With the feature `serde` it is serialized as
/// `{"ready": false, "nodes": [{"node": "redis://localhost", "health": "down", "health_for": 1.5, ..}]}`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HealthReport {
    /// Every node, in the order of names; the nodes of a cluster after the clusters.
    pub nodes: Vec<NodeHealth>,
}

/// How one node is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct NodeHealth {
    /// The URL of the node, password hidden; the name of a cluster; `host:port` for a node of a cluster.
    pub node: String,
    /// Up, suspect or down. A node that was added and has not answered yet is down.
    pub health: Health,
    /// For how long it has been so. In seconds if serialized.
    #[cfg_attr(feature = "serde", serde(serialize_with = "seconds"))]
    pub health_for: Duration,
    /// The last error of a dial or a check, without passwords. `None` after a dial has succeeded.
    pub last_error: Option<String>,
    /// Whether [`is_ready`](HealthReport::is_ready) depends on it. True for every node and cluster that was added. False for the
    /// nodes of a cluster: it may lose some, and its own health says whether it serves.
    pub required: bool,
}

impl HealthReport {
    /// A report on nodes that were added, and on those of clusters.
    pub(crate) fn new(
        added: impl IntoIterator<Item = (String, NodeStatus)>,
        of_clusters: impl IntoIterator<Item = (String, NodeStatus)>,
    ) -> Self {
        let added = added.into_iter().map(|(node, status)| NodeHealth::new(node, status, true));
        let of_clusters = of_clusters.into_iter().map(|(node, status)| NodeHealth::new(node, status, false));
        Self { nodes: added.chain(of_clusters).collect() }
    }

    /// Whether requests may be sent to this service: at least one node was added, and every one that was added is up or suspect.
    /// False without nodes: before the first is added, and after the manager was closed.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let mut required = self.nodes.iter().filter(|node| node.required).peekable();
        required.peek().is_some() && required.all(NodeHealth::serves)
    }
}

impl NodeHealth {
    fn new(node: String, status: NodeStatus, required: bool) -> Self {
        let NodeStatus { health, health_for, last_error, .. } = status;
        Self { node, health, health_for, last_error, required }
    }

    fn serves(&self) -> bool {
        match self.health {
            Health::Up | Health::Suspect => true,
            Health::Down => false,
        }
    }
}

/// One line for each node, without a line break at the end.
impl fmt::Display for HealthReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((last, others)) = self.nodes.split_last() else { return f.write_str("no nodes") };
        others.iter().try_for_each(|node| writeln!(f, "{node}"))?;
        write!(f, "{last}")
    }
}

/// `redis://localhost: down for 1.5s: connection refused`. Control characters of the error are shown as spaces, so that a server
/// cannot write lines of its own.
impl fmt::Display for NodeHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, health, health_for, last_error, required } = self;
        let of_cluster = if *required { "" } else { " (of a cluster)" };
        write!(f, "{node}{of_cluster}: {health} for {health_for:.1?}")?;
        match last_error {
            Some(error) => write!(f, ": {}", error.replace(char::is_control, " ")),
            None => Ok(()),
        }
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for HealthReport {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut report = serializer.serialize_struct("HealthReport", 2)?;
        report.serialize_field("ready", &self.is_ready())?;
        report.serialize_field("nodes", &self.nodes)?;
        report.end()
    }
}

#[cfg(feature = "serde")]
fn seconds<S: serde::Serializer>(length: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(length.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(health: Health, required: bool, last_error: Option<&str>) -> NodeHealth {
        let (node, health_for) = (String::from("redis://h"), Duration::from_millis(1_500));
        NodeHealth { node, health, health_for, last_error: last_error.map(String::from), required }
    }

    fn is_ready(nodes: &[(Health, bool)]) -> bool {
        HealthReport { nodes: nodes.iter().map(|(health, required)| node(*health, *required, None)).collect() }.is_ready()
    }

    /// Seen to bite: with `all` alone, which is true of nothing, with nodes of a cluster that count, and with `any` for `all`.
    #[test]
    fn ready_is_what_has_a_node_and_only_nodes_that_serve() {
        let (up, suspect, down) = ((Health::Up, true), (Health::Suspect, true), (Health::Down, true));
        assert!(!is_ready(&[]), "nothing is no health");
        assert!(!is_ready(&[(Health::Up, false)]), "a node of a cluster is no cluster");
        assert!(is_ready(&[up]) && is_ready(&[suspect]) && is_ready(&[up, suspect]));
        assert!(!is_ready(&[down]) && !is_ready(&[up, down, suspect]));
        assert!(is_ready(&[up, (Health::Down, false)]), "a cluster may lose a node");
        assert!(!is_ready(&[down, (Health::Up, false)]));
    }

    /// Seen to bite: with the error as it is.
    #[test]
    fn a_report_has_one_line_for_each_node_whatever_a_server_answers() {
        let report =
            HealthReport { nodes: vec![node(Health::Up, true, None), node(Health::Down, true, Some("no\r\nredis://x: up"))] };
        assert_eq!(report.to_string(), "redis://h: up for 1.5s\nredis://h: down for 1.5s: no  redis://x: up");
        let report = HealthReport { nodes: vec![node(Health::Suspect, false, None)] };
        assert_eq!(report.to_string(), "redis://h (of a cluster): suspect for 1.5s");
        assert_eq!(HealthReport { nodes: Vec::new() }.to_string(), "no nodes");
    }

    /// Seen to bite: with `ready` left out.
    #[cfg(feature = "serde")]
    #[test]
    fn a_report_is_serialized_with_whether_it_is_ready_and_in_seconds() {
        let json = |nodes| serde_json::to_string(&HealthReport { nodes }).expect("plain data");
        let text = r#"{"ready":false,"nodes":[{"node":"redis://h","health":"down","health_for":1.5,"last_error":"no","required":true}]}"#;
        assert_eq!(json(vec![node(Health::Down, true, Some("no"))]), text);
        assert_eq!(json(Vec::new()), r#"{"ready":false,"nodes":[]}"#);
    }
}
