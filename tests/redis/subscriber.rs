//! Subscribers of real servers: what is subscribed to, read, refused and ended. Their faults are in `subscriber_faults`.

use std::collections::BTreeSet;

use redis_manager::pub_sub::{Event, SubscribeError, SubscriberEnd, Topic, TopicFilter, TopicKind};
use redis_manager::runtime::Network;
use redis_manager::{Overflow, Subscriber, SubscriberOptions};
use redis_manager_tests::on_every_runtime;
use redis_manager_tests::redis_server::RedisServer;
use redis_manager_tests::tasks::{until, within};

use crate::{MS, SLACK, assert_full_capacity, manager_of, one_pool, status};

on_every_runtime! {
    p3_a_slow_reader_is_told_what_was_dropped_and_holds_up_no_other;
    p3_a_reader_that_stops_reading_misses_nothing;
    p3_a_reader_that_is_to_end_ends_alone;
    p5_the_close_of_the_pools_ends_a_subscriber_and_says_why;
    all_kinds_are_subscribed_to_and_ended_over_both_protocols;
    a_channel_that_the_acl_forbids_is_named_and_the_others_go_on;
    ten_thousand_channels_are_subscribed_to_in_one_call;
    receivers_get_what_their_filters_let_through;
    the_last_handle_ends_the_subscriptions_and_gives_the_connection_up;
}

pub(crate) fn quick() -> SubscriberOptions {
    SubscriberOptions::default().ping_interval(100 * MS)
}

pub(crate) async fn next(subscriber: &mut Subscriber, runtime: &impl Network) -> Event {
    within(runtime, 10_000 * MS, subscriber.next()).await.expect("an event within 10 s").expect("it has not ended")
}

/// The text of the next message; other events than messages are passed over.
pub(crate) async fn next_text(subscriber: &mut Subscriber, runtime: &impl Network) -> String {
    loop {
        if let Event::Message { payload, .. } = next(subscriber, runtime).await {
            return String::from_utf8(payload).expect("text");
        }
    }
}

async fn p3_a_slow_reader_is_told_what_was_dropped_and_holds_up_no_other(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 2, runtime.clone()).await;
    let options = SubscriberOptions::default().buffer_messages(100).overflow(Overflow::DropOldest);
    let mut slow = manager.subscriber_with(&server.url(), options).expect("valid settings");
    let mut quick = slow.receiver(TopicFilter::all());
    slow.subscribe(["flood"]).await.expect("confirmed");
    let mut count = 0;
    for number in 0..1_000 {
        server.command(&["PUBLISH", "flood", &number.to_string()]);
        while count <= number {
            match within(&runtime, 10_000 * MS, quick.next()).await.expect("in time").expect("no end") {
                Event::Message { payload, .. } => {
                    assert_eq!(payload, count.to_string().as_bytes());
                    count += 1;
                }
                Event::Subscribed { .. } => {}
                other @ (Event::Unsubscribed { .. } | Event::Gap { .. } | _) => panic!("{other:?}"),
            }
        }
    }
    let first = next(&mut slow, &runtime).await;
    assert!(
        matches!(&first, Event::Gap { reason: redis_manager::pub_sub::GapReason::Dropped { messages: 900 }, .. }),
        "{first:?}"
    );
    for number in 900..1_000 {
        assert_eq!(next_text(&mut slow, &runtime).await, number.to_string());
    }
    let node = manager.node(&server.url()).expect("it is there");
    until(&runtime, "all is counted", || {
        let counts = node.command_metrics().subscriptions;
        (counts.messages, counts.dropped_messages, counts.gaps) == (1_000, 900, 0)
    })
    .await;
}

async fn p3_a_reader_that_stops_reading_misses_nothing(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 2, runtime.clone()).await;
    let options = quick().buffer_messages(50);
    let mut subscriber = manager.subscriber_with(&server.url(), options).expect("valid settings");
    subscriber.subscribe(["flood"]).await.expect("confirmed");
    let filler = "x".repeat(1_000);
    for number in 0..5_000 {
        server.command(&["PUBLISH", "flood", &format!("{number}-{filler}")]);
    }
    // Longer than a PING may take.
    runtime.sleep(1_500 * MS).await;
    for number in 0..5_000 {
        let event = next(&mut subscriber, &runtime).await;
        match event {
            Event::Subscribed { .. } if number == 0 => {
                let text = next_text(&mut subscriber, &runtime).await;
                assert!(text.starts_with("0-"), "{text}");
            }
            Event::Message { payload, .. } => assert!(payload.starts_with(format!("{number}-").as_bytes())),
            other @ (Event::Subscribed { .. } | Event::Unsubscribed { .. } | Event::Gap { .. } | _) => panic!("{other:?}"),
        }
    }
}

async fn p3_a_reader_that_is_to_end_ends_alone(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 2, runtime.clone()).await;
    let options = SubscriberOptions::default().buffer_messages(10).overflow(Overflow::End);
    let mut subscriber = manager.subscriber_with(&server.url(), options).expect("valid settings");
    let mut slow = subscriber.receiver(TopicFilter::none().channel("flood"));
    subscriber.subscribe(["flood"]).await.expect("confirmed");
    for number in 0..20 {
        server.command(&["PUBLISH", "flood", &number.to_string()]);
        assert_eq!(next_text(&mut subscriber, &runtime).await, number.to_string());
    }
    assert_eq!((slow.end(), subscriber.end()), (Some(SubscriberEnd::Overflow), None));
    let mut count = 0;
    while let Some(_event) = slow.next().await {
        count += 1;
    }
    assert_eq!(count, 10);
}

async fn p5_the_close_of_the_pools_ends_a_subscriber_and_says_why(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 2, runtime.clone()).await;
    let mut subscriber = manager.subscriber(&server.url()).expect("the node is there");
    let idle = manager.subscriber(&server.url()).expect("the node is there");
    subscriber.subscribe(["news"]).await.expect("confirmed");
    server.command(&["PUBLISH", "news", "last"]);
    assert_eq!(next_text(&mut subscriber, &runtime).await, "last");
    let begun_at = runtime.now();
    manager.close_all_pools().await;
    assert_eq!(within(&runtime, SLACK, subscriber.next()).await, Some(None), "it ends at once");
    assert!(runtime.now().saturating_duration_since(begun_at) < SLACK);
    assert_eq!(subscriber.end(), Some(SubscriberEnd::Closed));
    until(&runtime, "one without a subscription ends, too", || idle.end() == Some(SubscriberEnd::Closed)).await;
    let refused = subscriber.subscribe(["more"]).await;
    assert_eq!(refused, Err(SubscribeError::Ended(SubscriberEnd::Closed)));
    assert!(manager.subscriber(&server.url()).is_err());
    until(&runtime, "the server has noticed the end of each connection", || server.client_count() == 0).await;
}

async fn all_kinds_are_subscribed_to_and_ended_over_both_protocols(runtime: impl Network + Clone) {
    for protocol in ["resp3", "resp2"] {
        let server = RedisServer::start();
        let url = format!("{}?protocol={protocol}", server.url());
        let manager = one_pool(1).build(runtime.clone()).expect("valid settings");
        manager.add_node_pool(&url).await.expect("the server is up");
        let mut subscriber = manager.subscriber_with(&url, quick()).expect("valid settings");
        // A PING before anything is subscribed to.
        runtime.sleep(150 * MS).await;
        subscriber.subscribe(["a", "b"]).await.expect("confirmed");
        subscriber.psubscribe(["p*"]).await.expect("confirmed");
        let has_sharded = !server.command(&["PUBSUB", "SHARDNUMSUB"]).starts_with('-');
        if has_sharded {
            subscriber.ssubscribe(["s"]).await.expect("confirmed");
            server.command(&["SPUBLISH", "s", "0"]);
            assert_eq!(next_text(&mut subscriber, &runtime).await, "0");
        }
        // PINGs while something is subscribed to.
        runtime.sleep(350 * MS).await;
        server.command(&["PUBLISH", "a", "1"]);
        server.command(&["PUBLISH", "p1", "2"]);
        assert_eq!(next_text(&mut subscriber, &runtime).await, "1");
        assert_eq!(next_text(&mut subscriber, &runtime).await, "2");
        subscriber.unsubscribe(["a"]).await.expect("confirmed");
        subscriber.unsubscribe(["never"]).await.expect("there is nothing to be ended");
        server.command(&["PUBLISH", "a", "3"]);
        server.command(&["PUBLISH", "b", "4"]);
        assert_eq!(next_text(&mut subscriber, &runtime).await, "4");
        let all: [&str; 0] = [];
        subscriber.unsubscribe(all).await.expect("confirmed");
        subscriber.punsubscribe(all).await.expect("confirmed");
        subscriber.sunsubscribe(all).await.expect("confirmed");
        assert_eq!(server.command(&["PUBSUB", "NUMPAT"]), "0");
        assert_eq!(server.command(&["PUBLISH", "b", "5"]), "0");
        let topics: Vec<String> = std::iter::from_fn(|| match within_now(&mut subscriber) {
            Some(Event::Unsubscribed { topic, refused: None }) => Some(topic.to_string()),
            Some(other) => panic!("{other:?}"),
            None => None,
        })
        .collect();
        assert_eq!(topics[..2], ["channel \"b\"", "pattern \"p*\""]);
        // The PING of a connection that has left the mode of subscriptions.
        runtime.sleep(350 * MS).await;
        subscriber.subscribe(["again"]).await.expect("confirmed");
        server.command(&["PUBLISH", "again", "6"]);
        assert_eq!(next_text(&mut subscriber, &runtime).await, "6");
        let counts = manager.node(&url).expect("it is there").command_metrics().subscriptions;
        assert_eq!((counts.gaps, counts.begun, counts.open()), (0, 1, 1), "{protocol}");
    }
}

/// What is there now.
fn within_now(subscriber: &mut Subscriber) -> Option<Event> {
    let mut next = std::pin::pin!(subscriber.next());
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match next.as_mut().poll(&mut cx) {
        std::task::Poll::Ready(event) => event,
        std::task::Poll::Pending => None,
    }
}

async fn a_channel_that_the_acl_forbids_is_named_and_the_others_go_on(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    server.command(&["ACL", "SETUSER", "reader", "on", ">hunter2hunter2", "~*", "+@all", "resetchannels", "&news.*"]);
    let url = server.url().replace("redis://", "redis://reader:hunter2hunter2@");
    let manager = one_pool(2).build(runtime.clone()).expect("valid settings");
    manager.add_node_pool(&url).await.expect("the server is up");
    let mut subscriber = manager.subscriber(&url).expect("the node is there");
    let error = subscriber.subscribe(["news.a", "secret", "news.b", "news.c"]).await.expect_err("one is forbidden");
    let SubscribeError::Refused { topics } = &error else { panic!("{error:?}") };
    assert_eq!(topics.len(), 1, "{error}");
    assert_eq!(topics[0].0, Topic::new(TopicKind::Channel, "secret"));
    assert!(topics[0].1.starts_with("NOPERM") && error.to_string().contains("\"secret\""), "{error}");
    server.command(&["PUBLISH", "news.c", "1"]);
    assert_eq!(next_text(&mut subscriber, &runtime).await, "1");
    // Not any more, after an outage.
    server.command(&["ACL", "SETUSER", "reader", "resetchannels", "&news.c"]);
    server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    let mut ended = BTreeSet::new();
    while ended.len() < 2 {
        match next(&mut subscriber, &runtime).await {
            Event::Unsubscribed { topic, refused: Some(words) } => {
                assert!(words.starts_with("NOPERM") && !words.contains("hunter2"), "{words}");
                ended.insert(topic.to_string());
            }
            Event::Gap { .. } | Event::Subscribed { .. } => {}
            other @ (Event::Message { .. } | Event::Unsubscribed { .. } | _) => panic!("{other:?}"),
        }
    }
    assert_eq!(ended.into_iter().collect::<Vec<_>>(), ["channel \"news.a\"", "channel \"news.b\""]);
    until(&runtime, "the third is back", || server.command(&["PUBLISH", "news.c", "2"]) == "1").await;
    assert_eq!(next_text(&mut subscriber, &runtime).await, "2");
}

async fn ten_thousand_channels_are_subscribed_to_in_one_call(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 2, runtime.clone()).await;
    let options = SubscriberOptions::default().buffer_messages(20_000);
    let mut subscriber = manager.subscriber_with(&server.url(), options).expect("valid settings");
    subscriber.subscribe((0..10_000).map(|number| format!("channel-{number}"))).await.expect("confirmed");
    for number in [0, 5_000, 9_999] {
        assert_eq!(server.command(&["PUBLISH", &format!("channel-{number}"), "1"]), "1");
        assert_eq!(next_text(&mut subscriber, &runtime).await, "1");
    }
    let none: [&str; 0] = [];
    subscriber.unsubscribe(none).await.expect("confirmed");
    assert_eq!(server.command(&["PUBLISH", "channel-7", "1"]), "0");
}

async fn receivers_get_what_their_filters_let_through(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 2, runtime.clone()).await;
    let subscriber = manager.subscriber(&server.url()).expect("the node is there");
    subscriber.only_receivers();
    let mut one = subscriber.receiver(TopicFilter::none().channel("one"));
    let mut both = subscriber.receiver(TopicFilter::none().channel("one").pattern("t*"));
    subscriber.subscribe(["one", "three"]).await.expect("confirmed");
    subscriber.psubscribe(["t*"]).await.expect("confirmed");
    for channel in ["one", "two", "three", "one"] {
        server.command(&["PUBLISH", channel, channel]);
    }
    let texts = async |receiver: &mut redis_manager::pub_sub::SubscriberReceiver, count: usize| {
        let mut texts = Vec::new();
        while texts.len() < count {
            let event = within(&runtime, 10_000 * MS, receiver.next()).await.expect("in time").expect("no end");
            if let Event::Message { channel, .. } = event {
                texts.push(String::from_utf8(channel).expect("text"));
            }
        }
        texts
    };
    assert_eq!(texts(&mut one, 2).await, ["one", "one"]);
    assert_eq!(texts(&mut both, 4).await, ["one", "two", "three", "one"]);
    assert_eq!(subscriber.end(), Some(SubscriberEnd::SwitchedOff));
}

async fn the_last_handle_ends_the_subscriptions_and_gives_the_connection_up(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 2, runtime.clone()).await;
    let subscriber = manager.subscriber(&server.url()).expect("the node is there");
    subscriber.subscribe(["news"]).await.expect("confirmed");
    assert_eq!(status(&manager).active, 1);
    let mut receiver = subscriber.receiver(TopicFilter::all());
    drop(subscriber);
    server.command(&["PUBLISH", "news", "1"]);
    let event = within(&runtime, 10_000 * MS, receiver.next()).await.expect("in time");
    assert!(matches!(event, Some(Event::Message { .. })), "a receiver is a handle: {event:?}");
    drop(receiver);
    until(&runtime, "it is given up", || server.command(&["PUBLISH", "news", "1"]) == "0").await;
    until(&runtime, "it is closed", || status(&manager).active == 0).await;
    assert_full_capacity(&manager, &server, 2).await;
    let counts = manager.node(&server.url()).expect("it is there").command_metrics().subscriptions;
    assert_eq!((counts.begun, counts.dropped, counts.open()), (1, 1, 0));
}
