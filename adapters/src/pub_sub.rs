//! Publish and subscribe: what a [`Subscriber`] reads, its settings, and why a call was not confirmed.

pub use crate::subscriber::{
    GapReason, Overflow, SubscribeError, Subscriber, SubscriberEnd, SubscriberError, SubscriberOptions, SubscriberReceiver,
    SubscriptionEvent as Event, Topic, TopicFilter, TopicKind,
};
