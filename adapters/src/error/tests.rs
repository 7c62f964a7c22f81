//! The table of [`RedisErrorExt`], row by row and for every kind of call, and the kinds of failed dials.

use std::error::Error;
use std::io;
use std::time::Duration;

use redis::{ErrorKind, RedisError};
use redis_manager_core::{Snapshot, WaitPhase};
use redis_manager_tests::scripted_server::{Conversation, ScriptedServer};

use crate::error::{AddNodeError, CommandFailure, ConnectFailure, FailureKind, GetClientError, Outage, RedisErrorExt, Sent};
use crate::tokio::TokioRuntime;
use crate::{Attempt, Client, Prepared, RedisManager, TransactionError};

const MS: Duration = Duration::from_millis(1);

fn on_tokio(story: impl Future<Output = ()>) {
    ::tokio::runtime::Builder::new_current_thread().enable_all().build().expect("tokio starts").block_on(story);
}

fn manager() -> RedisManager {
    let builder = RedisManager::builder().max_pools_per_node(1).health_check_timeout(50 * MS);
    builder.build(TokioRuntime::current().expect("within it")).expect("valid settings")
}

fn facts(error: &impl RedisErrorExt) -> (Sent, bool) {
    (error.was_sent(), error.is_unavailable())
}

fn said(line: &str) -> RedisError {
    let reply = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).expect("an error reply");
    reply.extract_error().expect_err("it is one")
}

fn timeout(phase: WaitPhase) -> GetClientError {
    let node = String::from("redis://node");
    GetClientError::Timeout { node, phase, waited: 1_001 * MS, seen: Snapshot::default(), last_error: None }
}

/// Seen to bite: with `Outage::Server` for every failure, and without the look at the failure.
#[test]
fn each_row_of_the_table_is_as_it_says() {
    let node = || String::from("redis://node");
    let down = GetClientError::NoHealthyPools { node: node(), waited: 1_001 * MS, seen: Snapshot::default(), last_error: None };
    let no_client = [
        (down, true),
        (timeout(WaitPhase::DialsFailing), true),
        (timeout(WaitPhase::LeasesHeld), false),
        (GetClientError::Saturated { node: node(), waiting: 1 }, false),
        (GetClientError::NoOwner { node: node(), slot: 5 }, true),
        (GetClientError::NoReplica { node: node(), waited: MS, why: String::from("it has none") }, true),
        (GetClientError::UnknownNode { node: node() }, false),
        (GetClientError::Closed { node: node() }, false),
        (GetClientError::RuntimeEnded { node: node() }, false),
    ];
    for (error, unavailable) in no_client {
        assert_eq!(facts(&error), (Sent::NotSent, unavailable), "{error}");
        let as_redis = RedisError::from(error.clone());
        assert_eq!(facts(&as_redis), (Sent::NotSent, unavailable), "{as_redis}");
        assert_eq!((as_redis.node(), as_redis.get_client_error()), (Some("redis://node"), Some(&error)));
        assert_eq!(as_redis.to_string(), format!("not sent: {error}"));
    }
    let silent = AddNodeError::NoHealthyPools { node: node(), waited: 1_001 * MS, seen: Snapshot::default(), last_error: None };
    let no_node = [
        (AddNodeError::InvalidUrl { node: node(), reason: String::from("no host") }, false, false),
        (silent, true, false),
        (AddNodeError::Closed { node: node() }, false, true),
        (AddNodeError::RuntimeEnded { node: node() }, false, true),
    ];
    for (error, unavailable, closed) in no_node {
        let as_redis = RedisError::from(error.clone());
        for facts in [(facts(&error), error.is_closed()), (facts(&as_redis), as_redis.is_closed())] {
            assert_eq!(facts, ((Sent::NotSent, unavailable), closed), "{error}");
        }
        assert_eq!((as_redis.node(), as_redis.get_client_error()), (Some("redis://node"), None));
        assert_eq!(as_redis.to_string(), error.to_string());
    }
    let of_commands = [
        (CommandFailure::not_sent(None, Outage::Server, "connection lost").lost(), Sent::NotSent, true),
        (CommandFailure::not_sent(None, Outage::Ours, "closed").lost(), Sent::NotSent, false),
        (CommandFailure::unknown(None, Outage::Server, "connection lost").lost(), Sent::Unknown, true),
        (CommandFailure::unknown(None, Outage::Ours, "closed").lost(), Sent::Unknown, false),
        (CommandFailure::unknown(None, Outage::Server, "no reply").timed_out(), Sent::Unknown, true),
        (said("LOADING Redis is loading the dataset in memory"), Sent::Sent, true),
        (said("MASTERDOWN Link with MASTER is down"), Sent::Sent, true),
        (said("CLUSTERDOWN Hash slot not served"), Sent::Sent, true),
        (said("WRONGTYPE Operation against a key holding the wrong kind of value"), Sent::Sent, false),
        (said("MINE words of a script"), Sent::Sent, false),
        (redis::from_redis_value::<i64>(redis::Value::Okay).expect_err("no number").into(), Sent::Sent, false),
        (RedisError::from((ErrorKind::Client, "refused here")), Sent::NotSent, false),
        (RedisError::from((ErrorKind::InvalidClientConfig, "needs RESP3")), Sent::NotSent, false),
        (RedisError::from(io::Error::from(io::ErrorKind::BrokenPipe)), Sent::Unknown, true),
    ];
    for (error, sent, unavailable) in of_commands {
        assert_eq!(facts(&error), (sent, unavailable), "{error}");
    }
    let mismatch = || RedisError::from(redis::from_redis_value::<i64>(redis::Value::Okay).expect_err("no number"));
    let of_transactions = [
        (TransactionError::Conflict { attempts: 16 }, Sent::Sent, false),
        (TransactionError::WrongType(mismatch()), Sent::NotSent, false),
        (TransactionError::ExecutedWrongType(mismatch()), Sent::Sent, false),
        (TransactionError::Redis(said("LOADING Redis is loading the dataset in memory")), Sent::Sent, true),
    ];
    for (error, sent, unavailable) in of_transactions {
        assert_eq!(facts(&error), (sent, unavailable), "{error}");
    }
}

#[test]
fn messages_begin_with_the_cause_and_leave_out_what_is_zero() {
    assert_eq!(
        timeout(WaitPhase::LeasesHeld).to_string(),
        "all connections are on loan; no connection to redis://node in time: waited 1001 ms; pools 0"
    );
    let unowned = GetClientError::NoOwner { node: String::from("redis://cluster"), slot: 5 };
    assert_eq!(unowned.to_string(), "no node of the cluster redis://cluster owns slot 5");
}

async fn refusal(url: &str) -> AddNodeError {
    manager().add_node_pool_timeout(url, 400 * MS).await.expect_err("no server of ours")
}

/// Seen to bite: without the errors that a node keeps beside its state.
#[test]
fn a_port_that_refuses_a_silent_server_and_a_wrong_password_are_told_apart() {
    let silent = ScriptedServer::start(|mut client: Conversation| while client.hear().is_some() {});
    let strict = ScriptedServer::start(|mut client: Conversation| {
        while client.hear().is_some() && client.say("-WRONGPASS invalid username-password pair or user is disabled.\r\n") {}
    });
    let hangs_up = ScriptedServer::start(drop);
    let with_password = strict.url().replace("redis://", "redis://:hush@");
    on_tokio(async {
        let found = [
            (String::from("redis://127.0.0.1:1"), FailureKind::Refused, true, true),
            (silent.url(), FailureKind::Silent, true, false),
            (with_password, FailureKind::Authentication, false, true),
            (hangs_up.url(), FailureKind::HungUp, true, true),
        ];
        for (url, kind, retryable, has_source) in found {
            let error = refusal(&url).await;
            assert_eq!((error.kind(), error.is_retryable(), error.is_unavailable()), (kind, retryable, true), "{error}");
            let source = error.source().map(|source| source.downcast_ref::<ConnectFailure>().expect("the connector's"));
            assert_eq!(source.map(ConnectFailure::kind), has_source.then_some(kind), "{error}");
            assert!(!error.to_string().contains("hush"), "{error}");
            // The same by a get, as an error of Redis.
            let manager = manager();
            let node = manager.add_node_pool_lazy(&url).expect("a URL");
            let error = RedisError::from(node.get_client_timeout(400 * MS).await.expect_err("no server of ours"));
            assert_eq!(facts(&error), (Sent::NotSent, true), "{error}");
            assert_eq!(error.get_client_error().map(GetClientError::kind), Some(kind), "{error}");
            assert_eq!(error.node().map(|node| node.contains("hush")), Some(false), "{error}");
        }
    });
}

async fn echo(client: &mut Client) -> RedisError {
    redis::cmd("ECHO").arg("token").query_async::<String>(client).await.expect_err("it has hung up")
}

/// Seen to bite: with the code of the abort alone.
#[test]
fn a_transaction_that_a_loading_server_aborts_is_unavailable() {
    for (reason, unavailable) in [("LOADING Redis is loading", true), ("ERR wrong number of arguments", false)] {
        let server = ScriptedServer::start(move |mut client: Conversation| {
            let reply = format!("+OK\r\n-{reason}\r\n-EXECABORT Transaction discarded because of previous errors.\r\n");
            let _replied = client.log_in() && client.hear().is_some() && client.say(reply);
            while client.hear().is_some() {}
        });
        on_tokio(async {
            let (manager, url) = (manager(), server.url());
            manager.add_node_pool(&url).await.expect("it logs in");
            let mut client = manager.get_client(&url).await.expect("a client");
            let mut pipeline = redis::pipe();
            let run = pipeline.atomic().set("key", 1).query_async::<()>(&mut client).await.expect_err("it is aborted");
            assert_eq!(facts(&run), (Sent::Sent, unavailable), "{run}");
        });
    }
}

#[test]
fn one_outage_has_one_shape_whatever_the_way_in() {
    // It hangs up at the first command after the login.
    let server = ScriptedServer::start(|mut client: Conversation| {
        if client.log_in() {
            let _first = client.hear();
        }
    });
    on_tokio(async {
        let (manager, url) = (manager(), server.url());
        manager.add_node_pool(&url).await.expect("it logs in");
        let check = |error: &RedisError, sent| {
            assert_eq!(facts(error), (sent, true), "{error}");
            assert!(error.node().is_some_and(|node| url.contains(node) || node.contains(&url)), "{error}: {:?}", error.node());
        };
        let mut client = manager.get_client(&url).await.expect("a client");
        check(&echo(&mut client).await, Sent::Unknown);
        check(&echo(&mut client).await, Sent::NotSent);
        drop(client);
        let mut client = manager.get_client(&url).await.expect("a client");
        let body = async |_attempt: Attempt<'_>| Ok::<_, TransactionError>(Prepared::<()>::Execute);
        let run = client.transaction("key", body).await.expect_err("it has hung up");
        assert_eq!(facts(&run), (Sent::Unknown, true), "{run}");
        drop(client);
        let mut shared = manager.get_shared_client(&url).await.expect("a shared client");
        let error = redis::cmd("ECHO").arg("token").query_async::<String>(&mut shared).await.expect_err("it has hung up");
        check(&error, Sent::Unknown);
        drop(shared);
        let mut news = manager.get_client(&url).await.expect("a client").into_pub_sub().expect("RESP3");
        check(&news.subscribe("news").await.expect_err("it has hung up"), Sent::Unknown);
        check(&news.subscribe("news").await.expect_err("it has hung up"), Sent::NotSent);
        assert!(news.end().is_some_and(|end| end.is_unavailable()));
    });
}
