//! A table by slot, for what the shell of a node keeps for each waiter or connection: wakers and abort handles.
//!
//! Nothing in it is woken, cloned or dropped by the table: values come in and go out, for that happens outside the lock.

/// A table by slot, which grows as needed.
pub(super) struct SlotTable<T> {
    entries: Vec<Option<T>>,
}

impl<T> SlotTable<T> {
    pub(super) fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// Puts a value in; the one that was there goes out.
    #[inline]
    pub(super) fn swap(&mut self, slot: u32, value: &mut Option<T>) {
        std::mem::swap(self.entry(slot), value);
    }

    #[inline]
    pub(super) fn take(&mut self, slot: u32) -> Option<T> {
        self.entry(slot).take()
    }

    /// Takes a value out if it is the one that is meant: a slot may have a new owner.
    pub(super) fn take_if(&mut self, slot: u32, is_meant: impl FnOnce(&mut T) -> bool) -> Option<T> {
        self.entry(slot).take_if(is_meant)
    }

    /// Takes all values out.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = T> + use<T> {
        std::mem::take(&mut self.entries).into_iter().flatten()
    }

    /// It grows by a quarter, so that little of a large table is unused.
    #[inline]
    fn entry(&mut self, slot: u32) -> &mut Option<T> {
        let (table, slot) = (&mut self.entries, slot as usize);
        if table.len() <= slot {
            if table.capacity() <= slot {
                table.reserve_exact((slot + 1 - table.len()).max(table.len() / 4).max(16));
            }
            table.resize_with(slot + 1, || None);
        }
        &mut table[slot]
    }
}
