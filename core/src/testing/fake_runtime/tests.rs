//! The fake runtime keeps its clock, its order and its end.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::runtime::{Spawn, Timer};
use crate::testing::fake_runtime::FakeRuntime;
use crate::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn timers_of_one_instant_fire_together_and_in_virtual_time() {
    let runtime = FakeRuntime::new(1);
    let log = Arc::new(Mutex::new(Vec::new()));
    for seconds in [3, 1, 3, 2] {
        let (log, sleeper) = (Arc::clone(&log), runtime.clone());
        runtime.spawn(Box::pin(async move {
            sleeper.sleep(SECOND * seconds).await;
            log.lock().expect("not poisoned").push((seconds, sleeper.now()));
        }));
    }
    runtime.advance(SECOND * 2);
    assert_eq!(log.lock().expect("not poisoned").len(), 2);
    runtime.advance(SECOND);
    let log = log.lock().expect("not poisoned");
    assert!(log.iter().all(|(seconds, at)| *at == Instant::ZERO + SECOND * *seconds), "{log:?}");
    assert_eq!((log.len(), runtime.tasks(), runtime.timers()), (4, 0, 0));
}

#[test]
fn the_seed_decides_the_order_of_ready_tasks() {
    let order = |seed| {
        let runtime = FakeRuntime::new(seed);
        let log = Arc::new(Mutex::new(Vec::new()));
        for n in 0..10 {
            let log = Arc::clone(&log);
            runtime.spawn(Box::pin(async move { log.lock().expect("not poisoned").push(n) }));
        }
        runtime.settle();
        let order = log.lock().expect("not poisoned");
        order.clone()
    };
    assert_eq!(order(3), order(3));
    assert_ne!(order(3), order(4));
}

#[test]
#[should_panic(expected = "deadlock at 0ns (seed 9)")]
fn a_deadlock_is_a_panic_that_names_the_seed() {
    FakeRuntime::new(9).block_on(std::future::pending::<()>());
}

#[test]
fn a_runtime_that_has_ended_drops_what_it_is_given() {
    let runtime = FakeRuntime::new(1);
    let held = Arc::new(());
    for _ in 0..2 {
        let held = Arc::clone(&held);
        runtime.spawn(Box::pin(async move {
            std::future::pending::<()>().await;
            drop(held);
        }));
        runtime.shut_down();
    }
    assert_eq!(Arc::strong_count(&held), 1);
}
