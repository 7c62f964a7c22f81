//! The inputs and outputs of the state of a cluster.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::deployment::cluster::error::ClusterError;
use crate::deployment::cluster::state::report::TopologyReport;
use crate::deployment::cluster::state::topology::ClusterNodeId;
use crate::deployment::cluster_metrics::TopologyChange;

/// A fact.
#[derive(Debug)]
pub(crate) enum ClusterInput {
    /// Time has passed. `jitter` is a random number from 0 to 1.
    Tick { jitter: f64 },
    /// The topology may be out of date.
    Wanted,
    /// A node has redirected a slot to this address.
    Moved { slot: u16, to: Arc<str> },
    /// The answer to `AskReport`.
    Reported { from: Arc<str>, report: Result<TopologyReport, ClusterError> },
    /// The answer to `Probe`.
    Probed { node: ClusterNodeId, alive: bool },
    /// The answer to `AskRole`; false if there was none.
    Role { node: ClusterNodeId, is_primary: bool },
    /// The nodes whose dials fail now, of all that own slots or are read from.
    Dials { failing: BTreeSet<ClusterNodeId> },
}

/// Something that is to be done.
#[derive(Debug)]
pub(crate) enum ClusterOutput {
    /// Ask the node at this address for the topology.
    AskReport(Arc<str>),
    /// Ask a node for a sign of life.
    Probe(ClusterNodeId),
    /// Ask a node for its role.
    AskRole(ClusterNodeId),
    /// Publish the owner of a slot.
    Owner { slot: u16, node: ClusterNodeId },
    /// The topology is another one.
    Changed { cause: TopologyChange, failovers: usize },
    /// A node fails, or lives again.
    HealthChanged,
    /// A round of questions has ended.
    RoundEnded,
    /// End the shared connections of a node.
    Cut(ClusterNodeId),
    /// Close the pools of a node that has left.
    Forget(ClusterNodeId),
}
