//! The machine of a subscriber: what is wanted, what the server has confirmed, and what was missed in between.
//!
//! Inputs go into [`handle`](SubscriberState::handle); outputs come from [`poll_output`](SubscriberState::poll_output), and
//! [`next_deadline`](SubscriberState::next_deadline) is when a `Tick` is due. There is a connection, or one is dialled, at any
//! time, whether something is wanted or not: so the end of the pools is noticed.
//!
//! Invariants, checked after every input in debug builds while there are few topics:
//!
//! - B1 A topic is on its way to the server in one command, and only while there is a connection.
//! - B2 While there is a connection that is read, a topic whose state is not the wanted one is on its way, or has a time at which
//!   it is tried again.
//! - B3 A call waits for at least one topic, or has ended.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use redis_manager_core::Instant;

use super::frame::Frame;
use super::outage::Outages;
use super::sent_requests::{SentCommand, SentRequests};
use super::subscriber_io::{CallNumber, SubscriberInput, SubscriberOutput, SubscriberTiming};
use super::topic_table::{ServerSide, TopicTable};
use crate::subscriber::event::{GapReason, SubscriptionEvent};
use crate::subscriber::topic::{Topic, TopicKind, TopicVerb};

/// Names in one command at most. Several commands are sent at once.
const MOST_NAMES: usize = 1_000;
/// A command is not begun anew while it has fewer bytes of names.
const MOST_BYTES: usize = 512 * 1_024;
/// The pause after an error that passes.
const RETRY_AFTER: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LinkPhase {
    Dialling,
    Up,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct SubscriberState {
    timing: SubscriberTiming,
    link: LinkPhase,
    topics: TopicTable,
    sent: SentRequests,
    /// To be sent at the end of the input.
    due: BTreeSet<Topic>,
    /// To be sent again at a time.
    again: BTreeSet<Topic>,
    again_at: Option<Instant>,
    heard_at: Instant,
    /// When the connection is given up if nothing comes.
    silent_at: Option<Instant>,
    is_stalled: bool,
    outages: Outages,
    outputs: VecDeque<SubscriberOutput>,
}

impl SubscriberState {
    pub(crate) fn new(timing: SubscriberTiming) -> Self {
        Self {
            timing,
            link: LinkPhase::Dialling,
            topics: TopicTable::default(),
            sent: SentRequests::default(),
            due: BTreeSet::new(),
            again: BTreeSet::new(),
            again_at: None,
            heard_at: Instant::ZERO,
            silent_at: None,
            is_stalled: false,
            outages: Outages::default(),
            outputs: VecDeque::from([SubscriberOutput::Dial]),
        }
    }

    pub(crate) fn handle(&mut self, now: Instant, input: SubscriberInput) {
        match input {
            SubscriberInput::Call { number, kind, verb, names } => self.begin_call(now, number, kind, verb, names),
            SubscriberInput::Left { number } => {
                for topic in self.topics.leave(number) {
                    self.settle(now, &topic);
                }
            }
            SubscriberInput::Connected => self.connect(now),
            SubscriberInput::Lost => self.lose(now, GapReason::ConnectionLost),
            SubscriberInput::Heard => self.hear(now),
            SubscriberInput::Received(frame) => self.receive(now, frame),
            SubscriberInput::Stalled(is_stalled) => {
                self.is_stalled = is_stalled;
                self.hear(now);
            }
            SubscriberInput::Tick => self.tick(now),
        }
        self.flush(now);
        for (number, outcome) in self.topics.take_ended() {
            self.outputs.push_back(SubscriberOutput::Answer { number, outcome });
        }
        self.check();
    }

    pub(crate) fn poll_output(&mut self) -> Option<SubscriberOutput> {
        self.outputs.pop_front()
    }

    /// When a `Tick` is due; never at a time at which one was handled.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let silence = self.silent_at.or_else(|| self.ping_at()).filter(|_| !self.is_stalled);
        [silence, self.again_at].into_iter().flatten().min()
    }

    fn ping_at(&self) -> Option<Instant> {
        let is_quiet = self.link == LinkPhase::Up && self.sent.is_empty();
        is_quiet.then(|| self.heard_at + self.timing.ping_interval)
    }

    fn begin_call(&mut self, now: Instant, number: CallNumber, kind: TopicKind, verb: TopicVerb, names: Vec<Arc<[u8]>>) {
        let is_for_all = names.is_empty() && verb == TopicVerb::Unsubscribe;
        let topics = if is_for_all {
            self.topics.wanted_of(kind).into_iter().collect()
        } else {
            names.into_iter().map(|name| Topic { kind, name }).collect()
        };
        for topic in self.topics.begin(number, verb, topics) {
            self.settle(now, &topic);
        }
    }

    fn dial(&mut self) {
        self.link = LinkPhase::Dialling;
        self.outputs.push_back(SubscriberOutput::Dial);
    }

    fn connect(&mut self, now: Instant) {
        debug_assert_eq!(self.link, LinkPhase::Dialling, "it was asked for");
        self.link = LinkPhase::Up;
        self.heard_at = now;
        self.due = self.topics.iter().map(|(topic, _)| topic.clone()).collect();
    }

    /// The connection is gone, and with it all subscriptions.
    fn lose(&mut self, now: Instant, reason: GapReason) {
        if self.link != LinkPhase::Up {
            return;
        }
        self.sent.clear();
        self.due.clear();
        self.again.clear();
        (self.again_at, self.silent_at) = (None, None);
        let (mut lost, mut unwanted) = (Vec::new(), Vec::new());
        for (topic, entry) in self.topics.iter_mut() {
            entry.server = ServerSide::Absent;
            if !entry.is_wanted {
                unwanted.push(topic.clone());
            } else if entry.is_established {
                lost.push(topic.clone());
            }
        }
        self.outages.begin(self.heard_at, reason, lost);
        for topic in unwanted {
            self.settle(now, &topic);
        }
        self.dial();
    }

    /// Gives the connection up.
    fn close(&mut self, now: Instant, reason: GapReason) {
        let is_silent = reason == GapReason::Silent;
        self.outputs.push_back(SubscriberOutput::Close { is_silent });
        self.lose(now, reason);
    }

    fn hear(&mut self, now: Instant) {
        self.heard_at = now;
        self.silent_at = if self.sent.is_empty() { None } else { Some(now + self.timing.reply_timeout) };
    }

    fn receive(&mut self, now: Instant, frame: Frame) {
        if self.link != LinkPhase::Up {
            return;
        }
        match frame {
            Frame::Message(event) => {
                let gap = self.outages.take(now);
                self.outputs.extend(gap.into_iter().chain([event]).map(SubscriberOutput::Emit));
            }
            Frame::Confirmed { kind, verb, name: Some(name) } => match self.sent.confirm(kind, verb, &name) {
                Some(topic) => self.confirmed(now, &topic, verb),
                None if verb == TopicVerb::Unsubscribe => self.ended_by_server(now, &Topic::new(kind, name)),
                None => {}
            },
            Frame::Reply => {
                if !self.sent.take_reply() {
                    // It is out of step.
                    return self.close(now, GapReason::ConnectionLost);
                }
            }
            Frame::Error { code, text } => match self.sent.take_refused() {
                Some(SentCommand::Names { verb, topics, .. }) => self.refused(now, verb, topics, &code, &text),
                Some(SentCommand::Ping) | None => {}
            },
            Frame::Confirmed { name: None, .. } | Frame::Other => {}
        }
        self.hear(now);
    }

    fn confirmed(&mut self, now: Instant, topic: &Topic, verb: TopicVerb) {
        let Some(entry) = self.topics.get(topic) else { return };
        match verb {
            TopicVerb::Subscribe => {
                entry.server = ServerSide::Present;
                let is_new = !std::mem::replace(&mut entry.is_established, true);
                self.topics.satisfy(topic, TopicVerb::Subscribe);
                if is_new {
                    self.emit(SubscriptionEvent::Subscribed { topic: topic.clone() });
                }
                self.outages.settle(topic);
            }
            TopicVerb::Unsubscribe => {
                entry.server = ServerSide::Absent;
                let was_there = std::mem::take(&mut entry.is_established);
                self.topics.satisfy(topic, TopicVerb::Unsubscribe);
                if was_there {
                    self.emit(SubscriptionEvent::Unsubscribed { topic: topic.clone(), refused: None });
                }
            }
        }
        self.settle(now, topic);
        self.tell_outage_if_over(now);
    }

    /// The server has ended a subscription without a request.
    fn ended_by_server(&mut self, now: Instant, topic: &Topic) {
        let Some(entry) = self.topics.get(topic) else { return };
        if entry.server != ServerSide::Present {
            return;
        }
        entry.server = ServerSide::Absent;
        if entry.is_wanted {
            self.outages.begin(now, GapReason::Moved, [topic.clone()]);
            self.try_again(now, topic);
        } else {
            self.settle(now, topic);
        }
    }

    /// An error was the reply to a command for these topics.
    fn refused(&mut self, now: Instant, verb: TopicVerb, mut topics: VecDeque<Topic>, code: &str, text: &str) {
        if topics.len() > 1 && code == "NOPERM" {
            // One name that is not allowed refuses all of the command: which one is found by halves.
            let second = topics.split_off(topics.len() / 2);
            self.send(now, verb, topics);
            self.send(now, verb, second);
            return;
        }
        for topic in topics {
            let Some(entry) = self.topics.get(&topic) else { continue };
            match verb {
                TopicVerb::Unsubscribe => {
                    entry.server = ServerSide::Present;
                    entry.is_wanted = true;
                    self.topics.refuse(&topic, verb, text);
                    self.topics.satisfy(&topic, TopicVerb::Subscribe);
                }
                TopicVerb::Subscribe if passes(code) => {
                    entry.server = ServerSide::Absent;
                    if entry.is_wanted { self.try_again(now, &topic) } else { self.settle(now, &topic) }
                }
                TopicVerb::Subscribe => {
                    entry.server = ServerSide::Absent;
                    let was_there = std::mem::replace(&mut entry.is_established, false);
                    entry.is_wanted = false;
                    self.topics.refuse(&topic, verb, text);
                    self.topics.remove(&topic);
                    self.outages.settle(&topic);
                    self.tell_outage_if_over(now);
                    if was_there {
                        self.emit(SubscriptionEvent::Unsubscribed { topic, refused: Some(text.to_owned()) });
                    }
                }
            }
        }
    }

    fn try_again(&mut self, now: Instant, topic: &Topic) {
        self.again.insert(topic.clone());
        self.again_at.get_or_insert(now + RETRY_AFTER);
    }

    /// Looks at what is to be done for a topic.
    fn settle(&mut self, now: Instant, topic: &Topic) {
        let Some(entry) = self.topics.get(topic) else { return };
        match (entry.is_wanted, entry.server) {
            (true, ServerSide::Absent) | (false, ServerSide::Present) => {
                self.again.remove(topic);
                self.due.insert(topic.clone());
            }
            (false, ServerSide::Absent) => {
                let was_there = entry.is_established;
                self.again.remove(topic);
                self.due.remove(topic);
                self.topics.remove(topic);
                self.outages.settle(topic);
                self.tell_outage_if_over(now);
                if was_there {
                    self.emit(SubscriptionEvent::Unsubscribed { topic: topic.clone(), refused: None });
                }
            }
            (true, ServerSide::Present) => {
                self.topics.withdraw(topic, TopicVerb::Unsubscribe);
                self.due.remove(topic);
            }
            (true | false, ServerSide::Subscribing | ServerSide::Unsubscribing) => {}
        }
    }

    fn tick(&mut self, now: Instant) {
        if self.again_at.is_some_and(|at| at <= now) {
            self.again_at = None;
            self.due.append(&mut self.again);
        }
        if self.is_stalled {
            return;
        }
        if self.silent_at.is_some_and(|at| at <= now) {
            self.close(now, GapReason::Silent);
        } else if self.ping_at().is_some_and(|at| at <= now) {
            self.outputs.push_back(SubscriberOutput::Ping);
            self.sent.push(SentCommand::Ping);
            self.silent_at = Some(now + self.timing.reply_timeout);
        }
    }

    /// Sends what is due, in as few commands as can be.
    fn flush(&mut self, now: Instant) {
        if self.link != LinkPhase::Up {
            self.due.clear();
            return;
        }
        let mut by_command: BTreeMap<(TopicKind, bool), VecDeque<Topic>> = BTreeMap::new();
        for topic in std::mem::take(&mut self.due) {
            let Some(entry) = self.topics.get(&topic) else { continue };
            by_command.entry((topic.kind, entry.is_wanted)).or_default().push_back(topic);
        }
        for ((_, is_wanted), mut topics) in by_command {
            let verb = if is_wanted { TopicVerb::Subscribe } else { TopicVerb::Unsubscribe };
            while !topics.is_empty() {
                let mut bytes = 0;
                let fits = |topic: &&Topic| {
                    bytes += topic.name.len();
                    bytes - topic.name.len() < MOST_BYTES
                };
                let count = topics.iter().take(MOST_NAMES).take_while(fits).count();
                let rest = topics.split_off(count);
                self.send(now, verb, std::mem::replace(&mut topics, rest));
            }
        }
    }

    /// Sends a command for at least one topic of one kind.
    fn send(&mut self, now: Instant, verb: TopicVerb, topics: VecDeque<Topic>) {
        let Some(kind) = topics.front().map(|topic| topic.kind) else { return };
        for topic in &topics {
            if let Some(entry) = self.topics.get(topic) {
                entry.server = match verb {
                    TopicVerb::Subscribe => ServerSide::Subscribing,
                    TopicVerb::Unsubscribe => ServerSide::Unsubscribing,
                };
            }
        }
        let names = topics.iter().map(|topic| Arc::clone(&topic.name)).collect();
        self.outputs.push_back(SubscriberOutput::Send { kind, verb, names });
        self.sent.push(SentCommand::Names { kind, verb, topics });
        self.silent_at.get_or_insert(now + self.timing.reply_timeout);
    }

    fn tell_outage_if_over(&mut self, now: Instant) {
        if let Some(gap) = self.outages.take_if_over(now) {
            self.emit(gap);
        }
    }

    fn emit(&mut self, event: SubscriptionEvent) {
        self.outputs.push_back(SubscriberOutput::Emit(event));
    }
}

/// Whether an error passes by itself.
fn passes(code: &str) -> bool {
    matches!(code, "ASK" | "BUSY" | "CLUSTERDOWN" | "LOADING" | "MASTERDOWN" | "MOVED" | "TRYAGAIN")
}

mod invariants;
#[cfg(test)]
mod tests;
