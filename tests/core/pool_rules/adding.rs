//! Nodes that are asked for while they are being added, or before their server is there.

use std::sync::Arc;
use std::time::Duration;

use redis_manager_core::testing::{FakeConnector, FakeMode, FakeRuntime, FakeServer};
use redis_manager_core::{AcquireError, Health, Manager, OnNodeDown, Spawn, Timer};

use super::support::{MS, SECOND, one_pool};

struct OneNodeManager {
    runtime: FakeRuntime,
    server: FakeServer,
    manager: Manager<FakeConnector>,
}

fn fleet(seed: u64, on_node_down: OnNodeDown) -> OneNodeManager {
    let runtime = FakeRuntime::new(seed);
    let server = FakeServer::new(&runtime);
    let config = one_pool(4).min_idle(1).on_node_down(on_node_down).build().expect("valid settings");
    OneNodeManager { manager: Manager::new(config, Arc::new(runtime.clone())), runtime, server }
}

impl OneNodeManager {
    /// Begins to add the node in a task of its own.
    fn add_in_background(&self, timeout: Duration) {
        let (manager, connector) = (self.manager.clone(), self.server.connector());
        self.runtime.spawn(Box::pin(async move {
            let _added = manager.add("node", timeout, || connector).await;
        }));
        self.runtime.settle();
    }

    fn health(&self) -> Option<Health> {
        self.manager.status().values().next().map(|node| node.health)
    }

    fn assert_nothing_left(self, seed: u64) {
        let Self { runtime, server, manager } = self;
        drop(manager);
        runtime.advance(2 * SECOND);
        assert_eq!((runtime.tasks(), runtime.timers(), server.connections()), (0, 0, 0), "seed {seed}");
    }
}

/// Seen to bite: with `Manager::known` that leaves out nodes that are being added.
#[test]
fn a_get_waits_with_the_node_that_is_being_added() {
    for seed in 0..10 {
        let fleet = fleet(seed, OnNodeDown::Wait);
        fleet.server.set_connect_latency(300 * MS);
        fleet.add_in_background(2 * SECOND);
        assert_eq!(fleet.health(), Some(Health::Down), "seed {seed}: what has not answered yet is no green health");
        assert!(matches!(fleet.manager.try_get("node"), Err(AcquireError::Timeout { .. })), "seed {seed}");
        let lease = fleet.runtime.block_on(fleet.manager.get("node", SECOND)).expect("the node is being added");
        assert!(fleet.runtime.now().as_nanos() >= 300_000_000, "seed {seed}");
        drop(lease);
        fleet.runtime.settle();
        assert_eq!(fleet.health(), Some(Health::Up), "seed {seed}");
        let unknown = fleet.runtime.block_on(fleet.manager.get("other", SECOND));
        assert!(matches!(unknown, Err(AcquireError::UnknownNode { .. })), "seed {seed}: {unknown:?}");
        fleet.assert_nothing_left(seed);
    }
}

/// Seen to bite: with a `Manager::get` that holds no more than the node of a node (it gets `Closed`).
#[test]
fn a_get_keeps_its_own_deadline_when_the_node_could_not_be_added() {
    for seed in 0..10 {
        let fleet = fleet(seed, OnNodeDown::Wait);
        fleet.server.set_mode(FakeMode::Refusing);
        fleet.add_in_background(200 * MS);
        let (manager, server) = (fleet.manager.clone(), fleet.server.clone());
        let early = fleet.runtime.block_on(manager.get("node", 400 * MS));
        assert!(matches!(early, Err(AcquireError::NoHealthyPools { .. })), "seed {seed}: {early:?}");
        assert_eq!(fleet.health(), None, "seed {seed}: it is forgotten");
        fleet.add_in_background(200 * MS);
        let runtime = fleet.runtime.clone();
        fleet.runtime.spawn(Box::pin(async move {
            runtime.sleep(500 * MS).await;
            server.set_mode(FakeMode::Up);
        }));
        let lease = fleet.runtime.block_on(fleet.manager.get("node", 3 * SECOND)).expect("it has come up in time");
        assert_eq!(fleet.health(), None, "seed {seed}: the call that added it has failed");
        drop(lease);
        drop(manager);
        fleet.assert_nothing_left(seed);
    }
}

#[test]
fn a_refusal_for_good_reaches_those_who_wait_with_the_node_at_once() {
    for seed in 0..10 {
        let fleet = fleet(seed, OnNodeDown::Wait);
        fleet.server.set_mode(FakeMode::Refusing);
        fleet.add_in_background(5 * SECOND);
        fleet.server.set_mode(FakeMode::Rejecting);
        let told = fleet.runtime.block_on(fleet.manager.get("node", 5 * SECOND));
        assert!(matches!(told, Err(AcquireError::NoHealthyPools { .. })), "seed {seed}: {told:?}");
        assert!(fleet.runtime.now().as_nanos() < 1_000_000_000, "seed {seed}: at {}", fleet.runtime.now());
        fleet.assert_nothing_left(seed);
    }
}

/// A service that starts before its server.
#[test]
fn a_node_that_is_opened_is_there_at_once_as_down_and_heals_by_the_rules() {
    for seed in 0..10 {
        for on_node_down in [OnNodeDown::Wait, OnNodeDown::FailFast] {
            let fleet = fleet(seed, on_node_down);
            fleet.server.set_mode(FakeMode::Refusing);
            let pool = fleet.manager.open("node", || fleet.server.connector()).expect("the manager is open");
            assert_eq!(fleet.health(), Some(Health::Down), "seed {seed}");
            fleet.runtime.advance(20 * SECOND);
            let status = pool.status();
            assert_eq!((status.health, status.healthy_pools), (Health::Down, 0), "seed {seed}");
            assert!(status.down_for >= Some(20 * SECOND - MS) && status.last_error.is_some(), "seed {seed}: {status:?}");
            assert!(fleet.server.dials().len() <= 25, "seed {seed}: {} dials while nobody waits", fleet.server.dials().len());
            fleet.server.set_mode(FakeMode::Up);
            let told_at = fleet.runtime.now();
            let mut last = fleet.runtime.block_on(fleet.manager.get("node", 600 * MS));
            while on_node_down == OnNodeDown::FailFast
                && last.is_err()
                && fleet.runtime.now().saturating_duration_since(told_at) < 600 * MS
            {
                fleet.runtime.advance(20 * MS);
                last = fleet.runtime.block_on(fleet.manager.get("node", 600 * MS));
            }
            drop(last.unwrap_or_else(|error| panic!("H5: seed {seed}, {on_node_down:?}: {error}")));
            fleet.runtime.settle();
            assert_eq!(fleet.health(), Some(Health::Up), "seed {seed}");
            drop(pool);
            fleet.assert_nothing_left(seed);
        }
    }
}

/// The whole of H13 with a driver and a server: killed with a client on loan.
#[test]
fn h13_a_server_killed_with_a_client_on_loan_is_down_within_one_dial_and_healed_while_it_is_held() {
    for seed in 0..20 {
        for (on_node_down, min_idle) in [(OnNodeDown::Wait, 0), (OnNodeDown::FailFast, 0), (OnNodeDown::FailFast, 1)] {
            let settings = one_pool(2).min_idle(min_idle).on_node_down(on_node_down);
            let world = super::support::world(seed, settings);
            let held = world.get();
            world.runtime.advance(2 * SECOND);
            world.server.set_mode(FakeMode::Refusing);
            world.server.kill();
            world.runtime.advance(5 * MS);
            let status = world.pool.status();
            assert_eq!((status.health, status.active, status.lost), (Health::Down, 1, 1), "seed {seed}: {status:?}");
            if on_node_down == OnNodeDown::FailFast {
                let asked_at = world.runtime.now();
                let told = world.get_within(SECOND);
                assert!(matches!(told, Err(AcquireError::NoHealthyPools { .. })), "seed {seed}: {told:?}");
                assert_eq!(world.runtime.now(), asked_at, "seed {seed}: at once");
            }
            world.runtime.advance(3 * SECOND);
            world.server.set_mode(FakeMode::Up);
            let healed_at = world.runtime.now();
            while world.get_within(600 * MS).is_err() {
                world.runtime.advance(10 * MS);
            }
            let took = world.runtime.now().saturating_duration_since(healed_at);
            assert!(took <= 600 * MS, "H5: seed {seed}, {on_node_down:?}: {took:?}");
            drop(held);
            world.runtime.settle();
            world.assert_capacity(2);
        }
    }
}
