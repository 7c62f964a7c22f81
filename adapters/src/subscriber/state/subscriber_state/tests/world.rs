//! A server that is a few sets, a connection that can be lost at every step, and what must hold of the events.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::*;
use crate::subscriber::state::subscriber_io::CallOutcome;

pub(super) fn channel(name: &str) -> Topic {
    Topic::new(TopicKind::Channel, name)
}

#[derive(Clone, Copy, Debug)]
pub(super) enum WorldOp {
    Publish,
    /// The server takes one command.
    ServerStep,
    /// The client takes one frame.
    ClientStep,
    Lose,
    Connect,
    SubscribeB,
    UnsubscribeB,
    /// The server ends a subscription by itself.
    Move,
    Tick,
}

impl WorldOp {
    pub(super) const ALL: [Self; 9] = [
        Self::Publish,
        Self::ServerStep,
        Self::ClientStep,
        Self::Lose,
        Self::Connect,
        Self::SubscribeB,
        Self::UnsubscribeB,
        Self::Move,
        Self::Tick,
    ];
}

enum WorldCommand {
    Names(TopicVerb, Vec<Topic>),
    Ping,
}

#[derive(Default)]
struct WorldLink {
    subscribed: BTreeSet<Topic>,
    to_server: VecDeque<WorldCommand>,
    to_client: VecDeque<Frame>,
}

pub(super) struct SubscriberWorld {
    pub(super) state: SubscriberState,
    pub(super) now: Instant,
    link: Option<WorldLink>,
    published: BTreeMap<Topic, u64>,
    next_call: CallNumber,
    pub(super) events: Vec<SubscriptionEvent>,
    pub(super) answers: Vec<(CallNumber, CallOutcome)>,
    pub(super) commands_seen: usize,
    pub(super) closed_silent: usize,
    pub(super) is_mute: bool,
    pub(super) is_loading: bool,
    /// Names that begin so are refused.
    pub(super) refuses: &'static str,
}

impl SubscriberWorld {
    pub(super) fn new() -> Self {
        let timing = SubscriberTiming { ping_interval: Duration::from_secs(5), reply_timeout: Duration::from_secs(1) };
        let mut world = Self {
            state: SubscriberState::new(timing, None),
            now: Instant::ZERO,
            link: None,
            published: BTreeMap::new(),
            next_call: 0,
            events: Vec::new(),
            answers: Vec::new(),
            commands_seen: 0,
            closed_silent: 0,
            is_mute: false,
            is_loading: false,
            refuses: "secret",
        };
        world.carry_out();
        world
    }

    /// With one channel.
    pub(super) fn subscribed() -> Self {
        let mut world = Self::new();
        world.subscribe(["a"]);
        world.step(WorldOp::Connect);
        world.heal();
        world.answers.clear();
        world
    }

    pub(super) fn subscribe<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) -> CallNumber {
        self.call(TopicVerb::Subscribe, names)
    }

    fn call<'a>(&mut self, verb: TopicVerb, names: impl IntoIterator<Item = &'a str>) -> CallNumber {
        self.next_call += 1;
        let (number, kind) = (self.next_call, TopicKind::Channel);
        let names = names.into_iter().map(|name| Arc::from(name.as_bytes())).collect();
        self.input(SubscriberInput::Call { number, kind, verb, names });
        number
    }

    pub(super) fn input(&mut self, input: SubscriberInput) {
        self.state.handle(self.now, input);
        self.carry_out();
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.state.poll_output() {
            match output {
                SubscriberOutput::Dial(_) => assert!(self.link.is_none(), "one connection at a time"),
                SubscriberOutput::Close { why, .. } => {
                    self.link = None;
                    self.closed_silent += usize::from(why == LinkClose::Silent);
                }
                SubscriberOutput::Send { kind, verb, names, .. } => {
                    assert!(!names.is_empty());
                    let topics = names.into_iter().map(|name| Topic { kind, name }).collect();
                    let link = self.link.as_mut().expect("there is a connection");
                    link.to_server.push_back(WorldCommand::Names(verb, topics));
                }
                SubscriberOutput::Ping(_) => {
                    self.link.as_mut().expect("there is a connection").to_server.push_back(WorldCommand::Ping);
                }
                SubscriberOutput::Emit(event) => self.events.push(event),
                SubscriberOutput::Answer { number, outcome } => self.answers.push((number, outcome)),
            }
        }
    }

    pub(super) fn step(&mut self, op: WorldOp) {
        self.now = self.now + Duration::from_millis(1);
        match op {
            WorldOp::Publish => ["a", "b"].iter().for_each(|name| self.publish(&channel(name))),
            WorldOp::ServerStep => self.server_step(),
            WorldOp::ClientStep => {
                if let Some(frame) = self.link.as_mut().and_then(|link| link.to_client.pop_front()) {
                    self.input(SubscriberInput::Received(LinkPlace::Home, frame));
                }
            }
            WorldOp::Lose => {
                if self.link.take().is_some() {
                    self.input(SubscriberInput::Lost(LinkPlace::Home));
                }
            }
            WorldOp::Connect => {
                if self.link.is_none() {
                    self.link = Some(WorldLink::default());
                    self.input(SubscriberInput::Connected(LinkPlace::Home));
                }
            }
            WorldOp::SubscribeB => drop(self.subscribe(["b"])),
            WorldOp::UnsubscribeB => drop(self.call(TopicVerb::Unsubscribe, ["b"])),
            WorldOp::Move => {
                if let Some(link) = &mut self.link
                    && link.subscribed.remove(&channel("a"))
                {
                    link.to_client.push_back(confirmation(TopicVerb::Unsubscribe, &channel("a")));
                }
            }
            WorldOp::Tick => {
                if let Some(at) = self.state.next_deadline() {
                    self.now = self.now.max(at);
                }
                self.input(SubscriberInput::Tick);
                assert!(self.state.next_deadline().is_none_or(|at| at > self.now), "a tick leaves nothing due");
            }
        }
    }

    fn publish(&mut self, topic: &Topic) {
        let number = self.published.entry(topic.clone()).or_default();
        *number += 1;
        if let Some(link) = self.link.as_mut().filter(|link| link.subscribed.contains(topic)) {
            link.to_client.push_back(Frame::Message(SubscriptionEvent::Message {
                kind: topic.kind,
                channel: topic.name.to_vec(),
                pattern: None,
                payload: number.to_be_bytes().to_vec(),
            }));
        }
    }

    fn server_step(&mut self) {
        if self.is_mute {
            return;
        }
        let Some(link) = &mut self.link else { return };
        let Some(command) = link.to_server.pop_front() else { return };
        self.commands_seen += 1;
        let (verb, topics) = match command {
            WorldCommand::Ping => return link.to_client.push_back(Frame::Reply),
            WorldCommand::Names(verb, topics) => (verb, topics),
        };
        let is_refused = |topic: &Topic| topic.name.starts_with(self.refuses.as_bytes());
        if verb == TopicVerb::Subscribe && (self.is_loading || topics.iter().any(is_refused)) {
            let code = String::from(if self.is_loading { "LOADING" } else { "NOPERM" });
            return link.to_client.push_back(Frame::Error { text: format!("{code} no"), code });
        }
        for topic in topics {
            link.to_client.push_back(confirmation(verb, &topic));
            match verb {
                TopicVerb::Subscribe => link.subscribed.insert(topic),
                TopicVerb::Unsubscribe => link.subscribed.remove(&topic),
            };
        }
    }

    pub(super) fn commands_on_their_way(&self) -> usize {
        self.link.as_ref().map_or(0, |link| link.to_server.len())
    }

    pub(super) fn subscribed_at_server(&self) -> usize {
        self.link.as_ref().map_or(0, |link| link.subscribed.len())
    }

    /// There is a connection from now on, and all that is on its way arrives.
    pub(super) fn heal(&mut self) {
        self.step(WorldOp::Connect);
        for _ in 0..2 {
            while self.link.as_ref().is_some_and(|link| !link.to_server.is_empty() || !link.to_client.is_empty()) {
                self.server_step();
                while self.link.as_ref().is_some_and(|link| !link.to_client.is_empty()) {
                    self.step(WorldOp::ClientStep);
                }
            }
            self.now = self.now + Duration::from_millis(250);
            self.input(SubscriberInput::Tick);
        }
    }

    /// Each message has come once and in order, or lies in a gap that was told before the next one; after the last fault none is
    /// missing.
    pub(super) fn heal_and_check(&mut self) {
        self.heal();
        let wanted: Vec<Topic> = self.state.topics.iter().map(|(topic, _)| topic.clone()).collect();
        let before = self.events.len();
        for _ in 0..3 {
            wanted.iter().for_each(|topic| self.publish(topic));
        }
        self.heal();
        let after = self.events[before..].iter().filter(|event| event.topic_of_message().is_some()).count();
        assert_eq!(after, wanted.len() * 3, "after the last fault all messages come: {:?}", self.events);
        assert_eq!(self.events.len() - before, after, "and nothing else");
        assert_no_hole(&self.events, self.now);
        assert_eq!(self.answers.iter().map(|(number, _)| *number).collect::<BTreeSet<_>>().len(), self.answers.len());
        assert!(self.state.topics.iter().all(|(_, entry)| entry.is_wanted && entry.server == ServerSide::Present));
    }
}

pub(super) fn confirmation(verb: TopicVerb, topic: &Topic) -> Frame {
    Frame::Confirmed { kind: topic.kind, verb, name: Some(topic.name.to_vec()) }
}

/// Each message has come once and in order, or lies in a gap that was told before the next one.
#[track_caller]
pub(super) fn assert_no_hole(events: &[SubscriptionEvent], now: Instant) {
    let mut last: BTreeMap<Topic, (u64, bool)> = BTreeMap::new();
    for event in events {
        match event {
            SubscriptionEvent::Message { kind, channel, payload, .. } => {
                let topic = Topic::new(*kind, channel);
                let number = u64::from_be_bytes(payload[..].try_into().expect("a number"));
                if let Some((last, has_gap)) = last.get(&topic) {
                    let is_next = if *has_gap { number > *last } else { number == *last + 1 };
                    assert!(is_next, "{topic}: {number} after {last}: {events:?}");
                }
                last.insert(topic, (number, false));
            }
            SubscriptionEvent::Gap { channels, since, lasted, .. } => {
                assert!(!channels.is_empty() && *since + *lasted <= now);
                for topic in channels.iter() {
                    if let Some((_, has_gap)) = last.get_mut(topic) {
                        *has_gap = true;
                    }
                }
            }
            SubscriptionEvent::Subscribed { topic } | SubscriptionEvent::Unsubscribed { topic, .. } => {
                last.remove(topic);
            }
        }
    }
}
