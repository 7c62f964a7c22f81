//! The handle with which a program subscribes, and reads.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use redis_manager_core::{NodeConfig, Runtime};

use crate::redis_node::ReusableSleep;
use crate::subscriber::error::SubscribeError;
use crate::subscriber::event::{SubscriberEnd, SubscriptionEvent};
use crate::subscriber::filter::TopicFilter;
use crate::subscriber::lease_source::LeaseSource;
use crate::subscriber::options::SubscriberOptions;
use crate::subscriber::receiver::SubscriberReceiver;
use crate::subscriber::shared::SubscriberShared;
use crate::subscriber::state::subscriber_io::{CallNumber, SubscriberTiming};
use crate::subscriber::state::subscriber_state::SubscriberState;
use crate::subscriber::task::SubscriberTask;
use crate::subscriber::topic::{TopicKind, TopicVerb};

/// Subscriptions that survive the loss of their connection, and say what was missed; made by
/// [`RedisManager::subscriber`](crate::RedisManager::subscriber).
///
/// It has one connection, on loan from the node's pools, which counts as `active` and against the limits; in a cluster, one more
/// for each node that owns slots of its sharded channels. When a connection is lost, or does not answer a PING, another one is
/// taken from the pools, for as long as that takes, and everything is subscribed to again. Messages that may be missing lie in a [`Gap`](crate::pub_sub::Event::Gap) that comes before the next message.
///
/// Read events with [`next`](Subscriber::next), as a [`Stream`], or with [receivers](Subscriber::receiver) in several tasks.
/// Events that are not read are kept up to [`SubscriberOptions::buffer_messages`]; what happens then is
/// [`SubscriberOptions::overflow`].
///
/// When this and all of its receivers are dropped, all subscriptions end and the connection is given up. While there is one of
/// them, the node's pools stay open, unless they are closed explicitly; then it [ends](Subscriber::end).
///
/// ```no_run
/// # async fn example(manager: redis_manager::RedisManager) -> Result<(), Box<dyn std::error::Error>> {
/// use redis_manager::pub_sub::Event;
///
/// let mut subscriber = manager.subscriber("redis://localhost")?;
/// subscriber.subscribe(["weather", "sports"]).await?;
/// subscriber.psubscribe(["news.*"]).await?;
/// while let Some(event) = subscriber.next().await {
///     match event {
///         Event::Message { channel, payload, .. } => println!("{channel:?}: {payload:?}"),
///         Event::Gap { lasted, reason, .. } => println!("nothing for {lasted:?}: {reason:?}"),
///         _ => {}
///     }
/// }
/// println!("the end: {:?}", subscriber.end());
/// # Ok(())
/// # }
/// ```
#[must_use = "subscriptions end when the subscriber is dropped"]
pub struct Subscriber {
    shared: Arc<SubscriberShared>,
    own: SubscriberReceiver,
}

impl Subscriber {
    /// Starts the task. The options were checked.
    pub(crate) fn start(
        runtime: Arc<dyn Runtime>,
        source: LeaseSource,
        config: &NodeConfig,
        node: String,
        options: SubscriberOptions,
    ) -> Self {
        let timing = SubscriberTiming { ping_interval: options.ping_interval, reply_timeout: config.health_check_timeout() };
        let shared = SubscriberShared::new(Arc::clone(&runtime), options, config.default_timeout(), node);
        let own = SubscriberReceiver::new(&shared, TopicFilter::all());
        let state = SubscriberState::new(timing, source.slot_of());
        runtime.spawn(Box::pin(SubscriberTask::new(Arc::clone(&shared), source, state)));
        Self { shared, own }
    }

    /// Subscribes to channels. Returns when the server has confirmed all of them, after `default_timeout` at the latest. While
    /// there is no connection, it waits for one.
    ///
    /// Any number of names, also many thousands: they are sent at once. Names that are subscribed to already are left as they are.
    ///
    /// # Errors
    ///
    /// - [`Refused`](SubscribeError::Refused) with the names that the server has refused; the others are subscribed to.
    /// - [`Timeout`](SubscribeError::Timeout) at the end of `default_timeout`. Names that were not confirmed are given up.
    /// - [`Withdrawn`](SubscribeError::Withdrawn) if another call has unsubscribed meanwhile.
    /// - [`Ended`](SubscribeError::Ended) after the end.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before its end, names that were not confirmed are given up.
    pub async fn subscribe(&self, channels: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Result<(), SubscribeError> {
        let names = names_of(channels);
        self.call(TopicKind::Channel, TopicVerb::Subscribe, names).await
    }

    /// Subscribes to all channels that match one of these glob patterns; see [`subscribe`](Subscriber::subscribe).
    ///
    /// # Errors
    ///
    /// As [`subscribe`](Subscriber::subscribe).
    ///
    /// # Cancel safety
    ///
    /// As [`subscribe`](Subscriber::subscribe).
    pub async fn psubscribe(&self, patterns: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Result<(), SubscribeError> {
        let names = names_of(patterns);
        self.call(TopicKind::Pattern, TopicVerb::Subscribe, names).await
    }

    /// Subscribes to sharded channels; see [`subscribe`](Subscriber::subscribe). From Redis 7.0 on. In a cluster they may be in
    /// any slots: there is one more connection for each node that owns some of them, and channels follow their slots.
    ///
    /// # Errors
    ///
    /// As [`subscribe`](Subscriber::subscribe).
    ///
    /// # Cancel safety
    ///
    /// As [`subscribe`](Subscriber::subscribe).
    pub async fn ssubscribe(&self, channels: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Result<(), SubscribeError> {
        let names = names_of(channels);
        self.call(TopicKind::Sharded, TopicVerb::Subscribe, names).await
    }

    /// Ends the subscriptions to these channels, or to all channels if no name is given. Returns when the server has confirmed
    /// it, at once if there is no connection. Events before that are still read.
    ///
    /// # Errors
    ///
    /// As [`subscribe`](Subscriber::subscribe). What was refused is still subscribed to; after a timeout it may have ended.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before its end, the subscriptions end all the same.
    pub async fn unsubscribe(&self, channels: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Result<(), SubscribeError> {
        let names = names_of(channels);
        self.call(TopicKind::Channel, TopicVerb::Unsubscribe, names).await
    }

    /// Ends the subscriptions to these patterns, or to all patterns; see [`unsubscribe`](Subscriber::unsubscribe).
    ///
    /// # Errors
    ///
    /// As [`unsubscribe`](Subscriber::unsubscribe).
    ///
    /// # Cancel safety
    ///
    /// As [`unsubscribe`](Subscriber::unsubscribe).
    pub async fn punsubscribe(&self, patterns: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Result<(), SubscribeError> {
        let names = names_of(patterns);
        self.call(TopicKind::Pattern, TopicVerb::Unsubscribe, names).await
    }

    /// Ends the subscriptions to these sharded channels, or to all of them; see [`unsubscribe`](Subscriber::unsubscribe).
    ///
    /// # Errors
    ///
    /// As [`unsubscribe`](Subscriber::unsubscribe).
    ///
    /// # Cancel safety
    ///
    /// As [`unsubscribe`](Subscriber::unsubscribe).
    pub async fn sunsubscribe(&self, channels: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Result<(), SubscribeError> {
        let names = names_of(channels);
        self.call(TopicKind::Sharded, TopicVerb::Unsubscribe, names).await
    }

    async fn call(&self, kind: TopicKind, verb: TopicVerb, names: Vec<Arc<[u8]>>) -> Result<(), SubscribeError> {
        let shared = &*self.shared;
        let begun_at = shared.runtime.now();
        let number = shared.begin_call(kind, verb, names)?;
        let _guard = CallGuard { shared, number };
        let mut timer = ReusableSleep::default();
        let answered = poll_fn(|cx| shared.poll_call(number, cx));
        let outcome = timer.by(&*shared.runtime, Some(begun_at + shared.timeout), answered).await;
        outcome.unwrap_or_else(|| {
            if shared.runtime.has_ended() {
                return Err(SubscribeError::Ended(SubscriberEnd::RuntimeEnded));
            }
            let waited = shared.runtime.now().saturating_duration_since(begun_at);
            Err(SubscribeError::Timeout { waited, last_error: shared.last_error().map(Box::new) })
        })
    }

    /// The next event; `None` after the end, see [`end`](Subscriber::end).
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time: no event is lost.
    pub async fn next(&mut self) -> Option<SubscriptionEvent> {
        self.own.next().await
    }

    /// One more reader, with a buffer of its own: it gets the events from now on that its filter lets through. A slow one holds
    /// up no other, unless `overflow` is [`StopReading`](crate::Overflow::StopReading).
    ///
    /// The subscriber itself still gets all events: read them, or call [`only_receivers`](Subscriber::only_receivers).
    pub fn receiver(&self, filter: TopicFilter) -> SubscriberReceiver {
        SubscriberReceiver::new(&self.shared, filter)
    }

    /// From now on only receivers get events: [`next`](Subscriber::next) returns `None`, and events that it has not read are
    /// dropped.
    pub fn only_receivers(&self) {
        self.own.switch_off();
    }

    /// Why no more events come than those that were not read yet; `None` while more may come.
    #[must_use]
    pub fn end(&self) -> Option<SubscriberEnd> {
        self.own.end()
    }

    /// The node, by its URL with the password hidden, or by the name of the cluster.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.shared.node
    }
}

fn names_of(names: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Vec<Arc<[u8]>> {
    names.into_iter().map(|name| Arc::from(name.as_ref())).collect()
}

/// A call that waits, until it is dropped.
struct CallGuard<'a> {
    shared: &'a SubscriberShared,
    number: CallNumber,
}

impl Drop for CallGuard<'_> {
    fn drop(&mut self) {
        self.shared.leave_call(self.number);
    }
}

impl Stream for Subscriber {
    type Item = SubscriptionEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<SubscriptionEvent>> {
        Pin::new(&mut self.own).poll_next(cx)
    }
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber").field("node", &self.shared.node).field("end", &self.end()).finish_non_exhaustive()
    }
}
