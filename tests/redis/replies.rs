//! Each request gets its own replies, as many as it was promised, or is refused before anything is sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redis::aio::ConnectionLike;
use redis::{Cmd, ErrorKind, Pipeline, RedisResult, Value};
use redis_manager::runtime::Network;
use redis_manager_tests::on_every_runtime;
use redis_manager_tests::redis_server::RedisServer;
use redis_manager_tests::tasks::{spawn, within};

use crate::{MS, assert_full_capacity, manager_of};

on_every_runtime! {
    l10_a_count_that_is_not_that_of_the_replies_is_refused_and_others_get_their_own;
    l10_what_has_other_replies_than_it_was_promised_is_refused_and_not_sent;
    l10_what_comes_after_monitor_or_a_subscription_is_no_reply;
}

fn cmd(words: &str) -> Cmd {
    let mut cmd = Cmd::new();
    cmd.arg(words.split(' ').collect::<Vec<_>>());
    cmd
}

fn echoes(count: usize) -> Pipeline {
    let mut pipeline = Pipeline::new();
    (0..count).for_each(|n| {
        pipeline.cmd("ECHO").arg(format!("stale-{n}"));
    });
    pipeline
}

async fn echo(client: &mut impl ConnectionLike, token: &str) -> RedisResult<String> {
    redis::cmd("ECHO").arg(token).query_async(client).await
}

/// Guards against: without the check, most replies are those to others.
async fn l10_a_count_that_is_not_that_of_the_replies_is_refused_and_others_get_their_own(runtime: impl Network + Clone) {
    const COUNTS: [(usize, usize); 7] = [(3, 0), (0, 0), (0, 1), (1, 3), (0, 4), (2, 1), (usize::MAX, 3)];
    let server = RedisServer::start();
    let manager = manager_of(&server, 2, runtime.clone()).await;
    let shared = manager.get_shared_client(&server.url()).await.expect("a shared client");
    let refused = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..24)
        .map(|task| {
            let (mut client, refused) = (shared.clone(), Arc::clone(&refused));
            spawn(&runtime, async move {
                for round in 0..50 {
                    if task % 4 == 0 {
                        for (offset, count) in COUNTS {
                            let answer = client.req_packed_commands(&echoes(3), offset, count).await;
                            assert_eq!(answer.expect_err("they do not add up").kind(), ErrorKind::Client);
                            refused.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                    let token = format!("{task}-{round}");
                    assert_eq!(echo(&mut client, &token).await.expect("ECHO"), token);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await;
    }
    assert_eq!(refused.load(Ordering::SeqCst), 6 * 50 * 7);
    drop(shared);

    let mut client = manager.get_client(&server.url()).await.expect("a client");
    for (offset, count) in COUNTS {
        let answer = client.req_packed_commands(&echoes(3), offset, count).await;
        assert_eq!(answer.expect_err("they do not add up").kind(), ErrorKind::Client);
        assert_eq!(echo(&mut client, "mine").await.expect("ECHO"), "mine");
    }
    let mut atomic = echoes(3);
    atomic.atomic();
    assert!(client.req_packed_commands(&atomic, 0, 5).await.is_err());
    assert_eq!(client.req_packed_commands(&atomic, 4, 1).await.expect("the answer to EXEC").len(), 1);
    drop(client);
    assert_full_capacity(&manager, &server, 2).await;
}

async fn l10_what_has_other_replies_than_it_was_promised_is_refused_and_not_sent(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 2, runtime).await;
    let mut client = manager.get_client(&server.url()).await.expect("a client");
    let mut shared = manager.get_shared_client(&server.url()).await.expect("a shared client");
    let mut silent = cmd("SET sent 1");
    silent.set_no_response(true);
    let inside = [
        Cmd::new(),
        silent,
        cmd("SUBSCRIBE a"),
        cmd("SUBSCRIBE a b"),
        cmd("UNSUBSCRIBE"),
        cmd("MONITOR"),
        cmd("CLIENT REPLY OFF"),
        cmd("CLIENT REPLY SKIP"),
        cmd("REPLCONF ACK 1"),
    ];
    let mut pipelines = vec![Pipeline::new()];
    for atomic in [false, true] {
        let more = [cmd("MULTI"), cmd("EXEC"), cmd("DISCARD"), cmd("RESET")];
        for cmd in inside.iter().chain(more.iter().filter(|_| atomic)) {
            let mut pipeline = Pipeline::new();
            pipeline.cmd("SET").arg("sent").arg(1).add_command(cmd.clone()).cmd("ECHO").arg("stale");
            if atomic {
                pipeline.atomic();
            }
            pipelines.push(pipeline);
        }
    }
    for pipeline in &pipelines {
        let error = pipeline.query_async::<Value>(&mut client).await.expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Client, "{error}");
        assert_eq!(echo(&mut client, "mine").await.expect("ECHO"), "mine");
        let error = pipeline.query_async::<Value>(&mut shared).await.expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Client, "{error}");
        assert_eq!(echo(&mut shared, "ours").await.expect("ECHO"), "ours");
    }
    for words in ["SUBSCRIBE a b", "PSUBSCRIBE a b c", "UNSUBSCRIBE", "CLIENT REPLY OFF", "CLIENT REPLY SKIP"] {
        let error = cmd(words).query_async::<Value>(&mut client).await.expect_err(words);
        assert_eq!(error.kind(), ErrorKind::Client, "{words}: {error}");
        assert_eq!(error.detail(), words.split(' ').next(), "{error}");
        assert_eq!(echo(&mut client, "mine").await.expect("ECHO"), "mine");
    }
    // A transaction within one that is open: MULTI would be refused, and EXEC end the other.
    cmd("MULTI").exec_async(&mut client).await.expect("MULTI");
    let mut pipeline = Pipeline::new();
    let error = pipeline.atomic().cmd("SET").arg("sent").arg(1).exec_async(&mut client).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Client, "{error}");
    cmd("DISCARD").exec_async(&mut client).await.expect("DISCARD");
    // One without commands is a transaction all the same.
    let nothing: Vec<Value> = Pipeline::new().atomic().query_async(&mut client).await.expect("an empty transaction");
    assert!(nothing.is_empty());
    assert_eq!(server.command(&["EXISTS", "sent"]), "0");
    drop((client, shared));
    assert_full_capacity(&manager, &server, 2).await;
}

/// Guards against: when ECHO is sent all the same, its answer is a line of MONITOR, and a message.
async fn l10_what_comes_after_monitor_or_a_subscription_is_no_reply(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 1, runtime.clone()).await;
    let resp2 = format!("{}?protocol=resp2", server.url());
    manager.add_node_pool(&resp2).await.expect("the server is up");
    for (url, words) in [(server.url(), "MONITOR"), (resp2.clone(), "MONITOR"), (resp2, "SUBSCRIBE channel")] {
        let mut client = manager.get_client(&url).await.expect("a client");
        cmd(words).exec_async(&mut client).await.expect(words);
        for _ in 0..20 {
            server.command(&["PUBLISH", "channel", "message"]);
            let error = within(&runtime, 100 * MS, echo(&mut client, "mine")).await.expect("at once").expect_err("refused");
            assert_eq!(error.kind(), ErrorKind::Client, "{words}: {error}");
        }
        drop(client);
        let mut next = manager.get_client(&url).await.expect("a client");
        assert_eq!(echo(&mut next, "mine").await.expect("ECHO"), "mine", "after {words}");
    }
}
