//! The owners of slots: the reports of nodes and their redirections, merged. A plain value.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use redis_manager_core::Instant;

use crate::deployment::cluster::state::report::{ReportedNode, TopologyReport};
use crate::deployment::cluster_role::ClusterRole;
use crate::deployment::router::SLOTS;

/// How long a redirection holds against reports that do not show it yet: nodes tell each other at least once in half of the
/// servers' `cluster-node-timeout`, which is 15 s by default.
const MOVE_HOLDS: Duration = Duration::from_secs(10);

/// A node, by an own number that is never used again. 0 is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ClusterNodeId(pub(crate) u32);

impl ClusterNodeId {
    pub(crate) const NONE: Self = Self(0);
}

/// What is known of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KnownNode {
    /// `None` while it is known by a redirection only.
    pub(crate) id: Option<Arc<str>>,
    pub(crate) address: Arc<str>,
    pub(crate) role: ClusterRole,
    /// The id of the primary that it copies.
    primary: Option<Arc<str>>,
    /// That of its slots.
    epoch: u64,
    /// The other nodes agree that it is down.
    pub(crate) failed: bool,
    pub(crate) zone: Option<Arc<str>>,
    /// How many slots it owns.
    pub(crate) slots: usize,
}

/// The topology of a cluster.
pub(crate) struct Topology {
    nodes: HashMap<ClusterNodeId, KnownNode>,
    by_address: HashMap<Arc<str>, ClusterNodeId>,
    by_id: HashMap<Arc<str>, ClusterNodeId>,
    /// By primary, in the order of addresses.
    replicas: HashMap<ClusterNodeId, Vec<ClusterNodeId>>,
    last: u32,
    owners: Box<[ClusterNodeId]>,
    /// Slots whose owner was told by a redirection, or by a replica that was promoted, and that no report has shown since.
    moved: HashMap<u16, ToldMove>,
}

/// A slot was taken by its owner.
#[derive(Clone, Copy, Debug)]
struct ToldMove {
    at: Instant,
    /// The highest epoch that was known of its owners before. A claim of no later epoch is what was true before the move.
    epoch: u64,
}

impl Topology {
    pub(crate) fn new() -> Self {
        let owners = vec![ClusterNodeId::NONE; usize::from(SLOTS)].into_boxed_slice();
        Self {
            nodes: HashMap::new(),
            by_address: HashMap::new(),
            by_id: HashMap::new(),
            replicas: HashMap::new(),
            last: 0,
            owners,
            moved: HashMap::new(),
        }
    }

    /// Merges a report that was asked for at `asked_at`. A claim holds against one of an older epoch, as among the nodes
    /// themselves; what a node was told by a redirection after the report was asked for holds, too. What it was told before holds
    /// against claims that are not newer than what was known then, since the node that reports may be behind: for a while, and as
    /// long as the node that is said to have the slot is well. Nodes that the report does not have are forgotten.
    pub(crate) fn merge(&mut self, report: TopologyReport, asked_at: Instant, is_ailing: impl Fn(ClusterNodeId) -> bool) {
        let mut kept: HashMap<ClusterNodeId, KnownNode> = HashMap::new();
        let mut claims: Vec<(ClusterNodeId, u64, Vec<RangeInclusive<u16>>)> = Vec::new();
        for node in report.nodes {
            // The same node at another address is another one for its users: it has other connections.
            let here = self.by_id.get(&node.id).copied().filter(|number| self.nodes[number].address == node.address);
            let number = here.or_else(|| self.by_address.get(&node.address).copied()).unwrap_or_else(|| self.next_number());
            let before = self.nodes.get(&number).filter(|before| before.id.as_ref().is_none_or(|id| *id == node.id));
            let epoch = node.epoch.unwrap_or(0);
            let is_stale = node.epoch.is_some() && before.is_some_and(|before| before.epoch > epoch);
            let ReportedNode { id, address, mut role, mut primary, failed, slots, zone, epoch: _ } = node;
            if let Some(before) = before.filter(|_| is_stale) {
                role = before.role;
                primary.clone_from(&before.primary);
            }
            let epoch = if is_stale { before.map_or(epoch, |before| before.epoch) } else { epoch };
            if !is_stale {
                claims.push((number, epoch, slots));
            }
            // Two nodes at one address, of which one has failed: the other one is it.
            if kept.get(&number).is_none_or(|other| other.failed) {
                kept.insert(number, KnownNode { id: Some(id), address, role, primary, epoch, failed, zone, slots: 0 });
            }
        }
        let owners = &self.owners;
        self.moved.retain(|slot, told| {
            let owner = owners[usize::from(*slot)];
            let is_well = || kept.get(&owner).is_some_and(|node| !node.failed) && !is_ailing(owner);
            told.at >= asked_at || (asked_at < told.at + MOVE_HOLDS && is_well())
        });
        self.claim(&kept, claims, asked_at);
        // A node that was told of since stays; one that has taken a slot is no replica.
        for slot in self.moved.keys() {
            let owner = self.owners[usize::from(*slot)];
            if let Some(told) = self.nodes.remove(&owner) {
                kept.entry(owner).or_insert(told).role = ClusterRole::Primary;
            }
        }
        self.nodes = kept;
        self.count();
    }

    fn claim(
        &mut self,
        kept: &HashMap<ClusterNodeId, KnownNode>,
        claims: Vec<(ClusterNodeId, u64, Vec<RangeInclusive<u16>>)>,
        asked_at: Instant,
    ) {
        let claimed_anew: HashMap<ClusterNodeId, ()> = claims.iter().map(|(number, ..)| (*number, ())).collect();
        for (slot, owner) in (0..).zip(self.owners.iter_mut()) {
            // The new claims of a node replace all of its earlier ones.
            let is_free = claimed_anew.contains_key(owner) || !kept.contains_key(owner);
            if is_free && !self.moved.contains_key(&slot) {
                *owner = ClusterNodeId::NONE;
            }
        }
        for (number, epoch, ranges) in claims {
            for slot in ranges.into_iter().flatten() {
                let owner = &mut self.owners[usize::from(slot)];
                let holds = match self.moved.get(&slot) {
                    Some(told) if told.at >= asked_at => false,
                    Some(told) => *owner == number || epoch > told.epoch,
                    None => kept.get(owner).is_none_or(|other| other.epoch <= epoch),
                };
                if holds {
                    self.moved.remove(&slot);
                    *owner = number;
                }
            }
        }
    }

    /// Whether a slot has moved, and no report has shown that.
    pub(crate) fn has_moves(&self) -> bool {
        !self.moved.is_empty()
    }

    /// A node has told the owner of a slot. False if that is known.
    pub(crate) fn move_slot(&mut self, slot: u16, to: &str, now: Instant) -> bool {
        let number = self.number_of(to);
        let owner = self.owners[usize::from(slot)];
        if owner == number {
            return false;
        }
        self.note_move(slot, now);
        self.assign(slot, number);
        true
    }

    /// A replica has taken the place of its primary: it owns that one's slots. False if it owned them before.
    pub(crate) fn promote(&mut self, replica: ClusterNodeId, primary: ClusterNodeId, now: Instant) -> bool {
        let taken: Vec<u16> = (0..SLOTS).filter(|slot| self.owners[usize::from(*slot)] == primary).collect();
        for slot in &taken {
            self.note_move(*slot, now);
            self.assign(*slot, replica);
        }
        if let Some(node) = self.nodes.get_mut(&replica) {
            node.role = ClusterRole::Primary;
        }
        !taken.is_empty()
    }

    /// The owner of a slot loses it.
    fn note_move(&mut self, slot: u16, now: Instant) {
        let known = self.nodes.get(&self.owners[usize::from(slot)]).map_or(0, |owner| owner.epoch);
        let before = self.moved.get(&slot).map_or(0, |told| told.epoch);
        self.moved.insert(slot, ToldMove { at: now, epoch: known.max(before) });
    }

    fn assign(&mut self, slot: u16, to: ClusterNodeId) {
        let before = std::mem::replace(&mut self.owners[usize::from(slot)], to);
        if let Some(node) = self.nodes.get_mut(&before) {
            node.slots -= 1;
        }
        if let Some(node) = self.nodes.get_mut(&to) {
            node.slots += 1;
        }
    }

    /// The number of the node at an address. A new one is known until the next report.
    pub(crate) fn number_of(&mut self, address: &str) -> ClusterNodeId {
        if let Some(number) = self.by_address.get(address) {
            return *number;
        }
        let number = self.next_number();
        let address: Arc<str> = Arc::from(address);
        self.by_address.insert(Arc::clone(&address), number);
        let node = KnownNode {
            id: None,
            address,
            role: ClusterRole::Primary,
            primary: None,
            epoch: 0,
            failed: false,
            zone: None,
            slots: 0,
        };
        self.nodes.insert(number, node);
        number
    }

    fn next_number(&mut self) -> ClusterNodeId {
        self.last += 1;
        ClusterNodeId(self.last)
    }

    fn count(&mut self) {
        self.by_address = self.nodes.iter().map(|(number, node)| (Arc::clone(&node.address), *number)).collect();
        self.by_id = self.nodes.iter().filter_map(|(number, node)| Some((Arc::clone(node.id.as_ref()?), *number))).collect();
        let mut replicas: HashMap<ClusterNodeId, Vec<ClusterNodeId>> = HashMap::new();
        for (number, node) in self.nodes() {
            if let Some(primary) = self.primary_of(node).filter(|_| node.role == ClusterRole::Replica) {
                replicas.entry(primary).or_default().push(number);
            }
        }
        self.replicas = replicas;
        self.nodes.values_mut().for_each(|node| node.slots = 0);
        for owner in &self.owners {
            if let Some(node) = self.nodes.get_mut(owner) {
                node.slots += 1;
            }
        }
    }

    pub(crate) fn owner(&self, slot: u16) -> ClusterNodeId {
        self.owners[usize::from(slot)]
    }

    pub(crate) fn owners(&self) -> &[ClusterNodeId] {
        &self.owners
    }

    pub(crate) fn node(&self, number: ClusterNodeId) -> Option<&KnownNode> {
        self.nodes.get(&number)
    }

    pub(crate) fn find(&self, address: &str) -> Option<ClusterNodeId> {
        self.by_address.get(address).copied()
    }

    /// The address of the node with this id.
    pub(crate) fn find_id(&self, id: &str) -> Option<Arc<str>> {
        self.nodes.get(self.by_id.get(id)?).map(|node| Arc::clone(&node.address))
    }

    /// Every node, in the order of addresses.
    pub(crate) fn nodes(&self) -> Vec<(ClusterNodeId, &KnownNode)> {
        let mut nodes: Vec<_> = self.nodes.iter().map(|(number, node)| (*number, node)).collect();
        nodes.sort_unstable_by(|one, other| one.1.address.cmp(&other.1.address));
        nodes
    }

    /// The nodes that own slots, in the order of addresses.
    pub(crate) fn primaries(&self) -> Vec<ClusterNodeId> {
        self.nodes().into_iter().filter(|(_, node)| node.slots > 0).map(|(number, _)| number).collect()
    }

    /// The nodes that copy a primary, in the order of addresses.
    pub(crate) fn replicas_of(&self, primary: ClusterNodeId) -> &[ClusterNodeId] {
        self.replicas.get(&primary).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn primary_of(&self, node: &KnownNode) -> Option<ClusterNodeId> {
        self.by_id.get(node.primary.as_ref()?).copied()
    }

    /// The ranges of slots of a node, in ascending order.
    pub(crate) fn ranges_of(&self, number: ClusterNodeId) -> Vec<RangeInclusive<u16>> {
        let mut ranges: Vec<RangeInclusive<u16>> = Vec::new();
        for slot in (0..SLOTS).filter(|slot| self.owner(*slot) == number) {
            match ranges.last_mut() {
                Some(range) if *range.end() + 1 == slot => *range = *range.start()..=slot,
                Some(_) | None => ranges.push(slot..=slot),
            }
        }
        ranges
    }

    /// Slots that have an owner.
    pub(crate) fn covered(&self) -> usize {
        self.nodes.values().map(|node| node.slots).sum()
    }
}

#[cfg(test)]
mod tests;
