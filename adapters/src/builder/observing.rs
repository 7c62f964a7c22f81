//! The settings about what happens in the nodes: who gets the events, and which waits are logged.

use std::sync::Arc;
#[cfg(feature = "tracing")]
use std::time::Duration;

use redis_manager_core::Observer;

use crate::builder::RedisManagerBuilder;

impl RedisManagerBuilder {
    /// Sets the object that gets the events of all nodes: connects, waits, closes, changes of health. Default none; without it,
    /// without [`event_buffer`](RedisManagerBuilder::event_buffer) and without the feature `tracing`, no event is made. It is
    /// called outside of all locks, often by a caller's task, and must not block. A panic in it costs it that event.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observe.observer = Some(observer);
        self
    }

    /// Events of all nodes together that are kept for the readers of [`RedisManager::events`](crate::RedisManager::events); when
    /// so many are unread, the oldest one is overwritten. Count, default 0, 0 to 65 536. With 0 there are no readers, and no
    /// event is made for them. 1 024 suits most services: it is more than 200 connections report when they are lost at once.
    ///
    /// With another number events are made from the start, and each takes an allocation at most and a short lock; without a
    /// reader none is kept.
    pub fn event_buffer(mut self, events: usize) -> Self {
        self.observe.event_buffer = events;
        self
    }

    /// A caller that waits longer than this for a client is logged as a warning, with how long it waited and, if it timed out,
    /// what it was waiting for. Default [`Duration::MAX`], which is never; 10 ms to [`Duration::MAX`].
    #[cfg(feature = "tracing")]
    pub fn slow_acquire(mut self, threshold: Duration) -> Self {
        self.observe.slow_acquire = threshold;
        self
    }
}
