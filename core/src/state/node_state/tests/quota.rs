//! A node's state that has to share: what it takes, says and gives when all nodes together are limited.

use super::{Bench, MS, SECOND, one_pool};
use crate::close_reason::CloseReason;
use crate::config::{NodeConfig, NodeConfigBuilder};
use crate::state::{DialFailureKind, Health, Input, Outcome, Quota, ReleaseKind, SharingMode, WaitKind};
use crate::time::Instant;

fn allowed(most: usize, floor: usize) -> Input<u32> {
    Input::Quota(Quota { most, floor, give: 0, mode: SharingMode::Contended })
}

/// A node's state that has been told before its first input that it has to wait for a quota, and then was given one.
fn bench(settings: NodeConfigBuilder, most: usize, floor: usize) -> Bench {
    let mut bench = Bench::new(settings);
    assert!(bench.connects.is_empty(), "these tests begin with nothing");
    bench.state.start_with_nothing();
    bench.put(allowed(most, floor));
    bench
}

/// Bites when `with_room` does not look at the quota.
#[test]
fn i11_no_dial_goes_beyond_the_allowance_and_what_is_lacking_is_said() {
    let mut bench = bench(one_pool(9), 2, 1);
    for _ in 0..5 {
        bench.wait(SECOND);
        bench.pass(MS);
    }
    let demand = bench.state.demand();
    assert_eq!((bench.connects.len(), demand.total, demand.callers, demand.more), (2, 2, 3, 0));
    let since: Vec<_> = demand.since.iter().map(|since| since.as_nanos() / 1_000_000).collect();
    assert_eq!(since, [2, 3, 4, 4, 4, 4, 4, 4], "the first two have a dial under way");
    bench.put(allowed(4, 1));
    assert_eq!((bench.connects.len(), bench.state.demand().callers), (4, 1));
}

/// Bites when a freed slot leaves the quota as it was (`ConnectionTable::free`).
#[test]
fn the_place_of_a_connection_that_is_no_more_is_free_for_all_nodes_but_a_floor_is_kept() {
    let mut bench = bench(one_pool(9), 3, 1);
    let ids: Vec<_> = (0..4).map(|_| bench.wait(SECOND)).collect();
    bench.accept_all();
    for (id, (most, dials)) in ids.into_iter().take(3).zip([(2, 0), (1, 0), (1, 1)]) {
        let loan = bench.granted(id);
        bench.put(Input::Release(loan, ReleaseKind::Broken(CloseReason::Broken)));
        assert_eq!(bench.close_all(), [CloseReason::Broken]);
        assert_eq!((bench.state.quota().most, bench.connects.len()), (most, dials), "dialled only within the floor");
    }
}

/// Bites when another one than the oldest is chosen, and when more is closed than was asked for.
#[test]
fn what_is_to_be_given_up_is_the_idle_connection_that_was_unused_for_longest() {
    let mut bench = bench(one_pool(9), 3, 1);
    let ids: Vec<_> = (0..3).map(|_| bench.wait(SECOND)).collect();
    bench.accept_all();
    let mut loans: Vec<_> = ids.into_iter().map(|id| bench.granted(id)).collect();
    let oldest = loans[1].conn;
    for index in [1, 0, 0] {
        bench.release(loans.remove(index));
        bench.pass(MS);
    }
    bench.put(Input::Quota(Quota { most: 3, floor: 1, give: 1, mode: SharingMode::Unshared }));
    let closes: Vec<_> = bench.closes.iter().map(|(_, conn, reason)| (*conn, *reason)).collect();
    assert_eq!(closes, [(oldest, CloseReason::Yielded)]);
    assert_eq!((bench.status().idle, bench.state.demand().closing), (2, 1));
}

/// Bites when `put_back` and `leave_line` are quick at any pace, and when `grant` does not wait.
#[test]
fn while_somebody_is_short_returns_and_leaves_take_the_long_way_and_a_floor_elsewhere_comes_before_the_line() {
    let mut bench = bench(one_pool(9), 2, 1);
    let ids: Vec<_> = (0..3).map(|_| bench.wait(SECOND)).collect();
    bench.accept_all();
    let loans = [bench.granted(ids[0]), bench.granted(ids[1])];
    assert!(!bench.state.leave_queue(ids[2]), "others hear of it");
    bench.put(Input::Quota(Quota { most: 2, floor: 1, give: 0, mode: SharingMode::Yielding }));
    let [one, two] = loans.map(|loan| bench.put_back(loan).expect("others hear of it"));
    bench.release(one);
    assert_eq!((bench.state.demand().idle, bench.state.demand().has_waiters), (1, true), "held back");
    bench.put(Input::Quota(Quota { most: 2, floor: 1, give: 1, mode: SharingMode::Yielding }));
    assert_eq!(bench.close_all(), [CloseReason::Yielded]);
    bench.release(two);
    assert!(bench.state.take_outcome(bench.now, ids[2]).is_some(), "its own floor is for its own queue");
    bench.put(Input::Quota(Quota { most: 1, floor: 1, give: 0, mode: SharingMode::Unshared }));
    let waiter = bench.wait(SECOND);
    assert!(bench.state.leave_queue(waiter), "nobody needs to hear of it");
}

/// Bites when a probe that had no quota is forgotten (`is_probe_put_off`), and when it starts before its time.
#[test]
fn a_probe_that_was_due_without_an_allowance_is_wanted_until_there_is_one() {
    let mut bench = bench(one_pool(9), 2, 1);
    let ids = [bench.wait(SECOND), bench.wait(60 * SECOND)];
    bench.accept();
    let held = bench.granted(ids[0]);
    bench.refuse(DialFailureKind::Passing);
    assert_eq!((bench.state.health(), bench.state.quota().most), (Health::Suspect, 1));
    assert_eq!(bench.state.demand().callers, 0, "not before its time");
    bench.pass(SECOND);
    assert_eq!((bench.state.demand().callers, bench.connects.len()), (1, 0));
    bench.put(allowed(2, 1));
    assert_eq!((bench.state.demand().callers, bench.connects.len()), (0, 1), "at once");
    bench.accept();
    assert!(matches!(bench.state.take_outcome(bench.now, ids[1]), Some(Outcome::Granted(..))));
    bench.release(held);
}

/// Bites when a try that found no quota is forgotten.
#[test]
fn a_try_wants_one_to_spare_if_there_is_some_left() {
    let mut bench = bench(one_pool(9), 1, 1);
    let id = bench.wait(SECOND);
    bench.accept_all();
    let held = bench.granted(id);
    assert!(bench.state.try_acquire(bench.now).is_err());
    assert_eq!((bench.state.demand().callers, bench.state.demand().more), (0, 1));
    bench.put(allowed(2, 1));
    assert_eq!((bench.connects.len(), bench.state.demand().more), (1, 0));
    bench.release(held);
}

/// Bites when only the whole minimum is warm, and when `note_agreement` is content before the floor is there.
#[test]
fn a_node_is_warm_with_its_floor_when_it_is_given_no_more() {
    let settings = NodeConfig::builder().min_idle(4).max_connection_size(4).on_node_down(crate::config::OnNodeDown::Wait);
    let config = settings.build().expect("valid");
    let mut state = crate::state::NodeState::<u32>::new(config, 7);
    state.start_with_nothing();
    let warm = state.wait_for(Instant::ZERO, WaitKind::Warm, Instant::ZERO + SECOND);
    let crate::state::Acquired::Waiting(id) = warm else { panic!("it cannot be warm: {warm:?}") };
    assert_eq!((state.poll_action(), state.demand().more), (None, 4));
    state.handle(Instant::ZERO, allowed(2, 2));
    for conn in [1, 2] {
        assert_eq!(state.take_outcome(Instant::ZERO, id), None, "before connection {conn}");
        let Some(crate::state::Action::Connect(ticket)) = state.poll_action() else { panic!("a dial was allowed") };
        state.handle(Instant::ZERO, Input::Connected(ticket, conn));
        assert_eq!(state.take_outcome(Instant::ZERO, id), None, "the others have not been asked for more");
        let demand = state.demand();
        state.note_agreement(&demand);
    }
    assert_eq!(state.take_outcome(Instant::ZERO, id), Some(Outcome::Ready));
    assert_eq!(state.demand().more, 2, "the rest is still wished for");
}
