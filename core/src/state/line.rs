//! The condition variable as a value: who waits, in which order, until when, and what became of it.

use std::collections::BTreeSet;

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

#[derive(Debug)]
enum Wait<O> {
    /// In line, between two neighbours.
    Queued { before: Option<u32>, behind: Option<u32> },
    /// Has an outcome, not collected yet.
    Decided(O),
    /// Nobody is here, or is on the way from one state to the next.
    Vacant,
}

#[derive(Debug)]
struct Waiter<O> {
    generation: u32,
    want: Want,
    place: Place,
    wait: Wait<O>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Queue {
    head: Option<u32>,
    tail: Option<u32>,
    len: usize,
}

/// First in, first out; each waiter can also leave from anywhere. Join, leave and serve cost O(log n) for the table of
/// deadlines and O(1) for all else.
#[derive(Debug)]
pub(crate) struct Line<O> {
    waiters: Vec<Waiter<O>>,
    free: Vec<u32>,
    queues: [Queue; WANTS],
    by_deadline: BTreeSet<(Instant, u32)>,
    arrivals: u64,
}

impl<O> Line<O> {
    pub(crate) fn new() -> Self {
        Self {
            waiters: Vec::new(),
            free: Vec::new(),
            queues: [Queue::default(); WANTS],
            by_deadline: BTreeSet::new(),
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
        self.rejoin(want, Place { arrival: self.arrivals, since: now, deadline })
    }

    /// Takes an old place again: before all who came later.
    pub(crate) fn rejoin(&mut self, want: Want, place: Place) -> WaiterId {
        let slot = self.free.pop().unwrap_or_else(|| {
            let slot = u32::try_from(self.waiters.len()).expect("a line is bounded far below 2^32 by max_waiters");
            self.waiters.push(Waiter { generation: 0, want, place, wait: Wait::Vacant });
            slot
        });
        let waiter = &mut self.waiters[slot as usize];
        waiter.want = want;
        waiter.place = place;
        let generation = waiter.generation;
        self.link(slot);
        self.by_deadline.insert((place.deadline, slot));
        WaiterId { slot, generation }
    }

    /// Whoever is to be served next.
    pub(crate) fn head(&self, want: Want) -> Option<WaiterId> {
        let slot = self.queues[want as usize].head?;
        Some(WaiterId { slot, generation: self.waiters[slot as usize].generation })
    }

    /// The place of a waiter that is in line or has an outcome.
    pub(crate) fn place(&self, id: WaiterId) -> Option<Place> {
        self.find(id).map(|waiter| waiter.place)
    }

    /// Takes a waiter out of line and gives it what it may keep until its deadline.
    pub(crate) fn grant(&mut self, id: WaiterId, outcome: O) {
        self.unlink(id.slot);
        self.waiters[id.slot as usize].wait = Wait::Decided(outcome);
    }

    /// Takes a waiter out of line, or a grant back from it, and tells it its final outcome; returns the grant.
    pub(crate) fn tell(&mut self, id: WaiterId, outcome: O) -> Option<O> {
        let deadline = self.waiters[id.slot as usize].place.deadline;
        self.by_deadline.remove(&(deadline, id.slot));
        if let Wait::Queued { .. } = self.waiters[id.slot as usize].wait {
            self.unlink(id.slot);
        }
        match std::mem::replace(&mut self.waiters[id.slot as usize].wait, Wait::Decided(outcome)) {
            Wait::Decided(grant) => Some(grant),
            Wait::Queued { .. } | Wait::Vacant => None,
        }
    }

    /// Takes a grant back and puts the waiter into its old place in line.
    pub(crate) fn take_back(&mut self, id: WaiterId) -> Option<O> {
        self.find(id)?;
        let waiter = &mut self.waiters[id.slot as usize];
        match std::mem::replace(&mut waiter.wait, Wait::Vacant) {
            Wait::Decided(grant) => {
                self.link(id.slot);
                Some(grant)
            }
            queued @ (Wait::Queued { .. } | Wait::Vacant) => {
                waiter.wait = queued;
                None
            }
        }
    }

    /// Collects an outcome, if there is one; the waiter is then gone.
    pub(crate) fn collect(&mut self, id: WaiterId) -> Option<O> {
        match self.find(id)?.wait {
            Wait::Decided(_) => self.leave(id),
            Wait::Queued { .. } | Wait::Vacant => None,
        }
    }

    /// The waiter is gone, in whatever state it was; returns the outcome that it did not collect.
    pub(crate) fn leave(&mut self, id: WaiterId) -> Option<O> {
        let place = self.find(id)?.place;
        self.by_deadline.remove(&(place.deadline, id.slot));
        if let Wait::Queued { .. } = self.waiters[id.slot as usize].wait {
            self.unlink(id.slot);
        }
        let waiter = &mut self.waiters[id.slot as usize];
        waiter.generation = waiter.generation.wrapping_add(1);
        self.free.push(id.slot);
        match std::mem::replace(&mut waiter.wait, Wait::Vacant) {
            Wait::Decided(outcome) => Some(outcome),
            Wait::Queued { .. } | Wait::Vacant => None,
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.by_deadline.first().map(|(at, _)| *at)
    }

    /// A waiter whose deadline has come, if any; the caller must tell it.
    pub(crate) fn due(&self, now: Instant) -> Option<(WaiterId, Want)> {
        let (at, slot) = *self.by_deadline.first()?;
        let waiter = &self.waiters[slot as usize];
        (at <= now).then_some((WaiterId { slot, generation: waiter.generation }, waiter.want))
    }

    /// Waiters that hold a grant which they have not collected.
    pub(crate) fn granted(&self) -> Vec<WaiterId> {
        self.by_deadline
            .iter()
            .filter(|(_, slot)| matches!(self.waiters[*slot as usize].wait, Wait::Decided(_)))
            .map(|(_, slot)| WaiterId { slot: *slot, generation: self.waiters[*slot as usize].generation })
            .collect()
    }

    /// The first places in line, for the invariants.
    #[cfg(any(test, debug_assertions, feature = "testing"))]
    pub(crate) fn front(&self, want: Want, most: usize) -> Vec<Place> {
        let mut places = Vec::new();
        let mut next = self.queues[want as usize].head;
        while let Some(slot) = next
            && places.len() < most
        {
            let waiter = &self.waiters[slot as usize];
            places.push(waiter.place);
            next = match waiter.wait {
                Wait::Queued { behind, .. } => behind,
                Wait::Decided(_) | Wait::Vacant => None,
            };
        }
        places
    }

    fn find(&self, id: WaiterId) -> Option<&Waiter<O>> {
        self.waiters
            .get(id.slot as usize)
            .filter(|waiter| waiter.generation == id.generation && !matches!(waiter.wait, Wait::Vacant))
    }

    /// Puts a waiter between its neighbours by arrival; from the end that is usually the right one.
    fn link(&mut self, slot: u32) {
        let Waiter { want, place, .. } = self.waiters[slot as usize];
        let queue = self.queues[want as usize];
        let later_than = |other: u32| self.waiters[other as usize].place.arrival > place.arrival;
        let (mut before, mut behind) = (queue.tail, None);
        if queue.head.is_some_and(later_than) {
            (before, behind) = (None, queue.head);
        } else {
            while let Some(other) = before.filter(|other| later_than(*other)) {
                behind = Some(other);
                before = self.neighbours(other).0;
            }
        }
        self.waiters[slot as usize].wait = Wait::Queued { before, behind };
        self.set_behind(want, before, Some(slot));
        self.set_before(want, behind, Some(slot));
        self.queues[want as usize].len += 1;
    }

    fn unlink(&mut self, slot: u32) {
        let want = self.waiters[slot as usize].want;
        let (before, behind) = self.neighbours(slot);
        self.set_behind(want, before, behind);
        self.set_before(want, behind, before);
        self.queues[want as usize].len -= 1;
        self.waiters[slot as usize].wait = Wait::Vacant;
    }

    fn neighbours(&self, slot: u32) -> (Option<u32>, Option<u32>) {
        match self.waiters[slot as usize].wait {
            Wait::Queued { before, behind } => (before, behind),
            Wait::Decided(_) | Wait::Vacant => unreachable!("only those in line have neighbours"),
        }
    }

    fn set_behind(&mut self, want: Want, slot: Option<u32>, to: Option<u32>) {
        match slot {
            None => self.queues[want as usize].head = to,
            Some(slot) => {
                if let Wait::Queued { behind, .. } = &mut self.waiters[slot as usize].wait {
                    *behind = to;
                }
            }
        }
    }

    fn set_before(&mut self, want: Want, slot: Option<u32>, to: Option<u32>) {
        match slot {
            None => self.queues[want as usize].tail = to,
            Some(slot) => {
                if let Wait::Queued { before, .. } = &mut self.waiters[slot as usize].wait {
                    *before = to;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    fn arrivals(line: &Line<u32>) -> Vec<u64> {
        line.front(Want::Loan, usize::MAX).iter().map(|place| place.arrival).collect()
    }

    #[test]
    fn waiters_leave_from_anywhere_and_the_rest_keeps_its_order() {
        let mut line = Line::<u32>::new();
        let ids: Vec<_> = (0..5).map(|n| line.join(Want::Loan, at(n), at(100))).collect();
        assert_eq!(line.leave(ids[2]), None);
        assert_eq!(line.leave(ids[0]), None);
        assert_eq!(line.leave(ids[4]), None);
        assert_eq!(arrivals(&line), [2, 4]);
        assert_eq!(line.head(Want::Loan), Some(ids[1]));
        assert_eq!(line.len(Want::Loan), 2);
    }

    #[test]
    fn a_grant_taken_back_restores_the_old_place() {
        let mut line = Line::<u32>::new();
        let first = line.join(Want::Loan, at(0), at(100));
        let second = line.join(Want::Loan, at(1), at(100));
        let third = line.join(Want::Loan, at(2), at(100));
        line.grant(first, 11);
        line.grant(second, 22);
        assert_eq!(line.take_back(second), Some(22));
        assert_eq!(line.take_back(first), Some(11));
        assert_eq!(arrivals(&line), [1, 2, 3]);
        assert_eq!(line.take_back(third), None);
    }

    #[test]
    fn an_old_identity_does_not_reach_the_next_waiter_in_its_slot() {
        let mut line = Line::<u32>::new();
        let old = line.join(Want::Loan, at(0), at(100));
        line.leave(old);
        let new = line.join(Want::Loan, at(0), at(100));
        assert_eq!(old.slot, new.slot);
        line.grant(new, 5);
        assert_eq!(line.collect(old), None);
        assert_eq!(line.leave(old), None);
        assert_eq!(line.collect(new), Some(5));
    }

    #[test]
    fn deadlines_come_in_order_of_time_and_a_told_waiter_has_none() {
        let mut line = Line::<u32>::new();
        let late = line.join(Want::Loan, at(0), at(300));
        let soon = line.join(Want::Loan, at(0), at(200));
        assert_eq!(line.next_deadline(), Some(at(200)));
        assert_eq!(line.due(at(199)), None);
        assert_eq!(line.due(at(200)), Some((soon, Want::Loan)));
        assert_eq!(line.tell(soon, 1), None);
        assert_eq!(line.next_deadline(), Some(at(300)));
        line.grant(late, 9);
        assert_eq!(line.granted(), [late]);
        assert_eq!(line.tell(late, 2), Some(9), "a grant that nobody collected is taken back");
        assert_eq!(line.collect(late), Some(2));
        assert_eq!(line.next_deadline(), None);
    }
}
