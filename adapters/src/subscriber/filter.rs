//! Which events a receiver gets.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::subscriber::event::SubscriptionEvent;
use crate::subscriber::topic::{Topic, TopicKind};

/// Which events a [`SubscriberReceiver`](crate::pub_sub::SubscriberReceiver) gets: those of all subscriptions, or of some. It
/// subscribes to nothing by itself.
///
/// ```
/// use redis_manager::pub_sub::TopicFilter;
///
/// let filter = TopicFilter::none().channel("weather").pattern("news.*");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicFilter {
    /// By kind; `None`: all of them.
    names: Option<[BTreeSet<Vec<u8>>; 3]>,
}

impl TopicFilter {
    /// All events.
    #[must_use]
    pub fn all() -> Self {
        Self { names: None }
    }

    /// No event, unless more is added.
    #[must_use]
    pub fn none() -> Self {
        Self { names: Some(Default::default()) }
    }

    /// Adds what comes by the subscription to a channel. No effect on [`all`](TopicFilter::all), as for the other two.
    #[must_use]
    pub fn channel(self, name: impl AsRef<[u8]>) -> Self {
        self.with(TopicKind::Channel, name.as_ref())
    }

    /// Adds what comes by the subscription to a pattern; the pattern is compared as it was subscribed to.
    #[must_use]
    pub fn pattern(self, name: impl AsRef<[u8]>) -> Self {
        self.with(TopicKind::Pattern, name.as_ref())
    }

    /// Adds what comes by the subscription to a sharded channel.
    #[must_use]
    pub fn sharded(self, name: impl AsRef<[u8]>) -> Self {
        self.with(TopicKind::Sharded, name.as_ref())
    }

    fn with(mut self, kind: TopicKind, name: &[u8]) -> Self {
        if let Some(names) = &mut self.names {
            names[kind as usize].insert(name.to_vec());
        }
        self
    }

    /// Whether it lets everything through.
    pub(crate) fn is_all(&self) -> bool {
        self.names.is_none()
    }

    fn has(&self, kind: TopicKind, name: &[u8]) -> bool {
        self.names.as_ref().is_none_or(|names| names[kind as usize].contains(name))
    }

    /// The event as it is for this filter, if it is.
    pub(crate) fn apply(&self, event: &SubscriptionEvent) -> Option<SubscriptionEvent> {
        match event {
            SubscriptionEvent::Message { .. } => {
                let (kind, name) = event.topic_of_message()?;
                self.has(kind, name).then(|| event.clone())
            }
            SubscriptionEvent::Subscribed { topic } | SubscriptionEvent::Unsubscribed { topic, .. } => {
                self.has(topic.kind, &topic.name).then(|| event.clone())
            }
            SubscriptionEvent::Gap { since, lasted, reason, channels } => {
                if self.names.is_none() {
                    return Some(event.clone());
                }
                let own: Arc<[Topic]> = channels.iter().filter(|topic| self.has(topic.kind, &topic.name)).cloned().collect();
                let gap = SubscriptionEvent::Gap { since: *since, lasted: *lasted, reason: *reason, channels: own.clone() };
                (!own.is_empty()).then_some(gap)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use redis_manager_core::Instant;

    use super::*;
    use crate::subscriber::event::GapReason;

    fn message(kind: TopicKind, channel: &str, pattern: Option<&str>) -> SubscriptionEvent {
        let pattern = pattern.map(|pattern| pattern.as_bytes().to_vec());
        SubscriptionEvent::Message { kind, channel: channel.into(), pattern, payload: b"1".to_vec() }
    }

    /// Seen to bite: with a filter by channel where a pattern matched, and with gaps of other channels.
    #[test]
    fn a_filter_lets_through_what_came_by_its_subscriptions_and_the_gaps_of_these() {
        let filter = TopicFilter::none().channel("a").pattern("n*").sharded("s");
        let passes = |event: &SubscriptionEvent| filter.apply(event).is_some();
        assert!(passes(&message(TopicKind::Channel, "a", None)));
        assert!(passes(&message(TopicKind::Pattern, "news", Some("n*"))));
        assert!(passes(&message(TopicKind::Sharded, "s", None)));
        assert!(!passes(&message(TopicKind::Pattern, "a", Some("a*"))));
        assert!(!passes(&message(TopicKind::Channel, "s", None)));
        let topics = ["a", "b", "c"].map(|name| Topic::new(TopicKind::Channel, name));
        let gap = |channels: &[Topic]| SubscriptionEvent::Gap {
            since: Instant::ZERO,
            lasted: Duration::ZERO,
            reason: GapReason::Silent,
            channels: channels.into(),
        };
        assert_eq!(filter.apply(&gap(&topics)), Some(gap(&topics[..1])));
        assert_eq!(filter.apply(&gap(&topics[1..])), None);
        assert_eq!(TopicFilter::all().apply(&gap(&topics)), Some(gap(&topics)));
    }
}
