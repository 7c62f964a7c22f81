//! The time in which messages may be missed, from the last sign of life until all subscriptions are there again.

use std::collections::BTreeSet;

use redis_manager_core::Instant;

use crate::subscriber::event::{GapReason, SubscriptionEvent};
use crate::subscriber::topic::Topic;

/// An outage that was not told yet.
#[derive(Debug)]
struct OpenOutage {
    since: Instant,
    reason: GapReason,
    topics: BTreeSet<Topic>,
    /// Those of them that are not there again, and are still wanted.
    missing: BTreeSet<Topic>,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Outages {
    open: Option<OpenOutage>,
}

impl Outages {
    /// These subscriptions were lost. What is still open goes on: it is one outage.
    pub(super) fn begin(&mut self, since: Instant, reason: GapReason, lost: impl IntoIterator<Item = Topic>) {
        let mut lost = lost.into_iter().peekable();
        if lost.peek().is_none() {
            return;
        }
        let new = || OpenOutage { since, reason, topics: BTreeSet::new(), missing: BTreeSet::new() };
        let open = self.open.get_or_insert_with(new);
        for topic in lost {
            open.missing.insert(topic.clone());
            open.topics.insert(topic);
        }
    }

    /// A subscription is there again, or is not wanted any more.
    pub(super) fn settle(&mut self, topic: &Topic) {
        if let Some(open) = &mut self.open {
            open.missing.remove(topic);
        }
    }

    /// What is to be told if nothing is missing any more.
    pub(super) fn take_if_over(&mut self, now: Instant) -> Option<SubscriptionEvent> {
        self.open.as_ref().is_some_and(|open| open.missing.is_empty()).then(|| self.take(now)).flatten()
    }

    /// What is to be told before a message.
    pub(super) fn take(&mut self, now: Instant) -> Option<SubscriptionEvent> {
        let OpenOutage { since, reason, topics, missing: _ } = self.open.take()?;
        let lasted = now.saturating_duration_since(since);
        Some(SubscriptionEvent::Gap { since, lasted, reason, channels: topics.into_iter().collect() })
    }
}
