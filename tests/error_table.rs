//! The table of `RedisErrorExt`, row by row, under the fake clock: each error is provoked, by every kind of call that can get it.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use redis_manager::redis::{AsyncCommands, RedisError};
use redis_manager::testing::{Cut, FakeNetwork, FakeRedis, FakeRuntime};
use redis_manager::{
    AddNodeError, Client, GetClientError, NodeHandle, PoolArgs, Prepared, RedisErrorExt, RedisManager, RedisManagerBuilder, Sent,
    TransactionError,
};

const MS: Duration = Duration::from_millis(1);

/// A manager with one node and at most one connection, unless a test wants others.
struct Stage {
    runtime: FakeRuntime,
    redis: FakeRedis,
    manager: RedisManager,
    node: NodeHandle,
}

impl Stage {
    fn new() -> Self {
        Self::with(|builder| builder)
    }

    fn with(change: impl FnOnce(RedisManagerBuilder) -> RedisManagerBuilder) -> Self {
        let runtime = FakeRuntime::new(11);
        let network = FakeNetwork::new(&runtime);
        let redis = FakeRedis::start(&network, "redis.test").expect("a free address");
        let args = PoolArgs::default().command_timeout(300 * MS);
        let builder =
            RedisManager::builder().max_pools_per_node(1).max_connection_size(1).default_timeout(500 * MS).pool_args(args);
        let manager = change(builder).build(network).expect("valid settings");
        let node = runtime.block_on(manager.add_node_pool("redis://redis.test")).expect("it answers");
        Self { runtime, redis, manager, node }
    }

    fn client(&self) -> Client {
        self.runtime.block_on(self.node.get_client()).expect("it answers")
    }

    /// The error of a GET on a lease.
    fn get(&self, client: &mut Client) -> RedisError {
        self.runtime.block_on(client.get::<_, Option<String>>("key")).expect_err("it fails")
    }

    fn shared_get(&self) -> RedisError {
        self.runtime
            .block_on(async {
                let mut client = self.node.get_shared_client().await?;
                client.get::<_, Option<String>>("key").await
            })
            .expect_err("it fails")
    }
}

/// Whether the command was sent, and whether the server is the cause.
#[track_caller]
fn expect(error: &impl RedisErrorExt, sent: Sent, is_unavailable: bool, text: &str) {
    assert_eq!((error.was_sent(), error.is_unavailable()), (sent, is_unavailable), "{text}");
}

fn start<F: Future>(runtime: &FakeRuntime, future: std::pin::Pin<&mut F>) {
    let mut future = future;
    let is_pending = runtime.block_on(poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())));
    assert!(is_pending, "it waits");
}

/// Seen to bite: with `Outage::Ours` for a node that is down.
#[test]
fn a_node_that_is_down_has_sent_nothing_and_is_unavailable() {
    let stage = Stage::new();
    stage.redis.kill();
    stage.runtime.advance(MS);
    let error = stage.runtime.block_on(stage.node.get_client()).expect_err("down");
    assert!(matches!(error, GetClientError::NoHealthyPools { .. }), "{error}");
    expect(&error, Sent::NotSent, true, "get_client");
    expect(&RedisError::from(error), Sent::NotSent, true, "get_client with ?");
    let error = stage.shared_get();
    expect(&error, Sent::NotSent, true, "a shared command");
    assert!(matches!(error.get_client_error(), Some(GetClientError::NoHealthyPools { .. })), "{error}");
    let error = stage.runtime.block_on(stage.manager.add_node_pool_timeout("redis://10.9.9.9", 100 * MS)).expect_err("refused");
    assert!(matches!(error, AddNodeError::NoHealthyPools { .. }), "{error}");
    expect(&error, Sent::NotSent, true, "add_node_pool");
    let error = stage.runtime.block_on(stage.manager.add_node_pool("redis://redis.test:notaport")).expect_err("no URL");
    assert!(matches!(error, AddNodeError::InvalidUrl { .. }), "{error}");
    expect(&error, Sent::NotSent, false, "add_node_pool with a wrong URL");
}

#[test]
fn a_wait_for_others_has_sent_nothing_and_is_no_outage() {
    let stage = Stage::with(|builder| builder.max_waiters(1));
    let held = stage.client();
    let error = stage.runtime.block_on(stage.node.get_client()).expect_err("on loan");
    assert!(matches!(error, GetClientError::Timeout { .. }), "{error}");
    expect(&error, Sent::NotSent, false, "all on loan");
    let mut waiting = pin!(stage.node.get_client());
    start(&stage.runtime, waiting.as_mut());
    let error = stage.runtime.block_on(stage.node.get_client()).expect_err("the queue is full");
    assert!(matches!(error, GetClientError::Saturated { .. }), "{error}");
    expect(&error, Sent::NotSent, false, "the queue is full");
    let error = stage.runtime.block_on(stage.manager.get_client("redis://never.added")).expect_err("unknown");
    assert!(matches!(error, GetClientError::UnknownNode { .. }), "{error}");
    expect(&error, Sent::NotSent, false, "unknown node");
    drop(held);
}

#[test]
fn dials_that_fail_while_a_connection_lives_are_an_outage() {
    let stage = Stage::with(|builder| builder.max_connection_size(2).min_idle(0));
    let held = stage.client();
    stage.redis.host().refuse();
    let error = stage.runtime.block_on(stage.node.get_client()).expect_err("refused");
    expect(&error, Sent::NotSent, true, &error.to_string());
    drop(held);
}

#[test]
fn a_connection_that_is_lost_before_or_after_the_command() {
    let stage = Stage::new();
    let mut client = stage.client();
    stage.redis.host().cut(Cut::End);
    stage.runtime.advance(MS);
    let error = stage.get(&mut client);
    expect(&error, Sent::NotSent, true, &error.to_string());
    assert!(error.to_string().contains("not sent: connection lost"), "{error}");
    drop(client);
    let mut client = stage.client();
    stage.redis.set_delay(100 * MS);
    let mut sending = pin!(client.get::<_, Option<String>>("key"));
    start(&stage.runtime, sending.as_mut());
    stage.runtime.advance(10 * MS);
    stage.redis.kill();
    let error = stage.runtime.block_on(sending).expect_err("lost");
    expect(&error, Sent::Unknown, true, &error.to_string());
    assert!(error.to_string().contains("connection lost, outcome unknown"), "{error}");
}

#[test]
fn no_reply_in_time_is_an_unknown_outcome() {
    let stage = Stage::new();
    stage.redis.freeze();
    let mut client = stage.client();
    let asked_at = stage.runtime.now();
    let error = stage.get(&mut client);
    expect(&error, Sent::Unknown, true, &error.to_string());
    assert!(error.to_string().contains("no reply within 300 ms, outcome unknown"), "{error}");
    assert_eq!(stage.runtime.now(), asked_at + 300 * MS);
}

#[test]
fn pools_that_were_closed_and_a_runtime_that_has_ended_are_no_outage() {
    let stage = Stage::new();
    let mut client = stage.client();
    stage.runtime.block_on(stage.manager.close_all_pools());
    let error = stage.get(&mut client);
    expect(&error, Sent::NotSent, false, &error.to_string());
    assert!(error.is_closed(), "{error}");
    let error = stage.runtime.block_on(stage.node.get_client()).expect_err("closed");
    expect(&error, Sent::NotSent, false, "closed");
    assert!(error.is_closed(), "{error}");
    let stage = Stage::new();
    stage.runtime.shut_down();
    let error = stage.runtime.block_on(stage.node.get_client()).expect_err("ended");
    assert!(matches!(error, GetClientError::RuntimeEnded { .. }), "{error}");
    expect(&error, Sent::NotSent, false, "ended");
}

#[test]
fn what_the_server_answers_was_sent() {
    let stage = Stage::new();
    let rows: [(&str, bool); 6] = [
        ("LOADING Redis is loading the dataset in memory", true),
        ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", true),
        ("CLUSTERDOWN Hash slot not served", true),
        ("NOPERM this user has no permissions to run the 'get' command", false),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", false),
        ("MINE words of a script", false),
    ];
    for (words, is_unavailable) in rows {
        let mut client = stage.client();
        stage.redis.set(|behaviour| behaviour.wrong_reply(format!("-{words}\r\n")));
        let error = stage.get(&mut client);
        expect(&error, Sent::Sent, is_unavailable, words);
        drop(client);
        stage.runtime.advance(100 * MS);
    }
    let mut client = stage.client();
    let () = stage.runtime.block_on(client.set("key", "no number")).expect("SET");
    let error = stage.runtime.block_on(client.get::<_, u64>("key")).expect_err("no number");
    expect(&error, Sent::Sent, false, "a reply of another type");
}

#[test]
fn what_is_refused_here_is_not_sent() {
    let stage = Stage::new();
    let mut shared = stage.runtime.block_on(stage.node.get_shared_client()).expect("it answers");
    let error = stage.runtime.block_on(shared.blpop::<_, Option<(String, String)>>("queue", 0.0)).expect_err("it blocks");
    expect(&error, Sent::NotSent, false, &error.to_string());
    assert_eq!(stage.redis.count_of("BLPOP"), 0);
}

#[test]
fn a_transaction_says_the_same() {
    let stage = Stage::with(|builder| builder.max_connection_size(2));
    let mut client = stage.client();
    let other = stage.node.clone();
    let result: Result<(u64,), TransactionError> = stage.runtime.block_on(client.transaction("key", async |mut attempt| {
        let _: Option<u64> = attempt.client().get("key").await?;
        let () = other.get_client().await.map_err(RedisError::from)?.incr("key", 1).await?;
        attempt.pipeline().incr("key", 1);
        Ok::<_, TransactionError>(Prepared::Execute)
    }));
    let error = result.expect_err("somebody else always comes first");
    assert!(matches!(error, TransactionError::Conflict { .. }), "{error}");
    expect(&error, Sent::Sent, false, "a conflict");
    let result: Result<(Vec<u64>,), TransactionError> = stage.runtime.block_on(client.transaction("key", async |mut attempt| {
        attempt.pipeline().set("key", "text").get("key");
        Ok::<_, TransactionError>(Prepared::Execute)
    }));
    let error = result.expect_err("two replies, one place");
    expect(&error, Sent::NotSent, false, &error.to_string());
    stage.redis.kill();
    stage.runtime.advance(MS);
    let result: Result<(u64,), TransactionError> = stage.runtime.block_on(client.transaction("key", async |mut attempt| {
        attempt.pipeline().incr("key", 1);
        Ok::<_, TransactionError>(Prepared::Execute)
    }));
    let error = result.expect_err("the connection is lost");
    expect(&error, Sent::NotSent, true, &error.to_string());
}
