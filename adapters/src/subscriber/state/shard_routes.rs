//! The owners of the slots that a subscriber's sharded channels are in.

use std::collections::{BTreeMap, BTreeSet};

use super::subscriber_io::LinkPlace;

/// The slot of a name.
pub(crate) type SlotOf = fn(&[u8]) -> u16;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct ShardRoutes {
    slot_of: SlotOf,
    /// Of the slots that were told; `None`: the slot has no owner now.
    owners: BTreeMap<u16, Option<u32>>,
}

impl ShardRoutes {
    pub(super) fn new(slot_of: SlotOf) -> Self {
        Self { slot_of, owners: BTreeMap::new() }
    }

    pub(super) fn slot_of(&self, name: &[u8]) -> u16 {
        (self.slot_of)(name)
    }

    /// The connection for a name; `None` while its slot has no owner.
    pub(super) fn place_of(&self, name: &[u8]) -> Option<LinkPlace> {
        let owner = self.owners.get(&self.slot_of(name)).copied().flatten();
        owner.map(LinkPlace::Owner)
    }

    /// The slots that were told.
    pub(super) fn slots(&self) -> impl Iterator<Item = u16> {
        self.owners.keys().copied()
    }

    /// Takes owners in. The result is the slots that have another one now.
    pub(super) fn update(&mut self, owners: Vec<(u16, Option<u32>)>) -> BTreeSet<u16> {
        owners
            .into_iter()
            .filter(|(slot, owner)| self.owners.insert(*slot, *owner) != Some(*owner))
            .map(|(slot, _)| slot)
            .collect()
    }
}
