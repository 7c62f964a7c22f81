//! Random histories of some nodes that share a limit, watched at every step.

use std::sync::Arc;
use std::time::Duration;

use redis_manager_core::testing::{FakeConnector, FakeMode, FakeRuntime, FakeServer};
use redis_manager_core::{Manager, NodeConfig, Spawn, Timer};

use super::world::fleet;
use crate::support::{MS, SECOND, TestRng, polled, within};

/// One caller among many: gets, gives up, holds on, breaks and returns, at any node.
async fn borrow(manager: Manager<FakeConnector>, runtime: FakeRuntime, dice: Arc<TestRng>, nodes: usize) {
    for _ in 0..60 {
        let name = format!("node-{}", dice.below(nodes));
        let acquire = Box::pin(manager.get(&name, dice.millis(60).max(MS)));
        let got = match dice.below(4) {
            0 => polled(1 + dice.below(3), acquire).await,
            1 => within(&runtime, dice.millis(8), acquire).await,
            _ => Some(acquire.await),
        };
        match got {
            Some(Ok(mut lease)) => match dice.below(8) {
                0 => lease.discard(),
                // Cancelled in flight: the connection is cleaned after its return.
                1 => drop(within(&runtime, Duration::ZERO, lease.echo(1)).await),
                2 => {
                    let _ = within(&runtime, 5 * MS, lease.echo(2)).await;
                }
                _ => runtime.sleep(dice.millis(12)).await,
            },
            Some(Err(_)) | None if dice.below(3) == 0 => drop(manager.try_get(&name)),
            Some(Err(_)) | None => runtime.sleep(dice.millis(4)).await,
        }
    }
}

/// What happens to the nodes meanwhile.
async fn meddle(manager: Manager<FakeConnector>, servers: Vec<FakeServer>, runtime: FakeRuntime, dice: Arc<TestRng>) {
    for _ in 0..60 {
        let node = dice.below(servers.len());
        let (name, server) = (format!("node-{node}"), &servers[node]);
        match dice.below(10) {
            0 => server.kill(),
            1 => server.set_mode([FakeMode::Refusing, FakeMode::Silent, FakeMode::Void][dice.below(3)]),
            // Long enough for tasks of its own to hear of it: one that does not is counted no more at the end.
            2 => manager.close_node(&name, MS + dice.millis(40)).await,
            3 if dice.below(2) == 0 => manager.start_cleanup(),
            3 => manager.stop_cleanup(),
            4 => drop(within(&runtime, dice.millis(10), manager.add(&name, SECOND, || server.connector())).await),
            5 | 6 => drop(manager.add(&name, dice.millis(100), || server.connector()).await),
            _ => server.set_mode(FakeMode::Up),
        }
        runtime.sleep(dice.millis(15)).await;
    }
}

/// Every seed is watched at every step; the invariants of the limiter and of each state are asserted on the way.
///
/// Bites with a dial beyond the quota (`with_room`; by a crash), with a place that is given away before its connection is
/// closed (`Demand::total` without what closes), with one that its node fills again by itself (`ConnectionTable::free`), and with
/// a driver that is not woken for what others left it.
#[test]
fn c1_all_nodes_together_stay_within_the_total_whatever_happens_and_all_of_it_can_be_lent_afterwards() {
    for seed in 0..150 {
        let (nodes, total) = (2 + seed as usize % 4, 4 + seed as usize % 5);
        let total = total.max(nodes);
        let settings = NodeConfig::builder().min_idle(seed as usize % 3).max_connection_size(3).max_pools_per_node(3);
        let settings = settings.health_check_interval(30 * MS).health_check_timeout(10 * MS).connect_timeout(100 * MS);
        let fleet = fleet(seed, nodes, total, settings.max_idle_time(20 * MS).cleanup_interval(20 * MS).max_lifetime(150 * MS));
        for server in &fleet.servers {
            server.set_connect_latency(2 * MS);
            server.set_latency(MS);
        }
        let fleet = fleet.with(nodes);
        let dice = Arc::new(TestRng::new(seed));
        for _ in 0..12 {
            let (manager, runtime, dice) = (fleet.manager.clone(), fleet.runtime.clone(), Arc::clone(&dice));
            fleet.watched.spawn(Box::pin(borrow(manager, runtime, dice, nodes)));
        }
        for _ in 0..2 {
            let (manager, runtime, dice) = (fleet.manager.clone(), fleet.runtime.clone(), Arc::clone(&dice));
            fleet.watched.spawn(Box::pin(meddle(manager, fleet.servers.clone(), runtime, dice)));
        }
        fleet.runtime.advance(30 * SECOND);
        fleet.servers.iter().for_each(|server| server.set_mode(FakeMode::Up));
        fleet.manager.stop_cleanup();
        fleet.manager.stop_health_checks();
        fleet.runtime.advance(10 * SECOND);
        (0..nodes).for_each(|node| assert_eq!(fleet.add(node, 5 * SECOND), Ok(()), "seed {seed}: node {node}"));
        let mut held: Vec<_> = (0..nodes).flat_map(|node| fleet.lend(node, 1)).collect();
        let mut node = 0;
        while held.len() < total.min(nodes * 9) {
            match fleet.get(node % nodes, SECOND) {
                Ok(lease) => held.push(lease),
                Err(error) => panic!("seed {seed}: {} of {total} are lent: {error}; {:?}", held.len(), fleet.manager.status()),
            }
            node += 1;
        }
        assert!(held.len() < total || (0..nodes).all(|node| fleet.get(node, 50 * MS).is_err()), "seed {seed}");
        drop(held);
        fleet.runtime.block_on(fleet.manager.close(SECOND));
        fleet.runtime.settle();
        assert_eq!(fleet.manager.total_connections().map(|total| (total.taken, total.nodes)), Some((0, 0)), "seed {seed}");
    }
}
