//! The condition variable as a value: which callers wait, in which order, until when, and how each wait ended.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use crate::container::list::{Linked, Links, List};
use crate::container::slab::Slab;
use crate::state::ids::{ConnId, WaiterId};
use crate::time::Instant;

/// What is waited for. Each kind has a queue of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitKind {
    /// A connection.
    Loan,
    /// The node's pools filled to their minimum for the first time.
    Warm,
    /// A closing pool without any connection left.
    Drained,
}

const KINDS: usize = 3;

/// A position in the queue, kept by its owner so that it can take it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueuePosition {
    /// The order of arrival: lower is served first.
    arrival: u64,
    since: Instant,
    deadline: Instant,
}

impl QueuePosition {
    /// Since when its owner waits.
    #[must_use]
    pub fn since(&self) -> Instant {
        self.since
    }

    /// When the wait must end.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    #[cfg(any(test, debug_assertions, feature = "testing"))]
    pub(crate) fn arrival(&self) -> u64 {
        self.arrival
    }
}

/// How a wait ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum WaitEnd<N> {
    /// With this connection, which is held until it is collected.
    Granted(ConnId),
    /// With a result that is no connection.
    Finished(N),
}

#[derive(Debug)]
enum EntryState<N> {
    Queued,
    /// Ended, and not collected yet.
    Ended(WaitEnd<N>),
}

/// Kept small: there may be a hundred thousand of them.
#[derive(Debug)]
struct Entry<N> {
    state: EntryState<N>,
    position: QueuePosition,
    queue_links: Links,
    deadline_links: Links,
    kind: WaitKind,
    deadline_in: DeadlineIn,
}

/// Where the deadline of a waiter is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DeadlineIn {
    /// It has none any more.
    Nothing,
    /// The list: none of those before it is later.
    List,
    /// The tree: it came after a deadline that is later.
    Tree,
}

/// Waiters of one kind by arrival.
#[derive(Debug)]
struct ByArrival;

/// Waiters by deadline, those that come in the order of arrival.
#[derive(Debug)]
struct ByDeadline;

impl<N> Linked<ByArrival> for Entry<N> {
    fn links(&self) -> &Links {
        &self.queue_links
    }

    fn links_mut(&mut self) -> &mut Links {
        &mut self.queue_links
    }
}

impl<N> Linked<ByDeadline> for Entry<N> {
    fn links(&self) -> &Links {
        &self.deadline_links
    }

    fn links_mut(&mut self) -> &mut Links {
        &mut self.deadline_links
    }
}

/// First in, first out; each waiter can also leave from anywhere. Join, leave and serve cost O(1) while deadlines come in
/// the order of arrival, as they do when all callers wait equally long, and O(log n) for those that do not.
#[derive(Debug)]
pub(crate) struct WaitQueue<N> {
    entries: Slab<Entry<N>>,
    queues: [List<ByArrival>; KINDS],
    lengths: [usize; KINDS],
    deadlines: List<ByDeadline>,
    out_of_turn: BTreeSet<(Instant, u32)>,
    arrivals: u64,
}

impl<N> WaitQueue<N> {
    pub(crate) fn new() -> Self {
        Self {
            entries: Slab::new(),
            queues: [const { List::new() }; KINDS],
            lengths: [0; KINDS],
            deadlines: List::new(),
            out_of_turn: BTreeSet::new(),
            arrivals: 0,
        }
    }

    pub(crate) fn len(&self, kind: WaitKind) -> usize {
        self.lengths[kind as usize]
    }

    #[inline]
    pub(crate) fn is_empty(&self, kind: WaitKind) -> bool {
        self.queues[kind as usize].is_empty()
    }

    /// Joins the end of the queue.
    pub(crate) fn join(&mut self, kind: WaitKind, now: Instant, deadline: Instant) -> WaiterId {
        self.arrivals += 1;
        let id = self.insert(kind, QueuePosition { arrival: self.arrivals, since: now, deadline });
        self.queues[kind as usize].push_back(&mut self.entries, id.slot());
        self.lengths[kind as usize] += 1;
        id
    }

    /// Takes an old position again: before all that came later.
    pub(crate) fn rejoin(&mut self, kind: WaitKind, position: QueuePosition) -> WaiterId {
        let id = self.insert(kind, position);
        self.link(id.slot());
        id
    }

    /// A waiter with its deadline armed that is not in its queue yet.
    fn insert(&mut self, kind: WaitKind, position: QueuePosition) -> WaiterId {
        let entry = Entry {
            state: EntryState::Queued,
            position,
            queue_links: Links::default(),
            deadline_links: Links::default(),
            kind,
            deadline_in: DeadlineIn::Nothing,
        };
        let (slot, generation) = self.entries.insert(entry);
        self.arm(slot, position.deadline);
        WaiterId::new(slot, generation)
    }

    /// The waiter that is to be served next.
    #[inline]
    pub(crate) fn head(&self, kind: WaitKind) -> Option<WaiterId> {
        self.queues[kind as usize].first().map(|slot| self.id(slot))
    }

    /// The position of a waiter that is queued or has not collected how its wait ended.
    pub(crate) fn position(&self, id: WaiterId) -> Option<QueuePosition> {
        self.find(id).map(|entry| entry.position)
    }

    /// Since when those wait who are queued behind the first `skip`, as many as there is room for; the rest of `since` is
    /// filled with the last.
    pub(crate) fn waiting_since(&self, kind: WaitKind, skip: usize, since: &mut [Instant]) {
        let mut waiters = self.queues[kind as usize].iter(&self.entries).skip(skip);
        let mut last = Instant::ZERO;
        for since in since {
            if let Some(slot) = waiters.next() {
                last = self.entries.at(slot).position.since;
            }
            *since = last;
        }
    }

    /// Takes a waiter out of its queue and gives it a connection that it may keep until its deadline.
    pub(crate) fn grant(&mut self, id: WaiterId, conn: ConnId) {
        self.unlink(id.slot());
        self.entries.at_mut(id.slot()).state = EntryState::Ended(WaitEnd::Granted(conn));
    }

    /// Takes a waiter out of its queue, or a grant back from it, and ends its wait with this result; returns the grant.
    pub(crate) fn finish(&mut self, id: WaiterId, result: N) -> Option<ConnId> {
        let slot = id.slot();
        self.disarm(slot);
        if let EntryState::Queued = self.entries.at(slot).state {
            self.unlink(slot);
        }
        let state = EntryState::Ended(WaitEnd::Finished(result));
        match std::mem::replace(&mut self.entries.at_mut(slot).state, state) {
            EntryState::Ended(WaitEnd::Granted(conn)) => Some(conn),
            EntryState::Ended(WaitEnd::Finished(_)) | EntryState::Queued => None,
        }
    }

    /// Takes a grant back and puts the waiter into its old position in the queue.
    pub(crate) fn take_back(&mut self, id: WaiterId) -> Option<ConnId> {
        match self.find(id)?.state {
            EntryState::Ended(WaitEnd::Granted(conn)) => {
                self.entries.at_mut(id.slot()).state = EntryState::Queued;
                self.link(id.slot());
                Some(conn)
            }
            EntryState::Ended(WaitEnd::Finished(_)) | EntryState::Queued => None,
        }
    }

    /// Collects how a wait ended, if it has; the waiter is then gone.
    pub(crate) fn collect(&mut self, id: WaiterId) -> Option<(WaitEnd<N>, QueuePosition)> {
        let entry = self.find(id)?;
        let position = entry.position;
        match entry.state {
            EntryState::Ended(_) => self.remove(id.slot()).map(|end| (end, position)),
            EntryState::Queued => None,
        }
    }

    /// The waiter is gone, in whatever state it was; returns how its wait ended if it did not collect that.
    pub(crate) fn leave(&mut self, id: WaiterId) -> Option<WaitEnd<N>> {
        if self.leave_queued(id).is_none() {
            self.find(id)?;
            return self.remove(id.slot());
        }
        None
    }

    /// The same for a waiter that is still queued; returns what it waited for. None if it is not, and then nothing has changed.
    pub(crate) fn leave_queued(&mut self, id: WaiterId) -> Option<WaitKind> {
        let queued = self.find(id).filter(|entry| matches!(entry.state, EntryState::Queued)).map(|entry| entry.kind);
        if queued.is_some() {
            self.unlink(id.slot());
            self.remove(id.slot());
        }
        queued
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.first_deadline().map(|(at, _)| at)
    }

    /// A waiter whose deadline has come, if any; the caller must finish it.
    pub(crate) fn due(&self, now: Instant) -> Option<(WaiterId, WaitKind)> {
        let (at, slot) = self.first_deadline()?;
        (at <= now).then(|| (self.id(slot), self.entries.at(slot).kind))
    }

    /// Waiters that hold a grant which they have not collected, those with the sooner deadline first.
    pub(crate) fn granted(&self) -> Vec<WaiterId> {
        let is_granted = |entry: &Entry<N>| matches!(entry.state, EntryState::Ended(WaitEnd::Granted(_)));
        let granted = self.entries.iter().filter(|(.., entry)| is_granted(entry));
        let mut granted: Vec<_> = granted.map(|(slot, _, entry)| (entry.position.deadline, slot)).collect();
        granted.sort_unstable();
        granted.into_iter().map(|(_, slot)| self.id(slot)).collect()
    }

    /// The first positions in a queue, for the invariants.
    #[cfg(any(test, debug_assertions, feature = "testing"))]
    pub(crate) fn front(&self, kind: WaitKind, most: usize) -> Vec<QueuePosition> {
        self.queues[kind as usize].iter(&self.entries).take(most).map(|slot| self.entries.at(slot).position).collect()
    }

    /// Frees the slot of a waiter that is out of its queue.
    fn remove(&mut self, slot: u32) -> Option<WaitEnd<N>> {
        self.disarm(slot);
        match self.entries.remove(slot)?.state {
            EntryState::Ended(end) => Some(end),
            EntryState::Queued => None,
        }
    }

    fn id(&self, slot: u32) -> WaiterId {
        WaiterId::new(slot, self.entries.generation(slot))
    }

    fn find(&self, id: WaiterId) -> Option<&Entry<N>> {
        self.entries.get(id.slot(), id.generation())
    }

    fn deadline(&self, slot: u32) -> Instant {
        self.entries.at(slot).position.deadline
    }

    /// The soonest deadline, wherever it is kept; where two are alike, the one in the list.
    fn first_deadline(&self) -> Option<(Instant, u32)> {
        let in_turn = self.deadlines.first().map(|slot| (self.deadline(slot), slot));
        let out_of_turn = self.out_of_turn.first().copied();
        match (in_turn, out_of_turn) {
            (Some(one), Some(other)) => Some(if other.0 < one.0 { other } else { one }),
            (one, other) => one.or(other),
        }
    }

    fn arm(&mut self, slot: u32, at: Instant) {
        let in_turn = self.deadlines.last().is_none_or(|latest| self.deadline(latest) <= at);
        if in_turn {
            self.deadlines.push_back(&mut self.entries, slot);
        } else {
            self.out_of_turn.insert((at, slot));
        }
        self.entries.at_mut(slot).deadline_in = if in_turn { DeadlineIn::List } else { DeadlineIn::Tree };
    }

    fn disarm(&mut self, slot: u32) {
        match std::mem::replace(&mut self.entries.at_mut(slot).deadline_in, DeadlineIn::Nothing) {
            DeadlineIn::Nothing => {}
            DeadlineIn::List => self.deadlines.remove(&mut self.entries, slot),
            DeadlineIn::Tree => {
                self.out_of_turn.remove(&(self.deadline(slot), slot));
            }
        }
    }

    /// Puts a waiter between its neighbours by arrival; one that takes an old position is near the head.
    fn link(&mut self, slot: u32) {
        let Entry { kind, position, .. } = self.entries.at(slot);
        let (kind, arrival) = (*kind as usize, position.arrival);
        self.queues[kind].insert_before(&mut self.entries, slot, |other| other.position.arrival >= arrival);
        self.lengths[kind] += 1;
    }

    fn unlink(&mut self, slot: u32) {
        let kind = self.entries.at(slot).kind as usize;
        self.queues[kind].remove(&mut self.entries, slot);
        self.lengths[kind] -= 1;
    }
}
