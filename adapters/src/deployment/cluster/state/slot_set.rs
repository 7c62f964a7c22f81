//! A set of slots.

use std::ops::RangeInclusive;

use crate::deployment::router::SLOTS;

const WORDS: usize = SLOTS as usize / 64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SlotSet {
    words: Box<[u64; WORDS]>,
}

impl SlotSet {
    pub(crate) fn none() -> Self {
        Self { words: Box::new([0; WORDS]) }
    }

    pub(crate) fn all() -> Self {
        Self { words: Box::new([u64::MAX; WORDS]) }
    }

    pub(crate) fn has(&self, slot: u16) -> bool {
        self.words[usize::from(slot) / 64] & (1 << (slot % 64)) != 0
    }

    pub(crate) fn insert(&mut self, slot: u16) {
        self.words[usize::from(slot) / 64] |= 1 << (slot % 64);
    }

    pub(crate) fn extend(&mut self, range: RangeInclusive<u16>) {
        range.for_each(|slot| self.insert(slot));
    }

    pub(crate) fn remove(&mut self, slot: u16) {
        self.words[usize::from(slot) / 64] &= !(1 << (slot % 64));
    }

    /// In ascending order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        (0..).step_by(64).zip(self.words.iter()).flat_map(|(first, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros())?;
                left &= left - 1;
                Some(first + u16::try_from(bit).unwrap_or_default())
            })
        })
    }
}
