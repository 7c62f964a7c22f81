//! Commands for what is due, in as few as can be.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use redis_manager_core::Instant;

use super::{LinkPlace, ServerSide, SubscriberLink, SubscriberOutput, SubscriberState};
use crate::subscriber::state::sent_requests::SentCommand;
use crate::subscriber::topic::{Topic, TopicKind, TopicVerb};

/// Names in one command at most. Several commands are sent at once.
const MOST_NAMES: usize = 1_000;
/// A command is not begun anew while it has fewer bytes of names.
const MOST_BYTES: usize = 512 * 1_024;

/// Topics that one command may have. All channels of a command have the same slot, at owners of slots.
type CommandKey = (LinkPlace, TopicKind, Option<u16>, bool);

impl SubscriberState {
    /// Sends what is due on the connections that there are.
    pub(super) fn flush(&mut self, now: Instant) {
        if self.due.is_empty() {
            return;
        }
        let mut by_command: BTreeMap<CommandKey, VecDeque<Topic>> = BTreeMap::new();
        for topic in std::mem::take(&mut self.due) {
            let target = self.target_of(&topic);
            let Some(entry) = self.topics.get(&topic) else { continue };
            let Some(place) = entry.place else { continue };
            let is_subscribed = match entry.server {
                ServerSide::Absent if entry.is_wanted => false,
                ServerSide::Present if !entry.is_wanted || (target.is_some() && target != entry.place) => true,
                ServerSide::Absent | ServerSide::Present | ServerSide::Subscribing | ServerSide::Unsubscribing => continue,
            };
            if !self.links.get(&place).is_some_and(SubscriberLink::is_up) {
                continue;
            }
            let slot = match (place, &self.routes) {
                (LinkPlace::Owner(_), Some(routes)) => Some(routes.slot_of(&topic.name)),
                (LinkPlace::Owner(_) | LinkPlace::Home, Some(_) | None) => None,
            };
            by_command.entry((place, topic.kind, slot, is_subscribed)).or_default().push_back(topic);
        }
        for ((place, _, _, is_subscribed), mut topics) in by_command {
            let verb = if is_subscribed { TopicVerb::Unsubscribe } else { TopicVerb::Subscribe };
            while !topics.is_empty() {
                let mut bytes = 0;
                let fits = |topic: &&Topic| {
                    bytes += topic.name.len();
                    bytes - topic.name.len() < MOST_BYTES
                };
                let count = topics.iter().take(MOST_NAMES).take_while(fits).count();
                let rest = topics.split_off(count);
                self.send(now, place, verb, std::mem::replace(&mut topics, rest));
            }
        }
    }

    /// Sends a command for at least one topic of one kind.
    pub(super) fn send(&mut self, now: Instant, place: LinkPlace, verb: TopicVerb, topics: VecDeque<Topic>) {
        let Some(kind) = topics.front().map(|topic| topic.kind) else { return };
        let Some(link) = self.links.get_mut(&place) else { return };
        for topic in &topics {
            let Some(entry) = self.topics.get(topic) else { continue };
            entry.is_moving = entry.is_wanted && verb == TopicVerb::Unsubscribe;
            entry.server = match verb {
                TopicVerb::Subscribe => ServerSide::Subscribing,
                TopicVerb::Unsubscribe => ServerSide::Unsubscribing,
            };
        }
        let names = topics.iter().map(|topic| Arc::clone(&topic.name)).collect();
        self.outputs.push_back(SubscriberOutput::Send { place, kind, verb, names });
        link.sent.push(SentCommand::Names { kind, verb, topics });
        link.expect_reply(now, self.timing);
    }
}
