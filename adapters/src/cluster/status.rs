//! The public status of a cluster: its nodes, their roles, slots and pools.

use std::ops::RangeInclusive;

use redis_manager_core::NodeStatus;

use crate::cluster::nodes::Cluster;
use crate::cluster::topology::ClusterRole;

/// The present state of a cluster. The slots are one consistent snapshot; the pools are read one after the other.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ClusterStatus {
    /// Every node, in the order of addresses.
    pub nodes: Vec<ClusterNode>,
    /// Slots that have an owner, 0 to 16 384.
    pub covered_slots: usize,
    /// Whether no primary can be reached.
    pub is_down: bool,
}

/// One node of a cluster.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ClusterNode {
    /// Host and port, as the cluster names them.
    pub address: String,
    /// Primary or replica.
    pub role: ClusterRole,
    /// The address of its primary; `None` for a primary, and for a replica of an unknown one.
    pub replica_of: Option<String>,
    /// The slots that it owns, in ascending order.
    pub slots: Vec<RangeInclusive<u16>>,
    /// Whether the other nodes agree that it is down.
    pub failed: bool,
    /// Its pools. `None` if nothing was sent to it yet.
    pub pools: Option<NodeStatus>,
}

impl Cluster {
    pub(crate) fn status(&self) -> ClusterStatus {
        let topology = self.topology();
        let members = self.members().clone();
        let nodes = topology.nodes().map(|seen| ClusterNode {
            address: seen.address.clone(),
            role: seen.role,
            replica_of: topology.primary_of(seen).map(String::from),
            slots: seen.slots().to_vec(),
            failed: seen.failed,
            pools: members.get(&seen.address).map(|member| member.pool().status()),
        });
        let covered_slots = usize::from(crate::cluster::topology::SLOTS) - topology.uncovered();
        ClusterStatus { nodes: nodes.collect(), covered_slots, is_down: self.is_down() }
    }
}
