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

/// What is waited for. Each want has a line of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// A connection.
    Loan,
    /// The node's pools filled to their minimum for the first time.
    Warm,
    /// A closing pool without any connection left.
    Drained,
}

const WANTS: usize = 3;

/// A place in line, kept by its owner so that it can take it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The order of arrival: lower is served first.
    pub(crate) arrival: u64,
    /// Since when it waits.
    pub(crate) since: Instant,
    /// When it must be told.
    pub(crate) deadline: Instant,
}

/// A place in the table of waiters, one number up: so that "none" takes no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Seat(NonZeroU32);

impl Seat {
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
pub(crate) enum End<N> {
    /// With this connection, which is parked until it is collected.
    Granted(ConnId),
    /// With news.
    Told(N),
}

#[derive(Debug)]
enum Wait<N> {
    /// In line, between two neighbours.
    Queued { before: Option<Seat>, behind: Option<Seat> },
    /// Ended, and not collected yet.
    Ended(End<N>),
    /// Nobody is here, or is on the way from one state to the next.
    Vacant,
}

/// Kept small: there may be a hundred thousand of them.
#[derive(Debug)]
struct Waiter<N> {
    generation: u32,
    want: Want,
    timing: Timing,
    place: Place,
    wait: Wait<N>,
}

/// Where a waiter's deadline is kept.
#[derive(Clone, Copy, Debug)]
enum Timing {
    /// It has none any more.
    Over,
    /// Between two neighbours whose deadlines are no later and no sooner.
    InTurn { sooner: Option<Seat>, later: Option<Seat> },
    /// In the tree: it came after a deadline that is later.
    OutOfTurn,
}

#[derive(Clone, Copy, Debug, Default)]
struct Queue {
    head: Option<Seat>,
    tail: Option<Seat>,
    len: usize,
}

/// First in, first out; each waiter can also leave from anywhere. Join, leave and serve cost O(1) while deadlines come in
/// the order of arrival, as they do when all callers wait equally long, and O(log n) for those that do not.
#[derive(Debug)]
pub(crate) struct Line<N> {
    waiters: Vec<Waiter<N>>,
    free: Vec<u32>,
    queues: [Queue; WANTS],
    /// The ends of the list of deadlines that are in turn.
    soonest: Option<Seat>,
    latest: Option<Seat>,
    out_of_turn: BTreeSet<(Instant, u32)>,
    arrivals: u64,
}

/// A table that is full grows by a quarter: doubling would leave half of a large one unused.
fn grow<T>(table: &mut Vec<T>) {
    if table.len() == table.capacity() {
        table.reserve_exact((table.len() / 4).max(16));
    }
}

impl<N> Line<N> {
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

    pub(crate) fn len(&self, want: Want) -> usize {
        self.queues[want as usize].len
    }

    pub(crate) fn is_empty(&self, want: Want) -> bool {
        self.queues[want as usize].head.is_none()
    }

    /// Joins the end of the line.
    pub(crate) fn join(&mut self, want: Want, now: Instant, deadline: Instant) -> WaiterId {
        self.arrivals += 1;
        let (seat, id) = self.sit_down(want, Place { arrival: self.arrivals, since: now, deadline });
        self.append(want, seat);
        self.arm(seat, deadline);
        id
    }

    /// Takes an old place again: before all who came later.
    pub(crate) fn rejoin(&mut self, want: Want, place: Place) -> WaiterId {
        let (seat, id) = self.sit_down(want, place);
        self.link(seat);
        self.arm(seat, place.deadline);
        id
    }

    /// Takes a free seat; its waiter is not in line yet.
    fn sit_down(&mut self, want: Want, place: Place) -> (Seat, WaiterId) {
        let slot = self.free.pop().unwrap_or_else(|| {
            let slot = u32::try_from(self.waiters.len()).expect("a line is bounded far below 2^32 by max_waiters");
            grow(&mut self.waiters);
            self.waiters.push(Waiter { generation: 0, want, timing: Timing::Over, place, wait: Wait::Vacant });
            slot
        });
        let waiter = &mut self.waiters[slot as usize];
        waiter.want = want;
        waiter.place = place;
        (Seat::of(slot), WaiterId { slot, generation: waiter.generation })
    }

    /// Whoever is to be served next.
    pub(crate) fn head(&self, want: Want) -> Option<WaiterId> {
        self.queues[want as usize].head.map(|seat| self.id(seat))
    }

    /// The place of a waiter that is in line or has not collected how its wait ended.
    pub(crate) fn place(&self, id: WaiterId) -> Option<Place> {
        self.find(id).map(|waiter| waiter.place)
    }

    /// Since when those wait who are in line behind the first `skip`, as many as there is room for; the rest of `since` is
    /// filled with the last.
    pub(crate) fn tell_since(&self, want: Want, skip: usize, since: &mut [Instant]) {
        let mut next = self.queues[want as usize].head;
        for _ in 0..skip {
            next = next.and_then(|seat| self.neighbours(seat).1);
        }
        let mut last = Instant::ZERO;
        for since in since {
            if let Some(seat) = next {
                last = self.waiters[seat.index()].place.since;
                next = self.neighbours(seat).1;
            }
            *since = last;
        }
    }

    /// Takes a waiter out of line and gives it a connection that it may keep until its deadline.
    pub(crate) fn grant(&mut self, id: WaiterId, conn: ConnId) {
        self.unlink(Seat::of(id.slot));
        self.waiters[id.slot as usize].wait = Wait::Ended(End::Granted(conn));
    }

    /// Takes a waiter out of line, or a grant back from it, and tells it the news; returns the grant.
    pub(crate) fn tell(&mut self, id: WaiterId, news: N) -> Option<ConnId> {
        let seat = Seat::of(id.slot);
        self.disarm(seat);
        if let Wait::Queued { .. } = self.waiters[seat.index()].wait {
            self.unlink(seat);
        }
        match std::mem::replace(&mut self.waiters[seat.index()].wait, Wait::Ended(End::Told(news))) {
            Wait::Ended(End::Granted(conn)) => Some(conn),
            Wait::Ended(End::Told(_)) | Wait::Queued { .. } | Wait::Vacant => None,
        }
    }

    /// Takes a grant back and puts the waiter into its old place in line.
    pub(crate) fn take_back(&mut self, id: WaiterId) -> Option<ConnId> {
        match self.find(id)?.wait {
            Wait::Ended(End::Granted(conn)) => {
                self.link(Seat::of(id.slot));
                Some(conn)
            }
            Wait::Ended(End::Told(_)) | Wait::Queued { .. } | Wait::Vacant => None,
        }
    }

    /// Collects how a wait ended, if it has; the waiter is then gone.
    pub(crate) fn collect(&mut self, id: WaiterId) -> Option<(End<N>, Place)> {
        let waiter = self.find(id)?;
        let place = waiter.place;
        match waiter.wait {
            Wait::Ended(_) => self.vacate(Seat::of(id.slot)).map(|end| (end, place)),
            Wait::Queued { .. } | Wait::Vacant => None,
        }
    }

    /// The waiter is gone, in whatever state it was; returns how its wait ended if it did not collect that.
    pub(crate) fn leave(&mut self, id: WaiterId) -> Option<End<N>> {
        self.find(id)?;
        let seat = Seat::of(id.slot);
        if let Wait::Queued { .. } = self.waiters[seat.index()].wait {
            self.unlink(seat);
        }
        self.vacate(seat)
    }

    /// The same for a waiter that is still in line; false if it is not, and then nothing has changed.
    pub(crate) fn leave_queue(&mut self, id: WaiterId) -> bool {
        let queued = self.find(id).is_some_and(|waiter| matches!(waiter.wait, Wait::Queued { .. }));
        if queued {
            self.unlink(Seat::of(id.slot));
            self.vacate(Seat::of(id.slot));
        }
        queued
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.first_deadline().map(|(at, _)| at)
    }

    /// A waiter whose deadline has come, if any; the caller must tell it.
    pub(crate) fn due(&self, now: Instant) -> Option<(WaiterId, Want)> {
        let (at, seat) = self.first_deadline()?;
        (at <= now).then(|| (self.id(seat), self.waiters[seat.index()].want))
    }

    /// Waiters that hold a grant which they have not collected, those with the sooner deadline first.
    pub(crate) fn granted(&self) -> Vec<WaiterId> {
        let is_granted = |waiter: &Waiter<N>| matches!(waiter.wait, Wait::Ended(End::Granted(_)));
        let granted = self.waiters.iter().enumerate().filter(|(_, waiter)| is_granted(waiter));
        let mut granted: Vec<_> = granted.map(|(slot, waiter)| (waiter.place.deadline, slot as u32)).collect();
        granted.sort_unstable();
        granted.into_iter().map(|(_, slot)| self.id(Seat::of(slot))).collect()
    }

    /// The first places in line, for the invariants.
    #[cfg(any(test, debug_assertions, feature = "testing"))]
    pub(crate) fn front(&self, want: Want, most: usize) -> Vec<Place> {
        let mut places = Vec::new();
        let mut next = self.queues[want as usize].head;
        while let Some(seat) = next
            && places.len() < most
        {
            let waiter = &self.waiters[seat.index()];
            places.push(waiter.place);
            next = match waiter.wait {
                Wait::Queued { behind, .. } => behind,
                Wait::Ended(_) | Wait::Vacant => None,
            };
        }
        places
    }

    /// Frees the seat of a waiter that is out of its queue.
    fn vacate(&mut self, seat: Seat) -> Option<End<N>> {
        self.disarm(seat);
        let waiter = &mut self.waiters[seat.index()];
        waiter.generation = waiter.generation.wrapping_add(1);
        let wait = std::mem::replace(&mut waiter.wait, Wait::Vacant);
        grow(&mut self.free);
        self.free.push(seat.slot());
        match wait {
            Wait::Ended(end) => Some(end),
            Wait::Queued { .. } | Wait::Vacant => None,
        }
    }

    fn id(&self, seat: Seat) -> WaiterId {
        WaiterId { slot: seat.slot(), generation: self.waiters[seat.index()].generation }
    }

    fn find(&self, id: WaiterId) -> Option<&Waiter<N>> {
        self.waiters
            .get(id.slot as usize)
            .filter(|waiter| waiter.generation == id.generation && !matches!(waiter.wait, Wait::Vacant))
    }

    fn deadline(&self, seat: Seat) -> Instant {
        self.waiters[seat.index()].place.deadline
    }

    /// The soonest deadline, wherever it is kept; where two are alike, the one in turn.
    fn first_deadline(&self) -> Option<(Instant, Seat)> {
        let in_turn = self.soonest.map(|seat| (self.deadline(seat), seat));
        let out_of_turn = self.out_of_turn.first().map(|(at, slot)| (*at, Seat::of(*slot)));
        match (in_turn, out_of_turn) {
            (Some(one), Some(other)) => Some(if other.0 < one.0 { other } else { one }),
            (one, other) => one.or(other),
        }
    }

    fn arm(&mut self, seat: Seat, at: Instant) {
        let timing = match self.latest {
            Some(latest) if at < self.deadline(latest) => {
                self.out_of_turn.insert((at, seat.slot()));
                Timing::OutOfTurn
            }
            sooner => {
                self.set_later(sooner, Some(seat));
                self.latest = Some(seat);
                Timing::InTurn { sooner, later: None }
            }
        };
        self.waiters[seat.index()].timing = timing;
    }

    fn disarm(&mut self, seat: Seat) {
        match std::mem::replace(&mut self.waiters[seat.index()].timing, Timing::Over) {
            Timing::Over => {}
            Timing::InTurn { sooner, later } => {
                self.set_later(sooner, later);
                self.set_sooner(later, sooner);
            }
            Timing::OutOfTurn => {
                self.out_of_turn.remove(&(self.deadline(seat), seat.slot()));
            }
        }
    }

    fn set_later(&mut self, of: Option<Seat>, to: Option<Seat>) {
        match of {
            None => self.soonest = to,
            Some(seat) => {
                if let Timing::InTurn { later, .. } = &mut self.waiters[seat.index()].timing {
                    *later = to;
                }
            }
        }
    }

    fn set_sooner(&mut self, of: Option<Seat>, to: Option<Seat>) {
        match of {
            None => self.latest = to,
            Some(seat) => {
                if let Timing::InTurn { sooner, .. } = &mut self.waiters[seat.index()].timing {
                    *sooner = to;
                }
            }
        }
    }

    /// Puts a waiter at the end of its queue.
    fn append(&mut self, want: Want, seat: Seat) {
        let before = self.queues[want as usize].tail;
        self.waiters[seat.index()].wait = Wait::Queued { before, behind: None };
        self.set_behind(want, before, Some(seat));
        let queue = &mut self.queues[want as usize];
        queue.tail = Some(seat);
        queue.len += 1;
    }

    /// Puts a waiter between its neighbours by arrival; whoever takes an old place is near the head.
    fn link(&mut self, seat: Seat) {
        let Waiter { want, place, .. } = self.waiters[seat.index()];
        let (mut before, mut behind) = (None, self.queues[want as usize].head);
        while let Some(other) = behind.filter(|other| self.waiters[other.index()].place.arrival < place.arrival) {
            before = Some(other);
            behind = self.neighbours(other).1;
        }
        self.waiters[seat.index()].wait = Wait::Queued { before, behind };
        self.set_behind(want, before, Some(seat));
        self.set_before(want, behind, Some(seat));
        self.queues[want as usize].len += 1;
    }

    fn unlink(&mut self, seat: Seat) {
        let want = self.waiters[seat.index()].want;
        let (before, behind) = self.neighbours(seat);
        self.set_behind(want, before, behind);
        self.set_before(want, behind, before);
        self.queues[want as usize].len -= 1;
        self.waiters[seat.index()].wait = Wait::Vacant;
    }

    fn neighbours(&self, seat: Seat) -> (Option<Seat>, Option<Seat>) {
        match self.waiters[seat.index()].wait {
            Wait::Queued { before, behind } => (before, behind),
            Wait::Ended(_) | Wait::Vacant => unreachable!("only those in line have neighbours"),
        }
    }

    fn set_behind(&mut self, want: Want, of: Option<Seat>, to: Option<Seat>) {
        match of {
            None => self.queues[want as usize].head = to,
            Some(seat) => {
                if let Wait::Queued { behind, .. } = &mut self.waiters[seat.index()].wait {
                    *behind = to;
                }
            }
        }
    }

    fn set_before(&mut self, want: Want, of: Option<Seat>, to: Option<Seat>) {
        match of {
            None => self.queues[want as usize].tail = to,
            Some(seat) => {
                if let Wait::Queued { before, .. } = &mut self.waiters[seat.index()].wait {
                    *before = to;
                }
            }
        }
    }
}
