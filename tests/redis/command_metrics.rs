//! What is counted of requests, connects and subscriptions, beside what the server has counted.

use std::collections::BTreeMap;

use redis::{AsyncCommands, RedisError, Value};
use redis_manager::runtime::Network;
use redis_manager::{
    ClusterArgs, CommandMetrics, ConnectPhaseTimes, Prepared, PubSubEnd, RedisManager, RequestResult, ServerErrorCode,
    TopologyChange, TransactionError,
};
use redis_manager_tests::cluster::{TestCluster, key_for_slot};
use redis_manager_tests::on_every_runtime;
use redis_manager_tests::redis_server::RedisServer;
use redis_manager_tests::tasks::{spawn, until};

use crate::cluster::{NAME, builder, on_tokio_and_smol};
use crate::{MS, one_pool};

on_every_runtime! {
    commands_are_counted_as_the_server_counts_them;
    what_was_in_flight_when_its_connection_was_killed_has_ended;
    subscriptions_are_counted_with_their_messages_and_ends;
}

on_tokio_and_smol! {
    redirections_are_counted_at_the_node_that_redirects;
}

async fn manager_of(server: &RedisServer, runtime: impl Network) -> RedisManager {
    let manager = one_pool(8).use_time_sampling(1).build(runtime).expect("valid settings");
    manager.add_node_pool(&server.url()).await.expect("the server is up");
    manager
}

fn metrics(manager: &RedisManager) -> CommandMetrics {
    let mut all = manager.command_metrics();
    assert_eq!(all.len(), 1, "{all:?}");
    all.pop_first().expect("one node").1
}

/// The calls of commands that the server has counted, by name.
fn calls(server: &RedisServer) -> BTreeMap<String, u64> {
    let stats = server.command(&["INFO", "commandstats"]);
    let lines = stats.lines().filter_map(|line| line.strip_prefix("cmdstat_")?.split_once(":calls="));
    let calls = lines.map(|(name, rest)| {
        let calls = rest.split(',').next().and_then(|calls| calls.parse().ok());
        (String::from(name), calls.expect("a number"))
    });
    calls.collect()
}

/// All of them in the end: no request is in flight.
fn assert_adds_up(metrics: &CommandMetrics) {
    for (way, counts) in metrics.requests() {
        assert_eq!(counts.in_flight(), 0, "{way:?}: {counts:?}");
        assert_eq!(counts.server_errors.total(), counts.ended.of(RequestResult::ServerError), "{way:?}: {counts:?}");
    }
}

/// Seen to bite: with the errors within a transaction left out. Guards against: logins and health checks that are counted.
async fn commands_are_counted_as_the_server_counts_them(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, runtime.clone()).await;
    server.command(&["CONFIG", "RESETSTAT"]);
    let mut client = manager.get_client(&server.url()).await.expect("a client");
    for n in 0..20 {
        let () = client.set("text", n).await.expect("SET");
    }
    let shared = manager.get_shared_client(&server.url()).await.expect("a shared client");
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let mut client = shared.clone();
            spawn(&runtime, async move {
                for _ in 0..25 {
                    let _: i64 = client.get("text").await.expect("GET");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await;
    }
    let (mut shared, mut pipeline) = (shared, redis::pipe());
    (0..5).for_each(|_| {
        pipeline.incr("n", 1);
    });
    let _: Vec<i64> = pipeline.query_async(&mut client).await.expect("a pipeline");
    pipeline.atomic();
    let _: Vec<i64> = pipeline.query_async(&mut shared).await.expect("a transaction");
    let done: Result<(i64,), TransactionError> = client
        .transaction("n", async |mut attempt| {
            let _: i64 = attempt.client().get("n").await?;
            attempt.pipeline().incr("n", 1);
            Ok(Prepared::Execute)
        })
        .await;
    assert_eq!(done.expect("undisturbed"), (11,));
    // Errors: of one command, of the second one of a pipeline, of the second one of a transaction, and of a command in a
    // transaction, which is discarded.
    let refused: RedisError = client.lpush::<_, _, i64>("text", 1).await.expect_err("no list");
    assert_eq!(refused.code(), Some("WRONGTYPE"));
    let mut failing = redis::pipe();
    failing.incr("n", 1).lpush("text", 1);
    failing.query_async::<Value>(&mut shared).await.expect_err("no list");
    failing.atomic();
    failing.query_async::<Value>(&mut client).await.expect_err("no list");
    let mut discarded = redis::pipe();
    discarded.atomic().cmd("INCR");
    discarded.query_async::<Value>(&mut client).await.expect_err("no key");
    // Refused here: the server does not count it.
    shared.blpop::<_, Value>("queue", 0.0).await.expect_err("it blocks");
    drop(client);

    let (seen, calls) = (metrics(&manager), calls(&server));
    assert_adds_up(&seen);
    let count = |name: &str| calls.get(name).copied().unwrap_or(0);
    assert_eq!((count("set"), count("get"), count("incrby"), count("lpush"), count("blpop")), (20, 101, 13, 3, 0), "{calls:?}");
    let users: u64 = ["set", "get", "incrby", "lpush", "watch"].map(count).iter().sum();
    let sent = seen.exclusive.commands + seen.shared.commands;
    // The INCR without a key was refused before it was a call, and the BLPOP was not sent.
    assert_eq!(sent, users + 2, "{calls:?} {seen:?}");
    assert_eq!((count("multi"), count("exec"), count("watch")), (4, 4, 1), "{calls:?}");
    let timed = |name: &str| seen.durations.get(name).map_or(0, |times| times.count());
    assert_eq!((timed("set"), timed("get"), timed("pipeline"), timed("transaction")), (20, 101, 2, 4), "{seen:?}");
    assert_eq!((timed("lpush"), timed("watch"), timed("blpop"), seen.durations.len()), (1, 1, 0, 6), "{seen:?}");
    assert_eq!((seen.exclusive.begun, seen.shared.begun), (20 + 1 + 3 + 1 + 2, 100 + 1 + 1 + 1));
    assert_eq!((seen.exclusive.ended.of(RequestResult::Ok), seen.shared.ended.of(RequestResult::Ok)), (24, 101));
    assert_eq!(seen.shared.ended.of(RequestResult::Refused), 1);
    let codes = |code| (seen.exclusive.server_errors.of(code), seen.shared.server_errors.of(code));
    assert_eq!((codes(ServerErrorCode::WrongType), codes(ServerErrorCode::ExecAbort)), ((2, 1), (1, 0)), "{seen:?}");
}

/// Guards against: cancelled requests that stay in flight.
async fn what_was_in_flight_when_its_connection_was_killed_has_ended(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, runtime.clone()).await;
    let blocked: Vec<_> = (0..3)
        .map(|_| {
            let (manager, url) = (manager.clone(), server.url());
            spawn(&runtime, async move {
                let mut client = manager.get_client(&url).await.expect("a client");
                let lost = client.blpop::<_, Value>("queue", 0.0).await;
                (lost, client.get::<_, Value>("n").await)
            })
        })
        .collect();
    let abandoned = {
        let (manager, url, clock) = (manager.clone(), server.url(), runtime.clone());
        spawn(&runtime, async move {
            let mut client = manager.get_client(&url).await.expect("a client");
            redis_manager_tests::tasks::within(&clock, 20 * MS, client.blpop::<_, Value>("queue", 0.0)).await.is_none()
        })
    };
    assert!(abandoned.await, "nothing is in the queue");
    until(&runtime, "three are in flight", || metrics(&manager).exclusive.in_flight() == 3).await;
    until(&runtime, "the server has them", || server.command(&["INFO", "clients"]).contains("blocked_clients:3")).await;
    server.command(&["CLIENT", "KILL", "TYPE", "normal"]);
    for one in blocked {
        let (lost, not_sent) = one.await;
        assert!(lost.is_err() && not_sent.is_err());
    }
    let seen = metrics(&manager);
    assert_adds_up(&seen);
    let ended = |result| seen.exclusive.ended.of(result);
    assert_eq!((ended(RequestResult::OutcomeUnknown), ended(RequestResult::NotSent), ended(RequestResult::Cancelled)), (3, 3, 1));
    assert_eq!((seen.exclusive.begun, seen.durations["blpop"].count()), (7, 3), "{seen:?}");
    assert!(seen.connect_phases.login.count() >= 4, "{seen:?}");
    let all_dialled = |phases: &ConnectPhaseTimes| phases.dial.count() == phases.resolve.count();
    until(&runtime, "the lost connections are replaced", || all_dialled(&metrics(&manager).connect_phases)).await;
}

/// Seen to bite: with messages that are not counted; with an end that counts again at each look.
async fn subscriptions_are_counted_with_their_messages_and_ends(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, runtime.clone()).await;
    let subscriber = async || {
        let client = manager.get_client(&server.url()).await.expect("a client");
        let mut news = client.into_pub_sub().expect("RESP3");
        news.subscribe("news").await.expect("SUBSCRIBE");
        news
    };
    let (mut one, other) = (subscriber().await, subscriber().await);
    assert_eq!(metrics(&manager).subscriptions.open(), 2);
    for n in 0..7 {
        assert_eq!(server.command(&["PUBLISH", "news", &n.to_string()]), "2");
        assert!(one.next_message().await.is_some());
    }
    drop(other);
    let seen = metrics(&manager).subscriptions;
    assert_eq!((seen.open(), seen.dropped, seen.messages), (1, 1, 7), "{seen:?}");
    server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    assert!(one.next_message().await.is_none() && one.next_message().await.is_none());
    drop(one);
    let mut third = subscriber().await;
    manager.close_node_pools(&server.url()).await;
    assert!(third.next_message().await.is_none());
    assert_eq!(third.end(), Some(PubSubEnd::Closed));
    assert!(manager.command_metrics().is_empty(), "a closed node is left out");

    manager.add_node_pool(&server.url()).await.expect("the server is up");
    let node = manager.node(&server.url()).expect("it was added");
    let (mut lost, mut closed) = (subscriber().await, subscriber().await);
    server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    assert!(lost.next_message().await.is_none());
    assert!(closed.next_message().await.is_none());
    drop((lost, closed));
    let mut closed = subscriber().await;
    node.close().await;
    assert!(closed.next_message().await.is_none());
    drop(closed);
    let seen = node.command_metrics();
    let ends = |end| seen.subscriptions.ended.of(end);
    assert_eq!((ends(PubSubEnd::ConnectionLost), ends(PubSubEnd::Closed), seen.subscriptions.dropped), (2, 1, 0), "{seen:?}");
    assert_eq!((seen.subscriptions.begun, seen.subscriptions.open()), (3, 0));
    assert_eq!((seen.exclusive.begun, seen.durations["subscribe"].count()), (3, 3));
}

/// Seen to bite: without `note_change` in `adopt`. Guards against: the queries of the cluster's monitor that are counted.
async fn redirections_are_counted_at_the_node_that_redirects(runtime: impl Network + Clone) {
    let cluster = TestCluster::options().replicas(0).start();
    // The topology is requested again only after a MOVED.
    let mut args = ClusterArgs::default();
    args.topology_refresh_interval = 3_600_000 * MS;
    let builder = builder(&cluster).use_time_sampling(1).cluster_args(args);
    let manager = builder.build(runtime.clone()).expect("valid settings");
    manager.add_node_pool(NAME).await.expect("the cluster is up");
    let key = key_for_slot(7);
    let mut client = manager.get_shared_client(NAME).await.expect("a client");
    let () = client.set(&key, 1).await.expect("SET");
    let before = manager.cluster_metrics(NAME).expect("it was added");
    assert!(before.topology_changes.of(TopologyChange::Reported) >= 1 && before.failovers == 0, "{before:?}");
    cluster.move_slots(7, &cluster.primaries()[1]);
    let value: i64 = client.get(&key).await.expect("it follows");
    assert_eq!(value, 1);
    client.blpop::<_, Value>(&key, 0.0).await.expect_err("refused");
    let after = manager.cluster_metrics(NAME).expect("it was added");
    assert!(after.topology_changes.of(TopologyChange::Moved) >= 1, "{after:?}");
    let all = manager.command_metrics();
    assert_eq!(all.len(), 4, "three nodes and the name: {all:?}");
    let of_callers = &all[NAME];
    assert_eq!((of_callers.shared.begun, of_callers.shared.ended.of(RequestResult::Ok)), (3, 2), "{of_callers:?}");
    assert_eq!((of_callers.shared.ended.of(RequestResult::Refused), of_callers.durations["get"].count()), (1, 1));
    let of_nodes: Vec<_> = all.iter().filter(|(name, _)| *name != NAME).map(|(_, seen)| seen).collect();
    of_nodes.iter().for_each(|seen| assert_adds_up(seen));
    let moved: u64 = of_nodes.iter().map(|seen| seen.shared.server_errors.of(ServerErrorCode::Moved)).sum();
    let sent: u64 = of_nodes.iter().map(|seen| seen.shared.begun).sum();
    assert_eq!((moved, sent), (1, 3), "a SET, a GET that is redirected, and the GET: {of_nodes:?}");
    let redirections: u64 = of_nodes.iter().flat_map(|seen| seen.redirections()).map(|(_, count)| count).sum();
    assert_eq!(redirections, 1);
    manager.close_all_pools().await;
}
