//! The queue by itself: who is next, who has left, whose time is up.

use crate::state::ids::ConnId;
use crate::state::wait_queue::{WaitEnd, WaitKind, WaitQueue};
use crate::time::Instant;

fn at(nanos: u64) -> Instant {
    Instant::from_nanos(nanos)
}

fn arrivals(queue: &WaitQueue<u8>) -> Vec<u64> {
    queue.front(WaitKind::Loan, usize::MAX).iter().map(|position| position.arrival()).collect()
}

fn conn(slot: u32) -> ConnId {
    ConnId::new(slot, 0)
}

#[test]
fn waiters_leave_from_anywhere_and_the_rest_keeps_its_order() {
    let mut queue = WaitQueue::<u8>::new();
    let ids: Vec<_> = (0..5).map(|n| queue.join(WaitKind::Loan, at(n), at(100))).collect();
    assert_eq!(queue.leave(ids[2]), None);
    assert_eq!(queue.leave(ids[0]), None);
    assert_eq!(queue.leave(ids[4]), None);
    assert_eq!(arrivals(&queue), [2, 4]);
    assert_eq!(queue.head(WaitKind::Loan), Some(ids[1]));
    assert_eq!(queue.len(WaitKind::Loan), 2);
}

#[test]
fn a_grant_taken_back_restores_the_old_place() {
    let mut queue = WaitQueue::<u8>::new();
    let first = queue.join(WaitKind::Loan, at(0), at(100));
    let second = queue.join(WaitKind::Loan, at(1), at(100));
    let third = queue.join(WaitKind::Loan, at(2), at(100));
    queue.grant(first, conn(1));
    queue.grant(second, conn(2));
    assert_eq!(queue.take_back(second), Some(conn(2)));
    assert_eq!(queue.take_back(first), Some(conn(1)));
    assert_eq!(arrivals(&queue), [1, 2, 3]);
    assert_eq!(queue.take_back(third), None);
    queue.grant(first, conn(1));
    queue.grant(second, conn(2));
    assert_eq!(queue.take_back(first), Some(conn(1)));
    assert_eq!(queue.take_back(second), Some(conn(2)));
    assert_eq!(arrivals(&queue), [1, 2, 3], "whichever is taken back first");
}

#[test]
fn an_old_identity_does_not_reach_the_next_waiter_in_its_slot() {
    let mut queue = WaitQueue::<u8>::new();
    let old = queue.join(WaitKind::Loan, at(0), at(100));
    queue.leave(old);
    let new = queue.join(WaitKind::Loan, at(0), at(100));
    assert_eq!(old.slot(), new.slot());
    queue.grant(new, conn(5));
    assert_eq!(queue.collect(old), None);
    assert_eq!(queue.leave(old), None);
    assert_eq!(queue.collect(new).map(|(end, _)| end), Some(WaitEnd::Granted(conn(5))));
}

#[test]
fn deadlines_come_in_order_of_time_and_a_told_waiter_has_none() {
    let mut queue = WaitQueue::<u8>::new();
    let late = queue.join(WaitKind::Loan, at(0), at(300));
    let soon = queue.join(WaitKind::Loan, at(0), at(200));
    assert_eq!(queue.next_deadline(), Some(at(200)));
    assert_eq!(queue.due(at(199)), None);
    assert_eq!(queue.due(at(200)), Some((soon, WaitKind::Loan)));
    assert_eq!(queue.finish(soon, 1), None);
    assert_eq!(queue.next_deadline(), Some(at(300)));
    queue.grant(late, conn(9));
    assert_eq!(queue.granted(), [late]);
    assert_eq!(queue.finish(late, 2), Some(conn(9)), "a grant that nobody collected is taken back");
    assert_eq!(queue.collect(late).map(|(end, _)| end), Some(WaitEnd::Finished(2)));
    assert_eq!(queue.next_deadline(), None);
}

/// Seen to bite: with a list that takes every deadline at its end, and with `disarm` that leaves the list as it is.
#[test]
fn deadlines_out_of_turn_come_in_order_of_time_all_the_same() {
    let mut queue = WaitQueue::<u8>::new();
    let nanos = [50, 70, 60, 70, 10, 90, 80, 65];
    let ids: Vec<_> = nanos.iter().map(|nanos| queue.join(WaitKind::Loan, at(0), at(*nanos))).collect();
    queue.leave(ids[1]);
    queue.leave(ids[4]);
    queue.leave(ids[5]);
    let mut finished = Vec::new();
    while let Some((id, _)) = queue.due(at(100)) {
        finished.push(queue.position(id).map(|position| position.deadline().as_nanos()));
        queue.finish(id, 1);
    }
    assert_eq!(finished, [50, 60, 65, 70, 80].map(Some));
    assert_eq!(queue.next_deadline(), None);
}
