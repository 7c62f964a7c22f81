//! Sharded channels of a subscriber while slots move and nodes die, on the fake clock: no message is missing that lies in no gap.

use std::time::Duration;

use redis_manager::pub_sub::Event;
use redis_manager::redis;
use redis_manager::testing::{ClusterShape, FakeCluster, FakeNetwork, FakeRuntime, SlotMigration};
use redis_manager::{ClusterArgs, RedisManager, SharedClient, Subscriber, SubscriberOptions};

use crate::story::{MS, SECOND, SEEDS, quiet_builder, within};

const NAME: &str = "orders";
/// Of the slots 15495, 3300, 7365 and 11298: over three nodes.
const CHANNELS: [&str; 4] = ["a", "b", "c", "d"];
const SLOTS: [u16; 4] = [15_495, 3_300, 7_365, 11_298];

/// One channel's numbers: what was published, and what was received.
#[derive(Default)]
struct ShardFeed {
    published: u64,
    /// What a server has said it has published.
    taken: Vec<u64>,
    last: u64,
    has_gap: bool,
}

struct ShardStory {
    runtime: FakeRuntime,
    network: FakeNetwork,
    cluster: FakeCluster,
    manager: RedisManager,
    client: SharedClient,
    subscriber: Subscriber,
    feeds: [ShardFeed; 4],
    gaps: usize,
}

impl ShardStory {
    fn begin(seed: u64) -> Self {
        let runtime = FakeRuntime::new(seed);
        let network = FakeNetwork::new(&runtime);
        let cluster = FakeCluster::start(&network, ClusterShape::default()).expect("free addresses");
        let manager = quiet_builder(4).health_check_timeout(200 * MS).build(network.clone()).expect("valid settings");
        runtime.block_on(manager.add_cluster(NAME, cluster.urls(), ClusterArgs::default())).expect("the cluster is up");
        let client = runtime.block_on(manager.get_shared_client(NAME)).expect("it serves");
        let options = SubscriberOptions::default().ping_interval(50 * MS);
        let subscriber = manager.subscriber_with(NAME, options).expect("valid settings");
        runtime.block_on(subscriber.ssubscribe(CHANNELS)).expect("confirmed");
        let feeds = Default::default();
        Self { runtime, network, cluster, manager, client, subscriber, feeds, gaps: 0 }
    }

    fn publish(&mut self, limit: Duration) {
        for (feed, channel) in self.feeds.iter_mut().zip(CHANNELS) {
            feed.published += 1;
            let mut cmd = redis::cmd("SPUBLISH");
            cmd.arg(channel).arg(feed.published);
            let sent = within(&self.runtime, &self.network, limit, cmd.query_async::<u64>(&mut self.client));
            feed.taken.extend(sent.and_then(Result::ok).map(|_| feed.published));
        }
    }

    /// Takes what is there.
    #[track_caller]
    fn read(&mut self, told: &str) {
        while let Some(event) = within(&self.runtime, &self.network, MS / 10, self.subscriber.next()) {
            match event.expect("it does not end") {
                Event::Message { channel, payload, .. } => {
                    let number: u64 = String::from_utf8(payload).expect("text").parse().expect("a number");
                    let index = CHANNELS.iter().position(|name| name.as_bytes() == channel).expect("one of them");
                    let feed = &mut self.feeds[index];
                    assert!(number > feed.last, "{told}: {number} after {} of {}", feed.last, CHANNELS[index]);
                    let missing = feed.taken.iter().any(|taken| (feed.last + 1..number).contains(taken));
                    assert!(feed.has_gap || !missing, "{told}: {number} after {} of {}", feed.last, CHANNELS[index]);
                    (feed.last, feed.has_gap) = (number, false);
                }
                Event::Gap { channels, .. } => {
                    self.gaps += 1;
                    for topic in channels.iter() {
                        let index = CHANNELS.iter().position(|name| name.as_bytes() == &*topic.name).expect("one of them");
                        self.feeds[index].has_gap = true;
                    }
                }
                Event::Subscribed { .. } => {}
                other @ (Event::Unsubscribed { .. } | _) => panic!("{told}: {other:?}"),
            }
        }
    }

    /// After the last fault none is missing.
    #[track_caller]
    fn assert_sound(&mut self, told: &str) {
        self.runtime.advance(20 * SECOND);
        self.publish(SECOND);
        self.read(told);
        let gaps = self.gaps;
        for _ in 0..50 {
            self.publish(SECOND);
            self.read(told);
        }
        for (feed, channel) in self.feeds.iter().zip(CHANNELS) {
            assert_eq!((feed.last, feed.taken.last()), (feed.published, Some(&feed.published)), "{told}: {channel}");
        }
        assert_eq!(self.gaps, gaps, "{told}: after the last fault none is missing");
    }
}

/// Guards against: a channel that stays with the former owner of its slot, and no gap for one that moves.
#[test]
fn p4_channels_follow_slots_that_move_back_and_forth_without_a_hole() {
    for seed in SEEDS {
        let how = if seed % 2 == 0 { SlotMigration::Atomic } else { SlotMigration::Gradual(3 * MS) };
        let told = format!("seed {seed} {how:?}");
        let mut story = ShardStory::begin(seed);
        for round in 0..12 {
            let slot = SLOTS[(round + seed as usize) % SLOTS.len()];
            story.cluster.move_slots(slot..=slot, (round + 1) % 3, how);
            for _ in 0..6 {
                story.publish(SECOND);
                story.runtime.advance(4 * MS);
                story.read(&told);
            }
        }
        story.assert_sound(&told);
        // Each move ends the subscription at the node that was the owner.
        assert!((6..=12).contains(&story.gaps), "{told}: {} gaps", story.gaps);
    }
}

/// Guards against: a channel that waits for a node that is gone.
#[test]
fn p4_channels_follow_their_slots_to_the_replicas_of_primaries_that_die_or_freeze() {
    for seed in SEEDS {
        let is_frozen = seed % 2 == 0;
        let told = format!("seed {seed}, frozen {is_frozen}");
        let mut story = ShardStory::begin(seed);
        for round in 0..2 {
            let slot = SLOTS[(round + seed as usize) % SLOTS.len()];
            let primary = story.cluster.primary_of(slot).expect("it has one");
            if is_frozen {
                story.cluster.freeze(primary)
            } else {
                story.cluster.kill(primary)
            }
            for _ in 0..40 {
                story.publish(20 * MS);
                story.runtime.advance(30 * MS);
                story.read(&told);
            }
            if is_frozen {
                story.cluster.thaw(primary)
            } else {
                story.cluster.restart(primary).expect("its address is free")
            }
            story.runtime.advance(2 * SECOND);
            story.publish(SECOND);
            story.read(&told);
        }
        story.assert_sound(&told);
        assert!((2..=8).contains(&story.gaps), "{told}: {} gaps", story.gaps);
    }
}

/// Guards against: connections that stay without a channel, and a subscriber that keeps them after its end.
#[test]
fn p4_there_is_a_connection_for_each_node_with_channels_and_none_after_the_last() {
    let story = ShardStory::begin(3);
    // Beside those of the shared client, to the three primaries.
    let active = |manager: &RedisManager| manager.fetch_pool_status().values().map(|status| status.active).sum::<usize>() - 3;
    let connections = || {
        story.runtime.advance(10 * MS);
        active(&story.manager)
    };
    assert_eq!(connections(), 4, "three with channels, and the one at home");
    for (names, left) in [(&["a"][..], 4), (&["d"], 3), (&[], 1)] {
        story.runtime.block_on(story.subscriber.sunsubscribe(names)).expect("confirmed");
        assert_eq!(connections(), left, "without {names:?}");
    }
    story.runtime.block_on(story.subscriber.ssubscribe(["a"])).expect("confirmed");
    assert_eq!(connections(), 2);
    let ShardStory { subscriber, manager, runtime, .. } = story;
    drop(subscriber);
    runtime.advance(SECOND);
    assert_eq!(active(&manager), 0);
}
