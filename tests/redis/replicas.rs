//! A primary with replicas: clients of those that are fit, reads that go to them and fall back, and roles that are found.

use std::time::Duration;

use redis::AsyncCommands;
use redis_manager::runtime::Network;
use redis_manager::{
    FailureKind, GetClientError, PoolArgs, PrimaryArgs, ReadFrom, RedisErrorExt, RedisManager, Sent, SentinelArgs,
};
use redis_manager_tests::on_every_runtime;
use redis_manager_tests::redis_server::RedisServer;
use redis_manager_tests::sentinel::{PRIMARY_NAME, TestSentinels};
use redis_manager_tests::tasks::until;

use crate::cluster::on_tokio_and_smol;
use crate::{MS, SLACK};

on_tokio_and_smol! {
    s6_reads_go_to_replicas_and_fall_back_when_they_die;
    s6_one_that_is_cut_off_from_its_primary_is_left_out;
    roles_of_given_servers_are_found_and_followed;
    what_is_wrong_with_given_servers_is_told_by_its_kind;
}

on_every_runtime! {
    s2_a_demoted_primary_that_redirects_is_left_at_once needs Redirect;
}

const NAME: &str = "orders";
const COMMAND_TIMEOUT: Duration = Duration::from_secs(2);

fn manager(runtime: impl Network) -> RedisManager {
    let mut args = PoolArgs::default().command_timeout(COMMAND_TIMEOUT);
    args.client_name = Some(String::from("ours"));
    RedisManager::builder().pool_args(args).max_connection_size(8).build(runtime).expect("valid settings")
}

/// How many GETs a server has carried out.
fn gets(server: &RedisServer) -> u64 {
    let stats = server.command(&["INFO", "commandstats"]);
    let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_get:calls="));
    line.and_then(|rest| rest.split(',').next()).and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// Servers of which all but the first follow the first one.
fn servers(count: usize) -> Vec<RedisServer> {
    let primary = RedisServer::start_with(&["--repl-diskless-sync-delay", "0"]);
    let port = primary.port().to_string();
    let mut servers = vec![primary];
    servers.extend((1..count).map(|_| RedisServer::start_with(&["--replicaof", "127.0.0.1", &port])));
    servers
}

fn place(server: &RedisServer) -> String {
    format!("127.0.0.1:{}", server.port())
}

async fn until_fit(runtime: &impl Network, manager: &RedisManager, count: usize) {
    until(runtime, "so many replicas are fit", || {
        let status = manager.replica_status(NAME).expect("it is there");
        status.replicas.iter().filter(|replica| replica.error.is_none()).count() == count
    })
    .await;
}

/// Guards against: reads that all go to one replica, reads of replicas without a fall-back, writes that follow reads.
async fn s6_reads_go_to_replicas_and_fall_back_when_they_die(runtime: impl Network + Clone) {
    let mut all = TestSentinels::start();
    let manager = manager(runtime.clone());
    let args =
        SentinelArgs::new(PRIMARY_NAME, all.addresses()).read_from(ReadFrom::PreferReplica).replica_check_interval(100 * MS);
    manager.add_sentinel(NAME, args).await.expect("the primary is up");
    until_fit(&runtime, &manager, 2).await;
    let mut shared = manager.get_shared_client(NAME).await.expect("a client");
    let () = shared.set("key", "value").await.expect("SET");
    let mut borrowed = manager.get_client(NAME).await.expect("a client of the primary");
    let reached: u64 = redis::cmd("WAIT").arg(2).arg(0).query_async(&mut borrowed).await.expect("WAIT");
    assert_eq!(reached, 2);
    let before: Vec<u64> = all.servers.iter().map(gets).collect();
    for _ in 0..40 {
        assert_eq!(shared.get::<_, Option<String>>("key").await.expect("GET").as_deref(), Some("value"));
    }
    let after: Vec<u64> = all.servers.iter().zip(&before).map(|(server, before)| gets(server) - before).collect();
    assert_eq!(after, [0, 20, 20], "they take turns");
    let mut addresses = Vec::new();
    for _ in 0..2 {
        let mut client = manager.get_replica_client(NAME).await.expect("a client of a replica");
        let info: String = redis::cmd("INFO").arg("server").query_async(&mut client).await.expect("INFO");
        addresses.push(info.lines().find(|line| line.starts_with("tcp_port:")).expect("a port").to_owned());
        let refused = client.set::<_, _, ()>("key", "other").await.expect_err("it is a replica");
        assert_eq!(refused.code(), Some("READONLY"));
    }
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 2, "they take turns");
    let pools = manager.fetch_pool_status();
    assert_eq!(pools.keys().filter(|name| name.contains(" replica 127.0.0.1:")).count(), 2, "{pools:?}");

    all.servers[1].kill();
    all.servers[2].stop_process();
    for _ in 0..20 {
        let start = std::time::Instant::now();
        match shared.get::<_, Option<String>>("key").await {
            Ok(value) => assert_eq!(value.as_deref(), Some("value")),
            // The frozen one has got it, and it is not sent again.
            Err(error) => assert_eq!(error.was_sent(), Sent::Unknown, "{error}"),
        }
        assert!(start.elapsed() < COMMAND_TIMEOUT + SLACK, "{:?}", start.elapsed());
        if manager.replica_status(NAME).expect("it is there").replicas.iter().all(|replica| replica.error.is_some()) {
            break;
        }
    }
    until_fit(&runtime, &manager, 0).await;
    for _ in 0..10 {
        assert_eq!(shared.get::<_, Option<String>>("key").await.expect("the primary").as_deref(), Some("value"));
    }
    let start = std::time::Instant::now();
    let error = manager.get_replica_client_timeout(NAME, 300 * MS).await.expect_err("none is fit");
    assert!(start.elapsed() >= 300 * MS && start.elapsed() < 300 * MS + SLACK, "{:?}", start.elapsed());
    assert!(matches!(error, GetClientError::NoReplica { .. }) && error.kind() == FailureKind::NotReady, "{error}");
    assert!(error.to_string().contains(&place(&all.servers[1])) && error.is_retryable() && error.is_unavailable(), "{error}");
    all.servers[2].continue_process();
    until_fit(&runtime, &manager, 1).await;
    drop(manager.get_replica_client(NAME).await.expect("it is back"));
    drop((shared, borrowed));
    manager.close_all_pools().await;
}

/// Guards against: a link that is not looked at.
async fn s6_one_that_is_cut_off_from_its_primary_is_left_out(runtime: impl Network + Clone) {
    let servers = servers(3);
    let manager = manager(runtime.clone());
    let args = PrimaryArgs::new(servers.iter().map(RedisServer::url)).replica_check_interval(50 * MS);
    manager.add_primary(NAME, args).await.expect("one of them is a primary");
    assert!(manager.replica_status(NAME).expect("it is there").replicas.is_empty(), "none is looked at yet");
    drop(manager.get_replica_client(NAME).await.expect("a client of a replica"));
    until_fit(&runtime, &manager, 2).await;
    // It follows nothing that answers, and still has what it had.
    servers[1].command(&["REPLICAOF", "127.0.0.1", "1"]);
    until_fit(&runtime, &manager, 1).await;
    let status = manager.replica_status(NAME).expect("it is there");
    let cut_off = status.replicas.iter().find(|replica| replica.address == place(&servers[1])).expect("it is given");
    assert_eq!((cut_off.error.as_deref(), cut_off.lag), (Some("its link to the primary is down"), None));
    for _ in 0..4 {
        let mut client = manager.get_replica_client(NAME).await.expect("the other one");
        let info: String = redis::cmd("INFO").arg("server").query_async(&mut client).await.expect("INFO");
        assert!(info.contains(&format!("tcp_port:{}", servers[2].port())));
    }
    servers[1].command(&["REPLICAOF", "127.0.0.1", &servers[0].port().to_string()]);
    until_fit(&runtime, &manager, 2).await;
    manager.close_all_pools().await;
}

/// Guards against: the first one taken for the primary, a primary that is never asked for again, a former one that is written to.
async fn roles_of_given_servers_are_found_and_followed(runtime: impl Network + Clone) {
    let mut servers = servers(3);
    let manager = manager(runtime.clone());
    let args =
        PrimaryArgs::new(servers.iter().rev().map(RedisServer::url)).poll_interval(200 * MS).replica_check_interval(100 * MS);
    let node = manager.add_primary(NAME, args).await.expect("one of them is a primary");
    assert_eq!(manager.replica_status(NAME).expect("it is there").primary, Some(place(&servers[0])));
    let mut shared = node.get_shared_client().await.expect("a client");
    assert_eq!(shared.incr::<_, _, i64>("count", 1).await.expect("INCR"), 1);
    drop(manager.get_replica_client(NAME).await.expect("a client of a replica"));
    until_fit(&runtime, &manager, 2).await;
    until(&runtime, "the write has arrived", || servers[1].command(&["GET", "count"]) == "1").await;

    servers[0].kill();
    servers[1].command(&["REPLICAOF", "NO", "ONE"]);
    servers[2].command(&["REPLICAOF", "127.0.0.1", &servers[1].port().to_string()]);
    let start = std::time::Instant::now();
    while shared.incr::<_, _, i64>("count", 1).await.is_err() {
        assert!(start.elapsed() < 10 * SLACK, "writes do not go on");
        runtime.sleep(10 * MS).await;
    }
    println!("writes go on after {:?}", start.elapsed());
    assert_eq!(servers[1].command(&["GET", "count"]), "2");
    // The former one comes back, and takes itself for a primary: the present one has a replica.
    servers[0].spawn_on_same_port();
    servers[0].wait_until_up();
    runtime.sleep(600 * MS).await;
    assert_eq!(shared.incr::<_, _, i64>("count", 1).await.expect("INCR"), 3);
    assert_eq!(servers[0].command(&["GET", "count"]), "(nil)", "it got no write");
    servers[0].command(&["REPLICAOF", "127.0.0.1", &servers[1].port().to_string()]);
    until_fit(&runtime, &manager, 2).await;
    assert_eq!(manager.replica_status(NAME).expect("it is there").primary, Some(place(&servers[1])));
    // Demoted while it is used: what it refuses makes the others be asked.
    servers[2].command(&["REPLICAOF", "NO", "ONE"]);
    servers[1].command(&["REPLICAOF", "127.0.0.1", &servers[2].port().to_string()]);
    let start = std::time::Instant::now();
    while shared.incr::<_, _, i64>("count", 1).await.is_err() {
        assert!(start.elapsed() < 10 * SLACK, "writes do not go on");
        runtime.sleep(10 * MS).await;
    }
    assert_eq!(servers[2].command(&["GET", "count"]), "4");
    drop(shared);
    manager.close_all_pools().await;
    let ours = |server: &RedisServer| server.client_list().iter().any(|line| line.contains("name=ours "));
    until(&runtime, "nothing is left", || !servers.iter().any(ours)).await;
}

/// Guards against: a connection that does not ask for redirections, and one that is not followed.
async fn s2_a_demoted_primary_that_redirects_is_left_at_once(runtime: impl Network + Clone) {
    let servers = servers(2);
    let manager = manager(runtime.clone());
    let args = PrimaryArgs::new(servers.iter().map(RedisServer::url)).poll_interval(Duration::MAX);
    manager.add_primary(NAME, args).await.expect("one of them is a primary");
    let mut shared = manager.get_shared_client(NAME).await.expect("a client");
    let () = shared.set("key", "value").await.expect("SET");
    until(&runtime, "the replica is online", || servers[0].command(&["INFO", "replication"]).contains("state=online")).await;
    servers[0].command(&["FAILOVER"]);
    until(&runtime, "the roles have changed", || {
        servers[0].command(&["ROLE"]).starts_with("slave") && servers[1].command(&["ROLE"]).starts_with("master")
    })
    .await;
    let error = shared.set::<_, _, ()>("key", "other").await.expect_err("it is a replica now");
    assert_eq!(error.code(), Some("REDIRECT"), "{error}");
    let start = std::time::Instant::now();
    let () = shared.set("key", "other").await.expect("it goes to the other one");
    println!("followed within {:?}", start.elapsed());
    assert_eq!(servers[1].command(&["GET", "key"]), "other");
    drop(shared);
    manager.close_all_pools().await;
}

async fn what_is_wrong_with_given_servers_is_told_by_its_kind(runtime: impl Network + Clone) {
    let servers = servers(2);
    let manager = manager(runtime);
    let add = async |urls: Vec<String>| {
        let start = std::time::Instant::now();
        let added = manager.add_primary_timeout("other", PrimaryArgs::new(urls), 700 * MS).await;
        assert!(start.elapsed() < 700 * MS + SLACK, "{:?}", start.elapsed());
        assert!(added.is_ok() || manager.node("other").is_err(), "nothing is left");
        added.map(drop).map_err(|error| (error.kind(), error.to_string()))
    };
    let (kind, words) = add(vec![servers[1].url()]).await.expect_err("a replica alone");
    assert!(kind == FailureKind::NotPrimary && words.contains("says that it is a primary"), "{words}");
    let (kind, words) = add(vec![String::from("redis://127.0.0.1:1")]).await.expect_err("no server");
    assert!(kind == FailureKind::Refused && words.contains("127.0.0.1:1"), "{words}");
    for (urls, reason) in [
        (vec![], "1 to 64 URLs"),
        (vec![String::from("unix:///tmp/x")], "unix socket"),
        (vec![servers[0].url(), String::from("redis://:hush@127.0.0.1:2")], "not that of the first one"),
        (vec![String::from("redis+sentinel://127.0.0.1/m")], "primary_args.servers"),
    ] {
        let (kind, words) = add(urls).await.expect_err("bad settings");
        assert!(kind == FailureKind::Configuration && words.contains(reason) && !words.contains("hush"), "{words}");
    }
    let plain = manager.add_node_pool(&servers[0].url()).await.expect("it is up");
    let error = manager.get_replica_client(&servers[0].url()).await.expect_err("a plain node");
    assert!(matches!(error, GetClientError::NoReplica { .. }), "{error}");
    let error = manager.get_replica_client("nothing").await.expect_err("no such name");
    assert!(matches!(error, GetClientError::UnknownNode { .. }), "{error}");
    plain.close().await;
}
