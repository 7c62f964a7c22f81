//! The condition variable as a value: who waits, in which order, until when, and what became of it.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use crate::state::token::ConnId;
use crate::time::Instant;

/// Which waiter: a place in the table and how often that place has been reused. An identity, not a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WaiterId {
    pub(crate) slot: u32,
    generation: u32,
}

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

const WANTS: usize = 3;

/// A place in the queue, kept by its owner so that it can take it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueuePosition {
    /// The order of arrival: lower is served first.
    pub(crate) arrival: u64,
    /// Since when it waits.
    pub(crate) since: Instant,
    /// When it must be told.
    pub(crate) deadline: Instant,
}

/// A place in the table of waiters, one number up: so that "none" takes no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct EntryIndex(NonZeroU32);

impl EntryIndex {
    fn of(slot: u32) -> Self {
        Self(NonZeroU32::MIN.saturating_add(slot))
    }

    fn slot(self) -> u32 {
        self.0.get() - 1
    }

    fn index(self) -> usize {
        self.slot() as usize
    }
}

/// How a wait ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum WaitEnd<N> {
    /// With this connection, which is parked until it is collected.
    Granted(ConnId),
    /// With a result.
    Told(N),
}

#[derive(Debug)]
enum EntryState<N> {
    /// In line, between two neighbours.
    Queued { before: Option<EntryIndex>, behind: Option<EntryIndex> },
    /// Ended, and not collected yet.
    Ended(WaitEnd<N>),
    /// Nobody is here, or is on the way from one state to the next.
    Vacant,
}

/// Kept small: there may be a hundred thousand of them.
#[derive(Debug)]
struct Entry<N> {
    generation: u32,
    want: WaitKind,
    timing: DeadlineLink,
    place: QueuePosition,
    wait: EntryState<N>,
}

/// Where a waiter's deadline is kept.
#[derive(Clone, Copy, Debug)]
enum DeadlineLink {
    /// It has none any more.
    Over,
    /// Between two neighbours whose deadlines are no later and no sooner.
    InTurn { sooner: Option<EntryIndex>, later: Option<EntryIndex> },
    /// In the tree: it came after a deadline that is later.
    OutOfTurn,
}

#[derive(Clone, Copy, Debug, Default)]
struct Queue {
    head: Option<EntryIndex>,
    tail: Option<EntryIndex>,
    len: usize,
}

/// First in, first out; each waiter can also leave from anywhere. Join, leave and serve cost O(1) while deadlines come in
/// the order of arrival, as they do when all callers wait equally long, and O(log n) for those that do not.
#[derive(Debug)]
pub(crate) struct WaitQueue<N> {
    waiters: Vec<Entry<N>>,
    free: Vec<u32>,
    queues: [Queue; WANTS],
    /// The ends of the list of deadlines that are in turn.
    soonest: Option<EntryIndex>,
    latest: Option<EntryIndex>,
    out_of_turn: BTreeSet<(Instant, u32)>,
    arrivals: u64,
}

/// A table that is full grows by a quarter: doubling would leave half of a large one unused.
fn grow<T>(table: &mut Vec<T>) {
    if table.len() == table.capacity() {
        table.reserve_exact((table.len() / 4).max(16));
    }
}

impl<N> WaitQueue<N> {
    pub(crate) fn new() -> Self {
        Self {
            waiters: Vec::new(),
            free: Vec::new(),
            queues: [Queue::default(); WANTS],
            soonest: None,
            latest: None,
            out_of_turn: BTreeSet::new(),
            arrivals: 0,
        }
    }

    pub(crate) fn len(&self, want: WaitKind) -> usize {
        self.queues[want as usize].len
    }

    pub(crate) fn is_empty(&self, want: WaitKind) -> bool {
        self.queues[want as usize].head.is_none()
    }

    /// Joins the end of the queue.
    pub(crate) fn join(&mut self, want: WaitKind, now: Instant, deadline: Instant) -> WaiterId {
        self.arrivals += 1;
        let (entry, id) = self.insert(want, QueuePosition { arrival: self.arrivals, since: now, deadline });
        self.append(want, entry);
        self.arm(entry, deadline);
        id
    }

    /// Takes an old place again: before all who came later.
    pub(crate) fn rejoin(&mut self, want: WaitKind, place: QueuePosition) -> WaiterId {
        let (entry, id) = self.insert(want, place);
        self.link(entry);
        self.arm(entry, place.deadline);
        id
    }

    /// Takes a free entry; its waiter is not in the queue yet.
    fn insert(&mut self, want: WaitKind, place: QueuePosition) -> (EntryIndex, WaiterId) {
        let slot = self.free.pop().unwrap_or_else(|| {
            let slot = u32::try_from(self.waiters.len()).expect("a queue is bounded far below 2^32 by max_waiters");
            grow(&mut self.waiters);
            self.waiters.push(Entry { generation: 0, want, timing: DeadlineLink::Over, place, wait: EntryState::Vacant });
            slot
        });
        let waiter = &mut self.waiters[slot as usize];
        waiter.want = want;
        waiter.place = place;
        (EntryIndex::of(slot), WaiterId { slot, generation: waiter.generation })
    }

    /// Whoever is to be served next.
    pub(crate) fn head(&self, want: WaitKind) -> Option<WaiterId> {
        self.queues[want as usize].head.map(|entry| self.id(entry))
    }

    /// The place of a waiter that is in the queue or has not collected how its wait ended.
    pub(crate) fn place(&self, id: WaiterId) -> Option<QueuePosition> {
        self.find(id).map(|waiter| waiter.place)
    }

    /// Since when those wait who are in the queue behind the first `skip`, as many as there is room for; the rest of `since` is
    /// filled with the last.
    pub(crate) fn waiting_since(&self, want: WaitKind, skip: usize, since: &mut [Instant]) {
        let mut next = self.queues[want as usize].head;
        for _ in 0..skip {
            next = next.and_then(|entry| self.neighbours(entry).1);
        }
        let mut last = Instant::ZERO;
        for since in since {
            if let Some(entry) = next {
                last = self.waiters[entry.index()].place.since;
                next = self.neighbours(entry).1;
            }
            *since = last;
        }
    }

    /// Takes a waiter out of line and gives it a connection that it may keep until its deadline.
    pub(crate) fn grant(&mut self, id: WaiterId, conn: ConnId) {
        self.unlink(EntryIndex::of(id.slot));
        self.waiters[id.slot as usize].wait = EntryState::Ended(WaitEnd::Granted(conn));
    }

    /// Takes a waiter out of line, or a grant back from it, and ends its wait with this result; returns the grant.
    pub(crate) fn finish(&mut self, id: WaiterId, result: N) -> Option<ConnId> {
        let entry = EntryIndex::of(id.slot);
        self.disarm(entry);
        if let EntryState::Queued { .. } = self.waiters[entry.index()].wait {
            self.unlink(entry);
        }
        match std::mem::replace(&mut self.waiters[entry.index()].wait, EntryState::Ended(WaitEnd::Told(result))) {
            EntryState::Ended(WaitEnd::Granted(conn)) => Some(conn),
            EntryState::Ended(WaitEnd::Told(_)) | EntryState::Queued { .. } | EntryState::Vacant => None,
        }
    }

    /// Takes a grant back and puts the waiter into its old place in the queue.
    pub(crate) fn take_back(&mut self, id: WaiterId) -> Option<ConnId> {
        match self.find(id)?.wait {
            EntryState::Ended(WaitEnd::Granted(conn)) => {
                self.link(EntryIndex::of(id.slot));
                Some(conn)
            }
            EntryState::Ended(WaitEnd::Told(_)) | EntryState::Queued { .. } | EntryState::Vacant => None,
        }
    }

    /// Collects how a wait ended, if it has; the waiter is then gone.
    pub(crate) fn collect(&mut self, id: WaiterId) -> Option<(WaitEnd<N>, QueuePosition)> {
        let waiter = self.find(id)?;
        let place = waiter.place;
        match waiter.wait {
            EntryState::Ended(_) => self.vacate(EntryIndex::of(id.slot)).map(|end| (end, place)),
            EntryState::Queued { .. } | EntryState::Vacant => None,
        }
    }

    /// The waiter is gone, in whatever state it was; returns how its wait ended if it did not collect that.
    pub(crate) fn leave(&mut self, id: WaiterId) -> Option<WaitEnd<N>> {
        self.find(id)?;
        let entry = EntryIndex::of(id.slot);
        if let EntryState::Queued { .. } = self.waiters[entry.index()].wait {
            self.unlink(entry);
        }
        self.vacate(entry)
    }

    /// The same for a waiter that is still in the queue; false if it is not, and then nothing has changed.
    pub(crate) fn leave_queued(&mut self, id: WaiterId) -> bool {
        let queued = self.find(id).is_some_and(|waiter| matches!(waiter.wait, EntryState::Queued { .. }));
        if queued {
            self.unlink(EntryIndex::of(id.slot));
            self.vacate(EntryIndex::of(id.slot));
        }
        queued
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.first_deadline().map(|(at, _)| at)
    }

    /// A waiter whose deadline has come, if any; the caller must tell it.
    pub(crate) fn due(&self, now: Instant) -> Option<(WaiterId, WaitKind)> {
        let (at, entry) = self.first_deadline()?;
        (at <= now).then(|| (self.id(entry), self.waiters[entry.index()].want))
    }

    /// Waiters that hold a grant which they have not collected, those with the sooner deadline first.
    pub(crate) fn granted(&self) -> Vec<WaiterId> {
        let is_granted = |waiter: &Entry<N>| matches!(waiter.wait, EntryState::Ended(WaitEnd::Granted(_)));
        let granted = self.waiters.iter().enumerate().filter(|(_, waiter)| is_granted(waiter));
        let mut granted: Vec<_> = granted.map(|(slot, waiter)| (waiter.place.deadline, slot as u32)).collect();
        granted.sort_unstable();
        granted.into_iter().map(|(_, slot)| self.id(EntryIndex::of(slot))).collect()
    }

    /// The first places in the queue, for the invariants.
    #[cfg(any(test, debug_assertions, feature = "testing"))]
    pub(crate) fn front(&self, want: WaitKind, most: usize) -> Vec<QueuePosition> {
        let mut places = Vec::new();
        let mut next = self.queues[want as usize].head;
        while let Some(entry) = next
            && places.len() < most
        {
            let waiter = &self.waiters[entry.index()];
            places.push(waiter.place);
            next = match waiter.wait {
                EntryState::Queued { behind, .. } => behind,
                EntryState::Ended(_) | EntryState::Vacant => None,
            };
        }
        places
    }

    /// Frees the entry of a waiter that is out of its queue.
    fn vacate(&mut self, entry: EntryIndex) -> Option<WaitEnd<N>> {
        self.disarm(entry);
        let waiter = &mut self.waiters[entry.index()];
        waiter.generation = waiter.generation.wrapping_add(1);
        let wait = std::mem::replace(&mut waiter.wait, EntryState::Vacant);
        grow(&mut self.free);
        self.free.push(entry.slot());
        match wait {
            EntryState::Ended(end) => Some(end),
            EntryState::Queued { .. } | EntryState::Vacant => None,
        }
    }

    fn id(&self, entry: EntryIndex) -> WaiterId {
        WaiterId { slot: entry.slot(), generation: self.waiters[entry.index()].generation }
    }

    fn find(&self, id: WaiterId) -> Option<&Entry<N>> {
        self.waiters
            .get(id.slot as usize)
            .filter(|waiter| waiter.generation == id.generation && !matches!(waiter.wait, EntryState::Vacant))
    }

    fn deadline(&self, entry: EntryIndex) -> Instant {
        self.waiters[entry.index()].place.deadline
    }

    /// The soonest deadline, wherever it is kept; where two are alike, the one in turn.
    fn first_deadline(&self) -> Option<(Instant, EntryIndex)> {
        let in_turn = self.soonest.map(|entry| (self.deadline(entry), entry));
        let out_of_turn = self.out_of_turn.first().map(|(at, slot)| (*at, EntryIndex::of(*slot)));
        match (in_turn, out_of_turn) {
            (Some(one), Some(other)) => Some(if other.0 < one.0 { other } else { one }),
            (one, other) => one.or(other),
        }
    }

    fn arm(&mut self, entry: EntryIndex, at: Instant) {
        let timing = match self.latest {
            Some(latest) if at < self.deadline(latest) => {
                self.out_of_turn.insert((at, entry.slot()));
                DeadlineLink::OutOfTurn
            }
            sooner => {
                self.set_later(sooner, Some(entry));
                self.latest = Some(entry);
                DeadlineLink::InTurn { sooner, later: None }
            }
        };
        self.waiters[entry.index()].timing = timing;
    }

    fn disarm(&mut self, entry: EntryIndex) {
        match std::mem::replace(&mut self.waiters[entry.index()].timing, DeadlineLink::Over) {
            DeadlineLink::Over => {}
            DeadlineLink::InTurn { sooner, later } => {
                self.set_later(sooner, later);
                self.set_sooner(later, sooner);
            }
            DeadlineLink::OutOfTurn => {
                self.out_of_turn.remove(&(self.deadline(entry), entry.slot()));
            }
        }
    }

    fn set_later(&mut self, of: Option<EntryIndex>, to: Option<EntryIndex>) {
        match of {
            None => self.soonest = to,
            Some(entry) => {
                if let DeadlineLink::InTurn { later, .. } = &mut self.waiters[entry.index()].timing {
                    *later = to;
                }
            }
        }
    }

    fn set_sooner(&mut self, of: Option<EntryIndex>, to: Option<EntryIndex>) {
        match of {
            None => self.latest = to,
            Some(entry) => {
                if let DeadlineLink::InTurn { sooner, .. } = &mut self.waiters[entry.index()].timing {
                    *sooner = to;
                }
            }
        }
    }

    /// Puts a waiter at the end of its queue.
    fn append(&mut self, want: WaitKind, entry: EntryIndex) {
        let before = self.queues[want as usize].tail;
        self.waiters[entry.index()].wait = EntryState::Queued { before, behind: None };
        self.set_behind(want, before, Some(entry));
        let queue = &mut self.queues[want as usize];
        queue.tail = Some(entry);
        queue.len += 1;
    }

    /// Puts a waiter between its neighbours by arrival; whoever takes an old place is near the head.
    fn link(&mut self, entry: EntryIndex) {
        let Entry { want, place, .. } = self.waiters[entry.index()];
        let (mut before, mut behind) = (None, self.queues[want as usize].head);
        while let Some(other) = behind.filter(|other| self.waiters[other.index()].place.arrival < place.arrival) {
            before = Some(other);
            behind = self.neighbours(other).1;
        }
        self.waiters[entry.index()].wait = EntryState::Queued { before, behind };
        self.set_behind(want, before, Some(entry));
        self.set_before(want, behind, Some(entry));
        self.queues[want as usize].len += 1;
    }

    fn unlink(&mut self, entry: EntryIndex) {
        let want = self.waiters[entry.index()].want;
        let (before, behind) = self.neighbours(entry);
        self.set_behind(want, before, behind);
        self.set_before(want, behind, before);
        self.queues[want as usize].len -= 1;
        self.waiters[entry.index()].wait = EntryState::Vacant;
    }

    fn neighbours(&self, entry: EntryIndex) -> (Option<EntryIndex>, Option<EntryIndex>) {
        match self.waiters[entry.index()].wait {
            EntryState::Queued { before, behind } => (before, behind),
            EntryState::Ended(_) | EntryState::Vacant => unreachable!("only those in queue have neighbours"),
        }
    }

    fn set_behind(&mut self, want: WaitKind, of: Option<EntryIndex>, to: Option<EntryIndex>) {
        match of {
            None => self.queues[want as usize].head = to,
            Some(entry) => {
                if let EntryState::Queued { behind, .. } = &mut self.waiters[entry.index()].wait {
                    *behind = to;
                }
            }
        }
    }

    fn set_before(&mut self, want: WaitKind, of: Option<EntryIndex>, to: Option<EntryIndex>) {
        match of {
            None => self.queues[want as usize].tail = to,
            Some(entry) => {
                if let EntryState::Queued { before, .. } = &mut self.waiters[entry.index()].wait {
                    *before = to;
                }
            }
        }
    }
}
