//! Limits across nodes: two real servers, and a manager that shares one total between them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use redis_manager::runtime::Network;
use redis_manager::{AddNodeError, GetClientError, RedisManager, WaitPhase};
use redis_manager_tests::on_every_runtime;
use redis_manager_tests::redis_server::RedisServer;
use redis_manager_tests::tasks::{spawn, until};

use crate::{MS, echo};

on_every_runtime! {
    both_servers_together_never_see_more_than_the_total;
    what_idles_at_one_server_makes_room_at_the_other;
    a_third_node_is_refused_or_waits_for_its_floor;
}

const TOTAL: usize = 6;

async fn pair_of(runtime: impl Network) -> (RedisServer, RedisServer, RedisManager) {
    let (one, other) = (RedisServer::start(), RedisServer::start());
    let manager = RedisManager::builder().max_total_connections(TOTAL).build(runtime).expect("valid settings");
    for server in [&one, &other] {
        manager.add_node_pool(&server.url()).await.expect("the server is up");
    }
    (one, other, manager)
}

/// Seen to bite: with a dial beyond the allowance, and with a place that is given away half a millisecond before its connection
/// is closed.
async fn both_servers_together_never_see_more_than_the_total(runtime: impl Network + Clone) {
    let (one, other, manager) = pair_of(runtime.clone()).await;
    let done = Arc::new(AtomicBool::new(false));
    let served: [Arc<AtomicUsize>; 2] = Default::default();
    let mut tasks = Vec::new();
    for task in 0..16_usize {
        let (manager, done, sleeper) = (manager.clone(), Arc::clone(&done), runtime.clone());
        let urls = [one.url(), other.url()];
        let served = served.clone();
        tasks.push(spawn(&runtime, async move {
            // Each has a favourite, which changes: what idles at one server is wanted at the other again and again.
            let mut round = task;
            while !done.load(Ordering::SeqCst) {
                round += 1;
                let node = round / 20 % 2;
                let Ok(mut client) = manager.get_client_timeout(&urls[node], 200 * MS).await else { continue };
                match round % 8 {
                    0 => client.discard(),
                    1 => sleeper.sleep(3 * MS).await,
                    _ if echo(&mut client, "token").await.is_ok() => {
                        served[node].fetch_add(1, Ordering::SeqCst);
                    }
                    _ => {}
                }
            }
        }));
    }
    let mut most = 0;
    for round in 0..150 {
        let open = RedisServer::open_count(&[&one, &other]);
        assert!(open <= TOTAL, "{open} connections in round {round}");
        most = most.max(open);
        let total = manager.total_connections().expect("there is a total");
        assert!(total.taken <= TOTAL && total.nodes == 2, "{total:?}");
        if round % 50 == 25 {
            one.command(&["CLIENT", "KILL", "TYPE", "normal"]);
        }
        runtime.sleep(2 * MS).await;
    }
    done.store(true, Ordering::SeqCst);
    for task in tasks {
        task.await;
    }
    assert!(most > TOTAL / 2, "the total was hardly used: {most}");
    let served = served.map(|count| count.load(Ordering::SeqCst));
    assert!(served.iter().all(|count| *count > 0), "a server was starved: {served:?}");
    manager.close_all_pools().await;
    assert_eq!(manager.total_connections().map(|total| total.taken), Some(0));
    until(&runtime, "nothing is left at the servers", || one.client_count() + other.client_count() == 0).await;
}

/// Seen to bite: with nodes that are not asked, and with a driver that is not woken.
async fn what_idles_at_one_server_makes_room_at_the_other(runtime: impl Network + Clone) {
    let (one, other, manager) = pair_of(runtime.clone()).await;
    let mut held = Vec::new();
    for _ in 0..TOTAL - 1 {
        held.push(manager.get_client(&one.url()).await.expect("there is some left"));
    }
    let more = manager.get_client_timeout(&one.url(), 30 * MS).await;
    assert!(matches!(more, Err(GetClientError::Timeout { phase: WaitPhase::TotalLimit, .. })), "{more:?}");
    assert_eq!((one.client_count(), other.client_count()), (TOTAL - 1, 1));
    held.clear();
    for _ in 0..TOTAL - 1 {
        let mut client = manager.get_client_timeout(&other.url(), 2_000 * MS).await.expect("the other server gives some up");
        echo(&mut client, "token").await.expect("a sound client");
        held.push(client);
    }
    until(&runtime, "one is left at the first server", || one.client_count() == 1).await;
    assert_eq!(other.client_count(), TOTAL - 1);
}

async fn a_third_node_is_refused_or_waits_for_its_floor(runtime: impl Network + Clone) {
    let servers = [RedisServer::start(), RedisServer::start(), RedisServer::start()];
    let manager = RedisManager::builder().max_total_connections(2).build(runtime.clone()).expect("valid settings");
    manager.add_node_pool(&servers[0].url()).await.expect("the server is up");
    let first = manager.get_client(&servers[0].url()).await.expect("its floor");
    let second = manager.get_client(&servers[0].url()).await.expect("what is left");
    let late = manager.add_node_pool_timeout(&servers[1].url(), 30 * MS).await;
    assert!(matches!(late, Err(AddNodeError::NothingLeft { phase: WaitPhase::TotalLimit, .. })), "{late:?}");
    drop(second);
    manager.add_node_pool(&servers[1].url()).await.expect("its floor came back");
    let refused = manager.add_node_pool(&servers[2].url()).await.expect_err("two floors are all");
    assert!(matches!(refused, AddNodeError::NoFloorLeft { nodes: 2, .. }), "{refused:?}");
    assert!(refused.to_string().contains("max_total_connections is 2"), "{refused}");
    drop(first);
}
