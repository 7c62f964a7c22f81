//! Which connection a topic belongs to, and which connections there are.

use super::{LinkClose, LinkPhase, LinkPlace, SubscriberLink, SubscriberOutput, SubscriberState};
use crate::subscriber::topic::{Topic, TopicKind};
use redis_manager_core::Instant;

impl SubscriberState {
    /// Where a topic belongs; `None` while its slot has no owner.
    pub(super) fn target_of(&self, topic: &Topic) -> Option<LinkPlace> {
        match (&self.routes, topic.kind) {
            (Some(routes), TopicKind::Sharded) => routes.place_of(&topic.name),
            (Some(_) | None, TopicKind::Channel | TopicKind::Pattern | TopicKind::Sharded) => Some(LinkPlace::Home),
        }
    }

    /// Slots have other owners: their channels follow.
    pub(super) fn route(&mut self, now: Instant, owners: Vec<(u16, Option<u32>)>) {
        let Some(routes) = &mut self.routes else { return };
        let moved = routes.update(owners);
        if moved.is_empty() {
            return;
        }
        let is_concerned = |topic: &Topic| topic.kind == TopicKind::Sharded && moved.contains(&routes.slot_of(&topic.name));
        let concerned: Vec<Topic> =
            self.topics.iter().map(|(topic, _)| topic).filter(|topic| is_concerned(topic)).cloned().collect();
        for topic in concerned {
            self.settle(now, &topic);
        }
    }

    /// Puts a topic that no server has at a connection, which is dialled if it is new.
    pub(super) fn place(&mut self, topic: &Topic, target: Option<LinkPlace>) {
        let Some(entry) = self.topics.get(topic) else { return };
        let before = std::mem::replace(&mut entry.place, target);
        if before == target {
            return;
        }
        if let Some(link) = before.and_then(|place| self.links.get_mut(&place)) {
            link.topics.remove(topic);
        }
        if let Some(place) = target {
            self.links.entry(place).or_insert_with(SubscriberLink::new).topics.insert(topic.clone());
        }
    }

    /// Dials what is wanted, and gives up what has no topic left.
    pub(super) fn dial_and_release(&mut self) {
        let outputs = &mut self.outputs;
        self.links.retain(|&place, link| {
            let is_needed = place == LinkPlace::Home || !link.topics.is_empty();
            if !is_needed && link.phase != LinkPhase::Wanted {
                outputs.push_back(SubscriberOutput::Close { place, why: LinkClose::Unneeded });
            }
            if is_needed && link.phase == LinkPhase::Wanted {
                link.phase = LinkPhase::Dialling;
                outputs.push_back(SubscriberOutput::Dial(place));
            }
            is_needed
        });
    }
}
