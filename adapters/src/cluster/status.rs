//! What can be seen of a cluster: its nodes, their roles, slots and pools.

use std::ops::RangeInclusive;

use redis_manager_core::NodeStatus;

use crate::cluster::nodes::Cluster;
use crate::cluster::topology::ClusterRole;

/// A cluster as it is known now. The picture of slots is one; the pools are looked at one after the other.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ClusterStatus {
    /// Every node, in the order of addresses.
    pub nodes: Vec<ClusterNode>,
    /// Slots that have an owner, of 16 384.
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
    /// Whether it takes writes.
    pub role: ClusterRole,
    /// The address of the primary that it copies.
    pub replica_of: Option<String>,
    /// The slots that it owns, in order.
    pub slots: Vec<RangeInclusive<u16>>,
    /// The other nodes have agreed that it is down.
    pub failed: bool,
    /// Its pools. None if nothing was sent there yet.
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
