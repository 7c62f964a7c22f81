//! Failed dials, silence, death, and the way back.

use super::{Bench, MS, SECOND, one_pool};
use crate::close_reason::CloseReason;
use crate::config::OnNodeDown;
use crate::state::{CheckResult, DialFailure, DialFailureKind, Health, Input, Outcome, ReleaseKind, WaitError};

/// Bites when `arm_probe` arms nothing.
#[test]
fn i9_a_failed_dial_backs_off_and_the_next_probe_stays_armed_for_ever() {
    let mut bench = Bench::new(one_pool(3).min_idle(1));
    for attempt in 1..=50 {
        assert_eq!(bench.connects.len(), 1, "attempt {attempt}");
        bench.refuse(DialFailureKind::Passing);
        assert_eq!(bench.connects.len(), 0, "attempt {attempt}: a pause comes first");
        assert_eq!(bench.state.health(), Health::Down);
        assert_eq!(bench.status().last_error.as_deref(), Some("refused"));
        bench.until_dial();
    }
    bench.accept();
    assert_eq!((bench.state.health(), bench.status().idle), (Health::Up, 1));
    assert_eq!(bench.status().last_error, None);
}

/// Bites when `may_dial` lets any number of dials through while the node fails.
#[test]
fn h4_a_node_that_is_down_is_dialled_once_at_a_time_then_by_one_two_four() {
    let mut bench = Bench::new(one_pool(50));
    for _ in 0..40 {
        bench.wait(60 * SECOND);
    }
    assert_eq!(bench.connects.len(), 40);
    for _ in 0..40 {
        bench.refuse(DialFailureKind::Passing);
    }
    bench.until_dial();
    for _ in 0..5 {
        assert_eq!(bench.connects.len(), 1);
        bench.refuse(DialFailureKind::Passing);
        bench.until_dial();
    }
    for width in [1, 1, 2, 4] {
        assert_eq!(bench.connects.len(), width);
        for _ in 0..width {
            bench.accept();
        }
    }
    bench.accept_all();
    assert_eq!((bench.status().active, bench.made), (40, 40), "one for each who waits");
}

/// Bites when `is_saturated` forgets dials that are under way: a full pool may be full of them.
#[test]
fn h10_a_dial_that_fills_the_pool_is_overdue_in_its_time_whoever_ordered_it() {
    let settings = || one_pool(1).on_node_down(OnNodeDown::FailFast).health_check_timeout(SECOND);
    let mut bench = Bench::new(settings());
    let waiter = bench.wait(10 * SECOND);
    bench.pass(SECOND - MS);
    assert_eq!(bench.state.evidence(), Health::Up);
    bench.pass(MS);
    assert_eq!(bench.state.evidence(), Health::Down);
    assert!(
        matches!(bench.state.take_outcome(bench.now, waiter), Some(Outcome::Failed(WaitError::Down(_)))),
        "it fails fast, not at its deadline"
    );
    let mut bench = Bench::new(settings());
    assert!(bench.state.try_acquire(bench.now).is_err());
    bench.collect();
    assert_eq!(bench.connects.len(), 1, "the spare");
    bench.pass(SECOND);
    assert_eq!(bench.state.evidence(), Health::Down);
}

/// Bites when `distrust_since` checks nothing, when `on_release` looks at no epoch, and when `on_closed` leaves the dial put off.
#[test]
fn h6_silence_has_all_others_checked_orders_one_dial_and_late_returns_are_checked_first() {
    let mut bench = Bench::full(6);
    let (silent, held, late) = (bench.borrow(), bench.borrow(), bench.borrow());
    bench.put(Input::Release(silent, ReleaseKind::Silent));
    assert_eq!(bench.checks.len(), 3, "all that idle");
    assert_eq!(bench.status().idle, 0);
    assert_eq!(bench.state.health(), Health::Suspect);
    assert_eq!(bench.connects.len(), 0, "the pool is full until the silent one is closed");
    bench.close_all();
    assert_eq!(bench.connects.len(), 1, "one dial, at once, not as many as wait");
    // A second silent one of the same time says nothing new.
    bench.put(Input::Release(held, ReleaseKind::Silent));
    bench.close_all();
    assert_eq!((bench.checks.len(), bench.connects.len()), (3, 1));
    bench.release(late);
    assert_eq!(bench.checks.len(), 4);
    let waiter = bench.wait(SECOND);
    let checkup = bench.checks.pop().expect("the late one");
    bench.put(Input::Checked(checkup, CheckResult::Sound));
    let loan = bench.granted(waiter);
    assert_eq!(bench.state.health(), Health::Up, "an answer ends the suspicion");
    assert_eq!(bench.put_back(loan), None, "it is trusted again");
    while let Some(checkup) = bench.checks.pop() {
        bench.put(Input::Checked(checkup, CheckResult::Silent));
    }
    assert_eq!(bench.close_all(), [CloseReason::CheckFailed; 3]);
    assert_eq!(bench.checks.len(), 0, "they were asked before the silence: no new distrust");
}

/// A dial may have had its last reply before the node became suspect.
#[test]
fn h6_a_connection_whose_dial_began_before_is_checked_before_it_is_lent() {
    let mut bench = Bench::new(one_pool(2).min_idle(2));
    bench.accept();
    let loan = bench.borrow();
    assert_eq!(bench.connects.len(), 1, "a dial is under way");
    bench.put(Input::Distrusted(loan.id, String::from("LOADING")));
    let waiter = bench.wait(SECOND);
    bench.accept();
    assert_eq!((bench.status().idle, bench.checks.len()), (0, 1), "it is asked first");
    assert_eq!(bench.state.health(), Health::Suspect, "and proves nothing");
    let checkup = bench.checks.remove(0);
    bench.put(Input::Checked(checkup, CheckResult::Sound));
    let _loan = bench.granted(waiter);
    assert_eq!(bench.state.health(), Health::Up);
}

/// It may lead to the server that is no longer wanted.
#[test]
fn h7_a_connection_whose_dial_began_before_a_failover_is_closed() {
    let mut bench = Bench::new(one_pool(2).min_idle(2));
    bench.accept();
    let loan = bench.borrow();
    bench.put(Input::Outdated(loan.id, String::from("READONLY")));
    bench.accept();
    assert_eq!(bench.close_all(), [CloseReason::Outdated]);
    assert_eq!(bench.connects.len(), 1, "another one is dialled");
    bench.accept();
    assert_eq!(bench.status().idle, 1);
}

/// Seen to bite: with the dial under way left as it is, with the back-off kept, with the failure of an old dial counted.
#[test]
fn s5_another_server_is_dialled_at_once_whatever_was_known_of_the_old_one() {
    let mut bench = Bench::new(one_pool(4).min_idle(1));
    bench.accept();
    let loan = bench.borrow();
    bench.accept_all();
    bench.put(Input::Replaced(String::from("a is the primary")));
    assert_eq!(bench.close_all(), [CloseReason::Outdated], "the idle one");
    bench.release(loan);
    assert_eq!(bench.close_all(), [CloseReason::Outdated], "the one on loan, on its return");
    bench.refuse(DialFailureKind::Passing);
    let waiter = bench.wait(SECOND);
    bench.put(Input::Replaced(String::from("b is the primary")));
    assert_eq!(bench.connects.len(), 1, "without the rest of the pause");
    bench.put(Input::Replaced(String::from("c is the primary")));
    assert_eq!(bench.connects.len(), 2, "beside one that hangs");
    bench.refuse(DialFailureKind::Permanent);
    assert_eq!(bench.state.health(), Health::Suspect, "the end of the old one is no matter");
    bench.put(Input::Replaced(String::from("d is the primary")));
    bench.accept();
    assert_eq!(bench.close_all(), [CloseReason::Outdated], "nor is its success");
    bench.accept();
    let _loan = bench.granted(waiter);
    assert_eq!(bench.state.health(), Health::Up);
}

#[test]
fn h6_a_silent_health_check_has_the_others_checked_at_once() {
    let mut bench = Bench::new(one_pool(4).min_idle(4).health_check_interval(10 * SECOND));
    bench.accept_all();
    while bench.checks.is_empty() {
        bench.pass(MS);
    }
    let checkup = bench.checks.remove(0);
    bench.put(Input::Checked(checkup, CheckResult::Silent));
    assert_eq!((bench.checks.len(), bench.status().idle), (3, 0));
    bench.close_all();
    bench.pass(50 * MS);
    assert_eq!(bench.connects.len(), 1);
    assert_eq!(bench.accept(), 5);
    assert_eq!(bench.borrow().conn, 5, "the new one is lent while the old ones are asked");
}

#[test]
fn a_failed_check_costs_that_connection_alone() {
    let mut bench = Bench::new(one_pool(2).min_idle(2).health_check_interval(SECOND));
    bench.accept_all();
    while bench.checks.is_empty() {
        bench.pass(MS);
    }
    let checkup = bench.checks.remove(0);
    bench.put(Input::Checked(checkup, CheckResult::Failed(String::from("no"))));
    assert_eq!((bench.state.health(), bench.status().idle), (Health::Up, 1));
    assert_eq!(bench.status().last_error.as_deref(), Some("no"));
    assert_eq!(bench.close_all(), [CloseReason::CheckFailed]);
    assert_eq!(bench.connects.len(), 1, "the minimum is restored");
}

#[test]
fn an_idle_connection_that_dies_is_closed_and_replaced() {
    let mut bench = Bench::full(2);
    bench.pass(SECOND);
    let loan = bench.borrow();
    let id = loan.id;
    bench.release(loan);
    bench.put(Input::Died(id));
    assert_eq!(bench.close_all(), [CloseReason::Broken]);
    assert_eq!((bench.status().idle, bench.connects.len()), (1, 1));
    bench.put(Input::Died(id));
    assert_eq!(bench.closes, [], "an old identity reaches nobody");
}

/// Bites when `take_back` forgets to put the waiter into the queue again.
#[test]
fn a_granted_connection_that_dies_puts_its_waiter_back_in_its_place() {
    let mut bench = Bench::full(1);
    bench.pass(SECOND);
    let loan = bench.borrow();
    let id = loan.id;
    let (first, second) = (bench.wait(SECOND), bench.wait(SECOND));
    bench.release(loan);
    bench.put(Input::Died(id));
    assert!(bench.state.take_outcome(bench.now, first).is_none());
    assert_eq!((bench.status().waiting, bench.close_all().len()), (2, 1));
    bench.accept();
    let loan = bench.granted(first);
    assert_eq!(loan.conn, 2);
    bench.release(loan);
    assert_eq!(bench.granted(second).conn, 2);
}

#[test]
fn a_connection_that_dies_on_loan_or_in_a_check_is_closed_when_it_comes_back() {
    let mut bench = Bench::new(one_pool(2).min_idle(2).health_check_interval(SECOND));
    bench.accept_all();
    let loan = bench.borrow();
    while bench.checks.is_empty() {
        bench.pass(MS);
    }
    bench.put(Input::Died(loan.id));
    bench.put(Input::Died(bench.checks[0].id));
    assert_eq!(bench.closes, []);
    bench.release(loan);
    let checkup = bench.checks.remove(0);
    bench.put(Input::Checked(checkup, CheckResult::Sound));
    assert_eq!(bench.close_all(), [CloseReason::Broken; 2]);
}

#[test]
fn a_connection_that_dies_at_birth_counts_as_a_failed_dial() {
    let mut bench = Bench::new(one_pool(1).min_idle(1));
    bench.put(Input::Died(bench.connects[0].id));
    bench.accept();
    assert_eq!((bench.close_all(), bench.connects.len()), (vec![CloseReason::Broken], 0));
    assert_eq!(bench.state.health(), Health::Down);
    bench.until_dial();
    bench.accept();
    let loan = bench.borrow();
    let id = loan.id;
    bench.release(loan);
    bench.put(Input::Died(id));
    assert_eq!((bench.close_all().len(), bench.connects.len()), (1, 0), "a pause comes before the next dial");
}

#[test]
fn a_caller_of_a_failing_node_is_told_that_it_is_down_and_why() {
    let mut bench = Bench::new(one_pool(2));
    let waiter = bench.wait(SECOND);
    bench.refuse(DialFailureKind::TimedOut);
    for _ in 0..100 {
        bench.pass(10 * MS);
        while !bench.connects.is_empty() {
            bench.refuse(DialFailureKind::TimedOut);
        }
    }
    let Some(Outcome::Failed(WaitError::Down(failure))) = bench.state.take_outcome(bench.now, waiter) else {
        panic!("it was told")
    };
    assert_eq!((failure.waited, failure.last_error.as_deref()), (SECOND, Some("refused")));
}

/// Bites when `elaborate` notes nothing, and when it notes whatever it is told.
#[test]
fn a_dial_that_took_too_long_says_what_it_waited_for_unless_another_has_succeeded() {
    let mut bench = Bench::new(one_pool(2));
    bench.wait(20 * SECOND);
    let error = |bench: &Bench| bench.status().last_error;
    bench.pass(SECOND);
    assert_eq!(error(&bench).as_deref(), Some("a connect has not been answered for 1s"));
    bench.refuse(DialFailureKind::TimedOut);
    assert_eq!(error(&bench).as_deref(), Some("refused"));

    bench.until_dial();
    bench.pass(SECOND);
    let overdue = bench.connects.remove(0);
    bench.until_dial();
    bench.accept();
    let failure = DialFailure::new(String::from("late"), DialFailureKind::TimedOut);
    bench.put(Input::ConnectFailed(overdue, failure));
    assert_eq!(error(&bench), None);
}
