//! A cluster that loses nodes, wakes them, gets new ones: what callers see, and by when.

use std::time::{Duration, Instant};

use redis::AsyncCommands;
use redis_manager::pub_sub::{Event, SubscriberEnd};
use redis_manager::runtime::Network;
use redis_manager::{ClusterArgs, PoolArgs, RedisErrorExt, RedisManager, Sent, SubscriberOptions};
use redis_manager_tests::cluster::{TestCluster, TestClusterNode, slot_of};
use redis_manager_tests::tasks::{spawn, until};

use crate::cluster::{COMMAND_TIMEOUT, NAME, builder, manager_of, on_tokio_and_smol};
use crate::{MS, SLACK};

on_tokio_and_smol! {
    replicas_are_read_while_they_live;
    a_primary_that_wakes_up_gets_no_writes;
    nodes_come_and_go;
    who_waits_for_a_dead_owner_goes_on_to_the_next;
    everything_ends_by_its_deadline;
    a_subscriber_of_a_cluster_goes_on_at_the_next_node_when_its_own_dies;
    a_command_in_parts_says_that_parts_may_have_been_carried_out;
}

/// Seen to bite: with the error of the part that was not sent for the whole command.
async fn a_command_in_parts_says_that_parts_may_have_been_carried_out(runtime: impl Network + Clone) {
    let cluster = TestCluster::options().replicas(0).require_full_coverage(false).start();
    let manager = builder(&cluster).build(runtime.clone()).expect("valid settings");
    manager.add_node_pool(NAME).await.expect("the cluster is up");
    let primaries = cluster.primaries();
    let keys: Vec<_> = primaries.iter().map(|primary| cluster.key_in(primary)).collect();
    let mut client = manager.get_client(NAME).await.expect("a client");
    let () = client.set(&keys[0], "old").await.expect("SET");
    primaries[1].kill();
    let error = client.mset::<_, _, ()>(&[(&keys[0], "new"), (&keys[1], "new")]).await.expect_err("an owner is gone");
    assert_eq!((error.was_sent(), error.is_unavailable()), (Sent::Unknown, true), "{error}");
    let error = client.del::<_, ()>(&keys[1]).await.expect_err("its owner is gone");
    assert_eq!(error.was_sent(), Sent::NotSent, "a command for one node is whole: {error}");
}

/// Reads go to replicas: one that is killed, one that is frozen, and a primary that fails over meanwhile.
async fn replicas_are_read_while_they_live(runtime: impl Network + Clone) {
    let cluster = TestCluster::options().require_full_coverage(false).start();
    let mut args = ClusterArgs::default();
    args.read_from_replicas = true;
    let manager = builder(&cluster).cluster_args(args).build(runtime.clone()).expect("valid settings");
    manager.add_node_pool(NAME).await.expect("the cluster is up");
    let primaries = cluster.primaries();
    let keys: Vec<_> = primaries.iter().map(|primary| cluster.key_in(primary)).collect();
    let mut client = manager.get_client(NAME).await.expect("a client");
    for key in &keys {
        let () = client.set(key, 1).await.expect("SET");
    }
    until(&runtime, "replicas follow", || {
        primaries.iter().all(|primary| cluster.replica_of(primary).command(&["DBSIZE"]) == "1")
    })
    .await;
    for key in &keys {
        assert_eq!(client.get::<_, i64>(key).await.expect("GET"), 1);
    }
    let reads = |node: &TestClusterNode| node.command(&["INFO", "commandstats"]).contains("cmdstat_get:");
    assert!(primaries.iter().all(|primary| reads(&cluster.replica_of(primary)) && !reads(primary)), "replicas were read from");
    let dead = cluster.replica_of(&primaries[1]);
    dead.kill();
    assert_reads(&mut client, &keys[1], "its replica is dead").await;
    let frozen = cluster.replica_of(&primaries[2]);
    frozen.stop_process();
    assert_reads(&mut client, &keys[2], "its replica is frozen").await;
    primaries[0].kill();
    let promoted_at = cluster.wait_for_promotion(&primaries[0]);
    while client.set::<_, _, ()>(&keys[0], 2).await.is_err() {
        assert!(promoted_at.elapsed() < Duration::from_secs(4), "writes do not come back");
    }
    assert!(promoted_at.elapsed() < Duration::from_secs(1) + SLACK, "{:?}", promoted_at.elapsed());
    assert_reads(&mut client, &keys[0], "its replica is the primary").await;
}

/// At most what is under way is lost; from then on the primary is read from.
async fn assert_reads(client: &mut redis_manager::Client, key: &str, why: &str) {
    let start = Instant::now();
    let mut failures = Vec::new();
    let mut since = None;
    while since.is_none_or(|since: Instant| since.elapsed() < 300 * MS) {
        let begun = Instant::now();
        match client.get::<_, i64>(key).await {
            Ok(_) => {
                since.get_or_insert(begun);
            }
            Err(error) => {
                since = None;
                failures.push(format!("after {:?}: {error}", begun.elapsed()));
            }
        }
        assert!(begun.elapsed() < COMMAND_TIMEOUT + SLACK, "{why}: a read took {:?}", begun.elapsed());
        assert!(start.elapsed() < 6_000 * MS, "{why}: reads do not come back: {failures:?}");
    }
    assert!(failures.len() <= 2, "{why}: {failures:?}");
}

/// Whoever had nothing to do with the failover must not write to one that does not know of it.
async fn a_primary_that_wakes_up_gets_no_writes(runtime: impl Network + Clone) {
    let cluster = TestCluster::start();
    // So long that its connections are not known to be silent before the promotion.
    let mut args = PoolArgs::default();
    args.command_timeout = Duration::from_secs(20);
    let manager = builder(&cluster).pool_args(args).build(runtime.clone()).expect("valid settings");
    manager.add_node_pool(NAME).await.expect("the cluster is up");
    let primary = cluster.primaries()[0].clone();
    let key = cluster.key_in(&primary);
    let mut client = manager.get_client(NAME).await.expect("a client");
    let () = client.set(&key, 0).await.expect("SET");
    let before = manager.cluster_metrics(NAME).expect("it is there");
    primary.stop_process();
    cluster.wait_for_promotion(&primary);
    let owns = || {
        manager
            .cluster_status(NAME)
            .expect("it is there")
            .nodes
            .iter()
            .any(|node| node.address == primary.address() && !node.slots.is_empty())
    };
    until(&runtime, "the promotion is known", || !owns()).await;
    let start = Instant::now();
    let () = client.set(&key, 1).await.expect("it goes to the new owner");
    assert!(start.elapsed() < COMMAND_TIMEOUT, "{:?}", start.elapsed());
    let counted = manager.cluster_metrics(NAME).expect("it is there");
    assert_eq!(counted.failovers, before.failovers + 1, "{counted:?}");
    assert!(counted.time_impaired > before.time_impaired, "the primary was not up: {counted:?}");
    primary.continue_process();
    let woken = Instant::now();
    let mut last = 1;
    while woken.elapsed() < 1_500 * MS {
        last += 1;
        let () = client.set(&key, last).await.expect("SET");
        let mut alone = manager.get_client_for_key(NAME, &key).await.expect("a client of the owner");
        assert_eq!(alone.get::<_, i64>(&key).await.expect("GET"), last);
        assert!(!owns(), "a stale picture does not win");
    }
    cluster.wait_until_whole();
    assert_eq!(cluster.primary_of(&key).command(&["GET", &key]), last.to_string());
}

async fn nodes_come_and_go(runtime: impl Network + Clone) {
    let cluster = TestCluster::start();
    let manager = manager_of(&cluster, runtime.clone()).await;
    let added = cluster.add_node();
    let key = cluster.key_in(&cluster.primaries()[0]);
    let slot = slot_of(&key);
    let mut idle = manager.get_client(NAME).await.expect("a client");
    let () = idle.set(&key, 1).await.expect("SET");
    cluster.move_slots(slot, &added);
    assert_eq!(idle.get::<_, i64>(&key).await.expect("GET"), 1);
    let mut alone = manager.get_client_for_key(NAME, &key).await.expect("a client of the new owner");
    assert_eq!(alone.get::<_, i64>(&key).await.expect("GET"), 1);
    let knows = |address: &str| manager.fetch_pool_status().contains_key(address);
    assert!(knows(&added.address()));
    // The client that holds the old routes has nothing to do with what follows.
    let home = cluster.owner_of_slot(slot + 1);
    cluster.move_slots(slot, &home);
    assert_eq!(alone.get::<_, i64>(&key).await.expect_err("it has moved").code(), Some("MOVED"));
    drop(alone);
    let pid = added.address();
    cluster.remove_node(&added);
    let mut busy = manager.get_client(NAME).await.expect("a client");
    let start = Instant::now();
    while knows(&pid) {
        let () = busy.set(format!("k{}", start.elapsed().as_nanos()), 1).await.expect("SET");
        runtime.sleep(20 * MS).await;
        drop(manager.get_client_for_key(NAME, &key).await.expect("a client"));
        assert!(start.elapsed() < Duration::from_secs(45), "the node is not forgotten: {:?}", manager.cluster_status(NAME));
        // What a refresh would find by itself, half a minute later; as it does if the node was last seen as a replica, which
        // a primary becomes that has lost its last slot: those get no PING.
        let _ = redis::cmd("PING").query_async::<()>(&mut busy).await;
    }
    assert_eq!(idle.get::<_, i64>(&key).await.expect("it finds the owner"), 1);
    a_node_that_was_reset_is_not_believed(&runtime).await;
}

/// As `redis-cli --cluster del-node` leaves it: alone, without slots, and running.
async fn a_node_that_was_reset_is_not_believed(runtime: &(impl Network + Clone)) {
    let cluster = TestCluster::options().primaries(1).replicas(1).start();
    let (primary, replica) = (cluster.primaries()[0].clone(), cluster.replicas()[0].clone());
    let mut args = ClusterArgs::default();
    args.topology_refresh_interval = 10 * MS;
    let manager = builder(&cluster).cluster_args(args).build(runtime.clone()).expect("valid settings");
    manager.add_node_pool(NAME).await.expect("the cluster is up");
    primary.command(&["CLUSTER", "FORGET", replica.id()]);
    replica.command(&["CLUSTER", "RESET", "SOFT"]);
    let start = Instant::now();
    while start.elapsed() < 3_500 * MS {
        let mut client = manager.get_client(NAME).await.expect("a client");
        let () = client.set("key", 1).await.unwrap_or_else(|error| panic!("after {:?}: {error}", start.elapsed()));
        let status = manager.cluster_status(NAME).expect("it is there");
        assert_eq!(status.covered_slots, 16_384, "after {:?}", start.elapsed());
        runtime.sleep(20 * MS).await;
    }
    assert!(!manager.fetch_pool_status().contains_key(&replica.address()), "it is forgotten");
}

async fn who_waits_for_a_dead_owner_goes_on_to_the_next(runtime: impl Network + Clone) {
    let cluster = TestCluster::start();
    let manager = builder(&cluster).max_connection_size(2).max_pools_per_node(1).build(runtime.clone()).expect("valid settings");
    manager.add_node_pool(NAME).await.expect("the cluster is up");
    let primaries = cluster.primaries();
    let keys: Vec<_> = primaries.iter().map(|primary| cluster.key_in(primary)).collect();
    waiters_keep_their_places(&cluster, &manager, &runtime, &keys).await;
    let doomed = manager.get_client_for_key(NAME, &keys[0]).await.expect("a client");
    primaries[0].stop_process();
    let wait = |key: &str| {
        let (manager, key) = (manager.clone(), key.to_owned());
        spawn(&runtime, async move {
            let mut client = manager.get_client_for_key(NAME, &key).await.expect("a client of some owner");
            let begun = Instant::now();
            let told: redis::RedisResult<()> = client.set(&key, 1).await;
            (told, begun.elapsed())
        })
    };
    let waiters: Vec<_> = (0..6).map(|_| wait(&keys[0])).collect();
    let promoted_at = cluster.wait_for_promotion(&primaries[0]);
    for waiter in waiters {
        let (told, took) = waiter.await;
        assert!(took < COMMAND_TIMEOUT + SLACK, "{took:?}");
        if told.is_ok() {
            println!("served {:?} after the promotion", promoted_at.elapsed());
        }
    }
    let mut client = manager.get_client_for_key(NAME, &keys[0]).await.expect("a client of the new owner");
    let () = client.set(&keys[0], 2).await.expect("SET");
    assert!(promoted_at.elapsed() < COMMAND_TIMEOUT, "{:?}", promoted_at.elapsed());
    drop(doomed);
}

/// One who waits in line stays where he is when something else of the cluster changes.
async fn waiters_keep_their_places(
    cluster: &TestCluster,
    manager: &RedisManager,
    runtime: &(impl Network + Clone),
    keys: &[String],
) {
    let mut client = manager.get_client(NAME).await.expect("a client");
    let () = client.set(&keys[2], 1).await.expect("SET");
    let mut held = Vec::new();
    while let Ok(client) = manager.get_client_for_key_timeout(NAME, &keys[0], 100 * MS).await {
        held.push(client);
    }
    let order = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let join = |number: usize| {
        let (manager, key, order) = (manager.clone(), keys[0].clone(), std::sync::Arc::clone(&order));
        spawn(runtime, async move {
            let client = manager.get_client_for_key(NAME, &key).await.expect("a client");
            order.lock().expect("no panic").push(number);
            drop(client);
        })
    };
    let waiting = |count| {
        let status = manager.fetch_pool_status();
        status[&cluster.primary_of(&keys[0]).address()].waiting == count
    };
    let mut joined = Vec::new();
    for number in 0..6 {
        joined.push(join(number));
        until(runtime, "it is in line", || waiting(number + 1)).await;
        // Told of by a redirection: the picture changes, but not for those in line.
        cluster.move_slots(slot_of(&keys[2]), &cluster.primaries()[1 + (number % 2 == 0) as usize]);
        let () = client.set(&keys[2], 1).await.expect("SET");
    }
    // One after the other is served by the one that comes back.
    drop(held.pop());
    for one in joined {
        one.await;
    }
    assert_eq!(*order.lock().expect("no panic"), [0, 1, 2, 3, 4, 5], "nobody overtakes");
}

/// Two primaries frozen, then all of them, then only replicas left, then nobody.
async fn everything_ends_by_its_deadline(runtime: impl Network + Clone) {
    let cluster = TestCluster::start();
    let manager = manager_of(&cluster, runtime.clone()).await;
    let primaries = cluster.primaries();
    let keys: Vec<_> = primaries.iter().map(|primary| cluster.key_in(primary)).collect();
    let mut client = manager.get_client(NAME).await.expect("a client");
    for key in &keys {
        let () = client.set(key, 1).await.expect("SET");
    }
    let hurt: [&dyn Fn(); 4] = [
        &|| primaries[..2].iter().for_each(TestClusterNode::stop_process),
        &|| cluster.nodes().iter().for_each(TestClusterNode::stop_process),
        &|| primaries.iter().for_each(TestClusterNode::kill),
        &|| cluster.nodes().iter().for_each(TestClusterNode::kill),
    ];
    for (stage, hurt) in hurt.iter().enumerate() {
        hurt();
        let calls: Vec<_> =
            keys.iter().enumerate().map(|(n, key)| spawn(&runtime, call_all(manager.clone(), key.clone(), n))).collect();
        for call in calls {
            let (what, slowest) = call.await;
            assert!(slowest < COMMAND_TIMEOUT + SLACK, "stage {stage}: {what} took {slowest:?}");
        }
    }
    let start = Instant::now();
    drop(client);
    manager.close_all_pools_timeout(1_000 * MS).await;
    assert!(start.elapsed() < 1_500 * MS, "{:?}", start.elapsed());
}

async fn call_all(manager: RedisManager, key: String, n: usize) -> (String, Duration) {
    let mut slowest = (String::new(), Duration::ZERO);
    let mut note = |what: &str, start: Instant| {
        if start.elapsed() > slowest.1 {
            slowest = (what.to_owned(), start.elapsed());
        }
    };
    let start = Instant::now();
    let client = manager.get_client_timeout(NAME, 1_000 * MS).await;
    note("get_client", start);
    if let Ok(mut client) = client {
        let start = Instant::now();
        match n {
            0 => drop(client.set::<_, _, ()>(&key, 1).await),
            1 => drop(client.mget::<_, Vec<Option<i64>>>(&["a", "b", "c", "d", key.as_str()][..]).await),
            _ => drop(redis::pipe().atomic().incr(&key, 1).query_async::<()>(&mut client).await),
        }
        note("a command", start);
        let start = Instant::now();
        let _ = redis::cmd("PING").query_async::<()>(&mut client).await;
        note("PING", start);
    }
    let start = Instant::now();
    let alone = manager.get_client_for_key_timeout(NAME, &key, 1_000 * MS).await;
    note("get_client_for_key", start);
    if let Ok(mut alone) = alone {
        let start = Instant::now();
        let _ = alone.set::<_, _, ()>(&key, 1).await;
        note("an exclusive command", start);
    }
    slowest
}

/// Guards against: a subscriber that goes on with a node that has died.
async fn a_subscriber_of_a_cluster_goes_on_at_the_next_node_when_its_own_dies(runtime: impl Network + Clone) {
    let cluster = TestCluster::options().require_full_coverage(false).start();
    let manager = builder(&cluster).health_check_timeout(300 * MS).build(runtime.clone()).expect("valid settings");
    manager.add_node_pool(NAME).await.expect("the cluster is up");
    let options = SubscriberOptions::default().ping_interval(200 * MS);
    let mut subscriber = manager.subscriber_with(NAME, options).expect("it is there");
    subscriber.subscribe(["news"]).await.expect("confirmed");
    assert!(matches!(subscriber.next().await, Some(Event::Subscribed { .. })));
    let owner = cluster.owner_of_slot(0);
    let other = cluster.primaries().into_iter().find(|primary| *primary != owner).expect("there are three");
    other.command(&["PUBLISH", "news", "over the bus"]);
    let message = |event: Option<Event>| match event {
        Some(Event::Message { payload, .. }) => String::from_utf8(payload).expect("text"),
        event => panic!("{event:?}"),
    };
    assert_eq!(message(subscriber.next().await), "over the bus");
    owner.kill();
    assert!(matches!(subscriber.next().await, Some(Event::Gap { .. })), "once it has another one");
    other.command(&["PUBLISH", "news", "again"]);
    assert_eq!(message(subscriber.next().await), "again");
    manager.close_all_pools().await;
    assert_eq!((subscriber.next().await, subscriber.end()), (None, Some(SubscriberEnd::Closed)));
}
