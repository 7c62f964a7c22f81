//! Unit tests of the arbiter's arithmetic: who gets what is left, who is asked, and that nothing of it is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use super::ConnectionLimiter;
use super::arbiter::{Arbiter, MemberId, QuotaGrant};
use crate::state::SharingMode;
use crate::state::quota::{Demand, Quota, REPORTED_WAITS};
use crate::time::Instant;
use crate::total_limit::TotalLimit;

fn at(nanos: u64) -> Instant {
    Instant::from_nanos(nanos)
}

/// A node that has so many connections on loan.
fn has(total: usize) -> Demand {
    Demand { total, ..Demand::UNKNOWN }
}

/// The same with callers in the queue, since then.
fn wants(total: usize, since: &[u64]) -> Demand {
    let told = |index: usize| since.get(index).or(since.last()).map_or(Instant::ZERO, |nanos| at(*nanos));
    let told: [_; REPORTED_WAITS] = std::array::from_fn(told);
    Demand { has_waiters: true, callers: since.len(), since: told, ..has(total) }
}

/// A limiter and its nodes, each of which uses at once what it is given.
struct Fleet {
    arbiter: Arbiter,
    ids: Vec<MemberId>,
}

impl Fleet {
    fn new(limit: usize, floor: usize, nodes: usize) -> Self {
        let mut arbiter = Arbiter::new(limit, floor);
        let ids = (0..nodes).map(|_| arbiter.join().expect("there is a floor for it")).collect();
        let mut fleet = Self { arbiter, ids };
        (0..nodes).for_each(|node| drop(fleet.report(node, has(0))));
        fleet
    }

    fn report(&mut self, node: usize, demand: Demand) -> QuotaGrant {
        self.arbiter.report(self.ids[node], demand)
    }

    fn told(&mut self, node: usize, demand: Demand) -> Quota {
        self.report(node, demand).quota
    }

    fn most(&mut self, node: usize, demand: Demand) -> usize {
        self.told(node, demand).most
    }
}

/// Seen to bite: without a floor (`Member::floor`).
#[test]
fn a_floor_is_kept_for_its_node_and_the_rest_goes_to_whoever_wants_it() {
    let mut fleet = Fleet::new(10, 2, 3);
    assert_eq!(fleet.told(0, has(0)), Quota { most: 2, floor: 2, give: 0, mode: SharingMode::Unshared });
    assert_eq!(fleet.told(0, wants(2, &[1; 9])), Quota { most: 6, floor: 2, give: 0, mode: SharingMode::Contended });
    assert_eq!((fleet.most(1, has(0)), fleet.most(2, wants(1, &[2]))), (2, 2));
    assert_eq!(fleet.most(2, wants(2, &[2])), 2, "nothing is left");
    assert_eq!(fleet.arbiter.taken(), 4);
}

/// Seen to bite: with the first node in the order of joining, and with the wait of the first caller for all of a node.
#[test]
fn what_comes_free_goes_to_the_caller_who_has_waited_longest() {
    let mut fleet = Fleet::new(8, 1, 4);
    assert_eq!(fleet.most(0, wants(1, &[0; 4])), 5);
    drop((fleet.report(0, has(5)), fleet.report(1, wants(1, &[40, 60])), fleet.report(2, wants(1, &[30, 50]))));
    drop(fleet.report(3, wants(1, &[70])));
    let answer = fleet.report(0, has(3));
    assert_eq!((answer.quota.most, answer.nudged.len()), (3, 2));
    assert_eq!(fleet.most(2, wants(2, &[50])), 2, "30");
    assert_eq!(fleet.most(1, wants(2, &[60])), 2, "40");
    assert_eq!(fleet.report(0, has(2)).nudged.into_iter().collect::<Vec<_>>(), [fleet.ids[2]]);
    assert_eq!((fleet.most(2, wants(3, &[])), fleet.most(3, wants(1, &[70]))), (3, 1), "50");
    drop(fleet.report(0, has(1)));
    assert_eq!((fleet.most(3, wants(1, &[70])), fleet.most(1, wants(2, &[60]))), (1, 3), "60");
}

/// Seen to bite: with what is coming left out, and with a node that has a queue of its own and is asked like the others.
#[test]
fn what_idles_is_asked_for_once_for_each_who_is_short() {
    let idle = |total, idle| Demand { idle, ..has(total) };
    let mut fleet = Fleet::new(7, 1, 3);
    drop((fleet.report(0, wants(1, &[1; 2])), fleet.report(1, wants(1, &[2; 2]))));
    drop((fleet.report(0, idle(3, 2)), fleet.report(1, idle(3, 2))));
    let short = fleet.report(2, wants(1, &[3]));
    assert_eq!((short.quota.give, short.nudged.len()), (0, 2), "both that have more than their floor are asked");
    assert_eq!(fleet.told(0, idle(3, 2)), Quota { most: 3, floor: 1, give: 1, mode: SharingMode::Unshared });
    let closing = Demand { closing: 1, ..idle(3, 1) };
    assert_eq!((fleet.told(0, closing).give, fleet.told(1, idle(3, 2)).give), (0, 0), "one for one");
    assert!(fleet.report(0, idle(2, 1)).nudged.contains(&fleet.ids[2]), "and there it is");
    assert_eq!(fleet.most(2, wants(1, &[3])), 2);
    assert_eq!(fleet.report(2, wants(2, &[4])).nudged.len(), 2);
    let own_line = Demand { idle: 1, ..wants(3, &[]) };
    assert_eq!(fleet.told(1, own_line).give, 0, "its own callers are served first");
}

/// Seen to bite: with callers that come before floors, and with a node that is asked beyond its own floor.
#[test]
fn a_new_node_is_owed_its_floor_by_those_who_have_more_whoever_waits() {
    let mut fleet = Fleet::new(6, 2, 2);
    drop((fleet.report(0, wants(2, &[1; 2])), fleet.report(0, wants(4, &[1; 5]))));
    drop(fleet.report(1, has(2)));
    let id = fleet.arbiter.join().expect("there is a floor for it");
    fleet.ids.push(id);
    assert_eq!(fleet.arbiter.join(), None, "and none for a fourth");
    let new = fleet.report(2, has(0));
    assert_eq!((new.quota.most, new.nudged.into_iter().collect::<Vec<_>>()), (0, vec![fleet.ids[0]]));
    let held_back = Demand { idle: 1, ..wants(4, &[1; 5]) };
    assert_eq!(fleet.told(0, held_back), Quota { most: 4, floor: 2, give: 1, mode: SharingMode::Yielding });
    let closing = Demand { closing: 1, ..wants(4, &[1; 5]) };
    assert_eq!(fleet.told(0, closing).mode, SharingMode::Yielding, "it is owed one more");
    assert!(fleet.report(0, wants(3, &[1; 5])).nudged.contains(&id));
    assert_eq!(fleet.most(2, has(0)), 1);
    let two_back = Demand { idle: 2, ..wants(3, &[1; 5]) };
    assert_eq!(fleet.told(0, two_back).give, 1, "never below its own floor");
    drop(fleet.report(0, wants(2, &[1; 5])));
    assert_eq!((fleet.most(2, has(1)), fleet.most(0, wants(2, &[1; 5]))), (2, 2));
}

/// Seen to bite: with a member that leaves and keeps its quota, and with a closed node that keeps its floor.
#[test]
fn a_node_that_closes_or_leaves_frees_what_it_has_no_connection_for() {
    let mut fleet = Fleet::new(6, 2, 2);
    drop((fleet.report(0, wants(2, &[1; 2])), fleet.report(0, has(4)), fleet.report(1, wants(2, &[1; 9]))));
    let closed = Demand { is_open: false, closing: 1, ..has(4) };
    assert_eq!(fleet.told(0, closed), Quota { most: 4, floor: 0, give: 0, mode: SharingMode::Unshared });
    assert_eq!(fleet.arbiter.open(), 1);
    assert!(fleet.report(0, Demand { is_open: false, ..has(1) }).nudged.contains(&fleet.ids[1]));
    assert_eq!(fleet.most(1, wants(2, &[1; 9])), 5);
    assert!(fleet.arbiter.leave(fleet.ids[0]).contains(&fleet.ids[1]));
    assert_eq!((fleet.most(1, wants(5, &[1; 6])), fleet.arbiter.taken()), (6, 5));
}

/// What nobody waits for is given from what is left, to who has the fewest, and taken back for nobody.
///
/// Seen to bite: with wishes that count as being short.
#[test]
fn wishes_get_what_is_left_and_have_nobody_asked() {
    let wish = |total, more| Demand { more, ..has(total) };
    let mut fleet = Fleet::new(6, 1, 3);
    assert_eq!((fleet.most(0, wish(1, 2)), fleet.most(1, wish(1, 3))), (3, 2));
    drop(fleet.report(0, Demand { idle: 3, ..has(3) }));
    let short = fleet.report(1, wish(2, 2));
    assert_eq!((short.quota.most, short.nudged.len(), short.quota.mode), (2, 0, SharingMode::Unshared));
    assert_eq!(fleet.told(0, Demand { idle: 3, ..has(3) }).give, 0);
    drop(fleet.report(0, has(2)));
    assert_eq!(fleet.most(1, wish(2, 2)), 3);
}

#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Seen to bite: with a membership that is dropped and keeps its member, and with drivers that it does not wake.
#[test]
fn a_seat_that_is_dropped_leaves_all_to_the_others_and_wakes_whoever_gets_some() {
    let limiter = Arc::new(ConnectionLimiter::new(TotalLimit::new(4)));
    let (one, other) = (limiter.join().expect("a floor"), limiter.join().expect("a floor"));
    let report = |membership: &super::Membership, demand| membership.report(demand, |driver| driver.wake()).most;
    assert_eq!((report(&one, has(0)), report(&other, has(0))), (1, 1));
    assert_eq!((report(&one, wants(1, &[1; 2])), report(&one, has(3))), (3, 3));
    let bell = Arc::new(Bell::default());
    assert!(other.listen(Waker::from(Arc::clone(&bell))).is_none());
    assert_eq!((report(&other, wants(1, &[2; 9])), bell.0.load(Ordering::SeqCst)), (1, 0));
    assert_eq!(limiter.status().taken, 4);
    drop(one);
    assert_eq!((bell.0.load(Ordering::SeqCst), limiter.status().taken, limiter.status().nodes), (1, 1, 1));
    assert_eq!(report(&other, wants(1, &[2; 9])), 4);
    drop(other);
    assert_eq!((limiter.status().taken, limiter.status().nodes), (0, 0));
}
