//! How a pool closes: at once for who waits and what idles, on return for what is out, by force at the deadline.

use super::{Bench, MS, SECOND, one_pool};
use crate::close_reason::CloseReason;
use crate::state::{Acquired, CheckResult, DialFailureKind, Input, Outcome, ReleaseKind, WaitError, WaitKind};

#[test]
fn e1_a_close_tells_all_who_wait_and_ends_when_the_last_connection_is_closed() {
    let mut bench = Bench::full(3);
    let (out, passed_on) = (bench.borrow(), bench.borrow());
    let third = bench.borrow();
    let granted = bench.wait(SECOND);
    let queued = bench.wait(SECOND);
    bench.release(passed_on);
    bench.put(Input::Cancel(queued));
    let queued = bench.wait(SECOND);
    bench.put(Input::Close { force_at: Some(bench.now + 10 * SECOND) });
    for waiter in [granted, queued] {
        assert_eq!(bench.state.take_outcome(bench.now, waiter), Some(Outcome::Failed(WaitError::Closed)));
    }
    assert_eq!(bench.acquire(SECOND), Acquired::Closed);
    let Acquired::Waiting(drained) = bench.state.wait_for(bench.now, WaitKind::Drained, bench.now + 20 * SECOND) else {
        panic!("it waits for the end")
    };
    assert_eq!(bench.close_all(), [CloseReason::PoolClosed], "the one that nobody collected");
    bench.release(third);
    bench.release(out);
    assert_eq!(bench.state.take_outcome(bench.now, drained), None, "not before the sockets are closed");
    assert_eq!(bench.close_all(), [CloseReason::PoolClosed; 2]);
    assert_eq!(bench.state.take_outcome(bench.now, drained), Some(Outcome::Ready));
    assert!(bench.state.is_finished());
    assert_eq!(bench.state.next_deadline(), None);
}

/// Bites when `force` leaves out the leased ones.
#[test]
fn e1_at_the_deadline_of_a_close_all_is_forced_and_a_stale_loan_closes_uncounted() {
    let mut bench = Bench::new(one_pool(3).min_idle(3).health_check_interval(10 * SECOND));
    let ticket = bench.connects.pop().expect("three were ordered");
    bench.accept_all();
    let loan = bench.borrow();
    while bench.checks.is_empty() {
        bench.pass(MS);
    }
    let checkup = bench.checks.pop().expect("just seen");
    bench.put(Input::Close { force_at: Some(bench.now + SECOND) });
    bench.pass(SECOND - MS);
    assert_eq!(bench.kills, []);
    bench.pass(MS);
    assert_eq!(bench.kills.len(), 1);
    let kill = bench.kills.pop().expect("just seen");
    assert!(!bench.state.is_finished());
    bench.put(Input::Closed(kill));
    assert!(bench.state.is_finished());
    bench.release(loan);
    bench.put(Input::Connected(ticket, 77));
    bench.put(Input::Checked(checkup, CheckResult::Sound));
    assert_eq!(bench.closes.len(), 3, "each connection still leaves by a close");
    assert!(bench.closes.iter().all(|(closing, ..)| closing.id.is_none()));
    bench.close_all();
    assert!(bench.state.is_finished());
}

#[test]
fn what_is_on_its_way_when_the_pool_closes_is_closed_on_arrival() {
    let mut bench = Bench::new(one_pool(2).min_idle(2));
    let loan = {
        bench.accept();
        bench.borrow()
    };
    bench.put(Input::Close { force_at: None });
    bench.accept();
    bench.put(Input::Release(loan, ReleaseKind::Silent));
    assert_eq!(bench.close_all(), [CloseReason::PoolClosed, CloseReason::Broken]);
    assert!(bench.state.is_finished());
}

#[test]
fn a_dial_that_fails_after_the_close_leads_to_no_other() {
    let mut bench = Bench::new(one_pool(2).min_idle(2));
    bench.put(Input::Close { force_at: None });
    bench.refuse(DialFailureKind::Passing);
    bench.refuse(DialFailureKind::Permanent);
    assert_eq!(bench.connects, []);
    assert!(bench.state.is_finished());
}

#[test]
fn a_lost_driver_leaves_nobody_waiting() {
    let mut bench = Bench::full(1);
    let loan = bench.borrow();
    let waiter = bench.wait(SECOND);
    let Acquired::Waiting(drained) = bench.state.wait_for(bench.now, WaitKind::Drained, bench.now + SECOND) else {
        panic!("it waits for the end")
    };
    bench.put(Input::DriverLost);
    assert_eq!(bench.state.take_outcome(bench.now, waiter), Some(Outcome::Failed(WaitError::Closed)));
    assert_eq!(bench.state.take_outcome(bench.now, drained), Some(Outcome::Ready));
    bench.release(loan);
    bench.close_all();
    assert!(bench.state.is_finished());
}

#[test]
fn a_node_is_warm_when_every_pool_at_start_has_its_minimum() {
    let mut bench = Bench::new(one_pool(4).min_idle(2));
    let Acquired::Waiting(warm) = bench.state.wait_for(bench.now, WaitKind::Warm, bench.now + SECOND) else {
        panic!("it is cold")
    };
    bench.accept();
    assert_eq!(bench.state.take_outcome(bench.now, warm), None);
    bench.accept();
    assert_eq!(bench.state.take_outcome(bench.now, warm), Some(Outcome::Ready));
    // With nothing to keep warm, one dial still shows that the server answers.
    let mut bench = Bench::new(one_pool(4));
    let Acquired::Waiting(warm) = bench.state.wait_for(bench.now, WaitKind::Warm, bench.now + SECOND) else {
        panic!("it is cold")
    };
    bench.collect();
    assert_eq!(bench.connects.len(), 1);
    bench.accept();
    assert_eq!(bench.state.take_outcome(bench.now, warm), Some(Outcome::Ready));
}

/// Found by the fuzzer: the second close armed a deadline for a pool of which nothing was left.
#[test]
fn a_pool_that_is_closed_wants_no_tick_when_it_is_closed_again() {
    let mut bench = Bench::new(one_pool(1));
    for _ in 0..2 {
        bench.put(Input::Close { force_at: Some(bench.now + SECOND) });
        assert!(bench.state.is_finished());
        assert_eq!(bench.state.next_deadline(), None);
    }
}
