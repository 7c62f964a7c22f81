//! What a subscriber reads: messages, and what has happened to its subscriptions.

use std::sync::Arc;
use std::time::Duration;

use redis_manager_core::Instant;

use crate::subscriber::topic::{Topic, TopicKind};

/// What a [`Subscriber`](crate::Subscriber) reads, in the order in which it happened.
///
/// Messages of one channel come once and in the order in which the server sent them. Messages that are missing lie in a
/// [`Gap`](SubscriptionEvent::Gap) that comes before the next message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubscriptionEvent {
    /// A message.
    Message {
        /// The subscription that it came by: a message to a channel that is subscribed to by its name and by a pattern comes
        /// twice.
        kind: TopicKind,
        /// The channel that it was published to.
        channel: Vec<u8>,
        /// The pattern that matched, for [`TopicKind::Pattern`].
        pattern: Option<Vec<u8>>,
        /// Its bytes.
        payload: Vec<u8>,
    },
    /// The server has confirmed a new subscription. Not repeated after an outage.
    Subscribed {
        /// What is subscribed to.
        topic: Topic,
    },
    /// A subscription has ended.
    Unsubscribed {
        /// What was subscribed to.
        topic: Topic,
        /// The words of the server, if it refused to take the subscription up again after an outage. It is not tried again;
        /// `None` if the program has ended the subscription.
        refused: Option<String>,
    },
    /// Messages may be missing here. One for each outage, before the first message after it.
    Gap {
        /// Since when messages may be missing: when something was received last, on the clock of the manager's runtime.
        since: Instant,
        /// How long after `since` messages could be received again.
        lasted: Duration,
        /// Why.
        reason: GapReason,
        /// The subscriptions that may lack messages, sorted.
        channels: Arc<[Topic]>,
    },
}

/// Why messages may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GapReason {
    /// The connection was lost: the server closed it, has ended, or the network failed.
    ConnectionLost,
    /// The server did not answer, so that its connection was given up.
    Silent,
    /// The subscription belongs to another node now: the slot of a sharded channel has moved, or sentinels have made another node
    /// the primary.
    Moved,
    /// The reader was too slow, with [`Overflow::DropOldest`](crate::Overflow::DropOldest).
    Dropped {
        /// How many messages were dropped.
        messages: u64,
    },
}

/// Why a reader of a [`Subscriber`](crate::Subscriber) gets no more events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SubscriberEnd {
    /// The pools were closed, by [`close_all_pools`](crate::RedisManager::close_all_pools) or
    /// [`close_node_pools`](crate::RedisManager::close_node_pools).
    Closed,
    /// The runtime of the manager has ended.
    RuntimeEnded,
    /// The reader was too slow, with [`Overflow::End`](crate::Overflow::End).
    Overflow,
    /// The own events of the subscriber were [switched off](crate::Subscriber::only_receivers).
    SwitchedOff,
}

impl SubscriptionEvent {
    /// The bytes that count against [`buffer_bytes`](crate::SubscriberOptions::buffer_bytes).
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Message { channel, pattern, payload, .. } => {
                channel.len() + pattern.as_ref().map_or(0, Vec::len) + payload.len()
            }
            Self::Subscribed { topic } | Self::Unsubscribed { topic, .. } => topic.name.len(),
            // Its list is shared.
            Self::Gap { .. } => 0,
        }
    }

    /// The subscription by which a message came.
    pub(crate) fn topic_of_message(&self) -> Option<(TopicKind, &[u8])> {
        match self {
            Self::Message { kind, channel, pattern, .. } => Some((*kind, pattern.as_deref().unwrap_or(channel))),
            Self::Subscribed { .. } | Self::Unsubscribed { .. } | Self::Gap { .. } => None,
        }
    }
}
