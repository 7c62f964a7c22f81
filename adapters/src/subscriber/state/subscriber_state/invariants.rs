//! The invariants of a subscriber, in debug builds.

use super::{LinkPhase, SubscriberState};
use crate::subscriber::state::topic_table::ServerSide;

/// Topics up to which they are checked: it takes time for each of them.
const MOST_CHECKED: usize = 64;

impl SubscriberState {
    pub(super) fn check(&self) {
        if !cfg!(debug_assertions) || self.topics.len() > MOST_CHECKED {
            return;
        }
        let is_up = self.link == LinkPhase::Up;
        let is_moving = |server| matches!(server, ServerSide::Subscribing | ServerSide::Unsubscribing);
        let moving = self.topics.iter().filter(|(_, entry)| is_moving(entry.server)).count();
        assert_eq!(moving, self.sent.topics(), "B1: a topic is on its way in one command");
        assert!(is_up || self.sent.is_empty(), "B1: nothing is on its way without a connection");
        for (topic, entry) in self.topics.iter().filter(|_| is_up) {
            let is_settled = is_moving(entry.server) || (entry.is_wanted && entry.server == ServerSide::Present);
            let is_tried_again = self.again.contains(topic) && self.again_at.is_some();
            assert!(is_settled || is_tried_again, "B2: {topic} is not as it is wanted, and nothing is done about it");
        }
        assert!(self.topics.is_consistent(), "B3: a call waits for at least one topic, or has ended");
    }
}
