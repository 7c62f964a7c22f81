//! Sharded channels whose slots move, and whose owners are lost, at every step.

use super::shard_world::{CHANNELS, NODES, ShardWorld, sharded};
use super::*;

fn gaps(world: &ShardWorld) -> Vec<(GapReason, Vec<Topic>)> {
    let gap = |event: &SubscriptionEvent| match event {
        SubscriptionEvent::Gap { reason, channels, .. } => Some((*reason, channels.to_vec())),
        SubscriptionEvent::Message { .. } | SubscriptionEvent::Subscribed { .. } | SubscriptionEvent::Unsubscribed { .. } => None,
    };
    world.events.iter().filter_map(gap).collect()
}

/// Guards against: no gap for a channel that moves, with a subscription at the new owner before the old one has confirmed its
/// end, with an outage that begins when the end is sent, and with an error for the command that is first, whatever it is.
#[test]
fn p4_no_long_history_of_moves_and_losses_leaves_a_message_missing_that_lies_in_no_gap() {
    for seed in 0..1_500_u64 {
        let mut world = ShardWorld::subscribed();
        let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut pick = |below: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random >> 33) as usize % below
        };
        for _ in 0..150 {
            let places = world.places();
            let place = places[pick(places.len())];
            let name = CHANNELS[pick(CHANNELS.len())];
            match pick(16) {
                0..=2 => CHANNELS.iter().for_each(|name| world.publish(name)),
                3..=5 => world.server_step(place),
                6..=8 => world.client_step(place),
                9 => world.lose(place),
                10 => world.connect(place),
                11 => drop(world.call(TopicVerb::Subscribe, &[name])),
                12 => drop(world.call(TopicVerb::Unsubscribe, &[name])),
                13 => {
                    let to = pick(NODES as usize + 1) as u32;
                    world.move_slot(name, (to > 0).then_some(to), pick(3) > 0);
                }
                14 => world.learn(),
                _ => world.tick(),
            }
        }
        world.heal_and_check();
    }
}

/// Guards against: a second look after the pause for errors that pass.
#[test]
fn p4_a_slot_that_moves_is_followed_in_two_round_trips_and_is_one_gap() {
    let mut world = ShardWorld::subscribed();
    let seen = world.commands_seen;
    world.move_slot("a", Some(2), true);
    let (old, new) = (LinkPlace::Owner(1), LinkPlace::Owner(2));
    world.client_step(old);
    // The old node says where it is, the new one confirms it.
    for place in [old, new] {
        world.server_step(place);
        world.client_step(place);
    }
    assert_eq!(world.commands_seen - seen, 2);
    assert_eq!(gaps(&world), [(GapReason::Moved, vec![sharded("a")])]);
    assert!(!world.places().contains(&old), "it has no channel left, and is given up");
    world.heal_and_check();
}

/// Guards against: one gap for each channel.
#[test]
fn p4_the_loss_of_a_node_is_one_gap_of_its_channels_and_no_other() {
    let mut world = ShardWorld::subscribed();
    world.move_slot("b", Some(1), true);
    world.learn();
    world.heal();
    world.events.clear();
    world.lose(LinkPlace::Owner(1));
    world.publish("c");
    world.client_step(LinkPlace::Owner(3));
    assert!(gaps(&world).is_empty(), "the messages of another node come at once: {:?}", world.events);
    assert_eq!(world.events.len(), 1);
    // One of them is at another node when it comes back.
    world.move_slot("a", Some(3), true);
    world.learn();
    world.heal();
    assert_eq!(gaps(&world), [(GapReason::ConnectionLost, vec![sharded("a"), sharded("b")])]);
    world.heal_and_check();
}

/// Guards against: a connection that is kept, and with one that is given up while the end is on its way.
#[test]
fn p4_the_last_channel_of_a_node_gives_its_connection_up_once_its_end_is_confirmed() {
    let mut world = ShardWorld::subscribed();
    let place = LinkPlace::Owner(3);
    let number = world.call(TopicVerb::Unsubscribe, &["c"]);
    assert!(world.places().contains(&place) && world.answers.is_empty());
    world.server_step(place);
    world.client_step(place);
    assert!(!world.places().contains(&place));
    assert_eq!(world.answers, [(number, Default::default())]);
    world.heal_and_check();
}

/// Guards against: a call that is sent to the node that is at home.
#[test]
fn p4_a_channel_whose_slot_has_no_owner_waits_for_one() {
    let mut world = ShardWorld::new();
    world.move_slot("a", None, true);
    world.learn();
    world.call(TopicVerb::Subscribe, &["a"]);
    world.heal();
    assert_eq!((world.commands_seen, world.answers.len(), world.places()), (0, 0, vec![LinkPlace::Home]));
    world.move_slot("a", Some(2), true);
    world.learn();
    world.heal();
    assert_eq!(world.answers.len(), 1);
    world.heal_and_check();
}

/// Guards against: the redirection taken for the reply to the command behind it.
#[test]
fn p4_a_slot_that_leaves_while_the_end_is_on_its_way_confirms_it_once() {
    let mut world = ShardWorld::subscribed();
    world.move_slot("b", Some(1), true);
    world.learn();
    world.heal();
    let place = LinkPlace::Owner(1);
    let first = world.call(TopicVerb::Unsubscribe, &["a"]);
    let second = world.call(TopicVerb::Unsubscribe, &["b"]);
    // The end that comes by itself is taken for the confirmation; the redirection of the command is then of no meaning.
    world.move_slot("a", Some(2), true);
    world.server_step(place);
    world.client_step(place);
    world.client_step(place);
    assert_eq!(world.answers, [(first, Default::default())]);
    world.server_step(place);
    world.client_step(place);
    assert_eq!(world.answers, [(first, Default::default()), (second, Default::default())]);
    world.heal_and_check();
}
