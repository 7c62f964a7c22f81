//! A client for subscriptions, on a lease.

use std::collections::BTreeSet;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use redis::{Arg, ErrorKind, Msg, ProtocolVersion, PushInfo, PushKind, RedisError, RedisResult, ToRedisArgs};
use redis_manager_core::Lease;

use crate::connection::resp::answer::Replies;
use crate::connection::resp::request::Outgoing;
use crate::redis_node::RedisConnector;
use crate::redis_node::close_registry::RegistryEntry;
use crate::redis_node::command_profile::CommandProfile;
use crate::redis_node::dirty_flags::DirtyFlags;
use crate::redis_node::metrics::counted_request::{CountsRequests, ask_counted};
use crate::redis_node::pub_sub_end::PubSubEnd;
use crate::redis_node::reply_timeout::ReplyTimeout;
use crate::redis_node::socket_end::SocketEnd;

/// A client that subscribes to channels; made by [`Client::into_pub_sub`](crate::Client::into_pub_sub). It needs RESP3.
///
/// Get messages with [`next_message`](PubSub::next_message), or use it as a `Stream`. Dropping it closes the connection and
/// ends all subscriptions; its place in the pool becomes free. A lost connection is not restored: messages end, and messages
/// published meanwhile are lost, as always with Redis. When the pools of the node close, it ends at once. [`end`](PubSub::end)
/// returns the reason.
///
/// ```no_run
/// # async fn example(manager: redis_manager::RedisManager) -> Result<(), Box<dyn std::error::Error>> {
/// let mut news = manager.get_client("redis://localhost").await?.into_pub_sub()?;
/// news.subscribe(&["weather", "sports"]).await?;
/// while let Some(message) = news.next_message().await {
///     println!("{}: {}", message.get_channel_name(), message.get_payload::<String>()?);
/// }
/// println!("the subscription has ended: {:?}", news.end());
/// # Ok(())
/// # }
/// ```
pub struct PubSub {
    lease: Lease<RedisConnector>,
    /// Ends the subscription when the pools close.
    _entry: Option<RegistryEntry>,
    /// Its end was counted.
    has_ended: bool,
    subscribed: SubscribedNames,
}

impl PubSub {
    pub(crate) fn new(mut lease: Lease<RedisConnector>) -> RedisResult<Self> {
        if lease.protocol() == ProtocolVersion::RESP2 {
            return Err(RedisError::from((ErrorKind::InvalidClientConfig, "subscriptions on a lease need RESP3")));
        }
        lease.leave(DirtyFlags::LASTING);
        let entry = lease.listen();
        lease.counters().begin_subscription();
        Ok(Self { lease, _entry: entry, has_ended: false, subscribed: SubscribedNames::default() })
    }

    /// Subscribes to channels. Returns when the server has confirmed it.
    ///
    /// # Errors
    ///
    /// A [`RedisError`](redis::RedisError), within `command_timeout` (default 5 s):
    ///
    /// - `not sent` if the connection was lost before, or if the pools are closed.
    /// - `outcome unknown` if the connection is lost, or if there is no reply in time.
    /// - The server's own error, for example `NOPERM`.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before its end, the subscription may or may not exist.
    pub async fn subscribe(&mut self, channels: impl ToRedisArgs + Send) -> RedisResult<()> {
        self.ask("SUBSCRIBE", channels).await
    }

    /// Subscribes to all channels whose names match a pattern. Returns when the server has confirmed it.
    ///
    /// # Errors
    ///
    /// A [`RedisError`](redis::RedisError), within `command_timeout`: `not sent` if the connection was lost before,
    /// `outcome unknown` if it is lost or there is no reply in time, or the server's own error.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before its end, the subscription may or may not exist.
    pub async fn psubscribe(&mut self, patterns: impl ToRedisArgs + Send) -> RedisResult<()> {
        self.ask("PSUBSCRIBE", patterns).await
    }

    /// Ends the subscription to these channels. Messages that arrived before are still returned.
    ///
    /// # Errors
    ///
    /// A [`RedisError`](redis::RedisError), within `command_timeout`: `not sent` if the connection was lost before,
    /// `outcome unknown` if it is lost or there is no reply in time, or the server's own error.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before its end, the subscription may or may not have ended.
    pub async fn unsubscribe(&mut self, channels: impl ToRedisArgs + Send) -> RedisResult<()> {
        self.ask("UNSUBSCRIBE", channels).await
    }

    /// Ends the subscription to these patterns. Messages that arrived before are still returned.
    ///
    /// # Errors
    ///
    /// A [`RedisError`](redis::RedisError), within `command_timeout`: `not sent` if the connection was lost before,
    /// `outcome unknown` if it is lost or there is no reply in time, or the server's own error.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before its end, the subscription may or may not have ended.
    pub async fn punsubscribe(&mut self, patterns: impl ToRedisArgs + Send) -> RedisResult<()> {
        self.ask("PUNSUBSCRIBE", patterns).await
    }

    /// Why no more messages arrive; `None` while they may. Messages that arrived before the end are still returned.
    #[must_use]
    pub fn end(&self) -> Option<PubSubEnd> {
        self.lease.socket().why_ended().map(|why| match why {
            SocketEnd::Lost => PubSubEnd::ConnectionLost,
            SocketEnd::PoolsClosed => PubSubEnd::Closed,
            SocketEnd::RuntimeEnded => PubSubEnd::RuntimeEnded,
        })
    }

    /// The next message, in the order in which the server sent them; `None` after the end, see [`end`](PubSub::end).
    ///
    /// Up to 1 024 messages are kept in memory, and those of the read that brought them. When that many wait, the connection is not read until half of them are taken;
    /// the server's limit on the output of its clients applies meanwhile. While `subscribe` and similar calls wait for a reply,
    /// everything is read and kept.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time: no message is lost.
    pub async fn next_message(&mut self) -> Option<Msg> {
        poll_fn(|cx| self.poll_message(cx)).await
    }

    /// The next push of the server, whatever it is about: a message, a confirmation, or an invalidation, if `CLIENT TRACKING` was
    /// switched on before [`into_pub_sub`](crate::Client::into_pub_sub). Otherwise as [`next_message`](PubSub::next_message), which
    /// passes over all but messages.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time: no push is lost.
    pub async fn next_push(&mut self) -> Option<PushInfo> {
        poll_fn(|cx| self.poll_push(cx)).await
    }

    fn poll_push(&mut self, cx: &mut Context<'_>) -> Poll<Option<PushInfo>> {
        let push = std::task::ready!(self.lease.socket().poll_push(cx));
        match &push {
            Some(PushInfo { kind: PushKind::Message | PushKind::PMessage | PushKind::SMessage, .. }) => {
                self.lease.counters().note_message();
            }
            Some(_) => {}
            None => self.count_end(),
        }
        Poll::Ready(push)
    }

    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Option<Msg>> {
        loop {
            let Some(push) = std::task::ready!(self.poll_push(cx)) else { return Poll::Ready(None) };
            // Other pushes confirm a subscription, for example.
            if let Some(message) = Msg::from_push_info(push) {
                return Poll::Ready(Some(message));
            }
        }
    }

    /// Counts that it has ended, once.
    fn count_end(&mut self) {
        if !std::mem::replace(&mut self.has_ended, true) {
            self.lease.counters().end_subscription(self.end());
        }
    }

    /// `name` is that of the command. The server confirms each of its channels or patterns.
    async fn ask(&mut self, name: &str, names: impl ToRedisArgs + Send) -> RedisResult<()> {
        let reply_timeout = ReplyTimeout::Ordinary(Some(self.lease.session().command_timeout));
        let profile = CommandProfile { reply_timeout, ..CommandProfile::UNBOUNDED };
        let mut cmd = redis::cmd(name);
        cmd.arg(names);
        let subscribed = self.subscribed.of(name);
        let names: Vec<Vec<u8>> = cmd.args_iter().skip(1).filter_map(bytes_of).collect();
        let is_for_all = names.is_empty();
        let names = if is_for_all { subscribed.iter().cloned().collect() } else { names };
        if is_for_all {
            // With all names: each of them is confirmed, whether it is subscribed to or not. Without any, one end is confirmed.
            cmd.arg(&names);
        }
        let confirmations = names.len().max(1);
        let begins = matches!(name, "SUBSCRIBE" | "PSUBSCRIBE");
        // It may have begun from now on, also if this future is dropped.
        let begun: Vec<_> = names.iter().filter(|name| begins && subscribed.insert((*name).clone())).collect();
        let request = Outgoing::Subscription { cmd: &cmd, confirmations };
        let answer = ask_counted(&mut self.lease, Ok(profile), request).await.and_then(Replies::into_value)?;
        let subscribed = self.subscribed.of(name);
        match answer.extract_error() {
            Err(refused) => {
                begun.into_iter().for_each(|name| drop(subscribed.take(name)));
                return Err(refused);
            }
            Ok(_) if begins => {}
            Ok(_) => names.iter().for_each(|name| drop(subscribed.take(name))),
        }
        Ok(())
    }
}

/// What was subscribed to, as far as the server has confirmed it or may have.
#[derive(Default)]
struct SubscribedNames {
    channels: BTreeSet<Vec<u8>>,
    patterns: BTreeSet<Vec<u8>>,
}

impl SubscribedNames {
    /// The names of the kind that a command is about.
    fn of(&mut self, command: &str) -> &mut BTreeSet<Vec<u8>> {
        if command.starts_with('P') { &mut self.patterns } else { &mut self.channels }
    }
}

fn bytes_of(arg: Arg<&[u8]>) -> Option<Vec<u8>> {
    match arg {
        Arg::Simple(bytes) => Some(bytes.to_vec()),
        Arg::Cursor | _ => None,
    }
}

impl Drop for PubSub {
    fn drop(&mut self) {
        self.count_end();
    }
}

impl Stream for PubSub {
    type Item = Msg;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Msg>> {
        self.get_mut().poll_message(cx)
    }
}

impl fmt::Debug for PubSub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PubSub").field("connection", &**self.lease).finish()
    }
}
