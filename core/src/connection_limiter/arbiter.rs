//! Which node may have how many of a total: plain numbers in, plain numbers out; no lock, no clock, no waker.
//!
//! What each node may have (its *quota*) is never less than what it has, and all of them together never exceed the
//! total. What is left goes to nodes below their floor first, then to callers in the order in which they have waited, then
//! to dials that no caller waits for. When nothing is left and a node is *short*, nodes above their floor are asked for
//! what idles there; connections that are being closed anyway count as on their way.

use std::collections::{BTreeMap, BTreeSet};

use crate::state::quota::{Demand, Quota, REPORTED_WAITS, SharingMode};
use crate::time::Instant;

/// Which node, in the order of joining.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MemberId(u64);

/// For whose sake a node has been asked to give up what idles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum YieldRequest {
    None,
    Callers,
    Floors,
}

#[derive(Debug)]
struct Member {
    /// What it may have.
    most: usize,
    /// What it said last.
    demand: Demand,
    asked: YieldRequest,
}

/// What is kept of all members together, so that it need not be counted anew each time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    /// Members with a floor.
    open: usize,
    /// Connections that members have.
    taken: usize,
    /// Connections that members may have.
    allotted: usize,
    /// What members lack to their floor.
    owed: usize,
    /// What callers lack beyond that.
    callers: usize,
    /// What is wished for besides.
    more: usize,
    /// Connections being closed of which their node has no claim to the place.
    coming: usize,
}

/// The answer to a report.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct QuotaGrant {
    pub(crate) quota: Quota,
    /// Others that have a new quota waiting for them.
    pub(crate) nudged: BTreeSet<MemberId>,
}

#[derive(Debug)]
pub(crate) struct Arbiter {
    limit: usize,
    floor: usize,
    /// In the order of joining, so that a run in virtual time repeats.
    members: BTreeMap<MemberId, Member>,
    joined: u64,
    sums: Sums,
}

impl Arbiter {
    pub(crate) fn new(limit: usize, floor: usize) -> Self {
        Self { limit, floor, members: BTreeMap::new(), joined: 0, sums: Sums::default() }
    }

    /// Connections that all nodes have.
    pub(crate) fn taken(&self) -> usize {
        self.sums.taken
    }

    /// Nodes that have a floor.
    pub(crate) fn open(&self) -> usize {
        self.sums.open
    }

    /// A node joins; it has its floor from now on, as soon as the others have left it. None if their floors leave none.
    pub(crate) fn join(&mut self) -> Option<MemberId> {
        let floors = (self.sums.open + 1).checked_mul(self.floor)?;
        if floors > self.limit {
            return None;
        }
        self.joined += 1;
        let id = MemberId(self.joined);
        let member = Member { most: 0, demand: Demand::UNKNOWN, asked: YieldRequest::None };
        self.sums.add(&member.sums(self.floor));
        self.members.insert(id, member);
        Some(id)
    }

    /// A node is no more. Says which nodes have a new quota.
    pub(crate) fn leave(&mut self, id: MemberId) -> BTreeSet<MemberId> {
        if let Some(member) = self.members.remove(&id) {
            self.sums.subtract(&member.sums(self.floor));
        }
        let mut nudged = BTreeSet::new();
        self.distribute(&mut nudged);
        self.assert_invariants();
        nudged
    }

    /// Takes what a node has and would have, and returns what it may have.
    pub(crate) fn report(&mut self, id: MemberId, demand: Demand) -> QuotaGrant {
        let floor = self.floor;
        let mut nudged = BTreeSet::new();
        self.change(id, |member| {
            member.demand = demand;
            // What it has no need for at the moment goes to others, first of all to the caller that has waited longest.
            member.most = member.most.min(demand.total.max(member.floor(floor)));
        });
        self.distribute(&mut nudged);
        let give = self.collect(id, &mut nudged);
        nudged.remove(&id);
        self.assert_invariants();
        let member = &self.members[&id];
        let mode = match member.asked {
            YieldRequest::Floors => SharingMode::Yielding,
            YieldRequest::Callers => SharingMode::Contended,
            YieldRequest::None if member.callers(floor) > 0 => SharingMode::Contended,
            YieldRequest::None => SharingMode::Unshared,
        };
        QuotaGrant { quota: Quota { most: member.most, floor: member.floor(floor), give, mode }, nudged }
    }

    /// Hands out what is left.
    fn distribute(&mut self, nudged: &mut BTreeSet<MemberId>) {
        while self.sums.allotted < self.limit
            && let Some(next) = self.next_served()
        {
            self.change(next, |member| member.most += 1);
            nudged.insert(next);
        }
    }

    /// Whose turn it is: floors in the order of joining, callers in the order in which they began to wait, and of the rest
    /// the node with the fewest.
    fn next_served(&self) -> Option<MemberId> {
        let floor = self.floor;
        let mut members = self.members.iter();
        let next = if self.sums.owed > 0 {
            members.find(|(_, member)| member.owed(floor) > 0)
        } else if self.sums.callers > 0 {
            members.filter(|(_, member)| member.callers(floor) > 0).min_by_key(|(id, member)| (member.waits_since(), **id))
        } else if self.sums.more > 0 {
            members.filter(|(_, member)| member.more(floor) > 0).min_by_key(|(id, member)| (member.most, **id))
        } else {
            None
        };
        next.map(|(id, _)| *id)
    }

    /// What `id` is to give up of what idles there now; others that could give something, now or later, are asked to.
    fn collect(&mut self, id: MemberId, nudged: &mut BTreeSet<MemberId>) -> usize {
        let (floor, sums) = (self.floor, self.sums);
        let floors = sums.owed.saturating_sub(sums.coming);
        let all = (sums.owed + sums.callers).saturating_sub(sums.coming);
        let member = &self.members[&id];
        // Its own queue comes before other queues, not before floors.
        let wanted = if member.demand.has_waiters { floors } else { all };
        let give = wanted.min(member.demand.idle).min(member.surplus(floor));
        let asked = match (floors > give, all > give) {
            (true, _) => YieldRequest::Floors,
            (false, true) => YieldRequest::Callers,
            (false, false) => YieldRequest::None,
        };
        if let Some(member) = self.members.get_mut(&id) {
            member.asked = if member.surplus(floor) > give { asked } else { YieldRequest::None };
        }
        // Those who were asked before find out by themselves that none is short any more.
        if asked > YieldRequest::None {
            for (other, member) in &mut self.members {
                if *other != id && member.asked < asked && member.surplus(floor) > 0 {
                    member.asked = asked;
                    nudged.insert(*other);
                }
            }
        }
        give
    }

    fn change(&mut self, id: MemberId, change: impl FnOnce(&mut Member)) {
        let member = self.members.get_mut(&id).expect("a member reports until it leaves");
        self.sums.subtract(&member.sums(self.floor));
        change(member);
        self.sums.add(&member.sums(self.floor));
    }

    /// Seen to bite: with a member that leaves and keeps its quota in the sums, and with a place that is given to two.
    #[cfg(any(test, debug_assertions, feature = "testing"))]
    fn assert_invariants(&self) {
        let mut sums = Sums::default();
        self.members.values().for_each(|member| sums.add(&member.sums(self.floor)));
        assert_eq!(sums, self.sums, "T4: the sums are those of the members");
        assert!(sums.allotted <= self.limit, "I12: all nodes together never have more than max_total_connections: {self:?}");
        assert!(sums.open * self.floor <= self.limit, "I13: there is a floor for every node: {self:?}");
        for member in self.members.values() {
            assert!(member.demand.total <= member.most, "I11: no node has more than it may: {member:?}");
        }
        let short = sums.owed + sums.callers + sums.more;
        assert!(short == 0 || sums.allotted == self.limit, "I14: no node is short while something is left: {self:?}");
    }

    #[cfg(not(any(test, debug_assertions, feature = "testing")))]
    fn assert_invariants(&self) {}
}

impl Member {
    fn floor(&self, floor: usize) -> usize {
        if self.demand.is_open { floor } else { 0 }
    }

    /// What it lacks to its floor.
    fn owed(&self, floor: usize) -> usize {
        self.floor(floor).saturating_sub(self.most)
    }

    /// What it may dial already, or will be able to.
    fn provided(&self, floor: usize) -> usize {
        self.most - self.demand.total + self.owed(floor)
    }

    /// What its callers lack.
    fn callers(&self, floor: usize) -> usize {
        self.demand.callers.saturating_sub(self.provided(floor))
    }

    fn more(&self, floor: usize) -> usize {
        (self.demand.callers + self.demand.more).saturating_sub(self.provided(floor)) - self.callers(floor)
    }

    /// Since when the first of its callers waits that nothing is provided for.
    fn waits_since(&self) -> Instant {
        let provided = self.most - self.demand.total;
        self.demand.since[provided.min(REPORTED_WAITS - 1)]
    }

    /// What it has beyond its floor and does not close already, nor will.
    fn surplus(&self, floor: usize) -> usize {
        let Demand { is_open, total, closing, .. } = self.demand;
        if is_open { (total - closing).saturating_sub(floor) } else { 0 }
    }

    fn sums(&self, floor: usize) -> Sums {
        let Demand { is_open, total, closing, .. } = self.demand;
        Sums {
            open: usize::from(is_open),
            taken: total,
            allotted: self.most,
            owed: self.owed(floor),
            callers: self.callers(floor),
            more: self.more(floor),
            coming: closing.min(total.saturating_sub(self.floor(floor))),
        }
    }
}

impl Sums {
    fn add(&mut self, one: &Self) {
        self.each(one, |sum, one| *sum += one);
    }

    fn subtract(&mut self, one: &Self) {
        self.each(one, |sum, one| *sum -= one);
    }

    fn each(&mut self, one: &Self, combine: impl Fn(&mut usize, usize)) {
        combine(&mut self.open, one.open);
        combine(&mut self.taken, one.taken);
        combine(&mut self.allotted, one.allotted);
        combine(&mut self.owed, one.owed);
        combine(&mut self.callers, one.callers);
        combine(&mut self.more, one.more);
        combine(&mut self.coming, one.coming);
    }
}
