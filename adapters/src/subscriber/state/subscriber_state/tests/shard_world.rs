//! A cluster that is a few sets: nodes with connections that can be lost at every step, and slots that move between them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::world::{assert_no_hole, confirmation};
use super::*;
use crate::subscriber::state::subscriber_io::CallOutcome;

/// Each channel is a slot of its own, by its first letter.
pub(super) fn slot_of(name: &[u8]) -> u16 {
    u16::from(name.first().copied().unwrap_or_default())
}

pub(super) fn sharded(name: &str) -> Topic {
    Topic::new(TopicKind::Sharded, name)
}

pub(super) const NODES: u32 = 3;
pub(super) const CHANNELS: [&str; 3] = ["a", "b", "c"];

#[derive(Default)]
struct ShardLink {
    subscribed: BTreeSet<Topic>,
    to_server: VecDeque<Option<(TopicVerb, Vec<Topic>)>>,
    to_client: VecDeque<Frame>,
}

pub(super) struct ShardWorld {
    pub(super) state: SubscriberState,
    pub(super) now: Instant,
    /// By place; `None`: it is dialled.
    links: BTreeMap<LinkPlace, Option<ShardLink>>,
    /// By slot; none: it has no owner.
    owners: BTreeMap<u16, u32>,
    published: BTreeMap<Topic, u64>,
    next_call: CallNumber,
    pub(super) events: Vec<SubscriptionEvent>,
    pub(super) answers: Vec<(CallNumber, CallOutcome)>,
    pub(super) commands_seen: usize,
}

impl ShardWorld {
    pub(super) fn new() -> Self {
        let timing = SubscriberTiming { ping_interval: Duration::from_secs(5), reply_timeout: Duration::from_secs(1) };
        let mut world = Self {
            state: SubscriberState::new(timing, Some(slot_of)),
            now: Instant::ZERO,
            links: BTreeMap::new(),
            owners: CHANNELS.iter().zip(1..).map(|(name, node)| (slot_of(name.as_bytes()), node)).collect(),
            published: BTreeMap::new(),
            next_call: 0,
            events: Vec::new(),
            answers: Vec::new(),
            commands_seen: 0,
        };
        world.carry_out();
        world
    }

    /// To all channels.
    pub(super) fn subscribed() -> Self {
        let mut world = Self::new();
        world.learn();
        world.call(TopicVerb::Subscribe, &CHANNELS);
        world.heal();
        world.answers.clear();
        world
    }

    pub(super) fn call(&mut self, verb: TopicVerb, names: &[&str]) -> CallNumber {
        self.next_call += 1;
        let names = names.iter().map(|name| Arc::from(name.as_bytes())).collect();
        self.input(SubscriberInput::Call { number: self.next_call, kind: TopicKind::Sharded, verb, names });
        self.next_call
    }

    pub(super) fn input(&mut self, input: SubscriberInput) {
        self.state.handle(self.now, input);
        self.carry_out();
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.state.poll_output() {
            match output {
                SubscriberOutput::Dial(place) => assert!(self.links.insert(place, None).is_none(), "{place:?} is dialled twice"),
                SubscriberOutput::Close { place, .. } => assert!(self.links.remove(&place).is_some(), "{place:?} is not there"),
                SubscriberOutput::Send { place, kind, verb, names } => {
                    let topics: Vec<Topic> = names.into_iter().map(|name| Topic { kind, name }).collect();
                    let slots: BTreeSet<u16> = topics.iter().map(|topic| slot_of(&topic.name)).collect();
                    assert_eq!(slots.len(), 1, "one command has channels of one slot");
                    self.link(place).to_server.push_back(Some((verb, topics)));
                }
                SubscriberOutput::Ping(place) => self.link(place).to_server.push_back(None),
                SubscriberOutput::Emit(event) => self.events.push(event),
                SubscriberOutput::Answer { number, outcome } => self.answers.push((number, outcome)),
            }
        }
    }

    fn link(&mut self, place: LinkPlace) -> &mut ShardLink {
        self.links.get_mut(&place).and_then(Option::as_mut).expect("there is a connection")
    }

    /// The connections that are dialled or there.
    pub(super) fn places(&self) -> Vec<LinkPlace> {
        self.links.keys().copied().collect()
    }

    /// The topology is known as it is.
    pub(super) fn learn(&mut self) {
        let owners = CHANNELS.iter().map(|name| slot_of(name.as_bytes())).map(|slot| (slot, self.owners.get(&slot).copied()));
        let owners = owners.collect();
        self.input(SubscriberInput::Owners(owners));
    }

    pub(super) fn connect(&mut self, place: LinkPlace) {
        if let Some(link @ None) = self.links.get_mut(&place) {
            *link = Some(ShardLink::default());
            self.input(SubscriberInput::Connected(place));
        }
    }

    pub(super) fn lose(&mut self, place: LinkPlace) {
        if self.links.get(&place).is_some_and(Option::is_some) {
            self.links.remove(&place);
            self.input(SubscriberInput::Lost(place));
        }
    }

    /// A slot gets another owner, or none. The former one ends the subscriptions, unless it has not heard of it; then it does so at
    /// the next move.
    pub(super) fn move_slot(&mut self, name: &str, to: Option<u32>, is_heard: bool) {
        let topic = sharded(name);
        let slot = slot_of(name.as_bytes());
        let from = self.owners.remove(&slot);
        self.owners.extend(to.map(|to| (slot, to)));
        let is_unaware =
            |place: LinkPlace| from.is_some_and(|from| place == LinkPlace::Owner(from) && (!is_heard || to == Some(from)));
        for (place, link) in self.links.iter_mut().filter(|(place, _)| !is_unaware(**place)) {
            if let Some(link) = link
                && link.subscribed.remove(&topic)
            {
                debug_assert_ne!(*place, LinkPlace::Home);
                link.to_client.push_back(confirmation(TopicVerb::Unsubscribe, &topic));
            }
        }
    }

    pub(super) fn publish(&mut self, name: &str) {
        let Some(owner) = self.owners.get(&slot_of(name.as_bytes())) else { return };
        let (topic, place) = (sharded(name), LinkPlace::Owner(*owner));
        let number = self.published.entry(topic.clone()).or_default();
        *number += 1;
        let payload = number.to_be_bytes().to_vec();
        if let Some(Some(link)) = self.links.get_mut(&place)
            && link.subscribed.contains(&topic)
        {
            let (kind, channel) = (topic.kind, topic.name.to_vec());
            link.to_client.push_back(Frame::Message(SubscriptionEvent::Message { kind, channel, pattern: None, payload }));
        }
    }

    /// The server takes one command.
    pub(super) fn server_step(&mut self, place: LinkPlace) {
        let owners = self.owners.clone();
        let Some(Some(link)) = self.links.get_mut(&place) else { return };
        let Some(command) = link.to_server.pop_front() else { return };
        self.commands_seen += 1;
        let Some((verb, topics)) = command else { return link.to_client.push_back(Frame::Reply) };
        let slot = slot_of(&topics[0].name);
        match owners.get(&slot) {
            Some(owner) if LinkPlace::Owner(*owner) == place => {
                for topic in topics {
                    link.to_client.push_back(confirmation(verb, &topic));
                    match verb {
                        TopicVerb::Subscribe => link.subscribed.insert(topic),
                        TopicVerb::Unsubscribe => link.subscribed.remove(&topic),
                    };
                }
            }
            owner => {
                let code = String::from(if owner.is_some() { "MOVED" } else { "CLUSTERDOWN" });
                let text = format!("{code} {slot} 10.0.0.{}:6379", owner.copied().unwrap_or_default());
                link.subscribed.retain(|topic| slot_of(&topic.name) != slot || owner.is_none());
                link.to_client.push_back(Frame::Error { code, text });
            }
        }
    }

    /// The client takes one frame. A redirection makes the topology known.
    pub(super) fn client_step(&mut self, place: LinkPlace) {
        let Some(Some(link)) = self.links.get_mut(&place) else { return };
        let Some(frame) = link.to_client.pop_front() else { return };
        let is_redirection = matches!(&frame, Frame::Error { code, .. } if code == "MOVED");
        self.input(SubscriberInput::Received(place, frame));
        if is_redirection {
            self.learn();
        }
    }

    pub(super) fn tick(&mut self) {
        if let Some(at) = self.state.next_deadline() {
            self.now = self.now.max(at);
        }
        self.input(SubscriberInput::Tick);
        assert!(self.state.next_deadline().is_none_or(|at| at > self.now), "a tick leaves nothing due");
    }

    /// All that is on its way arrives.
    pub(super) fn heal(&mut self) {
        for _ in 0..20 {
            self.places().into_iter().for_each(|place| self.connect(place));
            for place in self.places() {
                self.server_step(place);
                self.client_step(place);
            }
        }
        let is_busy =
            |link: &Option<ShardLink>| link.as_ref().is_none_or(|link| !(link.to_server.is_empty() && link.to_client.is_empty()));
        if self.links.values().any(is_busy) {
            return self.heal();
        }
        self.now = self.now + Duration::from_millis(250);
        self.input(SubscriberInput::Tick);
        if self.links.values().any(is_busy) {
            self.heal();
        }
    }

    pub(super) fn heal_and_check(&mut self) {
        for (name, node) in CHANNELS.iter().zip(1..) {
            self.owners.entry(slot_of(name.as_bytes())).or_insert(node);
        }
        self.learn();
        self.heal();
        let wanted: Vec<Topic> = self.state.topics.iter().map(|(topic, _)| topic.clone()).collect();
        let before = self.events.len();
        for _ in 0..3 {
            CHANNELS.iter().for_each(|name| self.publish(name));
        }
        self.heal();
        let after = self.events[before..].iter().filter(|event| event.topic_of_message().is_some()).count();
        assert_eq!(after, wanted.len() * 3, "after the last fault all messages come: {:?}", self.events);
        assert_eq!(self.events.len() - before, after, "and nothing else: {:?}", &self.events[before..]);
        assert_no_hole(&self.events, self.now);
        assert!(self.state.topics.iter().all(|(_, entry)| entry.is_wanted && entry.server == ServerSide::Present));
        let owners: BTreeSet<LinkPlace> =
            wanted.iter().map(|topic| LinkPlace::Owner(self.owners[&slot_of(&topic.name)])).collect();
        let places: BTreeSet<LinkPlace> = self.places().into_iter().collect();
        assert_eq!(places, owners.into_iter().chain([LinkPlace::Home]).collect(), "a connection for each owner, and no other");
    }
}
