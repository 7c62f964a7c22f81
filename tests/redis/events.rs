//! What readers of events get, and what the health report says, while servers are killed and started again.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use redis::AsyncCommands;
use redis_manager::runtime::{Network, Timer};
use redis_manager::{CloseReason, ClusterArgs, Event, EventReader, Health, MissedEvents, NodeEvent, RedisManager};
use redis_manager_tests::cluster::TestCluster;
use redis_manager_tests::on_every_runtime;
use redis_manager_tests::redis_server::RedisServer;
use redis_manager_tests::tasks::{spawn, until, within};

use crate::cluster::{NAME, builder, on_tokio_and_smol};
use crate::{MS, one_pool};

on_every_runtime! {
    a_server_that_is_killed_and_started_again_is_down_and_up_for_the_readers_and_in_the_health_report;
    a_slow_reader_gets_the_latest_events_and_the_exact_number_of_those_that_it_missed;
    readers_outlive_the_manager_and_end_with_what_was_lent_all_with_the_same_events;
}

on_tokio_and_smol! {
    the_nodes_of_a_cluster_have_events_and_may_be_down_while_the_cluster_is_ready;
}

const LONG: Duration = Duration::from_secs(10);

/// The next change of health.
async fn next_health(reader: &mut EventReader, runtime: &impl Timer) -> (NodeEvent, Health, Health) {
    let next = async {
        loop {
            let read = reader.next_event().await.expect("it has not ended").expect("none is missed");
            if let Event::HealthChanged { from, to, .. } = read.event {
                return (read, from, to);
            }
        }
    };
    within(runtime, LONG, next).await.expect("a change of health")
}

/// What can be read now.
fn unread(reader: &mut EventReader) -> Vec<Result<NodeEvent, MissedEvents>> {
    let mut all = Vec::new();
    while let Poll::Ready(Some(read)) = pin!(reader.next_event()).poll(&mut Context::from_waker(Waker::noop())) {
        all.push(read);
    }
    all
}

/// Seen to bite: with `health_for` counted from the first change on.
async fn a_server_that_is_killed_and_started_again_is_down_and_up_for_the_readers_and_in_the_health_report(
    runtime: impl Network + Clone,
) {
    let mut server = RedisServer::start();
    let manager = one_pool(2).event_buffer(1_024).build(runtime.clone()).expect("valid settings");
    let mut reader = manager.events().expect("it is on");
    manager.add_node_pool(&server.url()).await.expect("the server is up");
    let (read, from, to) = next_health(&mut reader, &runtime).await;
    assert_eq!((&*read.node, from, to), (&*server.url(), Health::Down, Health::Up));
    assert!(manager.health().is_ready(), "{}", manager.health());

    let killed_at = runtime.now();
    server.kill();
    let mut before = Health::Up;
    while before != Health::Down {
        let (read, from, to) = next_health(&mut reader, &runtime).await;
        assert_eq!(from, before, "in order: {read}");
        assert!(matches!(&read.event, Event::HealthChanged { why: Some(_), .. }), "with the cause: {read}");
        before = to;
    }
    let report = manager.health();
    assert!(!report.is_ready(), "{report}");
    assert_eq!((report.nodes.len(), report.nodes[0].health), (1, Health::Down), "{report}");
    let is_refused = || manager.health().nodes[0].last_error.as_ref().is_some_and(|error| error.contains("refused"));
    until(&runtime, "a dial was refused", is_refused).await;
    assert!(report.to_string().starts_with(&format!("{}: down for ", server.url())), "{report}");
    runtime.sleep(30 * MS).await;
    let down_for = manager.health().nodes[0].health_for;
    assert!(down_for >= 30 * MS && down_for <= runtime.now().saturating_duration_since(killed_at), "{down_for:?}");

    let back_at = runtime.now();
    server.restart();
    let (_, from, to) = next_health(&mut reader, &runtime).await;
    assert_eq!((from, to), (Health::Down, Health::Up));
    let report = manager.health();
    assert!(report.is_ready(), "{report}");
    let up_for = report.nodes[0].health_for;
    assert!(up_for <= runtime.now().saturating_duration_since(back_at), "since it is back: {up_for:?}");
    assert_eq!(report.nodes[0].last_error, None);
    manager.close_all_pools().await;
    let all: Vec<_> = unread(&mut reader).into_iter().map(|read| read.expect("none is missed").event).collect();
    assert!(matches!(all.last(), Some(Event::Closed { reason: CloseReason::PoolClosed, .. })), "{all:?}");
    assert!(!manager.health().is_ready(), "without nodes: {}", manager.health());
}

/// Seen to bite: with `first` of the ring raised by two.
async fn a_slow_reader_gets_the_latest_events_and_the_exact_number_of_those_that_it_missed(runtime: impl Network + Clone) {
    const BUFFER: usize = 64;
    let server = RedisServer::start();
    let manager = one_pool(2).min_idle(0).event_buffer(BUFFER).build(runtime.clone()).expect("valid settings");
    let (mut fast, mut slow) = (manager.events().expect("it is on"), manager.events().expect("it is on"));
    manager.add_node_pool(&server.url()).await.expect("the server is up");
    let mut all = unread(&mut fast);
    for _ in 0..50 {
        manager.get_client(&server.url()).await.expect("a slow reader stops no pool").discard();
        all.extend(unread(&mut fast));
    }
    manager.close_all_pools().await;
    all.extend(unread(&mut fast));
    drop(manager);
    while let Some(read) = within(&runtime, LONG, fast.next_event()).await.expect("it ends") {
        all.push(read);
    }
    assert!(all.iter().all(Result::is_ok), "the fast one has missed none");
    assert!(all.len() > 2 * BUFFER, "{} events", all.len());
    let missed = slow.next_event().await.expect("it has not ended").expect_err("it was too slow");
    assert_eq!(missed.count, (all.len() - BUFFER) as u64);
    let mut rest = Vec::new();
    while let Some(read) = slow.next_event().await {
        rest.push(read);
    }
    assert_eq!(rest, all[all.len() - BUFFER..], "the latest ones");
}

/// Seen to bite: with readers that are not woken by the end.
async fn readers_outlive_the_manager_and_end_with_what_was_lent_all_with_the_same_events(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = one_pool(2).event_buffer(65_536).build(runtime.clone()).expect("valid settings");
    let (mut one, mut other) = (manager.events().expect("it is on"), manager.events().expect("it is on"));
    let as_calls = spawn(&runtime, async move {
        let mut all = Vec::new();
        while let Some(read) = one.next_event().await {
            all.push(read);
        }
        all
    });
    let mut as_stream = Box::pin(spawn(&runtime, async move {
        let mut all = Vec::new();
        while let Some(read) = std::future::poll_fn(|cx| next_of_stream(Pin::new(&mut other), cx)).await {
            all.push(read);
        }
        all
    }));
    manager.add_node_pool(&server.url()).await.expect("the server is up");
    let client = manager.get_client(&server.url()).await.expect("a client");
    drop(manager);
    assert!(within(&runtime, 100 * MS, &mut as_stream).await.is_none(), "the client may still report something");
    drop(client);
    let as_stream = within(&runtime, LONG, as_stream).await.expect("it ends");
    let as_calls = within(&runtime, LONG, as_calls).await.expect("it ends");
    assert_eq!(as_stream, as_calls);
    let events: Vec<_> = as_calls.into_iter().map(|read| read.expect("none is missed").event).collect();
    let count = |wanted: fn(&Event) -> bool| events.iter().filter(|event| wanted(event)).count();
    let closed = count(|event| matches!(event, Event::Closed { .. }));
    let connected = count(|event| matches!(event, Event::Connected { .. }));
    assert!(closed >= 1 && closed == connected, "to the last event: {events:?}");
}

/// A reader as what crates with adapters for streams take.
fn next_of_stream<S: futures_core::Stream>(stream: Pin<&mut S>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
    stream.poll_next(cx)
}

/// Seen to bite: with the report without the nodes of clusters, and with those required.
async fn the_nodes_of_a_cluster_have_events_and_may_be_down_while_the_cluster_is_ready(runtime: impl Network + Clone) {
    let cluster = TestCluster::options().replicas(0).require_full_coverage(false).start();
    let args = ClusterArgs::default().require_full_coverage(false);
    let settings = builder(&cluster).cluster_args(args).max_pools_per_node(1).event_buffer(1_024);
    let manager: RedisManager = settings.build(runtime.clone()).expect("valid settings");
    assert!(!manager.health().is_ready());
    let mut reader = manager.events().expect("it is on");
    manager.add_node_pool(NAME).await.expect("the cluster is up");
    let mut shared = manager.get_shared_client(NAME).await.expect("a shared client");
    for primary in cluster.primaries() {
        let () = shared.set(cluster.key_in(&primary), 1).await.expect("SET");
    }
    let events = unread(&mut reader);
    let is_up = |name: &str| {
        let up = |event: &Event| matches!(event, Event::HealthChanged { to: Health::Up, .. });
        events.iter().flatten().any(|read| &*read.node == name && up(&read.event))
    };
    assert!(is_up(NAME), "{events:?}");
    let mut addresses: Vec<_> = cluster.primaries().iter().map(|primary| primary.address()).collect();
    assert!(addresses.iter().all(|address| is_up(address)), "{addresses:?}: {events:?}");
    addresses.sort();
    let report = manager.health();
    assert!(report.is_ready(), "{report}");
    let required = report.nodes.iter().map(|node| (node.node.as_str(), node.required));
    let expected = addresses.iter().map(|address| (address.as_str(), false));
    assert!(required.eq(std::iter::once((NAME, true)).chain(expected)), "{report}");

    let dead = &cluster.primaries()[0];
    dead.kill();
    let health_of = |name: &str| {
        let of = manager.health().nodes.into_iter().find(|node| node.node == name);
        of.unwrap_or_else(|| panic!("no {name} in {}", manager.health())).health
    };
    until(&runtime, "the node is down", || health_of(&dead.address()) == Health::Down).await;
    assert!(manager.health().is_ready(), "the others serve: {}", manager.health());
    let (read, ..) = next_health(&mut reader, &runtime).await;
    assert_eq!(*read.node, *dead.address(), "{read}");
}
