//! Which node a request goes to now, and until when it stays the right one.

use crate::deployment::cluster::inner::Cluster;
use crate::deployment::cluster::pieces::PieceTarget;
use crate::deployment::cluster::state::topology::ClusterNodeId;
use crate::deployment::read_from::ReadFrom;
use crate::deployment::router::{Access, NodeSet, SLOTS};

/// A step through the slots that meets all nodes soon: it is odd, so that it meets all slots.
const STRIDE: usize = 5_471;

impl Cluster {
    /// The node for a request; `None` while there is none.
    #[inline]
    pub(crate) fn node_for(&self, target: PieceTarget) -> Option<ClusterNodeId> {
        let (owner, access) = match target {
            PieceTarget::Node(node) => return Some(node),
            PieceTarget::Slot(slot, access) => (self.owners.owner(slot), access),
            PieceTarget::AnyNode(access) => (self.any_owner(), access),
        };
        // A slot without an owner: any node knows better, or says that there is none.
        let owner = if owner == ClusterNodeId::NONE { self.any_owner() } else { owner };
        if owner == ClusterNodeId::NONE {
            return None;
        }
        match (&self.read_from, access) {
            (ReadFrom::Primary, _) | (_, Access::Write) => Some(owner),
            (read_from, Access::Read) => self.reader(read_from, owner),
        }
    }

    /// A node that owns slots; a living one if there is one.
    fn any_owner(&self) -> ClusterNodeId {
        let turn = self.next_turn();
        let slot = |step: usize| (turn.wrapping_add(step).wrapping_mul(STRIDE) % usize::from(SLOTS)) as u16;
        let some = self.owners.owner(slot(0));
        if some != ClusterNodeId::NONE && !self.is_ailing(some) {
            return some;
        }
        let living = |node: &ClusterNodeId| *node != ClusterNodeId::NONE && !self.is_ailing(*node);
        (1..usize::from(SLOTS)).map(|step| self.owners.owner(slot(step))).take(64).find(living).unwrap_or(some)
    }

    fn reader(&self, read_from: &ReadFrom, primary: ClusterNodeId) -> Option<ClusterNodeId> {
        let now = self.runtime().now();
        let is_fit = |node| self.known_member(node).is_none_or(|member| member.is_fit(now));
        self.read_targets().choose(read_from, primary, self.next_turn(), is_fit)
    }

    /// Whether a node may still be sent a request.
    fn still_serves(&self, target: PieceTarget, node: ClusterNodeId) -> bool {
        match target {
            PieceTarget::Node(_) => true,
            PieceTarget::AnyNode(_) => self.state().is_part(node) && !self.is_ailing(node),
            PieceTarget::Slot(slot, access) => {
                let owner = self.owners.owner(slot);
                if owner == ClusterNodeId::NONE {
                    return !self.is_ailing(node);
                }
                let reads = access == Access::Read && self.read_from != ReadFrom::Primary;
                if reads {
                    !self.is_ailing(node) && (owner == node || self.read_targets().has(owner, node))
                } else {
                    owner == node
                }
            }
        }
    }

    /// Ends when another node is the right one.
    pub(crate) async fn until_elsewhere(&self, target: PieceTarget, node: ClusterNodeId) {
        self.until_one_is_elsewhere(&[target], node).await;
    }

    /// Ends when another node is the right one for any of them.
    pub(crate) async fn until_one_is_elsewhere(&self, targets: &[PieceTarget], node: ClusterNodeId) {
        // There is no free connection: the node may fail.
        self.doubt();
        let mut seen = self.changed.version();
        while targets.iter().all(|target| self.still_serves(*target, node)) {
            seen = self.changed.beyond(seen).await;
        }
    }

    /// The nodes of a set, in the order of addresses.
    pub(crate) fn nodes_of(&self, set: &NodeSet) -> Vec<ClusterNodeId> {
        let state = self.state();
        match set {
            NodeSet::Primaries => state.topology().primaries(),
            NodeSet::All => {
                let nodes = state.topology().nodes().into_iter();
                nodes.filter(|(_, node)| !node.failed).map(|(node, _)| node).collect()
            }
        }
    }

    /// The number of the node at an address. A node that is known by a redirection alone has a number from now on.
    pub(crate) fn number_of(&self, address: &str) -> Option<ClusterNodeId> {
        (!self.is_closed()).then(|| self.state().number_of(address))
    }

    pub(crate) fn address_of(&self, node: ClusterNodeId) -> String {
        self.state().topology().node(node).map(|node| node.address.to_string()).unwrap_or_default()
    }

    /// A node has refused a request for the moment. As a replica it is not read from for a while.
    pub(crate) fn note_refusal(&self, node: ClusterNodeId) {
        if let Some(member) = self.known_member(node) {
            member.note_refusal(self.runtime().now());
        }
    }

    fn is_ailing(&self, node: ClusterNodeId) -> bool {
        self.state().is_ailing(node)
    }
}
