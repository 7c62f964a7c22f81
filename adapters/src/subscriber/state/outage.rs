//! The times in which messages may be missed, each from the last sign of life until its subscriptions are there again.

use std::collections::BTreeSet;

use redis_manager_core::Instant;

use super::subscriber_io::LinkPlace;
use crate::subscriber::event::{GapReason, SubscriptionEvent};
use crate::subscriber::topic::Topic;

/// An outage that was not told yet.
#[derive(Debug)]
struct OpenOutage {
    /// Where it began.
    place: LinkPlace,
    since: Instant,
    reason: GapReason,
    topics: BTreeSet<Topic>,
    /// Those of them that are not there again, and are still wanted.
    missing: BTreeSet<Topic>,
}

impl OpenOutage {
    fn told(self, now: Instant) -> SubscriptionEvent {
        let Self { since, reason, topics, .. } = self;
        let lasted = now.saturating_duration_since(since);
        SubscriptionEvent::Gap { since, lasted, reason, channels: topics.into_iter().collect() }
    }
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Outages {
    open: Vec<OpenOutage>,
}

impl Outages {
    /// These subscriptions were lost. What is still open of them goes on, and so does what was lost at the same place for the same
    /// reason: it is one outage.
    pub(super) fn begin(&mut self, place: LinkPlace, since: Instant, reason: GapReason, lost: Vec<Topic>) {
        if lost.is_empty() {
            return;
        }
        let is_same = |open: &OpenOutage| {
            (open.place == place && open.reason == reason) || lost.iter().any(|topic| open.topics.contains(topic))
        };
        let (same, others) = std::mem::take(&mut self.open).into_iter().partition(is_same);
        self.open = others;
        let same: Vec<OpenOutage> = same;
        let new = || OpenOutage { place, since, reason, topics: BTreeSet::new(), missing: BTreeSet::new() };
        let join = |mut one: OpenOutage, other: OpenOutage| {
            one.since = one.since.min(other.since);
            one.topics.extend(other.topics);
            one.missing.extend(other.missing);
            one
        };
        let mut outage = same.into_iter().reduce(join).unwrap_or_else(new);
        outage.missing.extend(lost.iter().cloned());
        outage.topics.extend(lost);
        self.open.push(outage);
    }

    /// A subscription is there again, or is not wanted any more.
    pub(super) fn settle(&mut self, topic: &Topic) {
        for open in &mut self.open {
            open.missing.remove(topic);
        }
    }

    /// What is to be told because nothing is missing any more.
    pub(super) fn take_over(&mut self, now: Instant) -> Vec<SubscriptionEvent> {
        self.take_if(now, |open| open.missing.is_empty())
    }

    /// What is to be told before a message.
    pub(super) fn take_before(&mut self, now: Instant, message: &SubscriptionEvent) -> Vec<SubscriptionEvent> {
        if self.open.is_empty() {
            return Vec::new();
        }
        let topic = message.topic_of_message().map(|(kind, name)| Topic::new(kind, name));
        self.take_if(now, |open| topic.as_ref().is_some_and(|topic| open.topics.contains(topic)))
    }

    fn take_if(&mut self, now: Instant, is_taken: impl Fn(&OpenOutage) -> bool) -> Vec<SubscriptionEvent> {
        if !self.open.iter().any(&is_taken) {
            return Vec::new();
        }
        let (taken, open) = std::mem::take(&mut self.open).into_iter().partition(is_taken);
        self.open = open;
        let taken: Vec<OpenOutage> = taken;
        taken.into_iter().map(|outage| outage.told(now)).collect()
    }
}
