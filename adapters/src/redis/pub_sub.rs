//! A client that listens: subscriptions on a lease.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, Msg, ProtocolVersion, RedisError, RedisResult, ToRedisArgs};
use redis_manager_core::Lease;

use crate::redis_node::RedisConnector;
use crate::redis_node::close_registry::RegistryEntry;
use crate::redis_node::command_profile::CommandProfile;
use crate::redis_node::dirty_flags::DirtyFlags;
use crate::redis_node::reply_class::RequestRef;
use crate::redis_node::reply_timeout::ReplyTimeout;
use crate::redis_node::socket_end::SocketEnd;

/// A client that listens to channels; made by [`Client::into_pub_sub`](crate::Client::into_pub_sub). It needs RESP3.
///
/// Messages are had by [`next_message`](PubSub::next_message), or as a `Stream`. Dropping it closes its connection, and
/// with that ends all subscriptions; its place in the pool is free then. The connection is not restored when it is lost:
/// messages end, and what was published meanwhile is lost, as Redis has it. When the pools of its node close, it ends at once;
/// [`end`](PubSub::end) says which of them it was.
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
    /// Has it ended when the pools close.
    _entry: Option<RegistryEntry>,
}

/// Why a [`PubSub`] gets no more messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PubSubEnd {
    /// The pools of its node were closed, by [`close_all_pools`](crate::RedisManager::close_all_pools) or
    /// [`close_node_pools`](crate::RedisManager::close_node_pools).
    Closed,
    /// The server has closed the connection, or the path to it has broken. A new one can be made.
    ConnectionLost,
    /// The runtime that the manager was built on has ended.
    RuntimeEnded,
}

impl PubSubEnd {
    /// Whether the server is the reason, as [`RedisErrorExt::is_unavailable`](crate::RedisErrorExt::is_unavailable) has it for
    /// commands.
    #[must_use]
    pub fn is_unavailable(self) -> bool {
        match self {
            Self::ConnectionLost => true,
            Self::Closed | Self::RuntimeEnded => false,
        }
    }
}

impl PubSub {
    pub(crate) fn new(mut lease: Lease<RedisConnector>) -> RedisResult<Self> {
        if lease.protocol() == ProtocolVersion::RESP2 {
            return Err(RedisError::from((ErrorKind::InvalidClientConfig, "subscriptions on a lease need RESP3")));
        }
        lease.leave(DirtyFlags::LASTING);
        let entry = lease.listen();
        Ok(Self { lease, _entry: entry })
    }

    /// Listens to channels, from the server's answer on.
    ///
    /// # Errors
    ///
    /// As any command: within `command_timeout`.
    ///
    /// # Cancel safety
    ///
    /// Dropped before its end, it may or may not listen.
    pub async fn subscribe(&mut self, channels: impl ToRedisArgs + Send) -> RedisResult<()> {
        self.ask(async |handle| handle.subscribe(channels).await).await
    }

    /// Listens to all channels whose names match a pattern; else as [`subscribe`](PubSub::subscribe).
    ///
    /// # Errors
    ///
    /// As [`subscribe`](PubSub::subscribe).
    pub async fn psubscribe(&mut self, patterns: impl ToRedisArgs + Send) -> RedisResult<()> {
        self.ask(async |handle| handle.psubscribe(patterns).await).await
    }

    /// Listens to these channels no more. Messages that have come before can still be had.
    ///
    /// # Errors
    ///
    /// As [`subscribe`](PubSub::subscribe).
    pub async fn unsubscribe(&mut self, channels: impl ToRedisArgs + Send) -> RedisResult<()> {
        self.ask(async |handle| handle.unsubscribe(channels).await).await
    }

    /// Listens to these patterns no more; else as [`unsubscribe`](PubSub::unsubscribe).
    ///
    /// # Errors
    ///
    /// As [`subscribe`](PubSub::subscribe).
    pub async fn punsubscribe(&mut self, patterns: impl ToRedisArgs + Send) -> RedisResult<()> {
        self.ask(async |handle| handle.punsubscribe(patterns).await).await
    }

    /// Why no more messages come; none as long as they may. Messages that have come before the end can still be had.
    #[must_use]
    pub fn end(&self) -> Option<PubSubEnd> {
        self.lease.socket().why_ended().map(|why| match why {
            SocketEnd::Lost => PubSubEnd::ConnectionLost,
            SocketEnd::PoolsClosed => PubSubEnd::Closed,
            SocketEnd::RuntimeEnded => PubSubEnd::RuntimeEnded,
        })
    }

    /// The next message, in the order in which the server sent them; none once it has ended, see [`end`](PubSub::end).
    ///
    /// Up to 1 024 messages that nobody takes are kept; then the connection is not read until half of them are taken, so
    /// that the server's own limit on the output of its clients decides about the rest. While a `subscribe` or its like
    /// waits for its answer, everything is read, and kept.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time: no message is lost.
    pub async fn next_message(&mut self) -> Option<Msg> {
        poll_fn(|cx| self.poll_message(cx)).await
    }

    fn poll_message(&self, cx: &mut Context<'_>) -> Poll<Option<Msg>> {
        loop {
            // Others say that it has subscribed, for example.
            match self.lease.socket().poll_push(cx).map(|push| push.map(Msg::from_push_info)) {
                Poll::Ready(Some(None)) => {}
                Poll::Ready(Some(message)) => return Poll::Ready(message),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    async fn ask(&mut self, send: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<()>) -> RedisResult<()> {
        let reply_timeout = ReplyTimeout::Ordinary(Some(self.lease.session().command_timeout));
        let _everything = self.lease.socket().read_on();
        self.lease.ask(CommandProfile { reply_timeout, ..CommandProfile::UNBOUNDED }, RequestRef::Ours, send).await
    }
}

impl Stream for PubSub {
    type Item = Msg;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Msg>> {
        self.poll_message(cx)
    }
}

impl fmt::Debug for PubSub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PubSub").field("connection", &**self.lease).finish()
    }
}
