//! The owner of each slot, as commands read it: without a lock, and changed slot by slot.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::deployment::cluster::state::topology::ClusterNodeId;
use crate::deployment::router::SLOTS;

pub(crate) struct OwnerTable {
    owners: Box<[AtomicU32]>,
}

impl OwnerTable {
    pub(crate) fn new() -> Self {
        Self { owners: (0..SLOTS).map(|_| AtomicU32::new(ClusterNodeId::NONE.0)).collect() }
    }

    /// The owner of a slot; [`NONE`](ClusterNodeId::NONE) if it has none.
    #[inline]
    pub(crate) fn owner(&self, slot: u16) -> ClusterNodeId {
        ClusterNodeId(self.owners[usize::from(slot)].load(Ordering::Acquire))
    }

    pub(crate) fn set(&self, slot: u16, owner: ClusterNodeId) {
        self.owners[usize::from(slot)].store(owner.0, Ordering::Release);
    }

    pub(crate) fn clear(&self) {
        self.owners.iter().for_each(|owner| owner.store(ClusterNodeId::NONE.0, Ordering::Release));
    }
}
