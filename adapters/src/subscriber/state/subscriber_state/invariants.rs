//! The invariants of a subscriber, in debug builds.

use super::{LinkPlace, SubscriberLink, SubscriberState};
use crate::subscriber::state::topic_table::ServerSide;

/// Topics up to which they are checked: it takes time for each of them.
const MOST_CHECKED: usize = 64;

impl SubscriberState {
    pub(super) fn check(&self) {
        if !cfg!(debug_assertions) || self.topics.len() > MOST_CHECKED {
            return;
        }
        let is_on_its_way = |server| matches!(server, ServerSide::Subscribing | ServerSide::Unsubscribing);
        for (place, link) in &self.links {
            let here = || self.topics.iter().filter(|(_, entry)| entry.place == Some(*place));
            let moving = here().filter(|(_, entry)| is_on_its_way(entry.server)).count();
            assert_eq!(moving, link.sent.topics(), "B1: a topic is on its way in one command");
            assert!(link.is_up() || link.sent.is_empty(), "B1: nothing is on its way without a connection");
            assert!(here().map(|(topic, _)| topic).eq(&link.topics), "B4: a topic belongs to one connection");
            assert!(*place == LinkPlace::Home || !link.topics.is_empty(), "B4: a connection without a topic is given up");
        }
        for (topic, entry) in self.topics.iter() {
            let target = self.target_of(topic);
            let Some(place) = entry.place else {
                assert!(target.is_none() && entry.is_wanted, "B2: {topic} waits for an owner of its slot");
                continue;
            };
            if !self.links.get(&place).is_some_and(SubscriberLink::is_up) {
                assert_eq!(entry.server, ServerSide::Absent, "B2: {topic} is nowhere");
                continue;
            }
            let is_here = entry.server == ServerSide::Present && target.is_none_or(|target| target == place);
            let is_settled = is_on_its_way(entry.server) || (entry.is_wanted && is_here);
            let is_tried_again = self.again.contains(topic) && self.again_at.is_some();
            assert!(is_settled || is_tried_again, "B2: {topic} is not as it is wanted, and nothing is done about it");
        }
        assert!(self.topics.is_consistent(), "B3: a call waits for at least one topic, or has ended");
    }
}
