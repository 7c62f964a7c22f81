//! The idle connections of one pool: the one used last is lent first, so that the rest can grow old and go.

use std::collections::VecDeque;

/// A stack with a bottom: connections come back on top; those that were only checked go to the bottom.
#[derive(Debug)]
pub(crate) struct Shelf<C> {
    idle: VecDeque<(u32, C)>,
}

impl<C> Shelf<C> {
    pub(crate) fn new() -> Self {
        Self { idle: VecDeque::new() }
    }

    #[cfg(any(test, debug_assertions, feature = "testing"))]
    pub(crate) fn len(&self) -> usize {
        self.idle.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.idle.is_empty()
    }

    /// Puts a connection that was used on top.
    pub(crate) fn put(&mut self, slot: u32, conn: C) {
        self.idle.push_back((slot, conn));
    }

    /// Puts a connection that was only checked at the bottom: probing is not use.
    pub(crate) fn put_below(&mut self, slot: u32, conn: C) {
        self.idle.push_front((slot, conn));
    }

    /// Takes the connection that was used last.
    pub(crate) fn pop(&mut self) -> Option<(u32, C)> {
        self.idle.pop_back()
    }

    /// Takes the connection of `slot`, wherever it lies.
    pub(crate) fn remove(&mut self, slot: u32) -> Option<C> {
        let position = self.idle.iter().position(|(other, _)| *other == slot)?;
        self.idle.remove(position).map(|(_, conn)| conn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_used_goes_first_and_the_checked_ones_last() {
        let mut shelf = Shelf::new();
        shelf.put(1, 'a');
        shelf.put(2, 'b');
        shelf.put_below(3, 'c');
        assert_eq!(shelf.remove(1), Some('a'));
        assert_eq!(shelf.remove(1), None);
        assert_eq!(shelf.pop(), Some((2, 'b')));
        assert_eq!(shelf.pop(), Some((3, 'c')));
        assert!(shelf.is_empty());
    }
}
