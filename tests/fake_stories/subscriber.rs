//! Subscribers whose connections are lost at every byte, or go silent at any time: no message is missing that lies in no gap.

use redis_manager::pub_sub::{Event, GapReason};
use redis_manager::testing::{Cut, Direction};
use redis_manager::{Subscriber, SubscriberOptions};

use crate::story::{MS, SECOND, SEEDS, Story};

/// Numbers in order, and whether each of them has come once, or lies in a gap that was told before the next one.
#[derive(Default)]
struct NumberedFeed {
    published: u64,
    last: u64,
    has_gap: bool,
    gaps: Vec<GapReason>,
}

impl NumberedFeed {
    fn publish(&mut self, story: &Story) {
        self.published += 1;
        story.redis.publish("numbers", self.published.to_string());
    }

    /// Takes what is there.
    #[track_caller]
    fn read(&mut self, story: &Story, subscriber: &mut Subscriber, told: &str) {
        while let Some(event) = story.within(MS / 10, subscriber.next()) {
            match event.expect("it does not end") {
                Event::Message { payload, .. } => {
                    let number: u64 = String::from_utf8(payload).expect("text").parse().expect("a number");
                    let is_next = if self.has_gap || self.last == 0 { number > self.last } else { number == self.last + 1 };
                    assert!(is_next, "{told}: {number} after {}", self.last);
                    (self.last, self.has_gap) = (number, false);
                }
                Event::Gap { reason, .. } => {
                    self.has_gap = true;
                    self.gaps.push(reason);
                }
                Event::Subscribed { .. } | Event::Unsubscribed { .. } | _ => {}
            }
        }
    }

    /// After the last fault none is missing.
    #[track_caller]
    fn assert_sound(&mut self, story: &Story, subscriber: &mut Subscriber, told: &str) {
        story.runtime.advance(3 * SECOND);
        self.publish(story);
        story.runtime.advance(10 * MS);
        self.read(story, subscriber, told);
        assert_eq!(self.last, self.published, "{told}: it has healed");
        let gaps = self.gaps.len();
        for _ in 0..1_000 {
            self.publish(story);
        }
        story.runtime.advance(10 * MS);
        self.read(story, subscriber, told);
        assert_eq!((self.last, self.gaps.len()), (self.published, gaps), "{told}: after the last fault none is missing");
    }
}

/// The confirmation of a channel, three messages and a PONG have fewer bytes.
const BYTES: usize = 200;

fn begin(seed: u64, protocol: &str) -> (Story, Subscriber) {
    let story = Story::begin_with(seed, protocol, |builder| builder);
    let options = SubscriberOptions::default().ping_interval(50 * MS);
    let subscriber = story.manager.subscriber_with(story.node.url(), options).expect("valid settings");
    story.runtime.advance(5 * MS);
    (story, subscriber)
}

/// Guards against: what was on its way kept over a loss.
#[test]
fn p1_a_connection_that_is_cut_at_any_byte_of_what_the_server_says_leaves_a_gap_and_no_hole() {
    for protocol in ["", "?protocol=resp2"] {
        for bytes in 0..BYTES {
            let seed = bytes as u64 % (SEEDS.end * 4);
            let told = format!("{bytes} bytes, seed {seed} {protocol}");
            let (story, mut subscriber) = begin(seed, protocol);
            let mut feed = NumberedFeed::default();
            story.redis.host().cut_after(bytes, if bytes % 2 == 0 { Cut::End } else { Cut::Reset });
            story.runtime.block_on(subscriber.subscribe(["numbers"])).expect("on this connection, or on the next one");
            for _ in 0..40 {
                feed.publish(&story);
                story.runtime.advance(2 * MS);
                feed.read(&story, &mut subscriber, &told);
            }
            feed.assert_sound(&story, &mut subscriber, &told);
            // One for each connection that was open: the pool lends the other one after the first.
            assert!(feed.gaps.iter().all(|reason| *reason == GapReason::ConnectionLost) && feed.gaps.len() <= 2, "{told}");
            drop(subscriber);
            story.runtime.advance(SECOND);
            story.assert_full_capacity(2);
        }
    }
}

/// Guards against: no PING, and a PING that waits for no reply.
#[test]
fn p2_a_connection_that_goes_silent_at_any_time_is_replaced_within_the_interval_and_the_timeout() {
    for seed in SEEDS {
        for after in 0..30 {
            let told = format!("seed {seed}, {after} steps");
            let (story, mut subscriber) = begin(seed, "");
            let mut feed = NumberedFeed::default();
            story.runtime.block_on(subscriber.subscribe(["numbers"])).expect("confirmed");
            for _ in 0..after {
                story.runtime.advance(7 * MS);
                feed.publish(&story);
                story.runtime.advance(MS);
                feed.read(&story, &mut subscriber, &told);
            }
            story.runtime.advance(after * 3 * MS);
            story.redis.freeze();
            let frozen_at = story.runtime.now();
            let dials = story.redis.host().connections_made();
            while story.redis.host().connections_made() == dials {
                story.runtime.advance(5 * MS);
                // The interval, the timeout of 1 s, and what the pool needs for its next dial.
                assert!(story.runtime.now() <= frozen_at + SECOND + 100 * MS, "{told}: it is found");
            }
            story.redis.thaw();
            feed.assert_sound(&story, &mut subscriber, &told);
            assert_eq!(feed.gaps, [GapReason::Silent], "{told}");
        }
    }
}

/// Guards against: a loss in one direction that is not looked for.
#[test]
fn p2_bytes_that_get_lost_in_either_direction_leave_a_gap_and_no_hole() {
    for seed in SEEDS {
        for direction in [Direction::ToServer, Direction::ToClient, Direction::Both] {
            let told = format!("seed {seed} {direction:?}");
            let (story, mut subscriber) = begin(seed, "");
            let mut feed = NumberedFeed::default();
            story.runtime.block_on(subscriber.subscribe(["numbers"])).expect("confirmed");
            for round in 0..6_u32 {
                story.redis.host().black_hole(direction);
                for _ in 0..10 {
                    feed.publish(&story);
                    story.runtime.advance(round * 40 * MS);
                    feed.read(&story, &mut subscriber, &told);
                }
                story.redis.host().heal();
                story.runtime.advance(200 * MS);
            }
            feed.assert_sound(&story, &mut subscriber, &told);
        }
    }
}
