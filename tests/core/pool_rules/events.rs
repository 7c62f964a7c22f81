//! An observer gets what happens in a node: by name, in order, outside of all locks.

use std::sync::{Arc, Mutex, OnceLock};

use redis_manager_core::testing::{FakeConnector, FakeMode, FakeRuntime, FakeServer};
use redis_manager_core::{Event, Health, NodePool, Observer};

use crate::support::{SECOND, one_pool};

/// Asks the pool for its status whenever something happens, notes how it is doing, and panics now and then.
#[derive(Default)]
struct NosyObserver {
    pool: OnceLock<NodePool<FakeConnector>>,
    seen: Mutex<Vec<(String, Event)>>,
    panics: bool,
}

impl Observer for NosyObserver {
    fn event(&self, node: &str, event: &Event) {
        let _status = self.pool.get().map(NodePool::status);
        self.seen.lock().expect("not poisoned").push((String::from(node), event.clone()));
        assert!(!self.panics, "an observer that panics");
    }
}

fn outage(panics: bool) -> Vec<(String, Event)> {
    let runtime = FakeRuntime::new(3);
    let server = FakeServer::new(&runtime);
    let observer = Arc::new(NosyObserver { panics, ..NosyObserver::default() });
    let config = one_pool(2).observer(observer.clone()).build().expect("valid");
    let pool = NodePool::new(server.connector(), config, Arc::new(runtime.clone()));
    assert!(observer.pool.set(pool.clone()).is_ok());
    let lease = runtime.block_on(pool.get()).expect("the server is up");
    server.kill();
    runtime.settle();
    drop(lease);
    assert!(runtime.block_on(pool.get_timeout(SECOND)).is_err());
    server.set_mode(FakeMode::Up);
    let lease = runtime.block_on(pool.get()).expect("it is up again");
    drop(lease);
    runtime.block_on(pool.close());
    observer.seen.lock().expect("not poisoned").clone()
}

#[test]
fn an_observer_learns_of_an_outage_and_may_ask_the_pool() {
    let seen = outage(false);
    assert!(seen.iter().all(|(node, _)| node == "fake"), "{seen:?}");
    let health: Vec<_> = seen
        .iter()
        .filter_map(|(_, event)| {
            let Event::HealthChanged { to, .. } = event else { return None };
            Some(*to)
        })
        .collect();
    assert_eq!(health, [Health::Up, Health::Suspect, Health::Down, Health::Up], "{seen:?}");
    let count = |wanted: fn(&Event) -> bool| seen.iter().filter(|(_, event)| wanted(event)).count();
    assert_eq!(count(|event| matches!(event, Event::Unavailable { waited } if *waited == SECOND)), 1, "{seen:?}");
    let opened = count(|event| matches!(event, Event::Connected { .. }));
    assert_eq!(opened, count(|event| matches!(event, Event::Closed { .. })), "what was opened was closed: {seen:?}");
}

#[test]
fn an_observer_that_panics_costs_nothing_but_the_event() {
    assert_eq!(outage(true), outage(false));
}
