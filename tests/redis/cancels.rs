//! Calls of shared clients that are cancelled by the hundred thousand, among others that are not.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use redis::{Cmd, RedisResult};
use redis_manager::runtime::Network;
use redis_manager::{CloseReason, SharedClient};
use redis_manager_tests::on_every_runtime;
use redis_manager_tests::redis_server::RedisServer;
use redis_manager_tests::tasks::spawn;

use crate::{assert_full_capacity, one_pool};

on_every_runtime! {
    n1_half_of_very_many_shared_calls_are_cancelled_and_no_reply_is_wrong;
}

const TASKS: usize = 64;
const LIMIT: usize = 3;

/// A million where the tests are built with optimisation.
const CALLS: usize = if cfg!(debug_assertions) { 20_000 } else { 1_000_000 };

/// Counted by all tasks together.
#[derive(Default)]
struct CancelledCallCounts {
    begun: AtomicUsize,
    cancelled: AtomicUsize,
    answered: AtomicUsize,
}

/// Guards against: a request whose caller has left and whose replies go to the next one.
async fn n1_half_of_very_many_shared_calls_are_cancelled_and_no_reply_is_wrong(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = one_pool(LIMIT).shared_connections_per_node(2).build(runtime.clone()).expect("valid settings");
    let node = manager.add_node_pool(&server.url()).await.expect("the server is up");
    let shared = node.get_shared_client().await.expect("a shared client");
    let counts = Arc::new(CancelledCallCounts::default());
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (client, counts) = (shared.clone(), Arc::clone(&counts));
            spawn(&runtime, async move { call_on(client, task, &counts).await })
        })
        .collect();
    for task in tasks {
        task.await;
    }
    let [begun, cancelled, answered] =
        [&counts.begun, &counts.cancelled, &counts.answered].map(|count| count.load(Ordering::SeqCst));
    println!("{begun} calls, {cancelled} cancelled, {answered} answered, each with its own replies");
    assert_eq!((begun, cancelled + answered), (CALLS, CALLS));
    assert!((CALLS / 2 - TASKS..=CALLS / 2 + TASKS).contains(&cancelled), "{cancelled} of {CALLS}");
    assert_eq!(node.metrics().closes.of(CloseReason::Broken), 0, "no connection is lost by it");
    drop(shared);
    assert_full_capacity(&manager, &server, LIMIT).await;
}

/// Calls until all together have made enough.
async fn call_on(mut client: SharedClient, task: usize, counts: &CancelledCallCounts) {
    let mut turn = task;
    loop {
        let number = counts.begun.fetch_add(1, Ordering::SeqCst);
        if number >= CALLS {
            counts.begun.fetch_sub(1, Ordering::SeqCst);
            return;
        }
        turn = turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let dice = turn >> 33;
        let is_behind = counts.cancelled.load(Ordering::SeqCst) * 2 <= number;
        // From before the command is written to after its reply has come.
        let polls = if is_behind { [0, 0, 0, 0, 1, 3][dice / 24 % 6] } else { usize::MAX };
        let length = if dice.is_multiple_of(97) { 20_000 } else { dice % 40 };
        let way = CallWay::ALL[dice % 4];
        let count = if way == CallWay::Alone { 1 } else { 1 + dice / 4 % 6 };
        let words: Vec<_> = (0..count).map(|part| format!("{number}-{part}-{}", "x".repeat(length))).collect();
        match within_polls(polls, call(&mut client, way, &words)).await {
            None => counts.cancelled.fetch_add(1, Ordering::SeqCst),
            Some(replies) => {
                let replies = replies.unwrap_or_else(|error| panic!("call {number}: {error}"));
                assert!(replies == words, "call {number} got {replies:?} instead of {words:?}");
                counts.answered.fetch_add(1, Ordering::SeqCst)
            }
        };
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum CallWay {
    Alone,
    Pipeline,
    Transaction,
}

impl CallWay {
    const ALL: [Self; 4] = [Self::Alone, Self::Alone, Self::Pipeline, Self::Transaction];
}

/// Has the server say these words.
async fn call(client: &mut SharedClient, way: CallWay, words: &[String]) -> RedisResult<Vec<String>> {
    let mut pipeline = redis::pipe();
    match way {
        CallWay::Alone => return Ok(vec![echo(&words[0]).query_async(client).await?]),
        CallWay::Pipeline => {}
        CallWay::Transaction => {
            pipeline.atomic();
        }
    }
    words.iter().for_each(|word| {
        pipeline.add_command(echo(word));
    });
    pipeline.query_async(client).await
}

fn echo(word: &str) -> Cmd {
    redis::cmd("ECHO").arg(word).to_owned()
}

/// Polls a future at most so often, while others run in between, and drops it then.
async fn within_polls<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let (mut future, mut left) = (pin!(future), polls);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending if polls == usize::MAX => Poll::Pending,
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await
}
