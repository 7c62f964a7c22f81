//! What a borrower may have done to its connection without its being known: that is found out before the next loan.

use redis::{Cmd, ErrorKind, ProtocolVersion, Value};
use redis_manager::runtime::Network;
use redis_manager::{PoolArgs, RedisManager, UnknownCommands};
use redis_manager_tests::abilities::{Ability, note_skipped};
use redis_manager_tests::on_every_runtime;
use redis_manager_tests::redis_server::RedisServer;

use crate::{assert_full_capacity, echo, one_pool, status};

on_every_runtime! {
    l9_a_connection_is_checked_after_an_unknown_command_and_after_no_other;
    l9_unknown_commands_that_are_trusted_cost_nothing;
    l9_unknown_commands_that_are_refused_reach_no_shared_connection;
    l9_what_an_unknown_command_has_done_does_not_reach_the_next;
    l9_after_a_borrower_that_killed_its_own_connection_no_other_gets_an_error;
}

fn cmd(words: &str) -> Cmd {
    let mut cmd = Cmd::new();
    cmd.arg(words.split(' ').collect::<Vec<_>>());
    cmd
}

async fn manager_with(server: &RedisServer, unknown_commands: UnknownCommands, runtime: impl Network) -> RedisManager {
    let mut args = PoolArgs::default();
    args.unknown_commands = unknown_commands;
    let manager = one_pool(1).pool_args(args).build(runtime).expect("valid settings");
    manager.add_node_pool(&server.url()).await.expect("the server is up");
    manager
}

/// How many PINGs the server has got.
fn pings(server: &RedisServer) -> u64 {
    let stats = server.command(&["INFO", "commandstats"]);
    let calls = stats.lines().find_map(|line| line.strip_prefix("cmdstat_ping:calls=")?.split(',').next());
    calls.map_or(0, |calls| calls.parse().expect("a number"))
}

/// PINGs for a lease that sends one command, and the next one.
async fn pings_after(words: &str, manager: &RedisManager, server: &RedisServer) -> u64 {
    let before = pings(server);
    let mut client = manager.get_client(&server.url()).await.expect("a client");
    let _whatever_it_says = cmd(words).query_async::<Value>(&mut client).await;
    drop(client);
    let mut client = manager.get_client(&server.url()).await.unwrap_or_else(|error| panic!("after {words}: {error}"));
    assert_eq!(echo(&mut client, "token").await.unwrap_or_else(|error| panic!("after {words}: {error}")), "token");
    pings(server) - before
}

/// Guards against: with GEOADD left out of the harmless commands, and with unknown ones taken for harmless.
async fn l9_a_connection_is_checked_after_an_unknown_command_and_after_no_other(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_with(&server, UnknownCommands::Check, runtime).await;
    let known = [
        "GET key",
        "get key",
        "GEOADD geo 1 1 one",
        "GEORADIUSBYMEMBER_RO geo one 1 m",
        "FT.SEARCH index x",
        "CLUSTER INFO",
        "INFO",
    ];
    for words in known {
        assert_eq!(pings_after(words, &manager, &server).await, 0, "{words}");
    }
    let checked = [
        "NO-SUCH-COMMAND",
        "MY.MODULE.COMMAND key",
        "CLIENT KILL TYPE pubsub",
        "ACL SETUSER other on",
        "DEBUG SLEEP 0",
        "REPLICAOF NO ONE",
        "slaveof no one",
        "FAILOVER ABORT",
        "SHUTDOWN ABORT",
    ];
    for words in checked {
        assert_eq!(pings_after(words, &manager, &server).await, 1, "{words}");
    }
    // One that is shared is checked when it goes back.
    let before = pings(&server);
    let mut shared = manager.get_shared_client(&server.url()).await.expect("a shared client");
    let error = cmd("NO-SUCH-COMMAND").exec_async(&mut shared).await.expect_err("the server knows it no more than we do");
    assert_eq!(error.code(), Some("ERR"));
    drop(shared);
    drop(manager.get_client(&server.url()).await.expect("a client"));
    assert_eq!(pings(&server) - before, 1);
    assert_full_capacity(&manager, &server, 1).await;
}

async fn l9_unknown_commands_that_are_trusted_cost_nothing(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_with(&server, UnknownCommands::Trust, runtime).await;
    assert_eq!(pings_after("NO-SUCH-COMMAND", &manager, &server).await, 0);
    assert_eq!(pings_after("CLIENT KILL TYPE pubsub", &manager, &server).await, 1, "it is known");
}

async fn l9_unknown_commands_that_are_refused_reach_no_shared_connection(runtime: impl Network + Clone) {
    let server = RedisServer::start_with(&["--rename-command", "INCR", "COUNT"]);
    let manager = manager_with(&server, UnknownCommands::Refuse, runtime).await;
    let mut shared = manager.get_shared_client(&server.url()).await.expect("a shared client");
    let mut pipeline = redis::pipe();
    pipeline.set("other", 1).add_command(cmd("count n"));
    for refused in [cmd("count n").exec_async(&mut shared).await, pipeline.exec_async(&mut shared).await] {
        let error = refused.expect_err("refused");
        assert_eq!((error.kind(), error.detail()), (ErrorKind::Client, Some("COUNT")), "{error}");
    }
    assert_eq!(server.command(&["EXISTS", "n", "other"]), "0");
    drop(shared);
    assert_eq!(pings_after("COUNT n", &manager, &server).await, 1);
    assert_eq!(server.command(&["GET", "n"]), "1", "one that is borrowed sends it");
}

/// Guards against: with unknown commands trusted, the next borrower's commands are queued.
async fn l9_what_an_unknown_command_has_done_does_not_reach_the_next(runtime: impl Network + Clone) {
    let renamed = ["--rename-command", "MULTI", "BEGIN", "--rename-command", "QUIT", "LEAVE"];
    let (renamed, unknown): (&[&str], &[&str]) = if Ability::RenameQuit.is_missing() {
        note_skipped(Ability::RenameQuit);
        (&renamed[..3], &["BEGIN"])
    } else {
        (&renamed, &["BEGIN", "LEAVE", "BEGIN"])
    };
    let server = RedisServer::start_with(renamed);
    let manager = manager_with(&server, UnknownCommands::Check, runtime).await;
    for words in unknown {
        for _ in 0..20 {
            pings_after(words, &manager, &server).await;
        }
    }
    assert_eq!(status(&manager).active, 0);
}

/// Guards against: with CLIENT KILL taken for harmless, by a broken pipe within 200 rounds.
async fn l9_after_a_borrower_that_killed_its_own_connection_no_other_gets_an_error(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    for protocol in [ProtocolVersion::RESP2, ProtocolVersion::RESP3] {
        let mut args = PoolArgs::default();
        args.protocol = protocol;
        let manager = one_pool(1).pool_args(args).build(runtime.clone()).expect("valid settings");
        manager.add_node_pool(&server.url()).await.expect("the server is up");
        for round in 0..200 {
            let mut client = manager.get_client(&server.url()).await.expect("a client");
            let id: i64 = cmd("CLIENT ID").query_async(&mut client).await.expect("CLIENT ID");
            let killed: i64 =
                cmd(&format!("CLIENT KILL ID {id} SKIPME no")).query_async(&mut client).await.expect("the reply comes first");
            assert_eq!(killed, 1);
            drop(client);
            let mut next = manager.get_client(&server.url()).await.expect("another client");
            let answer = echo(&mut next, "token").await;
            assert_eq!(answer.unwrap_or_else(|error| panic!("round {round}, {protocol:?}: {error}")), "token");
        }
        assert_full_capacity(&manager, &server, 1).await;
        manager.close_all_pools().await;
    }
}
