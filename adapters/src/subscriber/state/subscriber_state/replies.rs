//! What the server sends: messages, confirmations, refusals.

use std::collections::VecDeque;

use redis_manager_core::Instant;

use super::{LinkClose, LinkPlace, ServerSide, SubscriberOutput, SubscriberState};
use crate::subscriber::event::{GapReason, SubscriptionEvent};
use crate::subscriber::state::frame::Frame;
use crate::subscriber::state::sent_requests::SentCommand;
use crate::subscriber::topic::{Topic, TopicVerb};

impl SubscriberState {
    pub(super) fn receive(&mut self, now: Instant, place: LinkPlace, frame: Frame) {
        let Some(link) = self.links.get_mut(&place).filter(|link| link.is_up()) else { return };
        match frame {
            Frame::Message(event) => {
                let gaps = self.outages.take_before(now, &event);
                self.outputs.extend(gaps.into_iter().chain([event]).map(SubscriberOutput::Emit));
            }
            Frame::Confirmed { kind, verb, name: Some(name) } => match link.sent.confirm(kind, verb, &name) {
                Some(topic) => self.confirmed(now, place, &topic, verb),
                None if verb == TopicVerb::Unsubscribe => self.ended_by_server(now, place, &Topic::new(kind, name)),
                None => {}
            },
            Frame::Reply => {
                if !link.sent.take_reply() {
                    return self.close(now, place, LinkClose::OutOfStep);
                }
            }
            Frame::Error { code, text } => {
                // The end of a slot confirms a SUNSUBSCRIBE on its way by itself, and then the command is redirected, too.
                let slot = if code == "MOVED" { slot_in(&text) } else { None };
                let routes = &self.routes;
                let is_of = |command: &SentCommand| match (command, routes, slot) {
                    (SentCommand::Names { topics, .. }, Some(routes), Some(slot)) => {
                        topics.front().is_some_and(|topic| routes.slot_of(&topic.name) == slot)
                    }
                    (SentCommand::Ping, Some(_), Some(_)) => false,
                    (SentCommand::Names { .. } | SentCommand::Ping, Some(_) | None, Some(_) | None) => true,
                };
                match link.sent.take_refused(is_of) {
                    Some(SentCommand::Names { verb, topics, .. }) => self.refused(now, place, verb, topics, &code, &text),
                    Some(SentCommand::Ping) | None => {}
                }
            }
            Frame::Confirmed { name: None, .. } | Frame::Other => {}
        }
        self.hear(now, place);
    }

    fn confirmed(&mut self, now: Instant, place: LinkPlace, topic: &Topic, verb: TopicVerb) {
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
                let was_there = entry.is_established;
                if std::mem::take(&mut entry.is_moving) && entry.is_wanted {
                    self.outages.begin(place, now, GapReason::Moved, vec![topic.clone()]);
                } else {
                    entry.is_established = false;
                    self.topics.satisfy(topic, TopicVerb::Unsubscribe);
                    if was_there {
                        self.emit(SubscriptionEvent::Unsubscribed { topic: topic.clone(), refused: None });
                    }
                }
            }
        }
        self.settle(now, topic);
        self.tell_outages_that_are_over(now);
    }

    /// The server has ended a subscription without a request.
    fn ended_by_server(&mut self, now: Instant, place: LinkPlace, topic: &Topic) {
        let Some(entry) = self.topics.get(topic) else { return };
        if entry.server != ServerSide::Present {
            return;
        }
        entry.server = ServerSide::Absent;
        if !entry.is_wanted {
            return self.settle(now, topic);
        }
        self.outages.begin(place, now, GapReason::Moved, vec![topic.clone()]);
        match place {
            LinkPlace::Home => self.try_again(now, topic),
            // Either the new owner is known, or this node says at once which one it is.
            LinkPlace::Owner(_) => self.settle(now, topic),
        }
    }

    /// An error was the reply to a command for these topics.
    fn refused(&mut self, now: Instant, place: LinkPlace, verb: TopicVerb, mut topics: VecDeque<Topic>, code: &str, text: &str) {
        if topics.len() > 1 && code == "NOPERM" {
            // One name that is not allowed refuses all of the command: which one is found by halves.
            let second = topics.split_off(topics.len() / 2);
            self.send(now, place, verb, topics);
            self.send(now, place, verb, second);
            return;
        }
        for topic in topics {
            match verb {
                TopicVerb::Unsubscribe => self.end_refused(now, place, &topic, code, text),
                TopicVerb::Subscribe => self.begin_refused(now, &topic, code, text),
            }
        }
    }

    fn end_refused(&mut self, now: Instant, place: LinkPlace, topic: &Topic, code: &str, text: &str) {
        let Some(entry) = self.topics.get(topic) else { return };
        if code == "MOVED" {
            // Its slot has left the node, and with it the subscription.
            return self.confirmed(now, place, topic, TopicVerb::Unsubscribe);
        }
        entry.server = ServerSide::Present;
        if passes(code) {
            return self.try_again(now, topic);
        }
        entry.is_wanted = true;
        self.topics.refuse(topic, TopicVerb::Unsubscribe, text);
        self.topics.satisfy(topic, TopicVerb::Subscribe);
    }

    fn begin_refused(&mut self, now: Instant, topic: &Topic, code: &str, text: &str) {
        let target = self.target_of(topic);
        let Some(entry) = self.topics.get(topic) else { return };
        entry.server = ServerSide::Absent;
        if passes(code) {
            let waits = entry.is_wanted && entry.place == target;
            return if waits { self.try_again(now, topic) } else { self.settle(now, topic) };
        }
        let was_there = entry.is_established;
        self.topics.refuse(topic, TopicVerb::Subscribe, text);
        self.forget(topic);
        self.tell_outages_that_are_over(now);
        if was_there {
            self.emit(SubscriptionEvent::Unsubscribed { topic: topic.clone(), refused: Some(text.to_owned()) });
        }
    }
}

/// Whether an error passes by itself.
fn passes(code: &str) -> bool {
    matches!(code, "ASK" | "BUSY" | "CLUSTERDOWN" | "LOADING" | "MASTERDOWN" | "MOVED" | "TRYAGAIN")
}

/// `3999` of `MOVED 3999 127.0.0.1:6381`.
fn slot_in(text: &str) -> Option<u16> {
    text.split(' ').nth(1)?.parse().ok()
}
