//! What the state of a cluster tells: its health, and why it is not up.

use redis_manager_core::Health;

use super::{ClusterState, FOR_A_FAILOVER};
use crate::deployment::cluster::error::ClusterError;
use crate::deployment::cluster::state::topology::{ClusterNodeId, Topology};
use crate::deployment::cluster_role::ClusterRole;
use crate::deployment::router::SLOTS;

impl ClusterState {
    /// Primaries that are not up.
    pub(super) fn ailing(&self) -> Vec<ClusterNodeId> {
        let owns = |node: &ClusterNodeId| self.topology.node(*node).is_some_and(|node| node.slots > 0);
        self.liveness.ailing().filter(owns).collect()
    }

    /// Whether a node gives no sign of life, or its dials fail.
    pub(crate) fn is_ailing(&self, node: ClusterNodeId) -> bool {
        self.liveness.is_ailing(node)
    }

    /// Whether all primaries are up.
    pub(crate) fn is_all_well(&self) -> bool {
        self.is_known && self.ailing().is_empty()
    }

    /// Whether a node owns slots, or is known as a replica that lives. A node that was suspended may say so wrongly.
    pub(crate) fn is_part(&self, node: ClusterNodeId) -> bool {
        self.topology.node(node).is_some_and(|node| node.slots > 0 || (node.role == ClusterRole::Replica && !node.failed))
    }

    /// Slots whose owner lives.
    pub(crate) fn living_slots(&self) -> usize {
        let slots_of = |node: ClusterNodeId| self.topology.node(node).map_or(0, |node| node.slots);
        self.topology.covered() - self.ailing().into_iter().map(slots_of).sum::<usize>()
    }

    /// `Up` if every slot has an owner that lives. `Down` if none has. Where full coverage is required, `Down` also if a slot has
    /// no owner, or one that fails and will not be replaced soon.
    pub(crate) fn health(&self) -> Health {
        self.health
    }

    pub(super) fn judge(&self) -> Health {
        match self.living_slots() {
            living if living == usize::from(SLOTS) => Health::Up,
            0 => Health::Down,
            _ if self.settings.require_full_coverage && self.has_lost_slots() => Health::Down,
            _ => Health::Suspect,
        }
    }

    /// Whether a slot has no owner, or one that fails and has no replica to take its place, or none that has done so in time.
    fn has_lost_slots(&self) -> bool {
        let lives = |node: &ClusterNodeId| !self.is_ailing(*node) && self.topology.node(*node).is_some_and(|node| !node.failed);
        let is_lost = |primary: ClusterNodeId| {
            let since = self.liveness.ailing_since(primary).unwrap_or(self.now);
            self.now >= since + FOR_A_FAILOVER || !self.topology.replicas_of(primary).iter().any(lives)
        };
        self.topology.covered() < usize::from(SLOTS) || self.ailing().into_iter().any(is_lost)
    }

    /// Why the cluster is not up, if it is not.
    pub(crate) fn why_not_up(&self) -> Option<ClusterError> {
        let uncovered = usize::from(SLOTS) - self.topology.covered();
        match self.health() {
            Health::Up => None,
            Health::Suspect | Health::Down if !self.is_known => {
                Some(self.last_error.clone().unwrap_or(ClusterError::NotAskedYet))
            }
            Health::Suspect | Health::Down if uncovered > 0 => Some(ClusterError::Uncovered { uncovered }),
            Health::Suspect | Health::Down => {
                let address = |node: ClusterNodeId| self.topology.node(node).map(|node| node.address.to_string());
                let primaries = self.ailing().into_iter().filter_map(address).collect();
                Some(ClusterError::OwnersFail { primaries, slots: usize::from(SLOTS) - self.living_slots() })
            }
        }
    }

    /// Whether a topology is known.
    pub(crate) fn was_reported(&self) -> bool {
        self.is_known
    }

    /// Whether a round of questions has ended.
    pub(crate) fn was_asked(&self) -> bool {
        self.is_known || self.last_error.is_some()
    }

    /// The number of the node at an address; a new one if it is not known.
    pub(crate) fn number_of(&mut self, address: &str) -> ClusterNodeId {
        self.topology.number_of(address)
    }

    pub(crate) fn topology(&self) -> &Topology {
        &self.topology
    }
}
