//! The idle connections of one pool: the one used last is lent first, so that the rest can grow old and go.

use crate::state::connection_meta::ConnectionSlot;

/// A stack with a bottom: connections come back on top; those that were only checked go to the bottom; any can be taken
/// from where it lies. Each of these costs O(1): the stack is a list through the slots, of which this is the two ends.
#[derive(Debug, Default)]
pub(crate) struct IdleStack {
    top: Option<u32>,
    /// Of use only while there is a top.
    bottom: Option<u32>,
}

impl IdleStack {
    pub(crate) fn is_empty(&self) -> bool {
        self.top.is_none()
    }

    /// Puts a connection that was used on top.
    #[inline]
    pub(crate) fn put<C>(&mut self, slots: &mut [ConnectionSlot<C>], slot: u32) {
        slots[slot as usize].below = self.top;
        match self.top {
            Some(top) => slots[top as usize].above = Some(slot),
            None => self.bottom = Some(slot),
        }
        self.top = Some(slot);
    }

    /// Puts a connection that was only checked at the bottom: probing is not use.
    pub(crate) fn put_below<C>(&mut self, slots: &mut [ConnectionSlot<C>], slot: u32) {
        let Some(bottom) = self.bottom.filter(|_| !self.is_empty()) else {
            self.put(slots, slot);
            return;
        };
        slots[bottom as usize].below = Some(slot);
        slots[slot as usize].above = Some(bottom);
        slots[slot as usize].below = None;
        self.bottom = Some(slot);
    }

    /// Takes the connection that was used last.
    #[inline]
    pub(crate) fn pop<'s, C>(&mut self, slots: &'s mut [ConnectionSlot<C>]) -> Option<(u32, &'s mut ConnectionSlot<C>)> {
        let top = self.top?;
        let slot = &mut slots[top as usize];
        // The next one may still say that this one is above it. Nobody asks what is above the top, so that a loan touches
        // no slot but its own.
        self.top = slot.below;
        Some((top, slot))
    }

    /// Takes the connection of `slot`, which lies on this idle stack, from wherever it lies.
    pub(crate) fn remove<C>(&mut self, slots: &mut [ConnectionSlot<C>], slot: u32) {
        if self.top == Some(slot) {
            self.pop(slots);
            return;
        }
        let ConnectionSlot { above, below, .. } = slots[slot as usize];
        let above = above.expect("what is not on top has something above it");
        slots[above as usize].below = below;
        match below {
            Some(below) => slots[below as usize].above = Some(above),
            None => self.bottom = Some(above),
        }
    }

    /// What lies on it, from the top, by a walk that looks at every link.
    #[cfg(any(test, debug_assertions, feature = "testing"))]
    pub(crate) fn walk<C>(&self, slots: &[ConnectionSlot<C>]) -> Vec<u32> {
        let mut walked = Vec::new();
        let mut next = self.top;
        while let Some(slot) = next {
            if let Some(above) = walked.last() {
                assert_eq!(slots[slot as usize].above, Some(*above), "I8: a idle is linked both ways: slot {slot}");
            }
            walked.push(slot);
            assert!(walked.len() <= slots.len(), "I8: a idle has an end: {self:?}");
            next = slots[slot as usize].below;
        }
        assert!(walked.is_empty() || walked.last() == self.bottom.as_ref(), "I8: a idle ends at its bottom: {self:?}");
        walked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(count: usize) -> Vec<ConnectionSlot<()>> {
        (0..count).map(|_| ConnectionSlot::vacant()).collect()
    }

    fn pop(idle: &mut IdleStack, slots: &mut [ConnectionSlot<()>]) -> Option<u32> {
        idle.pop(slots).map(|(slot, _)| slot)
    }

    #[test]
    fn the_last_used_goes_first_and_the_checked_ones_last() {
        let (mut idle, mut slots) = (IdleStack::default(), slots(4));
        idle.put(&mut slots, 1);
        idle.put(&mut slots, 2);
        idle.put_below(&mut slots, 3);
        idle.remove(&mut slots, 1);
        assert_eq!(idle.walk(&slots), [2, 3]);
        assert_eq!(pop(&mut idle, &mut slots), Some(2));
        assert_eq!(pop(&mut idle, &mut slots), Some(3));
        assert_eq!(pop(&mut idle, &mut slots), None);
        assert!(idle.is_empty());
    }

    /// Seen to bite: with `remove` that leaves the bottom as it was, and with `put_below` that believes the bottom of an
    /// empty idle stack.
    #[test]
    fn whatever_is_taken_from_wherever_the_rest_keeps_its_order() {
        for first in 0..4 {
            for second in (0..4).filter(|second| *second != first) {
                let (mut idle, mut slots) = (IdleStack::default(), slots(6));
                (0..4).for_each(|slot| idle.put(&mut slots, slot));
                idle.remove(&mut slots, first);
                idle.remove(&mut slots, second);
                let rest = (0..4).rev().filter(|slot| ![first, second].contains(slot));
                assert_eq!(idle.walk(&slots), rest.clone().collect::<Vec<_>>());
                idle.put_below(&mut slots, 4);
                idle.put(&mut slots, 5);
                assert_eq!(idle.walk(&slots), [5].into_iter().chain(rest).chain([4]).collect::<Vec<_>>());
                while pop(&mut idle, &mut slots).is_some() {}
                idle.put_below(&mut slots, 0);
                idle.put_below(&mut slots, 1);
                assert_eq!(idle.walk(&slots), [0, 1]);
            }
        }
    }
}
