//! Unit tests of the budget's arithmetic: who gets what is left, who is asked, and that nothing of it is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use super::Budget;
use super::shares::{Answer, MemberId, Shares};
use crate::state::Stance;
use crate::state::allowance::{Allowance, Appetite, TOLD_WAITS};
use crate::time::Instant;
use crate::total_limit::TotalLimit;

fn at(nanos: u64) -> Instant {
    Instant::from_nanos(nanos)
}

/// A node that has so many connections on loan.
fn has(total: usize) -> Appetite {
    Appetite { total, ..Appetite::UNTOLD }
}

/// The same with callers in line, since then.
fn wants(total: usize, since: &[u64]) -> Appetite {
    let told = |index: usize| since.get(index).or(since.last()).map_or(Instant::ZERO, |nanos| at(*nanos));
    let told: [_; TOLD_WAITS] = std::array::from_fn(told);
    Appetite { has_line: true, callers: since.len(), since: told, ..has(total) }
}

/// A budget and its nodes, each of which uses at once what it is given.
struct Fleet {
    shares: Shares,
    ids: Vec<MemberId>,
}

impl Fleet {
    fn new(limit: usize, floor: usize, nodes: usize) -> Self {
        let mut shares = Shares::new(limit, floor);
        let ids = (0..nodes).map(|_| shares.join().expect("there is a floor for it")).collect();
        let mut fleet = Self { shares, ids };
        (0..nodes).for_each(|node| drop(fleet.report(node, has(0))));
        fleet
    }

    fn report(&mut self, node: usize, appetite: Appetite) -> Answer {
        self.shares.report(self.ids[node], appetite)
    }

    fn told(&mut self, node: usize, appetite: Appetite) -> Allowance {
        self.report(node, appetite).allowance
    }

    fn most(&mut self, node: usize, appetite: Appetite) -> usize {
        self.told(node, appetite).most
    }
}

/// Seen to bite: without a floor (`Member::floor`).
#[test]
fn a_floor_is_kept_for_its_node_and_the_rest_goes_to_whoever_wants_it() {
    let mut fleet = Fleet::new(10, 2, 3);
    assert_eq!(fleet.told(0, has(0)), Allowance { most: 2, floor: 2, give: 0, stance: Stance::AtEase });
    assert_eq!(fleet.told(0, wants(2, &[1; 9])), Allowance { most: 6, floor: 2, give: 0, stance: Stance::Watched });
    assert_eq!((fleet.most(1, has(0)), fleet.most(2, wants(1, &[2]))), (2, 2));
    assert_eq!(fleet.most(2, wants(2, &[2])), 2, "nothing is left");
    assert_eq!(fleet.shares.taken(), 4);
}

/// Seen to bite: with the first node in the order of joining, and with the wait of the first caller for all of a node.
#[test]
fn what_comes_free_goes_to_the_caller_who_has_waited_longest() {
    let mut fleet = Fleet::new(8, 1, 4);
    assert_eq!(fleet.most(0, wants(1, &[0; 4])), 5);
    drop((fleet.report(0, has(5)), fleet.report(1, wants(1, &[40, 60])), fleet.report(2, wants(1, &[30, 50]))));
    drop(fleet.report(3, wants(1, &[70])));
    let answer = fleet.report(0, has(3));
    assert_eq!((answer.allowance.most, answer.nudged.len()), (3, 2));
    assert_eq!(fleet.most(2, wants(2, &[50])), 2, "30");
    assert_eq!(fleet.most(1, wants(2, &[60])), 2, "40");
    assert_eq!(fleet.report(0, has(2)).nudged.into_iter().collect::<Vec<_>>(), [fleet.ids[2]]);
    assert_eq!((fleet.most(2, wants(3, &[])), fleet.most(3, wants(1, &[70]))), (3, 1), "50");
    drop(fleet.report(0, has(1)));
    assert_eq!((fleet.most(3, wants(1, &[70])), fleet.most(1, wants(2, &[60]))), (1, 3), "60");
}

/// Seen to bite: with what is coming left out, and with a node that has a line of its own and is asked like the others.
#[test]
fn what_idles_is_asked_for_once_for_each_who_is_short() {
    let idle = |total, idle| Appetite { idle, ..has(total) };
    let mut fleet = Fleet::new(7, 1, 3);
    drop((fleet.report(0, wants(1, &[1; 2])), fleet.report(1, wants(1, &[2; 2]))));
    drop((fleet.report(0, idle(3, 2)), fleet.report(1, idle(3, 2))));
    let short = fleet.report(2, wants(1, &[3]));
    assert_eq!((short.allowance.give, short.nudged.len()), (0, 2), "both that have more than their floor are asked");
    assert_eq!(fleet.told(0, idle(3, 2)), Allowance { most: 3, floor: 1, give: 1, stance: Stance::AtEase });
    let closing = Appetite { closing: 1, ..idle(3, 1) };
    assert_eq!((fleet.told(0, closing).give, fleet.told(1, idle(3, 2)).give), (0, 0), "one for one");
    assert!(fleet.report(0, idle(2, 1)).nudged.contains(&fleet.ids[2]), "and there it is");
    assert_eq!(fleet.most(2, wants(1, &[3])), 2);
    assert_eq!(fleet.report(2, wants(2, &[4])).nudged.len(), 2);
    let own_line = Appetite { idle: 1, ..wants(3, &[]) };
    assert_eq!(fleet.told(1, own_line).give, 0, "its own callers are served first");
}

/// Seen to bite: with callers that come before floors, and with a node that is asked beyond its own floor.
#[test]
fn a_new_node_is_owed_its_floor_by_those_who_have_more_whoever_waits() {
    let mut fleet = Fleet::new(6, 2, 2);
    drop((fleet.report(0, wants(2, &[1; 2])), fleet.report(0, wants(4, &[1; 5]))));
    drop(fleet.report(1, has(2)));
    let id = fleet.shares.join().expect("there is a floor for it");
    fleet.ids.push(id);
    assert_eq!(fleet.shares.join(), None, "and none for a fourth");
    let new = fleet.report(2, has(0));
    assert_eq!((new.allowance.most, new.nudged.into_iter().collect::<Vec<_>>()), (0, vec![fleet.ids[0]]));
    let held_back = Appetite { idle: 1, ..wants(4, &[1; 5]) };
    assert_eq!(fleet.told(0, held_back), Allowance { most: 4, floor: 2, give: 1, stance: Stance::Yielding });
    let closing = Appetite { closing: 1, ..wants(4, &[1; 5]) };
    assert_eq!(fleet.told(0, closing).stance, Stance::Yielding, "it is owed one more");
    assert!(fleet.report(0, wants(3, &[1; 5])).nudged.contains(&id));
    assert_eq!(fleet.most(2, has(0)), 1);
    let two_back = Appetite { idle: 2, ..wants(3, &[1; 5]) };
    assert_eq!(fleet.told(0, two_back).give, 1, "never below its own floor");
    drop(fleet.report(0, wants(2, &[1; 5])));
    assert_eq!((fleet.most(2, has(1)), fleet.most(0, wants(2, &[1; 5]))), (2, 2));
}

/// Seen to bite: with a member that leaves and keeps its allowance, and with a closed node that keeps its floor.
#[test]
fn a_node_that_closes_or_leaves_frees_what_it_has_no_connection_for() {
    let mut fleet = Fleet::new(6, 2, 2);
    drop((fleet.report(0, wants(2, &[1; 2])), fleet.report(0, has(4)), fleet.report(1, wants(2, &[1; 9]))));
    let closed = Appetite { is_open: false, closing: 1, ..has(4) };
    assert_eq!(fleet.told(0, closed), Allowance { most: 4, floor: 0, give: 0, stance: Stance::AtEase });
    assert_eq!(fleet.shares.open(), 1);
    assert!(fleet.report(0, Appetite { is_open: false, ..has(1) }).nudged.contains(&fleet.ids[1]));
    assert_eq!(fleet.most(1, wants(2, &[1; 9])), 5);
    assert!(fleet.shares.leave(fleet.ids[0]).contains(&fleet.ids[1]));
    assert_eq!((fleet.most(1, wants(5, &[1; 6])), fleet.shares.taken()), (6, 5));
}

/// What nobody waits for is given from what is left, to who has the fewest, and taken back for nobody.
///
/// Seen to bite: with wishes that count as being short.
#[test]
fn wishes_get_what_is_left_and_have_nobody_asked() {
    let wish = |total, more| Appetite { more, ..has(total) };
    let mut fleet = Fleet::new(6, 1, 3);
    assert_eq!((fleet.most(0, wish(1, 2)), fleet.most(1, wish(1, 3))), (3, 2));
    drop(fleet.report(0, Appetite { idle: 3, ..has(3) }));
    let short = fleet.report(1, wish(2, 2));
    assert_eq!((short.allowance.most, short.nudged.len(), short.allowance.stance), (2, 0, Stance::AtEase));
    assert_eq!(fleet.told(0, Appetite { idle: 3, ..has(3) }).give, 0);
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

/// Seen to bite: with a seat that is dropped and keeps its member, and with drivers that it does not wake.
#[test]
fn a_seat_that_is_dropped_leaves_all_to_the_others_and_wakes_whoever_gets_some() {
    let budget = Arc::new(Budget::new(TotalLimit::new(4)));
    let (one, other) = (budget.join().expect("a floor"), budget.join().expect("a floor"));
    let report = |seat: &super::Seat, appetite| seat.report(appetite, |driver| driver.wake()).most;
    assert_eq!((report(&one, has(0)), report(&other, has(0))), (1, 1));
    assert_eq!((report(&one, wants(1, &[1; 2])), report(&one, has(3))), (3, 3));
    let bell = Arc::new(Bell::default());
    assert!(other.listen(Waker::from(Arc::clone(&bell))).is_none());
    assert_eq!((report(&other, wants(1, &[2; 9])), bell.0.load(Ordering::SeqCst)), (1, 0));
    assert_eq!(budget.status().taken, 4);
    drop(one);
    assert_eq!((bell.0.load(Ordering::SeqCst), budget.status().taken, budget.status().nodes), (1, 1, 1));
    assert_eq!(report(&other, wants(1, &[2; 9])), 4);
    drop(other);
    assert_eq!((budget.status().taken, budget.status().nodes), (0, 0));
}
