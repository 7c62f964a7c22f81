//! The end of a service with a listener, a worker and idle clients.

use std::convert::Infallible;

use redis_manager::redis::{AsyncCommands, RedisResult};
use redis_manager::{NodeHandle, PubSubEnd, RedisErrorExt};

use crate::story::{MS, SECOND, SEEDS, Story};

/// Until an error ends it.
async fn work(node: NodeHandle) -> RedisResult<Infallible> {
    loop {
        let mut client = node.get_client().await?;
        let _: Option<(String, u64)> = client.blpop("queue", 0.0).await?;
    }
}

/// Guards against: a close that waits its whole 10 s for a listener in `next_message`, a loop in BLPOP and a client in a variable
/// whose holder waits for `closed()`.
#[test]
fn e4_a_close_ends_a_listener_a_worker_and_an_idle_client_at_once() {
    for seed in SEEDS {
        let story = Story::begin_with(seed, "", |builder| builder.max_connection_size(4));
        let mut news = story.client().into_pub_sub().expect("RESP3");
        story.runtime.block_on(news.subscribe("news")).expect("it answers");
        let listener = story.spawn(async move {
            let mut messages = 0;
            while news.next_message().await.is_some() {
                messages += 1;
            }
            (messages, news.end())
        });
        let node = story.node.clone();
        let worker = story.spawn(work(node));
        let (idle, closed) = (story.client(), story.manager.closed());
        let holder = story.spawn(async move {
            closed.await;
            drop(idle);
        });
        let mut publisher = story.shared_client();
        story.runtime.advance(10 * MS);
        assert_eq!(story.redis.connections().iter().filter(|connection| connection.blocked).count(), 1, "seed {seed}");
        let _: usize = story.runtime.block_on(publisher.publish("news", 1)).expect("it answers");
        let _: usize = story.runtime.block_on(publisher.rpush("queue", 1)).expect("it answers");
        story.runtime.advance(10 * MS);
        drop(publisher);

        let ((), took) = story.timed(story.manager.close_all_pools());
        assert!(took <= 50 * MS, "seed {seed}: {took:?}");
        story.runtime.advance(MS);
        let (heard, _) = listener.take().unwrap_or_else(|| panic!("seed {seed}: the listener listens on"));
        assert_eq!(heard, (1, Some(PubSubEnd::Closed)), "seed {seed}: why is told");
        let (worked, _) = worker.take().unwrap_or_else(|| panic!("seed {seed}: the worker waits on"));
        let told = worked.expect_err("closed");
        assert!(told.is_closed() && !told.is_unavailable(), "seed {seed}: {told}");
        assert!(holder.take().is_some(), "seed {seed}: whoever waits for the close is told");
        story.runtime.advance(MS);
        assert_eq!(story.redis.connections(), [], "seed {seed}");
        // What is pushed afterwards is popped for nobody.
        assert_eq!(story.redis.count_of("BLPOP"), 1, "seed {seed}");
    }
}

/// Guards against: subscriptions whose end says nothing, so that a lost connection and a close are the same.
#[test]
fn e4_a_subscription_that_is_lost_says_another_reason_than_one_that_is_closed() {
    for seed in SEEDS {
        let story = Story::begin(seed);
        let mut news = story.client().into_pub_sub().expect("RESP3");
        story.runtime.block_on(news.subscribe("news")).expect("it answers");
        assert_eq!(news.end(), None, "seed {seed}");
        story.redis.kill();
        assert!(story.runtime.block_on(news.next_message()).is_none(), "seed {seed}");
        assert_eq!(news.end(), Some(PubSubEnd::ConnectionLost), "seed {seed}");
    }
}

/// Guards against: a close that ends what is in use before its deadline.
#[test]
fn e1_a_client_in_use_is_waited_for_until_the_deadline() {
    for seed in SEEDS {
        let story = Story::begin(seed);
        let mut held = story.client();
        let manager = story.manager.clone();
        let closing = story.spawn(async move { manager.close_all_pools_timeout(3 * SECOND).await });
        let begun_at = story.runtime.now();
        story.runtime.advance(SECOND);
        let echo: usize = story.ask(&mut held, "ECHO 1").expect("it is still in use");
        assert_eq!(echo, 1, "seed {seed}");
        assert!(closing.take().is_none(), "seed {seed}: it waits");
        story.runtime.advance(5 * SECOND);
        let ((), ended_at) = closing.take().expect("its deadline has passed");
        assert_eq!(ended_at.saturating_duration_since(begun_at), 3 * SECOND, "seed {seed}");
        let told = story.ask::<usize>(&mut held, "ECHO 2").expect_err("it was forced");
        assert!(told.is_closed(), "seed {seed}: {told}");
    }
}
