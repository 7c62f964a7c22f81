//! What words are evidence of: those that a server says of itself, not those that an application puts into its mouth.

use std::time::Duration;

use redis::{AsyncCommands, Cmd, Value};
use redis_manager::RedisManager;
use redis_manager::runtime::Network;
use redis_manager_tests::on_every_runtime;
use redis_manager_tests::redis_server::RedisServer;

use crate::{MS, assert_full_capacity, one_pool};

on_every_runtime! {
    h15_a_script_that_answers_in_the_words_of_a_server_costs_what_any_error_costs;
    h15_writes_to_a_replica_cost_no_dial;
    h15_a_name_that_leads_to_a_demoted_server_is_dialled_less_and_less;
}

/// Connections that a server has accepted, and PINGs that it has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cost {
    dials: u64,
    pings: u64,
}

impl Cost {
    fn at(server: &RedisServer) -> Self {
        let read = |section: &str, start: &str| {
            let info = server.command(&["INFO", section]);
            let number = info.lines().find_map(|line| line.strip_prefix(start));
            number.map_or(0, |number| number.split([',', '\r']).next().and_then(|number| number.parse().ok()).expect("a number"))
        };
        Self { dials: read("stats", "total_connections_received:"), pings: read("commandstats", "cmdstat_ping:calls=") }
    }

    fn since(server: &RedisServer, start: Self) -> Self {
        let now = Self::at(server);
        Self { dials: now.dials - start.dials, pings: now.pings - start.pings }
    }
}

/// Without checks of its own accord.
async fn quiet_manager(server: &RedisServer, limit: usize, runtime: impl Network) -> RedisManager {
    let manager = one_pool(limit).health_check_interval(Duration::from_secs(600)).build(runtime).expect("valid settings");
    manager.add_node_pool(&server.url()).await.expect("the server is up");
    manager
}

const SCRIPT: &str = "return redis.error_reply(ARGV[1])";

/// Every way to have a script say something, some of them where functions are known only.
fn ways(server: &RedisServer, words: &str) -> Vec<Cmd> {
    let hash = server.command(&["SCRIPT", "LOAD", SCRIPT]);
    let code = "#!lua name=words\nredis.register_function{function_name='say', callback=function(keys, args) \
                return redis.error_reply(args[1]) end, flags={'no-writes'}}";
    let mut ways = vec![("EVAL", SCRIPT), ("evalsha", hash.as_str())];
    if server.command(&["FUNCTION", "LOAD", "REPLACE", code]) == "words" {
        ways.extend([("FCALL", "say"), ("FCALL_RO", "say"), ("EVAL_RO", SCRIPT), ("EVALSHA_RO", hash.as_str())]);
    }
    ways.into_iter().map(|(name, what)| redis::cmd(name).arg(what).arg(0).arg(words).clone()).collect()
}

/// Guards against: the commands that speak for others left out of account in a single command, in a pipeline and in a
/// transaction, and with each of them left out of the list.
async fn h15_a_script_that_answers_in_the_words_of_a_server_costs_what_any_error_costs(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = quiet_manager(&server, 3, runtime).await;
    let mut shared = manager.get_shared_client(&server.url()).await.expect("a shared client");
    let () = shared.set("key", 1).await.expect("SET");
    // One more that idles, to be checked, or not.
    let (one, other) = (manager.get_client(&server.url()).await, manager.get_client(&server.url()).await);
    drop((one.expect("a client"), other.expect("a client")));
    let start = Cost::at(&server);
    for code in ["ERR", "READONLY", "NOAUTH", "LOADING", "MASTERDOWN", "EXECABORT because of: READONLY"] {
        for way in ways(&server, &format!("{code} says the script")) {
            for _ in 0..20 {
                let mut client = manager.get_client(&server.url()).await.expect("a client");
                let refused = way.exec_async(&mut client).await.expect_err("what the script says");
                assert_eq!(refused.code(), code.split(' ').next(), "the user gets the reply as it was");
                let said = way.exec_async(&mut shared).await.expect_err("what the script says");
                assert_eq!(said.code(), refused.code());
                for atomic in [false, true] {
                    let mut pipeline = redis::pipe();
                    pipeline.get("key").add_command(way.clone()).get("key");
                    if atomic {
                        pipeline.atomic();
                    }
                    assert!(pipeline.query_async::<Vec<Value>>(&mut client).await.is_err(), "one of three");
                    assert!(pipeline.query_async::<Vec<Value>>(&mut shared).await.is_err(), "one of three");
                }
            }
        }
        assert_eq!(Cost::since(&server, start), Cost { dials: 0, pings: 0 }, "{code}");
    }
    // What the server itself says beside a script is news.
    server.command(&["REPLICAOF", "127.0.0.1", "1"]);
    let way = &ways(&server, "ERR says the script")[0];
    let mut client = manager.get_client(&server.url()).await.expect("a client");
    let refused = redis::pipe().add_command(way.clone()).set("key", 1).query_async::<Vec<Value>>(&mut client).await;
    assert!(refused.is_err(), "{refused:?}");
    drop((client, shared));
    server.command(&["REPLICAOF", "NO", "ONE"]);
    assert_full_capacity(&manager, &server, 3).await;
    assert!(Cost::since(&server, start).dials >= 3, "all were made anew");
}

/// Guards against: every READONLY told to the pool; with shared connections retired for it.
async fn h15_writes_to_a_replica_cost_no_dial(runtime: impl Network + Clone) {
    let server = RedisServer::start_with(&["--replicaof", "127.0.0.1", "1"]);
    let manager = quiet_manager(&server, 2, runtime.clone()).await;
    let mut shared = manager.get_shared_client(&server.url()).await.expect("a shared client");
    let _: Option<i64> = shared.get("key").await.expect("GET");
    drop(manager.get_client(&server.url()).await.expect("a client"));
    let start = Cost::at(&server);
    let until = runtime.now() + 1_500 * MS;
    while runtime.now() < until {
        let mut client = manager.get_client(&server.url()).await.expect("a client");
        let refused = client.set::<_, _, ()>("key", 1).await.expect_err("a replica");
        let refused_too = shared.set::<_, _, ()>("key", 1).await.expect_err("a replica");
        assert_eq!((refused.code(), refused_too.code()), (Some("READONLY"), Some("READONLY")));
        let _: Option<i64> = client.get("key").await.expect("reads are served");
        runtime.sleep(5 * MS).await;
    }
    assert_eq!(Cost::since(&server, start), Cost { dials: 0, pings: 0 });
    drop(shared);
    assert_full_capacity(&manager, &server, 2).await;
}

/// Dialled after 0, 1, 3, 7, … seconds of writes. Guards against: a pause that stays at a second.
async fn h15_a_name_that_leads_to_a_demoted_server_is_dialled_less_and_less(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = quiet_manager(&server, 1, runtime.clone()).await;
    let start = Cost::at(&server);
    server.command(&["REPLICAOF", "127.0.0.1", "1"]);
    let until = runtime.now() + 2_600 * MS;
    while runtime.now() < until {
        let mut client = manager.get_client(&server.url()).await.expect("a client");
        client.set::<_, _, ()>("key", 1).await.expect_err("a replica");
        drop(client);
        runtime.sleep(5 * MS).await;
    }
    assert_eq!(Cost::since(&server, start).dials, 2);
    server.command(&["REPLICAOF", "NO", "ONE"]);
    let mut client = manager.get_client(&server.url()).await.expect("a client");
    let () = client.set("key", 1).await.expect("a primary again");
    drop(client);
    assert_full_capacity(&manager, &server, 1).await;
}
