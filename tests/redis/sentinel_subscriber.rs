//! A subscriber of a primary behind sentinels.

use redis_manager::SubscriberOptions;
use redis_manager::pub_sub::Event;
use redis_manager::runtime::Network;
use redis_manager_tests::redis_server::RedisServer;
use redis_manager_tests::sentinel::{PRIMARY_NAME, TestSentinels};
use redis_manager_tests::tasks::{until, within};

use crate::MS;
use crate::cluster::on_tokio_and_smol;
use crate::sentinel::manager;

on_tokio_and_smol! {
    s2_it_follows_the_primary_also_when_the_former_one_lives needs ShardedChannels;
}

/// Guards against: a subscriber that stays at the former primary, to which nothing is published any more.
async fn s2_it_follows_the_primary_also_when_the_former_one_lives(runtime: impl Network + Clone) {
    let sentinels = TestSentinels::start();
    let manager = manager(runtime.clone());
    let url = sentinels.url();
    manager.add_node_pool(&url).await.expect("there is a primary");
    // Nothing but the sentinels says that a frozen primary is none any more.
    let options = SubscriberOptions::default().ping_interval(600_000 * MS);
    let mut subscriber = manager.subscriber_with(&url, options).expect("valid settings");
    subscriber.subscribe(["news"]).await.expect("confirmed");
    subscriber.ssubscribe(["shard"]).await.expect("as on any node");
    let mut count = 0_u64;
    for round in 0..2 {
        let first = count + 1;
        let old = sentinels.primary().expect("there is one");
        if round == 0 {
            assert_eq!(sentinels.ask_sentinel(0, &["SENTINEL", "FAILOVER", PRIMARY_NAME]), "OK");
        } else {
            sentinels.servers[old].stop_process();
        }
        let (new, _) = sentinels.wait_for_failover(old);
        let primary = &sentinels.servers[new];
        let mut gaps = Vec::new();
        // It may have found the new primary before the sentinels tell of it, and then changes once more.
        loop {
            count += 1;
            primary.command(&["PUBLISH", "news", &count.to_string()]);
            match within(&runtime, 100 * MS, subscriber.next()).await {
                Some(Some(Event::Message { payload, .. })) => {
                    let number: u64 = String::from_utf8_lossy(&payload).parse().expect("a number");
                    if number >= first {
                        break;
                    }
                }
                Some(Some(Event::Gap { channels, .. })) => gaps.push(channels.len()),
                Some(Some(_)) | None => {}
                Some(None) => panic!("it has ended: {:?}", subscriber.end()),
            }
            assert!(count < first + 200, "it does not follow in round {round}");
        }
        assert!(matches!(gaps[..], [2] | [2, 2]), "of both channels, in round {round}: {gaps:?}");
        if round == 0 {
            sentinels.wait_until_whole();
        } else {
            sentinels.servers[old].continue_process();
        }
    }
    let subscribed = |server: &RedisServer| server.command(&["PUBSUB", "NUMSUB", "news"]).ends_with('1');
    let is_at_primary_alone = || sentinels.servers.iter().filter(|server| subscribed(server)).count() == 1;
    until(&runtime, "it is at the primary alone", is_at_primary_alone).await;
}
