//! Which nodes of a cluster give signs of life, and what they are being asked.

use std::collections::{BTreeMap, BTreeSet};

use redis_manager_core::Instant;

use crate::deployment::cluster::state::topology::ClusterNodeId;

/// What is known of the life of nodes.
#[derive(Default)]
pub(crate) struct Liveness {
    /// Nodes that are asked for a sign of life now.
    probing: BTreeSet<ClusterNodeId>,
    /// Nodes that are asked for their role now.
    asking_role: BTreeSet<ClusterNodeId>,
    /// Nodes that gave no sign of life when they were asked last.
    silent: BTreeSet<ClusterNodeId>,
    /// Nodes whose dials fail.
    failing: BTreeSet<ClusterNodeId>,
    /// Since when nodes give no sign of life, or their dials fail.
    ailing_since: BTreeMap<ClusterNodeId, Instant>,
}

impl Liveness {
    /// False while it is being asked.
    pub(crate) fn begin_probe(&mut self, node: ClusterNodeId) -> bool {
        self.probing.insert(node)
    }

    pub(crate) fn probed(&mut self, node: ClusterNodeId, alive: bool) {
        self.probing.remove(&node);
        if alive {
            self.silent.remove(&node);
        } else {
            self.silent.insert(node);
        }
    }

    /// False while it is being asked.
    pub(crate) fn begin_role(&mut self, node: ClusterNodeId) -> bool {
        self.asking_role.insert(node)
    }

    pub(crate) fn role_told(&mut self, node: ClusterNodeId) {
        self.asking_role.remove(&node);
    }

    pub(crate) fn dials(&mut self, failing: BTreeSet<ClusterNodeId>) {
        self.failing = failing;
    }

    /// Notes which nodes ail from now on, and which do so no more. True if any.
    pub(crate) fn note(&mut self, now: Instant) -> bool {
        let Self { silent, failing, ailing_since, .. } = self;
        let before = ailing_since.len();
        ailing_since.retain(|node, _| silent.contains(node) || failing.contains(node));
        let recovered = before != ailing_since.len();
        let before = ailing_since.len();
        for node in silent.union(failing) {
            ailing_since.entry(*node).or_insert(now);
        }
        recovered || before != ailing_since.len()
    }

    /// As it was when it was noted last.
    pub(crate) fn is_ailing(&self, node: ClusterNodeId) -> bool {
        self.ailing_since.contains_key(&node)
    }

    /// Every node that gives no sign of life, or whose dials fail, in the order of numbers.
    pub(crate) fn ailing(&self) -> impl Iterator<Item = ClusterNodeId> {
        self.ailing_since.keys().copied()
    }

    pub(crate) fn ailing_since(&self, node: ClusterNodeId) -> Option<Instant> {
        self.ailing_since.get(&node).copied()
    }

    pub(crate) fn forget(&mut self, node: ClusterNodeId) {
        for nodes in [&mut self.probing, &mut self.asking_role, &mut self.silent, &mut self.failing] {
            nodes.remove(&node);
        }
        self.ailing_since.remove(&node);
    }
}
