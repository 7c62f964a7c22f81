//! The machine against a server that is a few sets, with losses at every step.

mod shard_world;
mod shards;
mod world;

use std::time::Duration;

use super::*;
use crate::subscriber::state::frame::Frame;
use world::{SubscriberWorld, WorldOp, channel};

/// Seen to bite: with a loss that keeps what is on its way, with no gap after a loss, and with none after a subscription that the
/// server has ended.
#[test]
fn p1_no_history_of_five_steps_leaves_a_message_missing_that_lies_in_no_gap() {
    let ops = WorldOp::ALL;
    for history in 0..ops.len().pow(5) {
        let mut world = SubscriberWorld::subscribed();
        let mut rest = history;
        for _ in 0..5 {
            world.step(ops[rest % ops.len()]);
            rest /= ops.len();
        }
        world.heal_and_check();
    }
}

/// Seen to bite: with no gap after a loss.
#[test]
fn p1_no_long_history_leaves_a_message_missing_that_lies_in_no_gap() {
    for seed in 0..3_000_u64 {
        let mut world = SubscriberWorld::subscribed();
        let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        for _ in 0..150 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            world.step(WorldOp::ALL[(random >> 33) as usize % WorldOp::ALL.len()]);
        }
        world.heal_and_check();
    }
}

/// Seen to bite: with an outage that begins anew at each loss.
#[test]
fn losses_without_a_message_between_them_are_one_outage_since_the_first() {
    let mut world = SubscriberWorld::subscribed();
    let since = world.state.links[&LinkPlace::Home].heard_at;
    for _ in 0..3 {
        world.step(WorldOp::Lose);
        world.step(WorldOp::Connect);
        world.now = world.now + Duration::from_secs(1);
        world.step(WorldOp::Publish);
    }
    world.heal();
    let SubscriptionEvent::Gap { since: told, lasted, .. } = &world.events[1] else { panic!("{:?}", world.events) };
    assert_eq!((*told, world.events.len()), (since, 2));
    assert!(*lasted >= Duration::from_secs(3), "{lasted:?}");
}

/// Seen to bite: with a gap that is told behind the message.
#[test]
fn p1_a_message_that_comes_before_all_subscriptions_are_back_comes_behind_the_gap() {
    let mut world = SubscriberWorld::subscribed();
    let (kind, verb, names) = (TopicKind::Pattern, TopicVerb::Subscribe, vec![Arc::from(&b"p"[..])]);
    world.input(SubscriberInput::Call { number: 99, kind, verb, names });
    world.heal();
    for op in [WorldOp::Lose, WorldOp::Connect, WorldOp::ServerStep, WorldOp::ClientStep, WorldOp::Publish, WorldOp::ClientStep] {
        world.step(op);
    }
    let last = &world.events[world.events.len() - 2..];
    assert!(matches!(last, [SubscriptionEvent::Gap { .. }, SubscriptionEvent::Message { .. }]), "{last:?}");
    world.heal_and_check();
}

/// Seen to bite: with commands that are sent one for each name, and with one command for ten thousand.
#[test]
fn ten_thousand_names_are_sent_at_once_in_ten_commands_and_again_after_a_loss() {
    let mut world = SubscriberWorld::new();
    let names: Vec<String> = (0..10_000).map(|number| format!("channel-{number:05}")).collect();
    world.subscribe(names.iter().map(String::as_str));
    world.step(WorldOp::Connect);
    assert_eq!(world.commands_on_their_way(), 10);
    world.heal();
    assert!(world.answers.iter().all(|(_, outcome)| *outcome == Default::default()) && world.answers.len() == 1);
    world.step(WorldOp::Lose);
    world.step(WorldOp::Connect);
    assert_eq!(world.commands_on_their_way(), 10);
    world.heal_and_check();
    let gaps = world.events.iter().filter(|event| matches!(event, SubscriptionEvent::Gap { .. })).count();
    assert_eq!(gaps, 1);
}

/// Seen to bite: with the whole command refused for one name, and with a name that is asked for again and again.
#[test]
fn a_name_that_is_refused_is_found_and_all_others_are_subscribed_to() {
    let mut world = SubscriberWorld::new();
    let names: Vec<String> =
        (0..500).map(|number| format!("channel-{number}")).chain(["secret-1".into(), "secret-2".into()]).collect();
    world.subscribe(names.iter().map(String::as_str));
    world.step(WorldOp::Connect);
    world.heal();
    let (_, outcome) = world.answers.pop().expect("it has ended");
    let refused: Vec<_> = outcome.refused.iter().map(|(topic, _)| topic.clone()).collect();
    assert_eq!(refused, [channel("secret-1"), channel("secret-2")]);
    assert_eq!(world.subscribed_at_server(), 500);
    assert!(world.commands_seen < 40, "{} commands", world.commands_seen);
    world.heal_and_check();
}

/// Seen to bite: with a PING that is not sent while messages come seldom, with a deadline that a PING does not have, with a
/// deadline that each PING puts off, and with pings while the connection is not read.
#[test]
fn p2_a_silent_connection_is_given_up_after_the_interval_and_the_timeout() {
    let mut world = SubscriberWorld::subscribed();
    let begun_at = world.state.links[&LinkPlace::Home].heard_at;
    world.is_mute = true;
    while world.closed_silent == 0 {
        let at = world.state.next_deadline().expect("something is due");
        assert!(at > world.now, "a tick leaves nothing due");
        world.now = at;
        world.input(SubscriberInput::Tick);
    }
    let waited = world.now.saturating_duration_since(begun_at);
    assert_eq!(waited, Duration::from_secs(6));
    world.is_mute = false;
    world.heal_and_check();
    world.input(SubscriberInput::Stalled(true));
    assert_eq!(world.state.next_deadline(), None);
    world.input(SubscriberInput::Stalled(false));
    assert_eq!(world.state.next_deadline(), Some(world.now + Duration::from_secs(5)));
}

/// Seen to bite: with an error of LOADING that refuses the name for good, and with a retry at once.
#[test]
fn an_error_that_passes_is_waited_out() {
    let mut world = SubscriberWorld::new();
    world.is_loading = true;
    world.subscribe(["a", "b"]);
    world.step(WorldOp::Connect);
    world.heal();
    assert!(world.answers.is_empty() && world.commands_seen <= 3, "{} commands", world.commands_seen);
    world.is_loading = false;
    world.heal_and_check();
    assert_eq!(world.subscribed_at_server(), 2);
}

/// Seen to bite: with the subscription still wanted, and with the end told to none.
#[test]
fn a_subscription_that_is_refused_after_an_outage_ends_with_the_words_of_the_server() {
    let mut world = SubscriberWorld::subscribed();
    world.refuses = "a";
    world.step(WorldOp::Lose);
    world.step(WorldOp::Connect);
    world.heal();
    let events: Vec<_> = std::mem::take(&mut world.events);
    assert!(
        matches!(&events[1..], [
        SubscriptionEvent::Gap { .. },
        SubscriptionEvent::Unsubscribed { topic, refused: Some(words) },
    ] if *topic == channel("a") && words.starts_with("NOPERM")),
        "{events:?}"
    );
}

/// Seen to bite: with names that stay wanted, and with names that other calls wait for given up, too.
#[test]
fn a_call_that_is_dropped_gives_up_what_no_other_call_wants() {
    let mut world = SubscriberWorld::new();
    let first = world.subscribe(["a", "b"]);
    let second = world.subscribe(["b"]);
    world.input(SubscriberInput::Left { number: first });
    world.step(WorldOp::Connect);
    world.heal();
    assert_eq!(world.answers, [(second, Default::default())]);
    assert_eq!(world.subscribed_at_server(), 1);
    let third = world.subscribe(["c"]);
    world.input(SubscriberInput::Left { number: third });
    world.heal();
    assert_eq!(world.subscribed_at_server(), 1, "what was on its way is taken back");
}

/// Seen to bite: with a connection that is kept, and with one that is given up while it is dialled.
#[test]
fn s2_a_connection_at_a_former_primary_is_given_up_with_a_gap() {
    let mut world = SubscriberWorld::subscribed();
    world.events.clear();
    for _ in 0..2 {
        // The second one finds it dialled.
        world.input(SubscriberInput::HomeMoved);
    }
    world.heal();
    assert!(matches!(&world.events[..], [SubscriptionEvent::Gap { reason: GapReason::Moved, .. }]), "{:?}", world.events);
    world.heal_and_check();
}
