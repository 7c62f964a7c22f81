//! A program's own code in the life of a connection: `after_connect` and `before_lend`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use redis::{AsyncCommands, RedisResult};
use redis_manager::runtime::Network;
use redis_manager::{AddNodeError, FailureKind, NewConnection, PoolArgs};
use redis_manager_tests::on_every_runtime;
use redis_manager_tests::redis_server::RedisServer;
use redis_manager_tests::tasks::{until, within};

use crate::{MS, SLACK, one_pool};

on_every_runtime! {
    what_after_connect_sets_is_there_for_every_borrower_and_survives_what_they_do;
    after_connect_runs_once_for_each_connection;
    an_error_of_after_connect_fails_the_dial;
    a_session_that_after_connect_may_not_leave_fails_the_dial;
    after_connect_is_bounded_by_the_connect_timeout;
    t5_no_credential_of_a_hook_is_in_its_error;
    a_connection_that_before_lend_refuses_is_replaced;
    a_hook_that_refuses_all_ends_in_a_timeout_and_not_in_a_storm_of_dials;
}

async fn name_of(client: &mut impl AsyncCommands) -> Option<String> {
    redis::cmd("CLIENT").arg("GETNAME").query_async(client).await.expect("CLIENT GETNAME")
}

async fn set_name(mut connection: NewConnection) -> RedisResult<()> {
    redis::cmd("CLIENT").arg("SETNAME").arg("hooked").exec_async(&mut connection).await
}

/// Seen to bite: with the traces of the hook left on the session, which closes each connection when it comes back.
async fn what_after_connect_sets_is_there_for_every_borrower_and_survives_what_they_do(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = one_pool(1).after_connect(set_name).build(runtime).expect("valid settings");
    let node = manager.add_node_pool(&server.url()).await.expect("the server is up");
    let mut first = node.get_client().await.expect("a client");
    assert_eq!(name_of(&mut first).await.as_deref(), Some("hooked"));
    let id: u64 = redis::cmd("CLIENT").arg("ID").query_async(&mut first).await.expect("CLIENT ID");
    let () = redis::cmd("WATCH").arg("key").query_async(&mut first).await.expect("WATCH");
    let () = redis::cmd("SELECT").arg(3).query_async(&mut first).await.expect("SELECT");
    drop(first);
    let mut second = node.get_client().await.expect("a client");
    let same: u64 = redis::cmd("CLIENT").arg("ID").query_async(&mut second).await.expect("CLIENT ID");
    assert_eq!((name_of(&mut second).await.as_deref(), same), (Some("hooked"), id), "it was undone, and the connection kept");
    // What only a new connection is rid of: there the hook runs again.
    redis::cmd("CLIENT").arg("SETNAME").arg("another").exec_async(&mut second).await.expect("CLIENT SETNAME");
    drop(second);
    let mut third = node.get_client().await.expect("a client");
    assert_eq!(name_of(&mut third).await.as_deref(), Some("hooked"));
    drop(third);
    let mut shared = node.get_shared_client().await.expect("a shared client");
    let () = shared.set("key", "value").await.expect("SET");
}

async fn after_connect_runs_once_for_each_connection(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let runs = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&runs);
    let count = move |_connection| {
        counter.fetch_add(1, Ordering::SeqCst);
        async { Ok(()) }
    };
    let manager = one_pool(3).min_idle(0).after_connect(count).build(runtime).expect("valid settings");
    let node = manager.add_node_pool(&server.url()).await.expect("the server is up");
    for _ in 0..5 {
        let (one, two, three) = (node.get_client().await, node.get_client().await, node.get_client().await);
        drop((one.expect("a client"), two.expect("a client"), three.expect("a client")));
    }
    assert_eq!(runs.load(Ordering::SeqCst), 3);
}

async fn an_error_of_after_connect_fails_the_dial(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let fail = |mut connection: NewConnection| async move { redis::cmd("GETX").arg("key").exec_async(&mut connection).await };
    let manager = one_pool(1).after_connect(fail).build(runtime.clone()).expect("valid settings");
    let error = manager.add_node_pool_timeout(&server.url(), 500 * MS).await.expect_err("the hook fails");
    let AddNodeError::NoHealthyPools { ref last_error, .. } = error else { panic!("{error:?}") };
    let text = last_error.as_ref().map(ToString::to_string).unwrap_or_default();
    assert!(text.starts_with("after_connect failed: ") && text.contains("GETX"), "{text}");
    until(&runtime, "the connection is closed", || server.client_count() == 0).await;
}

/// Seen to bite: with each of the refused traces left out.
async fn a_session_that_after_connect_may_not_leave_fails_the_dial(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let sessions: [(&[&str], &str); 5] = [
        (&["MULTI"], "transaction open"),
        (&["WATCH", "key"], "keys watched"),
        (&["SELECT", "3"], "another database"),
        (&["SUBSCRIBE", "channel"], "subscribed"),
        (&["HELLO", "2"], "the protocol"),
    ];
    for (words, problem) in sessions {
        let leave = move |mut connection: NewConnection| async move {
            redis::cmd(words[0]).arg(&words[1..]).exec_async(&mut connection).await
        };
        let manager = one_pool(1).after_connect(leave).build(runtime.clone()).expect("valid settings");
        let error = manager.add_node_pool(&server.url()).await.expect_err("the hook leaves something");
        assert_eq!((error.kind(), error.is_retryable()), (FailureKind::Configuration, false), "{words:?}: {error}");
        assert!(error.to_string().contains(problem), "{words:?}: {error}");
    }
    let keep = |connection: NewConnection| {
        std::mem::forget(connection);
        async { Ok(()) }
    };
    let manager = one_pool(1).after_connect(keep).build(runtime.clone()).expect("valid settings");
    let error = manager.add_node_pool(&server.url()).await.expect_err("the hook keeps the connection");
    assert!(error.to_string().contains("it has kept the connection"), "{error}");
    until(&runtime, "what the hook has kept is closed", || server.client_count() == 0).await;
}

/// Seen to bite: with the error as it is, and with its arguments cut off alone.
async fn t5_no_credential_of_a_hook_is_in_its_error(runtime: impl Network + Clone) {
    let server = RedisServer::start_with(&["--rename-command", "AUTH", "ASSUME"]);
    let commands: [&[&str]; 2] = [&["AUTH", "app", "planted-secret"], &["AUTH", "planted-secret"]];
    for words in commands {
        let log_in = move |mut connection: NewConnection| async move {
            redis::cmd(words[0]).arg(&words[1..]).exec_async(&mut connection).await
        };
        let manager = one_pool(1).after_connect(log_in).build(runtime.clone()).expect("valid settings");
        let error = manager.add_node_pool(&server.url()).await.expect_err("the command is unknown");
        assert!(error.to_string().contains("after_connect failed"), "{error}");
        let all = format!("{error} {error:?} {:?}", manager.fetch_pool_status());
        assert!(!all.contains("planted") && !all.contains("secret"), "{all}");
    }
}

async fn after_connect_is_bounded_by_the_connect_timeout(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let hang = |_connection| std::future::pending();
    let args = PoolArgs::default().connect_timeout(200 * MS);
    let manager = one_pool(1).after_connect(hang).pool_args(args).build(runtime.clone()).expect("valid settings");
    let url = server.url();
    let adding = manager.add_node_pool_timeout(&url, 700 * MS);
    let error = within(&runtime, 700 * MS + SLACK, adding).await.expect("by the deadline").expect_err("the hook hangs");
    assert!(error.to_string().contains("the hook after_connect did not end"), "{error}");
}

/// Seen to bite: with a hook that is never asked.
async fn a_connection_that_before_lend_refuses_is_replaced(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let young = |candidate: &redis_manager::LendCandidate<'_>| candidate.age() < 300 * MS;
    let manager = one_pool(1).before_lend(young).build(runtime.clone()).expect("valid settings");
    let node = manager.add_node_pool(&server.url()).await.expect("the server is up");
    let mut ids = Vec::new();
    for pause in [Duration::ZERO, 400 * MS] {
        runtime.sleep(pause).await;
        let mut client = node.get_client().await.expect("a client");
        ids.push(redis::cmd("CLIENT").arg("ID").query_async::<u64>(&mut client).await.expect("CLIENT ID"));
    }
    assert_ne!(ids[0], ids[1], "an old connection is not lent");
}

async fn a_hook_that_refuses_all_ends_in_a_timeout_and_not_in_a_storm_of_dials(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = one_pool(4).before_lend(|_candidate| false).build(runtime.clone()).expect("valid settings");
    let node = manager.add_node_pool_lazy(&server.url()).expect("a URL");
    let getting = node.get_client_timeout(2_000 * MS);
    let error = within(&runtime, 2_000 * MS + SLACK, getting).await.expect("by the deadline").expect_err("nothing is lent");
    let stats = server.command(&["INFO", "stats"]);
    let dials = stats.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
    let dials: usize = dials.expect("INFO has it").trim().parse().expect("a number");
    assert!(dials < 60, "{dials} dials in two seconds: {error}");
}
