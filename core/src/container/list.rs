//! A doubly linked list through the slots of a slab: each value carries its own links, so nothing is allocated.

use std::fmt;
use std::marker::PhantomData;
use std::num::NonZeroU32;

use crate::container::slab::Slab;

/// The neighbours of a value in one list.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Links {
    prev: Option<Index>,
    next: Option<Index>,
}

/// What is before a value follows from what is behind the others, but for the head, of which it means nothing.
impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Links").field("next", &self.next).finish_non_exhaustive()
    }
}

/// A slot, one number up: so that "none" takes no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Index(NonZeroU32);

impl Index {
    fn of(slot: u32) -> Self {
        Self(NonZeroU32::MIN.saturating_add(slot))
    }

    fn slot(self) -> u32 {
        self.0.get() - 1
    }
}

/// A value that can be in lists of the kind `K`, in one of them at a time.
pub(crate) trait Linked<K> {
    fn links(&self) -> &Links;
    fn links_mut(&mut self) -> &mut Links;
}

/// The two ends of a list. Every change costs O(1), but for [`insert_before`](List::insert_before).
///
/// What is before the head is never read, and the tail only while there is a head: so to take the head touches no slot but
/// its own.
pub(crate) struct List<K> {
    head: Option<Index>,
    tail: Option<Index>,
    kind: PhantomData<fn() -> K>,
}

impl<K> List<K> {
    pub(crate) const fn new() -> Self {
        Self { head: None, tail: None, kind: PhantomData }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.head.is_none()
    }

    #[inline]
    pub(crate) fn first(&self) -> Option<u32> {
        self.head.map(Index::slot)
    }

    pub(crate) fn last(&self) -> Option<u32> {
        self.head.and(self.tail).map(Index::slot)
    }

    #[inline]
    pub(crate) fn push_front<T: Linked<K>>(&mut self, slab: &mut Slab<T>, slot: u32) {
        let index = Index::of(slot);
        slab.at_mut(slot).links_mut().next = self.head;
        match self.head {
            Some(head) => slab.at_mut(head.slot()).links_mut().prev = Some(index),
            None => self.tail = Some(index),
        }
        self.head = Some(index);
    }

    #[inline]
    pub(crate) fn push_back<T: Linked<K>>(&mut self, slab: &mut Slab<T>, slot: u32) {
        let Some(tail) = self.tail.filter(|_| !self.is_empty()) else {
            self.push_front(slab, slot);
            return;
        };
        slab.at_mut(tail.slot()).links_mut().next = Some(Index::of(slot));
        *slab.at_mut(slot).links_mut() = Links { prev: Some(tail), next: None };
        self.tail = Some(Index::of(slot));
    }

    /// Takes the head: its slot, its generation and itself.
    #[inline]
    pub(crate) fn pop_front<'s, T: Linked<K>>(&mut self, slab: &'s mut Slab<T>) -> Option<(u32, u32, &'s mut T)> {
        let head = self.head?.slot();
        let (generation, value) = slab.entry(head);
        self.head = value.links().next;
        Some((head, generation, value))
    }

    /// Takes a value that is in this list, from wherever it is.
    #[inline]
    pub(crate) fn remove<T: Linked<K>>(&mut self, slab: &mut Slab<T>, slot: u32) {
        let Links { prev, next } = std::mem::take(slab.at_mut(slot).links_mut());
        if self.head == Some(Index::of(slot)) {
            self.head = next;
            return;
        }
        let prev = prev.expect("what is not the head has something before it");
        slab.at_mut(prev.slot()).links_mut().next = next;
        match next {
            Some(next) => slab.at_mut(next.slot()).links_mut().prev = Some(prev),
            None => self.tail = Some(prev),
        }
    }

    /// Puts a value before the first of which `is_later` is true: O(n) for n values before it.
    pub(crate) fn insert_before<T: Linked<K>>(&mut self, slab: &mut Slab<T>, slot: u32, is_later: impl Fn(&T) -> bool) {
        let (mut prev, mut next) = (None, self.head);
        while let Some(other) = next.filter(|other| !is_later(slab.at(other.slot()))) {
            prev = Some(other);
            next = slab.at(other.slot()).links().next;
        }
        match (prev, next) {
            (None, _) => self.push_front(slab, slot),
            (Some(_), None) => self.push_back(slab, slot),
            (Some(before), Some(behind)) => {
                *slab.at_mut(slot).links_mut() = Links { prev, next };
                slab.at_mut(before.slot()).links_mut().next = Some(Index::of(slot));
                slab.at_mut(behind.slot()).links_mut().prev = Some(Index::of(slot));
            }
        }
    }

    /// The slots from the head on.
    pub(crate) fn iter<T: Linked<K>>(&self, slab: &Slab<T>) -> impl Iterator<Item = u32> {
        let mut next = self.head;
        std::iter::from_fn(move || {
            let slot = next?.slot();
            next = slab.at(slot).links().next;
            Some(slot)
        })
    }

    /// The slots from the head on, by a walk that looks at every link.
    #[cfg(any(test, debug_assertions, feature = "testing"))]
    pub(crate) fn walk<T: Linked<K>>(&self, slab: &Slab<T>) -> Vec<u32> {
        let mut walked: Vec<u32> = Vec::new();
        for slot in self.iter(slab) {
            if let Some(before) = walked.last() {
                let prev = slab.at(slot).links().prev.map(Index::slot);
                assert_eq!(prev, Some(*before), "I8: a list is linked both ways: slot {slot}");
            }
            walked.push(slot);
            assert!(walked.len() <= slab.iter().count(), "I8: a list has an end: {walked:?}");
        }
        assert_eq!(walked.last().copied(), self.last(), "I8: a list ends at its tail");
        walked
    }
}

impl<K> fmt::Debug for List<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("List").field("head", &self.first()).field("tail", &self.last()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Any;

    #[derive(Default)]
    struct TestValue(Links);

    impl Linked<Any> for TestValue {
        fn links(&self) -> &Links {
            &self.0
        }

        fn links_mut(&mut self) -> &mut Links {
            &mut self.0
        }
    }

    fn slab(count: usize) -> Slab<TestValue> {
        let mut slab = Slab::new();
        (0..count).for_each(|_| _ = slab.insert(TestValue::default()));
        slab
    }

    #[test]
    fn the_front_comes_first_and_the_back_last() {
        let (mut list, mut slab) = (List::new(), slab(4));
        list.push_front(&mut slab, 1);
        list.push_front(&mut slab, 2);
        list.push_back(&mut slab, 3);
        list.remove(&mut slab, 1);
        assert_eq!(list.walk(&slab), [2, 3]);
        let mut pop = || list.pop_front(&mut slab).map(|(slot, ..)| slot);
        assert_eq!([pop(), pop(), pop()], [Some(2), Some(3), None]);
        assert!(list.is_empty() && list.last().is_none());
    }

    /// Seen to bite: with `remove` that leaves the tail as it was, and with `push_back` that believes the tail of an empty
    /// list.
    #[test]
    fn whatever_is_taken_from_wherever_the_rest_keeps_its_order() {
        for first in 0..4 {
            for second in (0..4).filter(|second| *second != first) {
                let (mut list, mut slab) = (List::new(), slab(6));
                (0..4).for_each(|slot| list.push_front(&mut slab, slot));
                list.remove(&mut slab, first);
                list.remove(&mut slab, second);
                let rest = (0..4).rev().filter(|slot| ![first, second].contains(slot));
                assert_eq!(list.walk(&slab), rest.clone().collect::<Vec<_>>());
                list.push_back(&mut slab, 4);
                list.push_front(&mut slab, 5);
                assert_eq!(list.walk(&slab), [5].into_iter().chain(rest).chain([4]).collect::<Vec<_>>());
                while list.pop_front(&mut slab).is_some() {}
                list.push_back(&mut slab, 0);
                list.push_back(&mut slab, 1);
                assert_eq!(list.walk(&slab), [0, 1]);
            }
        }
    }

    #[test]
    fn what_is_inserted_stands_before_the_first_that_is_later() {
        let (mut list, mut slab) = (List::new(), slab(6));
        for slot in [3, 0, 5, 1, 4, 2] {
            // The order is that of the slots, by way of which links a value has: its own number is not in it.
            let later: Vec<u32> = list.iter(&slab).filter(|other| *other > slot).collect();
            let first = later.first().copied();
            let address = first.map(|other| std::ptr::from_ref(slab.at(other)));
            list.insert_before(&mut slab, slot, |value| address == Some(std::ptr::from_ref(value)));
        }
        assert_eq!(list.walk(&slab), [0, 1, 2, 3, 4, 5]);
    }
}
