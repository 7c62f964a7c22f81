//! Nothing a borrower did reaches the next one, and one that did nothing costs nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redis::{AsyncCommands, Cmd, ProtocolVersion, Value};
use redis_manager::runtime::Network;
use redis_manager::{Client, PoolArgs, RedisManager};
use redis_manager_tests::abilities::{Ability, note_skipped};
use redis_manager_tests::on_every_runtime;
use redis_manager_tests::redis_server::RedisServer;
use redis_manager_tests::tasks::{spawn, until, within};

use crate::{MS, assert_full_capacity, echo, manager_of, one_pool, status};

on_every_runtime! {
    l2_nothing_that_a_borrower_left_reaches_the_next;
    l2_a_lease_that_changed_nothing_makes_no_round_trip;
    l2_what_can_be_undone_keeps_its_connection;
    l2_a_login_that_may_not_even_ping_is_closed_not_lent;
    l3_random_cancels_leave_no_wrong_reply_and_the_capacity_whole;
    l3_a_cancelled_command_leaves_its_client_in_step;
    l3_a_client_that_is_kept_long_after_a_cancelled_command_is_not_taken_for_silent;
    l4_what_a_cancelled_pop_waited_for_is_taken_for_nobody;
    l4_what_a_pop_that_got_no_reply_waited_for_is_taken_for_nobody;
    l4_a_pop_after_a_transaction_that_went_wrong_is_one_that_blocks;
    l6_a_watch_does_not_survive_its_connection;
    h7_a_server_that_has_become_a_replica_is_left_at_the_first_word;
    h7_a_server_that_has_become_a_replica_during_a_transaction_is_left;
    h7_a_server_that_loads_is_distrusted_at_the_first_word needs MasterdownToPing;
}

fn cmd(words: &str) -> Cmd {
    let mut words = words.split(' ');
    let mut cmd = redis::cmd(words.next().unwrap_or_default());
    cmd.arg(words.collect::<Vec<_>>());
    cmd
}

async fn manager_with(server: &RedisServer, protocol: ProtocolVersion, runtime: impl Network) -> RedisManager {
    let mut args = PoolArgs::default();
    args.protocol = protocol;
    args.command_timeout = 400 * MS;
    let manager = one_pool(1).pool_args(args).build(runtime).expect("valid settings");
    manager.add_node_pool(&server.url()).await.expect("the server is up");
    manager
}

async fn id(client: &mut Client) -> i64 {
    cmd("CLIENT ID").query_async(client).await.expect("CLIENT ID")
}

/// What the server says of the session, without what is of no interest here. A transaction shows in the flags; what is said
/// of `multi` after one differs from server to server.
async fn session(client: &mut Client) -> Vec<String> {
    let info: String = cmd("CLIENT INFO").query_async(client).await.expect("CLIENT INFO");
    let keys = ["name", "flags", "db", "sub", "psub", "ssub", "user", "resp", "redir"];
    let of_interest = |word: &&str| word.split_once('=').is_some_and(|(key, _)| keys.contains(&key));
    info.split_whitespace().filter(of_interest).map(String::from).collect()
}

/// Seen to bite: with WATCH or MONITOR as `Effect::None` in the table of commands, and with an `inspect` that is always
/// `Clean`.
async fn l2_nothing_that_a_borrower_left_reaches_the_next(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    server.command(&["ACL", "SETUSER", "other", "on", ">pass", "~*", "&*", "+@all"]);
    let lasting = [
        "AUTH other pass",
        "CLIENT SETNAME mine",
        "CLIENT NO-EVICT ON",
        "CLIENT REPLY ON",
        "HELLO 2",
        "HELLO 3",
        "RESET",
        "READONLY",
        "SCRIPT DEBUG SYNC",
        "client setname mine",
    ];
    let removable = ["WATCH key", "MULTI", "SELECT 5", "select 5"];
    let silent =
        ["CLIENT REPLY OFF", "CLIENT REPLY SKIP", "MONITOR", "SUBSCRIBE channel", "PSUBSCRIBE ch*", "SSUBSCRIBE channel"];
    let pipelined = ["WATCH key|MULTI|SET key mine", "SELECT 5|GET key", "GET key|CLIENT SETNAME mine", "MULTI|SELECT 5|EXEC"];
    for protocol in [ProtocolVersion::RESP2, ProtocolVersion::RESP3] {
        let manager = manager_with(&server, protocol, runtime.clone()).await;
        let mut client = manager.get_client(&server.url()).await.expect("a client");
        let fresh = session(&mut client).await;
        drop(client);
        let mut rows: Vec<&str> = lasting.iter().chain(&removable).chain(&silent).chain(&pipelined).copied().collect();
        if protocol == ProtocolVersion::RESP3 {
            rows.push("CLIENT TRACKING ON");
        }
        for row in rows {
            let mut client = manager.get_client(&server.url()).await.expect("a client");
            let mut pipeline = redis::pipe();
            for words in row.split('|') {
                pipeline.add_command(cmd(words));
            }
            // Some of them get no reply, or one that is none.
            let _ = within(&runtime, 100 * MS, pipeline.query_async::<Value>(&mut client)).await;
            drop(client);

            let mut next = manager.get_client(&server.url()).await.unwrap_or_else(|error| panic!("after {row}: {error}"));
            for token in ["one", "two", "three"] {
                assert_eq!(echo(&mut next, token).await.unwrap_or_else(|error| panic!("after {row}: {error}")), token);
            }
            assert_eq!(session(&mut next).await, fresh, "after {row}");
            // Whatever is watched would be changed now.
            server.command(&["SET", "key", row]);
            let set: Option<Value> = redis::pipe().atomic().set("own", 1).query_async(&mut next).await.expect("EXEC");
            assert!(set.is_some(), "after {row}: a key is watched");
        }
        assert_full_capacity(&manager, &server, 1).await;
        manager.close_all_pools().await;
    }
}

async fn l2_a_lease_that_changed_nothing_makes_no_round_trip(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 1, runtime).await;
    let commands = || {
        let stats = server.command(&["INFO", "stats"]);
        let line = stats.lines().find_map(|line| line.strip_prefix("total_commands_processed:")).expect("a count");
        line.trim().parse::<u64>().expect("a number")
    };
    let before = commands();
    for _ in 0..1_000 {
        drop(manager.get_client(&server.url()).await.expect("a client"));
    }
    let mut client = manager.get_client(&server.url()).await.expect("a client");
    assert_eq!(echo(&mut client, "token").await.expect("ECHO"), "token");
    drop(client);
    drop(manager.get_client(&server.url()).await.expect("a client"));
    assert_eq!(commands() - before, 2, "one ECHO, and the question how many");
}

async fn l2_what_can_be_undone_keeps_its_connection(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 1, runtime.clone()).await;
    let mut client = manager.get_client(&server.url()).await.expect("a client");
    let first = id(&mut client).await;
    drop(client);
    for row in ["WATCH key", "MULTI", "SELECT 5"] {
        let mut client = manager.get_client(&server.url()).await.expect("a client");
        cmd(row).exec_async(&mut client).await.expect("a command");
        drop(client);
        let mut client = manager.get_client(&server.url()).await.expect("a client");
        assert_eq!(id(&mut client).await, first, "after {row}");
    }
    // In the database that the URL names, whatever number that has.
    let url = format!("{}/3", server.url());
    manager.add_node_pool(&url).await.expect("the server is up");
    let mut client = manager.get_client(&url).await.expect("a client");
    cmd("SELECT 5").exec_async(&mut client).await.expect("SELECT");
    drop(client);
    let mut client = manager.get_client(&url).await.expect("a client");
    assert!(session(&mut client).await.contains(&String::from("db=3")));
}

async fn l2_a_login_that_may_not_even_ping_is_closed_not_lent(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    server.command(&["ACL", "SETUSER", "poor", "on", ">pass", "~*", "+get", "+watch", "+client"]);
    let url = server.url().replace("redis://", "redis://poor:pass@");
    let manager = one_pool(1).build(runtime).expect("valid settings");
    manager.add_node_pool(&url).await.expect("a server that refuses PING is alive");
    for _ in 0..3 {
        let mut client = manager.get_client(&url).await.expect("a client");
        cmd("WATCH key").exec_async(&mut client).await.expect("WATCH");
    }
    assert_eq!(status(&manager).waiting, 0);
}

/// Seen to bite: with a state that forgets what comes back soiled. Wrong replies are not to be had by breaking this crate
/// alone: the redis crate drops late ones, too.
async fn l3_random_cancels_leave_no_wrong_reply_and_the_capacity_whole(runtime: impl Network + Clone) {
    const TASKS: u64 = 16;
    const LIMIT: usize = 4;
    // 100 000 in all where the tests are built with optimisation.
    let cancels = if cfg!(debug_assertions) { 100 } else { 100_000 / TASKS };
    let server = Arc::new(RedisServer::start());
    let manager = manager_of(&server, LIMIT, runtime.clone()).await;
    let done = Arc::new(AtomicBool::new(false));
    let watched = {
        let (server, clock, done) = (Arc::clone(&server), runtime.clone(), Arc::clone(&done));
        spawn(&runtime, async move {
            while !done.load(Ordering::SeqCst) {
                assert!(RedisServer::open_count(&[&server]) <= LIMIT, "{:?}", server.client_list());
                clock.sleep(5 * MS).await;
            }
        })
    };
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (manager, url, clock) = (manager.clone(), server.url(), runtime.clone());
            spawn(&runtime, async move {
                let (mut cancelled, mut round) = (0, 0);
                while cancelled < cancels {
                    round += 1;
                    let Ok(mut client) = manager.get_client(&url).await else { panic!("a client is free in time") };
                    let token = format!("{task}-{round}");
                    // From before the command is sent to after its reply has come.
                    let patience = std::time::Duration::from_micros((task * 7 + round * 13) % 150);
                    match within(&clock, patience, echo(&mut client, &token)).await {
                        None => cancelled += 1,
                        Some(answer) => assert_eq!(answer.expect("a sound client"), token),
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await;
    }
    done.store(true, Ordering::SeqCst);
    watched.await;
    assert_full_capacity(&manager, &server, LIMIT).await;
}

async fn l3_a_cancelled_command_leaves_its_client_in_step(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 1, runtime.clone()).await;
    let mut client = manager.get_client(&server.url()).await.expect("a client");
    let first = id(&mut client).await;
    server.stop_process();
    assert!(within(&runtime, 20 * MS, echo(&mut client, "lost")).await.is_none(), "the server is stopped");
    server.continue_process();
    assert_eq!(echo(&mut client, "kept").await.expect("the replies are in order"), "kept");
    drop(client);
    let mut client = manager.get_client(&server.url()).await.expect("a client");
    assert_eq!(id(&mut client).await, first);
}

/// Seen to bite: with a connection that takes the reply that nobody waited for as outstanding for as long as it is kept,
/// the node is suspected, and its connection closed.
async fn l3_a_client_that_is_kept_long_after_a_cancelled_command_is_not_taken_for_silent(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 1, runtime.clone()).await;
    let mut client = manager.get_client(&server.url()).await.expect("a client");
    let first = id(&mut client).await;
    server.stop_process();
    assert!(within(&runtime, 10 * MS, echo(&mut client, "lost")).await.is_none(), "the server is stopped");
    server.continue_process();
    // Longer than a health check would wait for the reply, which has come by then.
    runtime.sleep(700 * MS).await;
    drop(client);
    assert_eq!(status(&manager).last_error, None);
    let mut client = manager.get_client(&server.url()).await.expect("a client");
    assert_eq!(id(&mut client).await, first);
}

async fn l4_what_a_cancelled_pop_waited_for_is_taken_for_nobody(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 2, runtime.clone()).await;
    let blocked = || server.client_list().iter().any(|line| line.contains("flags=b"));
    for words in ["BLPOP queue 0", "BRPOP queue 5", "BLMOVE queue other LEFT RIGHT 0", "BLMPOP 0 1 queue LEFT"] {
        if words.starts_with("BLMPOP") && Ability::Blmpop.is_missing() {
            note_skipped(Ability::Blmpop);
            continue;
        }
        let mut client = manager.get_client(&server.url()).await.expect("a client");
        assert!(within(&runtime, 50 * MS, cmd(words).exec_async(&mut client)).await.is_none(), "nothing was pushed");
        // Also while the client is kept: it will not be used by mistake, either.
        until(&runtime, "the server has noticed", || !blocked()).await;
        server.command(&["RPUSH", "queue", "job"]);
        assert_eq!(server.command(&["LLEN", "queue"]), "1", "{words}");
        server.command(&["DEL", "queue"]);
        assert!(echo(&mut client, "token").await.is_err(), "its connection is closed");
    }
    let mut client = manager.get_client(&server.url()).await.expect("a client");
    assert!(within(&runtime, 50 * MS, cmd("XREAD BLOCK 0 STREAMS stream $").exec_async(&mut client)).await.is_none());
    drop(client);
    until(&runtime, "the server has noticed", || !blocked()).await;
    assert_full_capacity(&manager, &server, 2).await;
}

/// Seen to bite: with a socket that is closed only when the client is given back.
async fn l4_what_a_pop_that_got_no_reply_waited_for_is_taken_for_nobody(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_with(&server, ProtocolVersion::RESP3, runtime).await;
    let mut client = manager.get_client(&server.url()).await.expect("a client");
    server.stop_process();
    let error = cmd("BLPOP queue 0.3").exec_async(&mut client).await.expect_err("the server is stopped");
    assert!(error.is_timeout(), "{error}");
    // The server finds the command only now; the client is still kept.
    server.continue_process();
    server.command(&["RPUSH", "queue", "job"]);
    assert_eq!(server.command(&["LLEN", "queue"]), "1");
    assert!(echo(&mut client, "token").await.is_err(), "its connection is closed");
    drop(client);
    assert_full_capacity(&manager, &server, 1).await;
}

/// Seen to bite: when the transaction is taken for open, the pop is taken for queued, and its socket stays open.
async fn l4_a_pop_after_a_transaction_that_went_wrong_is_one_that_blocks(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 1, runtime.clone()).await;
    let mut client = manager.get_client(&server.url()).await.expect("a client");
    let mut pipeline = redis::pipe();
    pipeline.add_command(cmd("MULTI")).add_command(cmd("NO-SUCH-COMMAND")).add_command(cmd("EXEC"));
    assert!(pipeline.exec_async(&mut client).await.is_err());
    assert!(within(&runtime, 200 * MS, cmd("BLPOP queue 0").exec_async(&mut client)).await.is_none());
    until(&runtime, "the server has noticed", || server.client_count() == 0).await;
    drop(client);
    assert_full_capacity(&manager, &server, 1).await;
}

async fn l6_a_watch_does_not_survive_its_connection(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 2, runtime).await;
    let mut client = manager.get_client(&server.url()).await.expect("a client");
    cmd("WATCH key").exec_async(&mut client).await.expect("WATCH");
    let id = id(&mut client).await.to_string();
    server.command(&["CLIENT", "KILL", "ID", &id]);
    server.command(&["SET", "key", "theirs"]);
    let done = redis::pipe().atomic().set("key", "mine").query_async::<Option<Value>>(&mut client).await;
    assert!(done.is_err(), "{done:?}");
    assert_eq!(server.command(&["GET", "key"]), "theirs");
}

async fn h7_a_server_that_has_become_a_replica_is_left_at_the_first_word(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 4, runtime.clone()).await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(manager.get_client(&server.url()).await.expect("a client"));
    }
    let mut writer = clients.pop().expect("four of them");
    let mut kept = clients.pop().expect("three of them");
    let (first, second) = (id(&mut writer).await, id(&mut kept).await);
    drop(clients);
    server.command(&["REPLICAOF", "127.0.0.1", "1"]);
    let refused = writer.set::<_, _, ()>("key", 1).await.expect_err("a replica");
    assert_eq!(refused.code(), Some("READONLY"), "the user gets the reply as it was");
    server.command(&["REPLICAOF", "NO", "ONE"]);
    until(&runtime, "idle ones go at once", || server.client_list().iter().filter(|line| !line.contains("flags=M")).count() <= 3)
        .await;
    drop((writer, kept));
    for _ in 0..4 {
        let mut client = manager.get_client(&server.url()).await.expect("a client");
        let other = id(&mut client).await;
        assert!(other > first && other > second, "a connection of the old generation");
        let () = client.set("key", 1).await.expect("a primary again");
    }
    assert_full_capacity(&manager, &server, 4).await;
}

/// Seen to bite: EXECABORT hides the READONLY behind it.
async fn h7_a_server_that_has_become_a_replica_during_a_transaction_is_left(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 1, runtime).await;
    let mut client = manager.get_client(&server.url()).await.expect("a client");
    let first = id(&mut client).await;
    for words in ["MULTI", "SET key mine"] {
        cmd(words).exec_async(&mut client).await.expect(words);
    }
    server.command(&["REPLICAOF", "127.0.0.1", "1"]);
    let refused = cmd("EXEC").exec_async(&mut client).await.expect_err("a replica");
    assert_eq!(refused.code(), Some("EXECABORT"), "the user gets the reply as it was");
    drop(client);
    let mut client = manager.get_client(&server.url()).await.expect("a client");
    assert!(id(&mut client).await > first, "a connection of the old generation");
}

async fn h7_a_server_that_loads_is_distrusted_at_the_first_word(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 2, runtime.clone()).await;
    let mut client = manager.get_client(&server.url()).await.expect("a client");
    // A replica without its primary that may not answer from old data: MASTERDOWN, to PING, too.
    server.command(&["CONFIG", "SET", "replica-serve-stale-data", "no"]);
    server.command(&["REPLICAOF", "127.0.0.1", "1"]);
    let refused = client.get::<_, Option<String>>("key").await.expect_err("not ready");
    assert_eq!(refused.code(), Some("MASTERDOWN"));
    drop(client);
    let waited = manager.get_client_timeout(&server.url(), 300 * MS).await;
    let error = waited.expect_err("nothing is lent by a node that is not ready").to_string();
    assert!(error.contains("MASTER is down"), "{error}");
    server.command(&["REPLICAOF", "NO", "ONE"]);
    let mut client = manager.get_client(&server.url()).await.expect("it is ready again");
    assert_eq!(echo(&mut client, "token").await.expect("ECHO"), "token");
}
