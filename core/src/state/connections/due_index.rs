//! When each connection is due for its check and for its end: ordered sets, so that no search is needed.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use crate::time::Instant;

/// Two sets of instants and slots, the soonest first; a [`DueEntry`] says what of its connection is in them.
///
/// The next entry of a set is found, and one changed, in O(log n) for n connections. Neither a loan nor a return changes
/// one: an entry may come due while its connection is on loan, and the borrower is left alone; it is then put off or struck
/// out, one entry at a time. All of them are put off together in O(1): they are kept by a clock of their own, which stood
/// still during all time that was forgiven.
#[derive(Default)]
pub(crate) struct DueIndex {
    checks: DueSet,
    ends: DueSet,
    /// How far that clock is behind.
    forgiven: Duration,
}

type DueSet = BTreeSet<(Instant, u32)>;

/// When one connection is to be checked and when its lifetime ends, by the index's clock; none: not in the index. Changed by
/// the index alone.
#[derive(Debug, Default)]
pub(crate) struct DueEntry {
    check_at: Option<Instant>,
    expires_at: Option<Instant>,
}

impl DueEntry {
    #[cfg(any(test, debug_assertions, feature = "testing"))]
    pub(crate) fn has_check(&self) -> bool {
        self.check_at.is_some()
    }

    #[cfg(any(test, debug_assertions, feature = "testing"))]
    pub(crate) fn has_end(&self) -> bool {
        self.expires_at.is_some()
    }
}

/// Puts the entry of a slot where it belongs now; None: into no place.
fn set(due: &mut DueSet, slot: u32, entry: &mut Option<Instant>, at: Option<Instant>) {
    if let Some(old) = std::mem::replace(entry, at) {
        due.remove(&(old, slot));
    }
    due.extend(at.map(|at| (at, slot)));
}

impl DueIndex {
    /// An instant by the index's clock.
    fn enter(&self, at: Instant) -> Instant {
        Instant::ZERO + at.saturating_duration_since(Instant::ZERO + self.forgiven)
    }

    /// An instant of the index's clock, as others read theirs.
    fn read(&self, entry: Instant) -> Instant {
        entry + self.forgiven
    }

    pub(crate) fn set_check(&mut self, slot: u32, entry: &mut DueEntry, at: Instant) {
        let at = self.enter(at);
        set(&mut self.checks, slot, &mut entry.check_at, Some(at));
    }

    pub(crate) fn set_end(&mut self, slot: u32, entry: &mut DueEntry, at: Instant) {
        let at = self.enter(at);
        set(&mut self.ends, slot, &mut entry.expires_at, Some(at));
    }

    /// A connection is due for nothing any more.
    pub(crate) fn strike(&mut self, slot: u32, entry: &mut DueEntry) {
        self.strike_check(slot, entry);
        set(&mut self.ends, slot, &mut entry.expires_at, None);
    }

    /// A connection is being checked.
    pub(crate) fn strike_check(&mut self, slot: u32, entry: &mut DueEntry) {
        set(&mut self.checks, slot, &mut entry.check_at, None);
    }

    /// When the next check is due.
    pub(crate) fn next_check(&self) -> Option<Instant> {
        self.checks.first().map(|(at, _)| self.read(*at))
    }

    /// The slot whose lifetime ends next, and when.
    pub(crate) fn next_end(&self) -> Option<(Instant, u32)> {
        self.ends.first().map(|(at, slot)| (self.read(*at), *slot))
    }

    /// The slots whose check is due.
    pub(crate) fn due_for_check(&self, now: Instant) -> impl Iterator<Item = u32> {
        self.checks.range(..=(self.enter(now), u32::MAX)).map(|(_, slot)| *slot)
    }

    /// Moves all of it into the future.
    pub(crate) fn forgive(&mut self, by: Duration) {
        self.forgiven = self.forgiven.saturating_add(by);
    }

    #[cfg(any(test, debug_assertions, feature = "testing"))]
    pub(crate) fn assert_has(&self, slot: u32, entry: &DueEntry) {
        for (due, at) in [(&self.checks, entry.check_at), (&self.ends, entry.expires_at)] {
            assert!(at.is_none_or(|at| due.contains(&(at, slot))), "what is due is in the index: slot {slot}");
        }
    }

    /// How many checks and ends are in it.
    #[cfg(any(test, debug_assertions, feature = "testing"))]
    pub(crate) fn len(&self) -> (usize, usize) {
        (self.checks.len(), self.ends.len())
    }
}

/// Without the entries, which the records show.
impl fmt::Debug for DueIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DueIndex").field("forgiven", &self.forgiven).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen to bite: with a `forgive` that moves nothing, and with a `strike` that leaves the end.
    #[test]
    fn what_is_due_first_comes_first_and_what_is_forgiven_comes_later() {
        let second = Duration::from_secs(1);
        let at = |seconds: u64| Instant::from_nanos(seconds * 1_000_000_000);
        let (mut index, mut entries) = (DueIndex::default(), [DueEntry::default(), DueEntry::default()]);
        index.set_check(0, &mut entries[0], at(20));
        index.set_check(1, &mut entries[1], at(10));
        index.set_end(1, &mut entries[1], at(30));
        assert_eq!((index.next_check(), index.next_end()), (Some(at(10)), Some((at(30), 1))));
        index.forgive(5 * second);
        assert_eq!((index.next_check(), index.next_end()), (Some(at(15)), Some((at(35), 1))));
        assert_eq!(index.due_for_check(at(14)).count(), 0);
        assert_eq!(index.due_for_check(at(25)).collect::<Vec<_>>(), [1, 0]);
        index.set_check(1, &mut entries[1], at(40));
        assert_eq!(index.next_check(), Some(at(25)));
        index.strike(1, &mut entries[1]);
        assert_eq!((index.len(), index.next_end()), ((1, 0), None));
    }
}
