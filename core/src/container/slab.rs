//! Values in numbered slots that are reused; how often a slot was reused is part of a value's identity.

/// To insert, remove and find a value costs O(1). A table that is full grows by a quarter: doubling would leave half of a
/// large one unused.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot<T> {
    /// How often it was used before.
    generation: u32,
    value: Option<T>,
}

/// What [`Slab::at`] is called with is in the slab: its caller holds a token, or found it in a list.
const IS_THERE: &str = "a slot that is referred to has a value";

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }

    /// Returns the slot and its generation.
    pub(crate) fn insert(&mut self, value: T) -> (u32, u32) {
        let slot = self.free.pop().unwrap_or_else(|| {
            let slot = u32::try_from(self.slots.len()).expect("the limits of connections and waiters keep this below 2^32");
            grow(&mut self.slots);
            self.slots.push(Slot { generation: 0, value: None });
            slot
        });
        let entry = &mut self.slots[slot as usize];
        entry.value = Some(value);
        (slot, entry.generation)
    }

    /// Removes what is in a slot; its identity finds nothing from now on.
    pub(crate) fn remove(&mut self, slot: u32) -> Option<T> {
        let entry = self.slots.get_mut(slot as usize)?;
        let value = entry.value.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        grow(&mut self.free);
        self.free.push(slot);
        Some(value)
    }

    #[inline]
    pub(crate) fn get(&self, slot: u32, generation: u32) -> Option<&T> {
        let entry = self.slots.get(slot as usize)?;
        entry.value.as_ref().filter(|_| entry.generation == generation)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, slot: u32, generation: u32) -> Option<&mut T> {
        let entry = self.slots.get_mut(slot as usize)?;
        let current = entry.generation == generation;
        entry.value.as_mut().filter(|_| current)
    }

    #[inline]
    pub(crate) fn at(&self, slot: u32) -> &T {
        self.slots[slot as usize].value.as_ref().expect(IS_THERE)
    }

    #[inline]
    pub(crate) fn at_mut(&mut self, slot: u32) -> &mut T {
        self.slots[slot as usize].value.as_mut().expect(IS_THERE)
    }

    /// The generation of what is in a slot, and itself.
    #[inline]
    pub(crate) fn entry(&mut self, slot: u32) -> (u32, &mut T) {
        let entry = &mut self.slots[slot as usize];
        (entry.generation, entry.value.as_mut().expect(IS_THERE))
    }

    /// The generation of what is in a slot.
    #[inline]
    pub(crate) fn generation(&self, slot: u32) -> u32 {
        self.slots[slot as usize].generation
    }

    /// Each value with its slot and generation.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, u32, &T)> {
        let numbered = self.slots.iter().enumerate();
        numbered.filter_map(|(slot, entry)| Some((slot as u32, entry.generation, entry.value.as_ref()?)))
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().filter_map(|entry| entry.value.as_mut())
    }
}

fn grow<T>(table: &mut Vec<T>) {
    if table.len() == table.capacity() {
        table.reserve_exact((table.len() / 4).max(16));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen to bite: with a `remove` that leaves the generation, and with a `get` that does not compare it.
    #[test]
    fn a_reused_slot_is_found_by_its_new_identity_only() {
        let mut slab = Slab::new();
        let (slot, first) = slab.insert('a');
        assert_eq!(slab.get(slot, first), Some(&'a'));
        assert_eq!(slab.remove(slot), Some('a'));
        assert_eq!(slab.get(slot, first), None);
        assert_eq!(slab.remove(slot), None);
        let (again, second) = slab.insert('b');
        assert_eq!((again, slab.get(slot, first)), (slot, None));
        assert_eq!(slab.get_mut(slot, second), Some(&mut 'b'));
        assert_eq!(slab.iter().collect::<Vec<_>>(), [(slot, second, &'b')]);
    }
}
