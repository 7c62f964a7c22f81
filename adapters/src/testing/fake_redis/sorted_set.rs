//! The value of a sorted set: members by score, and scores by member; no command.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::words::Bytes;

/// A score that can be ordered; never NaN.
#[derive(Clone, Copy, Debug)]
pub(super) struct Score(pub(super) f64);

impl PartialEq for Score {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Score {}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Score {
    fn cmp(&self, other: &Self) -> Ordering {
        // Zero and minus zero are one score.
        (self.0 + 0.0).total_cmp(&(other.0 + 0.0))
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct SortedSet {
    scores: BTreeMap<Bytes, Score>,
    order: BTreeSet<(Score, Bytes)>,
}

impl SortedSet {
    pub(super) fn is_empty(&self) -> bool {
        self.scores.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.scores.len()
    }

    pub(super) fn score(&self, member: &[u8]) -> Option<f64> {
        self.scores.get(member).map(|score| score.0)
    }

    pub(super) fn insert(&mut self, member: &[u8], score: f64) {
        self.remove(member);
        self.scores.insert(member.to_vec(), Score(score));
        self.order.insert((Score(score), member.to_vec()));
    }

    pub(super) fn remove(&mut self, member: &[u8]) -> bool {
        let Some(score) = self.scores.remove(member) else { return false };
        self.order.remove(&(score, member.to_vec()))
    }

    /// From the lowest score up, members of one score by their bytes.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (&Bytes, f64)> {
        self.order.iter().map(|(score, member)| (member, score.0))
    }

    /// Takes out the lowest or the highest.
    pub(super) fn pop(&mut self, highest: bool) -> Option<(Bytes, f64)> {
        let (score, member) = if highest { self.order.pop_last()? } else { self.order.pop_first()? };
        self.scores.remove(&member);
        Some((member, score.0))
    }
}
