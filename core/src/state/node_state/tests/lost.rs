//! Connections that die while their borrowers hold them, and what the status says of a node that is down.

use std::time::Duration;

use super::{Bench, MS, SECOND, one_pool};
use crate::close_reason::CloseReason;
use crate::config::OnNodeDown;
use crate::state::{Acquired, DialFailureKind, Health, Input, Outcome, ReleaseKind, WaitKind};

/// One pool of `limit` connections of which one is on loan.
fn with_one_on_loan(limit: usize, min_idle: usize) -> (Bench, crate::state::Loan<u32>) {
    let mut bench = Bench::new(one_pool(limit).min_idle(min_idle).on_node_down(OnNodeDown::FailFast));
    if min_idle == 0 {
        assert!(bench.state.try_acquire(bench.now).is_err());
        bench.collect();
    }
    bench.accept_all();
    bench.pass(2 * SECOND);
    let loan = bench.borrow();
    (bench, loan)
}

/// Seen to bite: with `Lost` counted by `PhaseCounts::alive` (health), and without `look_for_life`, which alone starts the probe of a node that has no floor.
#[test]
fn h13_a_dead_loan_is_no_sign_of_life_counts_for_no_floor_and_starts_the_probe() {
    for min_idle in [0, 1] {
        let (mut bench, loan) = with_one_on_loan(4, min_idle);
        bench.put(Input::Died(loan.id));
        assert_eq!(bench.connects.len(), 1, "min_idle {min_idle}: a dial shows at once how the node is");
        let status = bench.status();
        assert_eq!((status.active, status.lost, status.pools[0].lost), (1, 1, 1), "it keeps its place");
        assert_eq!((status.health, status.healthy_pools), (Health::Suspect, 0));
        bench.refuse(DialFailureKind::Passing);
        bench.pass(MS);
        let status = bench.status();
        assert_eq!((status.health, status.healthy_pools, status.active), (Health::Down, 0, 1));
        assert_eq!((status.health_for, status.down_for, status.last_error_age), (MS, Some(MS), Some(MS)));
        assert!(matches!(bench.acquire(SECOND), Acquired::Down(_)), "it fails fast, although a client is on loan");
        bench.until_dial();
        bench.accept();
        assert_eq!((bench.status().health, bench.status().down_for, bench.status().last_error_age), (Health::Up, None, None));
        assert_eq!(bench.status().health_for, Duration::ZERO, "it has just come back");
        let other = bench.borrow();
        assert_eq!((bench.status().active, bench.status().lost), (2, 1));
        bench.put(Input::Release(loan, ReleaseKind::Broken(CloseReason::Broken)));
        assert_eq!((bench.close_all(), bench.status().lost), (vec![CloseReason::Broken], 0));
        bench.release(other);
    }
}

/// Seen to bite: with `Lost` counted by `PhaseCounts::open`.
#[test]
fn h13_a_pool_whose_only_connection_is_a_dead_loan_is_not_warm() {
    let (mut bench, loan) = with_one_on_loan(4, 1);
    bench.put(Input::Died(loan.id));
    let warm = bench.state.wait_for(bench.now, WaitKind::Warm, bench.now + SECOND);
    let Acquired::Waiting(id) = warm else { panic!("it is not warm: {warm:?}") };
    bench.collect();
    assert_eq!(bench.state.take_outcome(bench.now, id), None, "a dead connection does not fill the pool");
    bench.accept();
    assert_eq!(bench.state.take_outcome(bench.now, id), Some(Outcome::Ready));
    bench.put(Input::Release(loan, ReleaseKind::Broken(CloseReason::Broken)));
}

/// Seen to bite: with the suspicion whatever else is alive.
#[test]
fn h13_one_dead_loan_among_live_ones_is_no_reason_to_probe() {
    let mut bench = Bench::new(one_pool(4).min_idle(2));
    bench.accept_all();
    let (one, other) = (bench.borrow(), bench.borrow());
    bench.accept_all();
    assert_eq!(bench.status().idle, 2, "the minimum is kept idle");
    bench.put(Input::Died(one.id));
    assert_eq!((bench.status().health, bench.connects.len()), (Health::Up, 0), "others live");
    bench.put(Input::Died(one.id));
    assert_eq!(bench.connects.len(), 0, "it dies once");
    bench.release(other);
    bench.release(one);
    assert_eq!(bench.close_all(), [CloseReason::Broken]);
}

/// Seen to bite: without `is_full_of_lost`, and without `made_room`, which starts the dial when the loan is back.
#[test]
fn h13_dead_loans_that_take_all_places_leave_the_node_down_until_one_is_back() {
    let (mut bench, loan) = with_one_on_loan(1, 1);
    bench.put(Input::Died(loan.id));
    assert_eq!((bench.connects.len(), bench.status().health), (0, Health::Down), "there is no room for a probe");
    assert!(matches!(bench.acquire(SECOND), Acquired::Down(_)));
    bench.pass(10 * SECOND);
    assert_eq!((bench.connects.len(), bench.status().active), (0, 1));
    bench.put(Input::Release(loan, ReleaseKind::Broken(CloseReason::Broken)));
    bench.close_all();
    assert_eq!(bench.connects.len(), 1, "its place is free: the dial comes at once");
    bench.accept();
    assert_eq!(bench.status().health, Health::Up);
}

/// Seen to bite: with `force` that looks for `Leased` alone.
#[test]
fn e1_a_dead_loan_is_ended_by_force_like_any_other() {
    let (mut bench, loan) = with_one_on_loan(2, 1);
    bench.put(Input::Died(loan.id));
    bench.accept_all();
    bench.put(Input::Close { force_at: Some(bench.now + SECOND) });
    bench.close_all();
    bench.pass(SECOND);
    assert_eq!(bench.kills.len(), 1);
    let killed = bench.kills.remove(0);
    bench.put(Input::Closed(killed));
    assert!(bench.state.is_finished());
    bench.put(Input::Release(loan, ReleaseKind::Broken(CloseReason::Broken)));
    assert_eq!(bench.close_all(), [CloseReason::PoolClosed]);
}

/// Seen to bite: without the `hurry` in `acquire`, and without that in `try_acquire`.
#[test]
fn h5_callers_that_fail_fast_shorten_the_pause_like_those_that_wait() {
    for ask in ["get", "try"] {
        let mut longest = MS;
        for seed in 0..20 {
            let mut bench = Bench::seeded(one_pool(2).min_idle(1).on_node_down(OnNodeDown::FailFast), seed);
            for _ in 0..10 {
                bench.refuse(DialFailureKind::Passing);
                let failed_at = bench.now;
                match ask {
                    "get" => assert!(matches!(bench.acquire(SECOND), Acquired::Down(_))),
                    _ => assert!(bench.state.try_acquire(bench.now).is_err()),
                }
                bench.collect();
                bench.until_dial();
                longest = longest.max(bench.now.saturating_duration_since(failed_at));
            }
        }
        assert!(longest <= 501 * MS, "{ask}: {longest:?}");
    }
}

/// Seen to bite: with `health` as `evidence`.
#[test]
fn a_node_is_down_until_it_has_answered_for_the_first_time() {
    let mut bench = Bench::new(one_pool(2).min_idle(1));
    bench.pass(20 * MS);
    let status = bench.status();
    assert_eq!((status.health, status.down_for, status.healthy_pools), (Health::Down, Some(20 * MS), 0));
    let waiter = bench.wait(SECOND);
    bench.accept();
    assert_eq!((bench.status().health, bench.status().down_for), (Health::Up, None));
    let _ = bench.granted(waiter);
}

/// Guards against: words that are replaced by those for a server that has closed, where a connection dies on loan, and where one
/// dies at birth.
#[test]
fn h3_the_words_of_a_death_are_the_last_error() {
    let (mut bench, loan) = with_one_on_loan(4, 0);
    bench.put(Input::DiedOf(loan.id, String::from("garbage on loan")));
    let status = bench.status();
    assert_eq!((status.last_error.as_deref(), status.lost), (Some("garbage on loan"), 1));
    bench.refuse(DialFailureKind::Passing);
    bench.until_dial();
    bench.accept();
    let idle = bench.borrow();
    let id = idle.id;
    bench.release(idle);
    bench.put(Input::DiedOf(id, String::from("garbage at birth")));
    let status = bench.status();
    assert_eq!((status.last_error.as_deref(), status.health), (Some("garbage at birth"), Health::Down));
    bench.put(Input::Release(loan, ReleaseKind::Broken(CloseReason::Broken)));
}
