//! What is counted adds up also where a history ends badly: each connection opens once and closes once.

use super::*;
use crate::state::{CheckResult, ConnId, Event, Health, WaitError, WaitKind, WaitPhase};

/// Observed from the first input on.
fn observed(builder: NodeConfigBuilder) -> Bench {
    let mut bench = Bench::at_rest(builder, 7);
    bench.state.observe();
    bench.put(Input::Tick);
    bench
}

/// How often connections have been opened and closed, by the events since the last call.
fn opened_and_closed(bench: &mut Bench) -> (usize, Vec<(CloseReason, Duration)>) {
    let events: Vec<_> = std::iter::from_fn(|| bench.state.poll_event()).collect();
    let opened = events.iter().filter(|event| matches!(event, Event::Connected { .. })).count();
    let closed = events.iter().filter_map(|event| {
        let Event::Closed { reason, age, .. } = event else { return None };
        Some((*reason, *age))
    });
    (opened, closed.collect())
}

#[track_caller]
fn assert_open(bench: &Bench, opened: u64, closed: u64) {
    let metrics = bench.state.metrics(bench.now);
    assert_eq!((metrics.opened(), metrics.closed(), metrics.open()), (opened, closed, opened - closed), "{metrics:?}");
}

fn close(bench: &mut Bench, force_after: Duration) {
    bench.put(Input::Close { force_at: Some(bench.now + force_after) });
}

fn ids(bench: &Bench) -> Vec<ConnId> {
    bench.state.connections.select(|_| true)
}

#[test]
fn t6_a_connection_that_comes_too_late_is_opened_and_closed() {
    let mut bench = observed(one_pool(2).min_idle(2));
    let died = bench.connects[0].id;
    bench.now = bench.now + 5 * MS;
    bench.put(Input::Died(died));
    bench.accept();
    assert_eq!(opened_and_closed(&mut bench), (1, vec![(CloseReason::Broken, Duration::ZERO)]));
    close(&mut bench, SECOND);
    bench.accept();
    assert_eq!(opened_and_closed(&mut bench), (1, vec![(CloseReason::PoolClosed, Duration::ZERO)]));
    assert_open(&bench, 2, 2);
    let metrics = bench.state.metrics(bench.now);
    assert_eq!(metrics.connects.started, 2 + bench.connects.len() as u64);
    assert_eq!(metrics.connect_time.buckets().find(|(_, up_to)| *up_to > 0), Some((6_800 * Duration::from_micros(1), 2)));
}

#[test]
fn t6_what_is_ended_by_force_closes_once_whenever_it_comes_back() {
    let mut bench = observed(one_pool(4).min_idle(4).use_time_sampling(1));
    bench.accept_all();
    let (sooner, later) = (bench.borrow(), bench.borrow());
    let checked = ids(&bench).into_iter().find(|id| *id != sooner.id && *id != later.id).expect("two idle");
    bench.state.check_idle(bench.now, checked);
    bench.collect();
    bench.now = bench.now + 5 * MS;
    close(&mut bench, 15 * MS);
    // One was idle.
    assert_eq!(opened_and_closed(&mut bench), (4, vec![(CloseReason::PoolClosed, 5 * MS)]));
    bench.pass(15 * MS);
    assert_eq!(opened_and_closed(&mut bench), (0, vec![(CloseReason::PoolClosed, 20 * MS); 3]));
    bench.now = bench.now + 5 * MS;
    bench.put(Input::Release(sooner, ReleaseKind::Broken(CloseReason::Broken)));
    for kill in std::mem::take(&mut bench.kills) {
        bench.put(Input::Closed(kill));
    }
    bench.put(Input::Release(later, ReleaseKind::Sound));
    let checkup = bench.checks.remove(0);
    bench.put(Input::Checked(checkup, CheckResult::Sound));
    bench.close_all();
    assert_eq!(opened_and_closed(&mut bench), (0, vec![]));
    assert_open(&bench, 4, 4);
    let metrics = bench.state.metrics(bench.now);
    assert_eq!((metrics.use_time.count(), metrics.use_time.sum()), (2, 40 * MS), "until the end by force");
}

/// As the node does it: the use begins a moment after the loan, under the lock once more.
#[test]
fn t3_a_lease_that_was_ended_before_its_use_began_is_not_timed() {
    let mut bench = Bench::full(1);
    let loan = bench.state.take_idle().expect("one idles");
    assert!(bench.state.wants_use_timed(), "the first one is");
    close(&mut bench, Duration::ZERO);
    bench.pass(MS);
    bench.state.begin_use(bench.now, loan.id);
    assert!(!bench.state.is_use_timed(loan.id));
    bench.release(loan);
    assert_eq!(bench.state.metrics(bench.now).use_time.count(), 0);
}

#[test]
fn t6_a_dial_that_a_close_gives_up_ends_once() {
    let mut bench = observed(one_pool(2).min_idle(2));
    close(&mut bench, 10 * MS);
    bench.refuse(DialFailureKind::Passing);
    bench.pass(10 * MS);
    bench.accept();
    let metrics = bench.state.metrics(bench.now);
    assert_eq!((metrics.connects.started, metrics.connects.abandoned, metrics.connects.failed.total()), (2, 2, 0));
    assert_eq!(opened_and_closed(&mut bench), (0, vec![]));
    assert_open(&bench, 0, 0);
}

#[test]
fn t6_a_dead_loan_that_a_close_does_not_wait_for_closes_as_broken() {
    let mut bench = observed(one_pool(1).min_idle(1));
    bench.accept();
    let loan = bench.borrow();
    bench.put(Input::Died(loan.id));
    assert_open(&bench, 1, 0);
    close(&mut bench, SECOND);
    assert_eq!(opened_and_closed(&mut bench), (1, vec![(CloseReason::Broken, Duration::ZERO)]));
    bench.release(loan);
    assert_eq!(opened_and_closed(&mut bench), (0, vec![]));
    assert_open(&bench, 1, 1);
}

/// Guards against: a wait for something else that is counted as a get, a grant that is no longer pending.
#[test]
fn t6_each_get_ends_in_one_way_and_other_waits_are_none() {
    let mut bench = Bench::new(one_pool(1));
    let Acquired::Waiting(warm) = bench.state.wait_for(bench.now, WaitKind::Warm, bench.now + SECOND) else { panic!("cold") };
    let granted = bench.wait(SECOND);
    let left = bench.wait(SECOND);
    assert!(bench.state.leave_queue(left) && bench.state.leave_queue(warm));
    bench.accept();
    let acquires = |bench: &Bench| bench.state.metrics(bench.now).acquires;
    assert_eq!((acquires(&bench).pending, acquires(&bench).cancelled, acquires(&bench).waited), (1, 1, 0));
    bench.put(Input::Cancel(granted));
    assert_eq!((acquires(&bench).pending, acquires(&bench).cancelled), (0, 2));
    let loan = bench.borrow();
    assert!(matches!(bench.state.try_acquire(bench.now), Err(WaitError::TimedOut(_))));
    assert_eq!(acquires(&bench).timed_out.of(WaitPhase::LeasesHeld), 1);
    let late = bench.wait(10 * MS);
    bench.pass(10 * MS);
    // It has not collected its error yet, and leaves: it was refused, not cancelled.
    bench.put(Input::Cancel(late));
    let waits = bench.wait(SECOND);
    close(&mut bench, SECOND);
    assert_eq!(bench.acquire(SECOND), Acquired::Closed);
    bench.put(Input::Cancel(waits));
    bench.release(loan);
    let acquires = acquires(&bench);
    assert_eq!((acquires.timed_out.total(), acquires.cancelled, acquires.closed, acquires.pending), (2, 2, 2, 0));
    assert_eq!((acquires.at_once, acquires.total()), (1, 7));
    assert_eq!(bench.state.metrics(bench.now).most_waiting, 2);
}

/// Guards against: bad health that is counted on after the close, and a stretch that is counted twice or not at all.
#[test]
fn t6_the_time_that_a_node_is_not_up_adds_up_until_its_pool_closes() {
    let mut bench = Bench::new(one_pool(2).min_idle(1));
    bench.now = bench.now + 30 * MS;
    let times = |bench: &Bench| {
        let metrics = bench.state.metrics(bench.now);
        (metrics.time_down, metrics.time_suspect)
    };
    assert_eq!(times(&bench), (30 * MS, Duration::ZERO), "down until it has answered");
    bench.accept();
    bench.now = bench.now + 2 * SECOND;
    let loan = bench.borrow();
    bench.put(Input::Distrusted(loan.id, String::from("it is not ready")));
    assert_eq!(bench.state.health(), Health::Suspect);
    bench.now = bench.now + 7 * MS;
    assert_eq!(times(&bench), (30 * MS, 7 * MS));
    bench.put(Input::Died(loan.id));
    bench.refuse(DialFailureKind::Passing);
    assert_eq!(bench.state.health(), Health::Down);
    bench.now = bench.now + 3 * MS;
    assert_eq!(times(&bench), (33 * MS, 7 * MS));
    close(&mut bench, SECOND);
    bench.pass(500 * MS);
    assert_eq!(times(&bench), (33 * MS, 7 * MS));
    let changes: Vec<_> = bench.state.metrics(bench.now).health_changes.iter().collect();
    assert_eq!(changes, [(Health::Up, 1), (Health::Suspect, 1), (Health::Down, 1)]);
    bench.release(loan);
}

/// As the documentation says. There is one of these for each node, and a copy for each look at it.
#[test]
fn metrics_take_less_than_two_kilobytes() {
    let sizes = [size_of::<crate::state::Histogram>(), size_of::<crate::state::NodeMetrics>()];
    assert!(sizes[0] <= 368 && sizes[1] <= 1_600, "{sizes:?}");
}
