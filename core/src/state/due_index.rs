//! When each connection is due for its check and for its end: ordered sets beside the records, so that nobody searches them.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use crate::close_reason::CloseReason;
use crate::state::connection_meta::ConnectionMeta;
use crate::state::connection_table::ConnectionTable;
use crate::state::token::ConnId;
use crate::time::Instant;

/// Two sets of instants and slots, the soonest first; a record says by itself whether it is in them.
///
/// The next entry of a set is found, and one changed, in O(log n) for n connections. Neither a loan nor a return changes
/// one: an entry may come due while its connection is with a borrower, who is left alone; it is then put off or struck out,
/// one entry at a time. All of them are put off together in O(1): what they are kept by is a clock of their own, which
/// stood still during all time that was forgiven.
#[derive(Default)]
pub(crate) struct DueIndex {
    checks: DueSet,
    ends: DueSet,
    /// How far that clock is behind.
    forgiven: Duration,
}

type DueSet = BTreeSet<(Instant, u32)>;

/// Puts the entry of a slot where it belongs now; None: into no place.
fn set(due: &mut DueSet, slot: u32, entry: &mut Option<Instant>, at: Option<Instant>) {
    if let Some(old) = std::mem::replace(entry, at) {
        due.remove(&(old, slot));
    }
    due.extend(at.map(|at| (at, slot)));
}

impl DueIndex {
    /// An instant by the due index's clock.
    fn enter(&self, at: Instant) -> Instant {
        Instant::ZERO + at.saturating_duration_since(Instant::ZERO + self.forgiven)
    }

    /// An instant of the due index's clock, as others read theirs.
    fn read(&self, entry: Instant) -> Instant {
        entry + self.forgiven
    }

    /// A connection is due for nothing any more.
    pub(super) fn strike(&mut self, slot: u32, record: &mut ConnectionMeta) {
        set(&mut self.checks, slot, &mut record.check_at, None);
        set(&mut self.ends, slot, &mut record.expires_at, None);
    }

    /// A connection is being checked.
    pub(super) fn strike_check(&mut self, slot: u32, record: &mut ConnectionMeta) {
        set(&mut self.checks, slot, &mut record.check_at, None);
    }
}

impl<C> ConnectionTable<C> {
    /// Sets when a connection is to be checked.
    pub(crate) fn set_check(&mut self, id: ConnId, at: Instant) {
        let (record, due) = self.with_due(id);
        let at = due.enter(at);
        set(&mut due.checks, id.slot(), &mut record.check_at, Some(at));
    }

    /// Sets when the lifetime of a connection ends.
    pub(crate) fn set_end(&mut self, id: ConnId, at: Instant) {
        let (record, due) = self.with_due(id);
        let at = due.enter(at);
        set(&mut due.ends, id.slot(), &mut record.expires_at, Some(at));
    }

    /// A connection that is out of reach is not to be lent again.
    pub(crate) fn retire(&mut self, id: ConnId, reason: CloseReason) {
        let (record, due) = self.with_due(id);
        record.retire = Some(reason);
        due.strike(id.slot(), record);
    }

    /// When the next check is due.
    pub(crate) fn next_check(&self) -> Option<Instant> {
        self.due.checks.first().map(|(at, _)| self.due.read(*at))
    }

    /// The connection whose lifetime ends next, and when.
    pub(crate) fn next_end(&self) -> Option<(Instant, ConnId)> {
        self.due.ends.first().map(|(at, slot)| (self.due.read(*at), self.id(*slot)))
    }

    /// The connections whose check is due.
    pub(crate) fn due_for_check(&self, now: Instant) -> Vec<ConnId> {
        let due = (self.due.enter(now), u32::MAX);
        self.due.checks.range(..=due).map(|(_, slot)| self.id(*slot)).collect()
    }

    /// Moves all that measures wear into the future, but nothing that has happened beyond `now`. O(n) for the times since
    /// when connections idle; clocks seldom jump.
    pub(crate) fn forgive(&mut self, now: Instant, by: Duration) {
        self.due.forgiven = self.due.forgiven.saturating_add(by);
        for record in self.records_mut() {
            record.idle_since = record.idle_since.map(|since| (since + by).min(now));
        }
    }

    /// The due index says neither more nor less than the records, and these say what is to be said.
    #[cfg(any(test, debug_assertions, feature = "testing"))]
    pub(crate) fn assert_due(&self) {
        use crate::state::phase::Phase;

        let (mut checks, mut ends) = (0, 0);
        for (id, record) in self.records() {
            let wears = record.phase.is_in_use() && record.retire.is_none();
            assert_eq!(record.expires_at.is_some(), wears, "what is open and fit has an end, and nothing else: {id:?}");
            assert_eq!(
                record.check_at.is_some(),
                wears && record.phase != Phase::Checking,
                "H2: what is open and fit is to be checked, unless it is being checked: {id:?}"
            );
            for (due, at) in [(&self.due.checks, record.check_at), (&self.due.ends, record.expires_at)] {
                assert!(at.is_none_or(|at| due.contains(&(at, id.slot()))), "what is due is in the due: {id:?}");
            }
            checks += usize::from(record.check_at.is_some());
            ends += usize::from(record.expires_at.is_some());
        }
        assert_eq!((checks, ends), (self.due.checks.len(), self.due.ends.len()), "the due has no entry of nobody");
    }
}

/// Without the entries, which the records show.
impl fmt::Debug for DueIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DueIndex").field("forgiven", &self.forgiven).finish_non_exhaustive()
    }
}
