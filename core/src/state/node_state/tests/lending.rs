//! Who is lent what, and when; who waits, in which order, and until when.

use super::{Bench, MS, SECOND, one_pool};
use crate::close_reason::CloseReason;
use crate::config::{NodeConfig, OnNodeDown};
use crate::state::rng::Rng;
use crate::state::{Acquired, DialFailure, DialFailureKind, Health, Input, Outcome, ReleaseKind, WaitError, WaitPhase};

#[test]
fn at_the_start_every_pool_dials_its_minimum() {
    let bench = Bench::new(NodeConfig::builder().connection_pools_per_node_at_start(2).min_idle(3).max_connection_size(5));
    assert_eq!(bench.connects.len(), 6);
    assert!(bench.status().pools.iter().all(|pool| pool.connecting == 3), "{:?}", bench.status());
}

#[test]
fn waiters_are_served_in_order_of_arrival_and_a_newcomer_does_not_overtake() {
    let mut bench = Bench::full(1);
    let loan = bench.borrow();
    let ids: Vec<_> = (0..3).map(|_| bench.wait(SECOND)).collect();
    bench.release(loan);
    assert_eq!(bench.wakes, [ids[0]]);
    assert!(bench.state.take_idle().is_none());
    let late = bench.wait(SECOND);
    for id in ids.into_iter().chain([late]) {
        let loan = bench.granted(id);
        assert_eq!(bench.status().active, 1);
        bench.release(loan);
    }
    assert_eq!((bench.status().idle, bench.status().waiting), (1, 0));
}

/// Bites when `Cancel` drops the grant that `leave` returns.
#[test]
fn a_cancelled_waiter_passes_its_grant_on() {
    let mut bench = Bench::full(1);
    let loan = bench.borrow();
    let (first, second) = (bench.wait(SECOND), bench.wait(SECOND));
    bench.release(loan);
    bench.put(Input::Cancel(first));
    assert_eq!(bench.wakes, [first, second]);
    let loan = bench.granted(second);
    assert_eq!(loan.conn, 1);
    bench.put(Input::Cancel(first));
    assert_eq!(bench.status().active, 1, "a second cancel does nothing");
    bench.release(loan);
}

/// Bites when `WaitQueue::due` looks at the head of the queue only.
#[test]
fn a_deadline_is_told_when_it_comes_wherever_in_line() {
    let mut bench = Bench::full(1);
    let loan = bench.borrow();
    let (first, middle, last) = (bench.wait(3 * SECOND), bench.wait(SECOND), bench.wait(2 * SECOND));
    bench.pass(SECOND - MS);
    assert_eq!(bench.wakes, []);
    bench.pass(MS);
    assert_eq!(bench.wakes, [middle]);
    let Some(Outcome::Failed(WaitError::TimedOut(failure))) = bench.state.take_outcome(bench.now, middle) else {
        panic!("it timed out")
    };
    assert_eq!((failure.waited, failure.phase, failure.seen.waiting), (SECOND, WaitPhase::LeasesHeld, 3));
    assert!(bench.state.take_outcome(bench.now, first).is_none() && bench.state.take_outcome(bench.now, last).is_none());
    bench.release(loan);
    let loan = bench.granted(first);
    bench.release(loan);
    let loan = bench.granted(last);
    bench.release(loan);
}

/// Bites when `end_waits` skips waiters that hold a grant, or forgets what `tell` gives back.
#[test]
fn w9_a_grant_that_nobody_collects_is_revoked_at_its_deadline_and_goes_to_the_next() {
    let mut bench = Bench::full(1);
    let loan = bench.borrow();
    let (lazy, next) = (bench.wait(SECOND), bench.wait(5 * SECOND));
    bench.release(loan);
    bench.pass(SECOND - MS);
    assert!(bench.state.take_outcome(bench.now, next).is_none());
    bench.pass(MS);
    let loan = bench.granted(next);
    assert_eq!(loan.conn, 1);
    assert!(matches!(bench.state.take_outcome(bench.now, lazy), Some(Outcome::Failed(WaitError::TimedOut(_)))));
    bench.release(loan);
}

#[test]
fn c4_a_connect_belongs_to_the_node_not_to_the_caller_that_left() {
    let mut bench = Bench::new(one_pool(5));
    let first = bench.wait(SECOND);
    assert_eq!(bench.connects.len(), 1);
    bench.put(Input::Cancel(first));
    let second = bench.wait(SECOND);
    assert_eq!(bench.connects.len(), 1, "the dial under way serves the next caller");
    bench.accept();
    assert_eq!(bench.granted(second).conn, 1);
}

#[test]
fn the_line_is_bounded_and_a_refused_grant_keeps_its_place_in_it() {
    let mut bench = Bench::new(one_pool(1).max_waiters(2));
    let (first, second) = (bench.wait(SECOND), bench.wait(SECOND));
    assert_eq!(bench.acquire(SECOND), Acquired::Saturated { waiting: 2 });
    bench.accept();
    let Some(Outcome::Granted(loan, place)) = bench.state.take_outcome(bench.now, first) else { panic!("it was granted") };
    let Acquired::Waiting(again) = bench.state.refuse(bench.now, loan, place) else { panic!("it waits again") };
    bench.collect();
    assert_eq!(bench.close_all(), [CloseReason::Broken]);
    // When the next dial starts depends on the back-off for new connections that were broken.
    bench.pass(500 * MS);
    bench.accept();
    let loan = bench.granted(again);
    assert!(bench.state.take_outcome(bench.now, second).is_none());
    bench.release(loan);
    assert_eq!(bench.granted(second).conn, 2);
}

#[test]
fn the_fast_way_back_is_taken_only_if_nothing_else_is_to_be_done() {
    let mut bench = Bench::full(2);
    let (one, two) = (bench.borrow(), bench.borrow());
    assert_eq!(bench.put_back(one), None, "nobody waits and cleanup is off");
    bench.put(Input::SetCleanup(true));
    let two = bench.put_back(two).expect("the time of its return would be unknown");
    bench.release(two);
    let (one, two) = (bench.borrow(), bench.borrow());
    assert_eq!(bench.put_back(one), None, "the time will be noted soon");
    let one = bench.borrow();
    let waiter = bench.wait(SECOND);
    assert_eq!(bench.put_back(one), None, "it goes to the head of the queue");
    assert_eq!(bench.wakes, [waiter], "who is woken");
    let one = bench.granted(waiter);
    bench.put(Input::Died(one.id));
    let one = bench.put_back(one).expect("it is dead");
    bench.release(one);
    bench.close_all();
    bench.accept_all();
    let other = bench.borrow();
    bench.put(Input::Release(other, ReleaseKind::Silent));
    let two = bench.put_back(two).expect("it is distrusted");
    bench.put(Input::Close { force_at: None });
    let two = bench.put_back(two).expect("the pool closes");
    bench.release(two);
}

#[test]
fn what_comes_back_to_a_failing_node_does_not_keep_the_probe_that_is_due_from_being_sent() {
    let mut bench = Bench::new(one_pool(2).min_idle(1));
    bench.accept_all();
    let loan = bench.borrow();
    let waiter = bench.wait(10 * SECOND);
    let ticket = bench.connects.remove(0);
    bench.put(Input::ConnectFailed(ticket, DialFailure::new(String::from("no"), DialFailureKind::Passing)));
    // The driver is late.
    bench.now = bench.now + SECOND;
    let loan = bench.put_back(loan).expect("there is more to do than to hand it over");
    bench.release(loan);
    assert_eq!((bench.granted(waiter).conn, bench.connects.len()), (1, 1));
}

#[test]
fn a_try_that_finds_nothing_dials_one_spare_for_the_next() {
    let mut bench = Bench::new(one_pool(2));
    for _ in 0..3 {
        assert!(matches!(bench.state.try_acquire(bench.now), Err(WaitError::TimedOut(_))));
        bench.collect();
        assert_eq!(bench.connects.len(), 1);
    }
    bench.accept();
    let loan = bench.state.try_acquire(bench.now).expect("it idles");
    bench.release(loan);
    bench.put(Input::Close { force_at: None });
    assert_eq!(bench.state.try_acquire(bench.now), Err(WaitError::Closed));
}

#[test]
fn fail_fast_tells_those_in_line_and_those_who_come_while_the_node_is_down() {
    let mut bench = Bench::new(one_pool(2).on_node_down(OnNodeDown::FailFast));
    let waiter = bench.wait(SECOND);
    bench.refuse(DialFailureKind::Passing);
    assert!(matches!(bench.state.take_outcome(bench.now, waiter), Some(Outcome::Failed(WaitError::Down(_)))));
    assert!(matches!(bench.acquire(SECOND), Acquired::Down(_)));
    bench.pass(5 * SECOND);
    bench.accept();
    assert_eq!(bench.borrow().conn, 1);
}

/// Bit when `dial_failed` alone decided who is told, and took a permanent failure for a passing one.
#[test]
fn h7_a_permanent_failure_is_told_to_all_at_once_and_probed_slowly() {
    let mut bench = Bench::new(one_pool(2));
    let waiters = [bench.wait(SECOND), bench.wait(SECOND)];
    bench.refuse(DialFailureKind::Permanent);
    for waiter in waiters {
        let Some(Outcome::Failed(WaitError::Down(failure))) = bench.state.take_outcome(bench.now, waiter) else {
            panic!("it was told")
        };
        assert_eq!(failure.last_error.as_deref(), Some("refused"));
    }
    assert_eq!(bench.state.health(), Health::Down);
    bench.pass(5 * SECOND);
    bench.accept();
    assert_eq!(bench.state.health(), Health::Up);
}

#[test]
fn the_pool_with_the_fewest_loans_lends_first() {
    let builder = NodeConfig::builder().connection_pools_per_node_at_start(3).min_idle(2).max_connection_size(2);
    let mut bench = Bench::new(builder.max_pools_per_node(3));
    bench.accept_all();
    let active = |bench: &Bench| bench.status().pools.iter().map(|pool| pool.active_calls).collect::<Vec<_>>();
    let mut loans = Vec::new();
    for expected in [[1, 0, 0], [1, 1, 0], [1, 1, 1], [2, 1, 1]] {
        loans.push(bench.borrow());
        assert_eq!(active(&bench), expected);
    }
    let middle = loans.remove(1);
    bench.release(middle);
    loans.push(bench.borrow());
    assert_eq!(active(&bench), [2, 1, 1]);
}

#[test]
fn a_node_grows_by_pools_up_to_its_maximum_and_no_further() {
    let mut bench = Bench::new(NodeConfig::builder().min_idle(0).max_connection_size(2).max_pools_per_node(3));
    let waiters: Vec<_> = (0..8).map(|_| bench.wait(SECOND)).collect();
    assert_eq!(bench.connects.len(), 6);
    assert_eq!(bench.status().total_pools, 3);
    bench.accept_all();
    let served = waiters.into_iter().filter(|id| bench.state.take_outcome(bench.now, *id).is_some()).count();
    assert_eq!((served, bench.status().waiting), (6, 2));
}

/// Bites when a change of what a pool has is not entered into the tree, and when the tree does not grow with the pools.
#[test]
fn of_many_pools_the_one_with_the_fewest_on_loan_lends() {
    let settings = NodeConfig::builder().max_connection_size(3).max_pools_per_node(40).min_idle(0).max_waiters(200);
    let mut bench = Bench::new(settings);
    let waiters: Vec<_> = (0..120).map(|_| bench.wait(SECOND)).collect();
    bench.accept_all();
    let mut rng = Rng::new(7);
    let mut loans: Vec<_> = waiters.into_iter().map(|id| bench.granted(id)).collect();
    for step in 0..2_000 {
        if !loans.is_empty() && rng.index(120) < loans.len() {
            let loan = loans.swap_remove(rng.index(loans.len()));
            match step % 50 {
                0 => bench.put(Input::Release(loan, ReleaseKind::Broken(CloseReason::Broken))),
                1 => bench.release(loan),
                _ => assert_eq!(bench.put_back(loan), None),
            }
            bench.close_all();
            continue;
        }
        let pools = bench.status().pools;
        let lenders = pools.iter().filter(|pool| pool.idle > 0);
        if let Some(least) = lenders.min_by_key(|pool| (pool.active_calls, pool.index)) {
            let loan = bench.borrow();
            assert_eq!(bench.state.connections.get(loan.id()).map(|meta| meta.pool()), Some(least.index));
            loans.push(loan);
        }
    }
    loans.into_iter().for_each(|loan| bench.release(loan));
    bench.put(Input::SetChecks(false));
    bench.put(Input::SetCleanup(true));
    for _ in 0..400 {
        bench.pass(SECOND);
        bench.close_all();
    }
    assert_eq!(bench.status().total_pools, 1);
}
