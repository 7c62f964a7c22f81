//! The ways in which a request ends, each of them once, against a scripted server.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use redis::{RedisResult, Value};
use redis_manager_core::CountKey;
use redis_manager_tests::scripted_server::{Conversation, ScriptedServer};

use crate::redis_node::metrics::{RequestCounts, RequestResult, ServerErrorCode};
use crate::tokio::TokioRuntime;
use crate::{Client, PoolArgs, RedisManager, SharedClient};

const MS: Duration = Duration::from_millis(1);

/// The key of a request says what becomes of it.
fn serve(mut conversation: Conversation) {
    while let Some(words) = conversation.hear() {
        let has_said = match words.get(1).map(String::as_str) {
            Some("wrong") => conversation.say("-WRONGTYPE not a string\r\n"),
            Some("odd") => conversation.say("-ODD my:key is odd\r\n"),
            Some("silent") => true,
            Some("die") => return,
            _ => conversation.answer(&words),
        };
        if !has_said {
            return;
        }
    }
}

fn on_tokio(story: impl Future<Output = ()>) {
    ::tokio::runtime::Builder::new_current_thread().enable_all().build().expect("tokio starts").block_on(story);
}

async fn manager_of(server: &ScriptedServer) -> RedisManager {
    let args = PoolArgs::default().command_timeout(60 * MS);
    let runtime = TokioRuntime::current().expect("within it");
    let builder = RedisManager::builder().max_pools_per_node(1).max_connection_size(2).use_time_sampling(1).pool_args(args);
    let manager = builder.build(runtime).expect("valid settings");
    manager.add_node_pool(&server.url()).await.expect("it logs in");
    manager
}

async fn get(client: &mut impl redis::aio::ConnectionLike, key: &str) -> RedisResult<Value> {
    redis::cmd("GET").arg(key).query_async(client).await
}

fn assert_ended(counts: &RequestCounts, wanted: &[(RequestResult, u64)]) {
    let ended: Vec<_> = counts.ended.iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(ended, wanted, "{counts:?}");
    assert_eq!(counts.in_flight(), 0, "{counts:?}");
    assert_eq!(counts.server_errors.total(), counts.ended.of(RequestResult::ServerError));
}

async fn lend(manager: &RedisManager, server: &ScriptedServer) -> Client {
    manager.get_client_timeout(&server.url(), 5_000 * MS).await.expect("a client")
}

/// Seen to bite: without the `Drop` of `CountedRequest`; with the check before its `begin` in `Client`; with timeouts taken for
/// unknown outcomes in `end_of_error`.
#[test]
fn a_request_of_an_exclusive_client_ends_once_however_it_ends() {
    let server = ScriptedServer::start(serve);
    on_tokio(async {
        let manager = manager_of(&server).await;
        let node = manager.node(&server.url()).expect("it was added");
        let mut client = lend(&manager, &server).await;
        get(&mut client, "a").await.expect("a reply");
        for key in ["wrong", "odd"] {
            get(&mut client, key).await.expect_err("an error of the server");
        }
        let mut pipeline = redis::pipe();
        pipeline.get("a").cmd("SUBSCRIBE").arg("channel");
        pipeline.query_async::<Value>(&mut client).await.expect_err("refused");
        drop(get(&mut client, "silent"));
        assert_eq!(node.command_metrics().exclusive.begun, 4, "it was never polled");
        assert!(pin!(get(&mut client, "silent")).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        drop(client);
        let mut client = lend(&manager, &server).await;
        get(&mut client, "silent").await.expect_err("no reply in time");
        get(&mut client, "a").await.expect_err("not sent: the one before got no reply");
        drop(client);
        let mut client = lend(&manager, &server).await;
        get(&mut client, "die").await.expect_err("lost after sending");
        get(&mut client, "a").await.expect_err("lost before sending");
        drop(client);
        let mut client = lend(&manager, &server).await;
        let blocked = ::tokio::spawn(async move {
            let mut blpop = redis::cmd("BLPOP");
            blpop.arg("silent").arg(0);
            let lost = blpop.query_async::<Value>(&mut client).await;
            (lost, blpop.query_async::<Value>(&mut client).await)
        });
        while node.command_metrics().exclusive.in_flight() == 0 {
            ::tokio::time::sleep(MS).await;
        }
        manager.close_node_pools(&server.url()).await;
        let (lost, refused) = blocked.await.expect("no panic");
        assert!(lost.is_err() && refused.is_err());
        let seen = node.command_metrics();
        let wanted = [
            (RequestResult::Ok, 1),
            (RequestResult::ServerError, 2),
            (RequestResult::TimedOut, 1),
            (RequestResult::OutcomeUnknown, 2),
            (RequestResult::NotSent, 3),
            (RequestResult::Refused, 1),
            (RequestResult::Cancelled, 1),
        ];
        assert_ended(&seen.exclusive, &wanted);
        assert_eq!((seen.exclusive.begun, seen.exclusive.commands), (11, 12), "one of them is a pipeline of two");
        let codes = seen.exclusive.server_errors;
        assert_eq!((codes.of(ServerErrorCode::WrongType), codes.of(ServerErrorCode::Other)), (1, 1));
        assert_eq!(seen.shared, RequestCounts::default());
        let timed: Vec<_> = seen.durations.iter().map(|(name, times)| (name.as_str(), times.count())).collect();
        assert_eq!(timed, [("blpop", 1), ("get", 5)], "those that were sent and waited for");
        assert!(seen.durations["get"].sum() >= 60 * MS, "{seen:?}");
        assert!(!format!("{seen:?}").contains("my:key"));
    });
}

/// Seen to bite: with `Cancelled` for an `ask` that fails before its connection; with the refusal before `ask_counted`.
#[test]
fn a_request_of_a_shared_client_ends_once_however_it_ends() {
    let server = ScriptedServer::start(serve);
    on_tokio(async {
        let manager = manager_of(&server).await;
        let node = manager.node(&server.url()).expect("it was added");
        let mut client: SharedClient = node.get_shared_client().await.expect("a client");
        get(&mut client, "a").await.expect("a reply");
        get(&mut client, "wrong").await.expect_err("an error of the server");
        redis::cmd("WATCH").arg("a").query_async::<Value>(&mut client).await.expect_err("refused");
        let mut pipeline = redis::pipe();
        pipeline.get("a").get("wrong").get("odd");
        pipeline.query_async::<Value>(&mut client).await.expect_err("two errors of the server");
        assert!(pin!(get(&mut client, "silent")).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        get(&mut client, "silent").await.expect_err("no reply in time");
        get(&mut client, "die").await.expect_err("lost after sending");
        get(&mut client, "a").await.expect("a reply, on another connection");
        let connects = node.command_metrics().connect_phases;
        manager.close_node_pools(&server.url()).await;
        get(&mut client, "a").await.expect_err("closed");
        let seen = node.command_metrics();
        let wanted = [
            (RequestResult::Ok, 2),
            (RequestResult::ServerError, 2),
            (RequestResult::TimedOut, 1),
            (RequestResult::OutcomeUnknown, 1),
            (RequestResult::NotSent, 1),
            (RequestResult::Refused, 1),
            (RequestResult::Cancelled, 1),
        ];
        assert_ended(&seen.shared, &wanted);
        assert_eq!((seen.shared.begun, seen.shared.commands), (9, 11));
        assert_eq!(seen.shared.server_errors.of(ServerErrorCode::WrongType), 2, "the first error of a pipeline counts");
        assert_eq!(seen.exclusive, RequestCounts::default());
        let timed: Vec<_> = seen.durations.iter().map(|(name, times)| (name.as_str(), times.count())).collect();
        assert_eq!(timed, [("get", 5), ("pipeline", 1)]);
        let phases: Vec<_> = connects.iter().map(|(_, times)| times.count()).collect();
        assert!(phases[3] >= 2 && phases[0] == phases[1], "{connects:?}");
    });
}

/// Seen to bite: with the phase that begins for the one that ends in `reach`; without `succeed`.
#[test]
fn each_phase_of_a_connect_is_timed_when_it_has_ended_well() {
    let server = ScriptedServer::start(|mut conversation: Conversation| {
        // The first one is closed before the login.
        if conversation.number > 0 && conversation.log_in() {
            conversation.serve();
        }
    });
    on_tokio(async {
        let runtime = TokioRuntime::current().expect("within it");
        let slow = |_| async {
            ::tokio::time::sleep(30 * MS).await;
            Ok(())
        };
        let manager = RedisManager::builder().after_connect(slow).build(runtime).expect("valid settings");
        manager.add_node_pool(&server.url()).await.expect("the second connect logs in");
        let phases = manager.command_metrics().remove(&server.url()).expect("by its URL").connect_phases;
        let counts: Vec<_> = phases.iter().map(|(phase, times)| (phase, times.count())).collect();
        assert_eq!(counts, [("resolve", 2), ("dial", 2), ("tls", 0), ("login", 1), ("after_connect", 1)]);
        assert!(phases.after_connect.sum() >= 30 * MS && phases.login.sum() < 30 * MS, "{phases:?}");
    });
}

/// Seen to bite: with a label that has a capital letter.
#[test]
fn labels_are_names_of_metrics() {
    let labels = |labels: Vec<&'static str>| {
        assert!(labels.iter().all(|label| label.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase())), "{labels:?}");
    };
    labels(RequestResult::ALL.iter().map(|kind| kind.label()).collect());
    labels(ServerErrorCode::ALL.iter().map(|kind| kind.label()).collect());
    labels(crate::RequestWay::ALL.iter().map(|kind| kind.label()).collect());
    labels(crate::PubSubEnd::ALL.iter().map(|kind| kind.label()).collect());
}
