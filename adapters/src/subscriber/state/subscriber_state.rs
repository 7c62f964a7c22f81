//! The machine of a subscriber: what is wanted, what the servers have confirmed, and what was missed in between.
//!
//! Inputs go into [`handle`](SubscriberState::handle); outputs come from [`poll_output`](SubscriberState::poll_output), and
//! [`next_deadline`](SubscriberState::next_deadline) is when a `Tick` is due. There is a connection at home, or one is dialled, at
//! any time, whether something is wanted or not: so the end of the pools is noticed. Sharded channels of a cluster have connections
//! to the owners of their slots beside it (`placing`). A channel is at one connection at a time: where it belongs elsewhere, it is
//! ended first, so that no message can come twice.
//!
//! Invariants, checked after every input in debug builds while there are few topics:
//!
//! - B1 A topic is on its way to the server in one command, and only while there is a connection.
//! - B2 While there is a connection that is read, a topic whose state is not the wanted one is on its way, or has a time at which
//!   it is tried again, or its slot has no owner.
//! - B3 A call waits for at least one topic, or has ended.
//! - B4 A connection to an owner of slots has a topic, or is given up; a topic belongs to one connection.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use redis_manager_core::Instant;

use super::outage::Outages;
use super::sent_requests::SentCommand;
use super::shard_routes::{ShardRoutes, SlotOf};
use super::subscriber_io::{CallNumber, LinkClose, LinkPlace, SubscriberInput, SubscriberOutput, SubscriberTiming};
use super::subscriber_link::{LinkPhase, SubscriberLink};
use super::topic_table::{ServerSide, TopicTable};
use crate::subscriber::event::{GapReason, SubscriptionEvent};
use crate::subscriber::topic::{Topic, TopicKind, TopicVerb};

/// The pause after an error that passes.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct SubscriberState {
    timing: SubscriberTiming,
    links: BTreeMap<LinkPlace, SubscriberLink>,
    topics: TopicTable,
    /// Where sharded channels belong; none: at home.
    routes: Option<ShardRoutes>,
    /// To be sent at the end of the input.
    due: BTreeSet<Topic>,
    /// To be sent again at a time.
    again: BTreeSet<Topic>,
    again_at: Option<Instant>,
    is_stalled: bool,
    outages: Outages,
    outputs: VecDeque<SubscriberOutput>,
}

impl SubscriberState {
    /// With `slot_of`, sharded channels belong to the owners of their slots.
    pub(crate) fn new(timing: SubscriberTiming, slot_of: Option<SlotOf>) -> Self {
        let mut state = Self {
            timing,
            links: BTreeMap::from([(LinkPlace::Home, SubscriberLink::new())]),
            topics: TopicTable::default(),
            routes: slot_of.map(ShardRoutes::new),
            due: BTreeSet::new(),
            again: BTreeSet::new(),
            again_at: None,
            is_stalled: false,
            outages: Outages::default(),
            outputs: VecDeque::new(),
        };
        state.dial_and_release();
        state
    }

    pub(crate) fn handle(&mut self, now: Instant, input: SubscriberInput) {
        match input {
            SubscriberInput::Call { number, kind, verb, names } => self.begin_call(now, number, kind, verb, names),
            SubscriberInput::Left { number } => {
                for topic in self.topics.leave(number) {
                    self.settle(now, &topic);
                }
            }
            SubscriberInput::Connected(place) => self.connect(now, place),
            SubscriberInput::Lost(place) => self.lose(now, place, GapReason::ConnectionLost),
            SubscriberInput::Heard(place) => self.hear(now, place),
            SubscriberInput::Received(place, frame) => self.receive(now, place, frame),
            SubscriberInput::Owners(owners) => self.route(now, owners),
            SubscriberInput::HomeMoved => self.close(now, LinkPlace::Home, LinkClose::Elsewhere),
            SubscriberInput::Stalled(is_stalled) => {
                self.is_stalled = is_stalled;
                let timing = self.timing;
                self.links.values_mut().for_each(|link| link.hear(now, timing));
            }
            SubscriberInput::Tick => self.tick(now),
        }
        self.flush(now);
        self.dial_and_release();
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
        let read = self.links.values().filter(|_| !self.is_stalled);
        read.filter_map(|link| link.next_deadline(self.timing)).chain(self.again_at).min()
    }

    /// The slots whose owners are to be told.
    pub(crate) fn slots(&self) -> Vec<u16> {
        self.routes.as_ref().map(|routes| routes.slots().collect()).unwrap_or_default()
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

    fn connect(&mut self, now: Instant, place: LinkPlace) {
        let Some(link) = self.links.get_mut(&place) else { return };
        link.connect(now);
        self.due.extend(link.topics.iter().cloned());
    }

    /// The connection is gone, and with it all of its subscriptions.
    fn lose(&mut self, now: Instant, place: LinkPlace, reason: GapReason) {
        let Some(link) = self.links.get_mut(&place).filter(|link| link.is_up()) else { return };
        link.lose();
        let (since, topics) = (link.heard_at, link.topics.clone());
        let mut lost = Vec::new();
        for topic in &topics {
            self.due.remove(topic);
            self.again.remove(topic);
            let Some(entry) = self.topics.get(topic) else { continue };
            entry.server = ServerSide::Absent;
            entry.is_moving = false;
            if entry.is_wanted && entry.is_established {
                lost.push(topic.clone());
            }
        }
        self.again_at = self.again_at.filter(|_| !self.again.is_empty());
        self.outages.begin(place, since, reason, lost);
        for topic in topics {
            self.settle(now, &topic);
        }
    }

    /// Gives the connection up, if it is there.
    fn close(&mut self, now: Instant, place: LinkPlace, why: LinkClose) {
        if !self.links.get(&place).is_some_and(SubscriberLink::is_up) {
            return;
        }
        self.outputs.push_back(SubscriberOutput::Close { place, why });
        let reason = match why {
            LinkClose::Silent => GapReason::Silent,
            LinkClose::Elsewhere => GapReason::Moved,
            LinkClose::OutOfStep | LinkClose::Unneeded => GapReason::ConnectionLost,
        };
        self.lose(now, place, reason);
    }

    fn hear(&mut self, now: Instant, place: LinkPlace) {
        if let Some(link) = self.links.get_mut(&place) {
            link.hear(now, self.timing);
        }
    }

    fn try_again(&mut self, now: Instant, topic: &Topic) {
        self.again.insert(topic.clone());
        self.again_at.get_or_insert(now + RETRY_AFTER);
    }

    /// Looks at what is to be done for a topic.
    fn settle(&mut self, now: Instant, topic: &Topic) {
        let target = self.target_of(topic);
        let Some(entry) = self.topics.get(topic) else { return };
        match (entry.is_wanted, entry.server) {
            (true, ServerSide::Absent) => {
                self.place(topic, target);
                self.again.remove(topic);
                self.due.insert(topic.clone());
            }
            (false, ServerSide::Present) => {
                self.again.remove(topic);
                self.due.insert(topic.clone());
            }
            (false, ServerSide::Absent) => {
                let was_there = entry.is_established;
                self.forget(topic);
                self.tell_outages_that_are_over(now);
                if was_there {
                    self.emit(SubscriptionEvent::Unsubscribed { topic: topic.clone(), refused: None });
                }
            }
            (true, ServerSide::Present) => {
                let is_elsewhere = target.is_some() && target != entry.place;
                self.topics.withdraw(topic, TopicVerb::Unsubscribe);
                if is_elsewhere {
                    self.due.insert(topic.clone())
                } else {
                    self.due.remove(topic)
                };
            }
            (true | false, ServerSide::Subscribing | ServerSide::Unsubscribing) => {}
        }
    }

    /// A topic is neither wanted nor there.
    fn forget(&mut self, topic: &Topic) {
        self.place(topic, None);
        self.again.remove(topic);
        self.due.remove(topic);
        self.topics.remove(topic);
        self.outages.settle(topic);
    }

    fn tick(&mut self, now: Instant) {
        if self.again_at.is_some_and(|at| at <= now) {
            self.again_at = None;
            self.due.append(&mut self.again);
        }
        if self.is_stalled {
            return;
        }
        let places: Vec<LinkPlace> = self.links.keys().copied().collect();
        for place in places {
            let Some(link) = self.links.get_mut(&place) else { continue };
            if link.is_silent(now) {
                self.close(now, place, LinkClose::Silent);
            } else if link.is_ping_due(now, self.timing) {
                link.sent.push(SentCommand::Ping);
                link.expect_reply(now, self.timing);
                self.outputs.push_back(SubscriberOutput::Ping(place));
            }
        }
    }

    fn tell_outages_that_are_over(&mut self, now: Instant) {
        for gap in self.outages.take_over(now) {
            self.emit(gap);
        }
    }

    fn emit(&mut self, event: SubscriptionEvent) {
        self.outputs.push_back(SubscriberOutput::Emit(event));
    }
}

mod invariants;
mod placing;
mod replies;
mod sending;
#[cfg(test)]
mod tests;
