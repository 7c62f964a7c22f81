//! The line by itself: who is next, who has left, whose time is up.

use crate::state::line::{End, Line, Want};
use crate::state::token::ConnId;
use crate::time::Instant;

fn at(nanos: u64) -> Instant {
    Instant::from_nanos(nanos)
}

fn arrivals(line: &Line<u8>) -> Vec<u64> {
    line.front(Want::Loan, usize::MAX).iter().map(|place| place.arrival).collect()
}

fn conn(slot: u32) -> ConnId {
    ConnId::new(slot, 0)
}

#[test]
fn waiters_leave_from_anywhere_and_the_rest_keeps_its_order() {
    let mut line = Line::<u8>::new();
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
    let mut line = Line::<u8>::new();
    let first = line.join(Want::Loan, at(0), at(100));
    let second = line.join(Want::Loan, at(1), at(100));
    let third = line.join(Want::Loan, at(2), at(100));
    line.grant(first, conn(1));
    line.grant(second, conn(2));
    assert_eq!(line.take_back(second), Some(conn(2)));
    assert_eq!(line.take_back(first), Some(conn(1)));
    assert_eq!(arrivals(&line), [1, 2, 3]);
    assert_eq!(line.take_back(third), None);
    line.grant(first, conn(1));
    line.grant(second, conn(2));
    assert_eq!(line.take_back(first), Some(conn(1)));
    assert_eq!(line.take_back(second), Some(conn(2)));
    assert_eq!(arrivals(&line), [1, 2, 3], "whichever is taken back first");
}

#[test]
fn an_old_identity_does_not_reach_the_next_waiter_in_its_slot() {
    let mut line = Line::<u8>::new();
    let old = line.join(Want::Loan, at(0), at(100));
    line.leave(old);
    let new = line.join(Want::Loan, at(0), at(100));
    assert_eq!(old.slot, new.slot);
    line.grant(new, conn(5));
    assert_eq!(line.collect(old), None);
    assert_eq!(line.leave(old), None);
    assert_eq!(line.collect(new).map(|(end, _)| end), Some(End::Granted(conn(5))));
}

#[test]
fn deadlines_come_in_order_of_time_and_a_told_waiter_has_none() {
    let mut line = Line::<u8>::new();
    let late = line.join(Want::Loan, at(0), at(300));
    let soon = line.join(Want::Loan, at(0), at(200));
    assert_eq!(line.next_deadline(), Some(at(200)));
    assert_eq!(line.due(at(199)), None);
    assert_eq!(line.due(at(200)), Some((soon, Want::Loan)));
    assert_eq!(line.tell(soon, 1), None);
    assert_eq!(line.next_deadline(), Some(at(300)));
    line.grant(late, conn(9));
    assert_eq!(line.granted(), [late]);
    assert_eq!(line.tell(late, 2), Some(conn(9)), "a grant that nobody collected is taken back");
    assert_eq!(line.collect(late).map(|(end, _)| end), Some(End::Told(2)));
    assert_eq!(line.next_deadline(), None);
}

/// Seen to bite: with a list that takes every deadline at its end, and with `disarm` that leaves the list as it is.
#[test]
fn deadlines_out_of_turn_come_in_order_of_time_all_the_same() {
    let mut line = Line::<u8>::new();
    let nanos = [50, 70, 60, 70, 10, 90, 80, 65];
    let ids: Vec<_> = nanos.iter().map(|nanos| line.join(Want::Loan, at(0), at(*nanos))).collect();
    line.leave(ids[1]);
    line.leave(ids[4]);
    line.leave(ids[5]);
    let mut told = Vec::new();
    while let Some((id, _)) = line.due(at(100)) {
        told.push(line.place(id).map(|place| place.deadline.as_nanos()));
        line.tell(id, 1);
    }
    assert_eq!(told, [50, 60, 65, 70, 80].map(Some));
    assert_eq!(line.next_deadline(), None);
}
