//! The public status of a cluster: its nodes, their roles, slots and pools.

use std::ops::RangeInclusive;

use redis_manager_core::{Health, NodeStatus};

use crate::deployment::cluster_role::ClusterRole;

/// The present state of a cluster. The slots are one consistent snapshot; the pools are read one after the other.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ClusterStatus {
    /// Up if every slot has an owner that lives. Down if none has; with `require_full_coverage` also if one has none. Suspect
    /// otherwise: the other slots are served.
    pub health: Health,
    /// Every node, in the order of addresses.
    pub nodes: Vec<ClusterNode>,
    /// Slots that have an owner, 0 to 16 384.
    pub covered_slots: usize,
    /// Slots whose owner lives: it answers, and can be dialled. 0 to `covered_slots`.
    pub living_slots: usize,
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
    /// The availability zone, where the server tells it.
    pub zone: Option<String>,
    /// Its pools. `None` if nothing was sent to it yet.
    pub pools: Option<NodeStatus>,
}
