//! What happens in a node is said as events, each once, with the numbers of the clock.

use super::*;
use crate::state::{CheckOutcome, CheckResult, ConnectionUse, Event, GrantRevoked, Health, WaitPhase};

/// The events since the last call.
fn events(bench: &mut Bench) -> Vec<Event> {
    std::iter::from_fn(|| bench.state.poll_event()).collect()
}

/// Observed from the first input on.
fn observed(builder: NodeConfigBuilder) -> Bench {
    let mut bench = Bench::at_rest(builder, 7);
    bench.state.observe();
    bench.put(Input::Tick);
    bench
}

#[test]
fn a_dial_a_wait_and_a_close_say_how_long_they_took() {
    let mut bench = observed(one_pool(1));
    assert_eq!(events(&mut bench), []);
    let waiter = bench.wait(SECOND);
    assert_eq!(events(&mut bench), [Event::DialStarted { pool: 0, probe: false }]);
    bench.now = bench.now + 30 * MS;
    bench.accept();
    let up = Event::HealthChanged { from: Health::Down, to: Health::Up, lasted: 30 * MS, why: None };
    let connected = Event::Connected { pool: 0, took: 30 * MS, overdue: false, recovered: false };
    assert_eq!(events(&mut bench), [connected, Event::Granted { waited: 30 * MS }, up]);
    let loan = bench.granted(waiter);
    bench.now = bench.now + 70 * MS;
    bench.put(Input::Release(loan, ReleaseKind::Broken(CloseReason::Discarded)));
    assert_eq!(events(&mut bench), [Event::Closed { reason: CloseReason::Discarded, age: 70 * MS, idle: false }]);
}

#[test]
fn a_caller_that_gets_nothing_is_told_apart_by_why() {
    let mut bench = observed(one_pool(1).max_waiters(1));
    bench.wait(SECOND);
    let _dialled = events(&mut bench);
    bench.accept();
    let _granted = events(&mut bench);
    // The first one holds the only connection.
    let _late = bench.wait(40 * MS);
    assert!(matches!(bench.acquire(SECOND), Acquired::Saturated { .. }));
    assert_eq!(events(&mut bench), [Event::Saturated { waiting: 1 }]);
    bench.pass(40 * MS);
    assert_eq!(events(&mut bench), [Event::TimedOut { phase: WaitPhase::LeasesHeld, waited: 40 * MS }]);
}

#[test]
fn a_node_that_goes_down_and_comes_back_says_so_once_each_with_the_cause() {
    let mut bench = observed(one_pool(2).min_idle(1));
    bench.accept();
    let _up = events(&mut bench);
    let id = *bench.state.connections.select(|_| true).first().expect("one is open");
    bench.now = bench.now + 2 * SECOND;
    bench.put(Input::Died(id));
    bench.refuse(DialFailureKind::Passing);
    let waiter = bench.wait(10 * MS);
    bench.pass(10 * MS);
    assert!(bench.state.take_outcome(bench.now, waiter).is_some());
    bench.until_dial();
    bench.accept();
    let seen = events(&mut bench);
    let health: Vec<_> = seen
        .iter()
        .filter_map(|event| {
            let Event::HealthChanged { from, to, why, .. } = event else { return None };
            Some((*from, *to, why.as_deref()))
        })
        .collect();
    assert_eq!(health, [(Health::Up, Health::Down, Some("refused")), (Health::Down, Health::Up, None)]);
    assert!(seen.contains(&Event::Died { during: ConnectionUse::Idle }));
    assert!(seen.contains(&Event::Unavailable { waited: 10 * MS }), "{seen:?}");
    assert_eq!(seen.iter().filter(|event| matches!(event, Event::DialStarted { probe: true, .. })).count(), 1, "{seen:?}");
    assert!(seen.iter().any(|event| matches!(event, Event::Connected { recovered: true, .. })));
}

#[test]
fn a_cancelled_grant_and_a_check_say_how_they_ended() {
    let mut bench = observed(one_pool(1).health_check_interval(SECOND));
    let waiter = bench.wait(SECOND);
    bench.accept();
    let _granted = events(&mut bench);
    bench.put(Input::Cancel(waiter));
    assert_eq!(events(&mut bench), [Event::GrantRevoked { why: GrantRevoked::Cancelled }]);
    bench.pass(2 * SECOND);
    let checkup = bench.checks.remove(0);
    bench.put(Input::Checked(checkup, CheckResult::Sound));
    assert_eq!(events(&mut bench), [Event::Checked(CheckOutcome::Passed)]);
}

#[test]
fn nothing_is_kept_where_nothing_observes() {
    let mut bench = Bench::full(2);
    let _loans = (bench.borrow(), bench.borrow());
    bench.wait(MS);
    bench.pass(SECOND);
    assert!(!bench.state.has_events() && bench.state.poll_event().is_none());
}
