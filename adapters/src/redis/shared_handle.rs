//! Shared clients of one node: plain commands over a few connections, leased from the node's pools.

#[cfg(feature = "cluster")]
use std::future::poll_fn;
#[cfg(feature = "cluster")]
use std::pin::pin;
use std::sync::Arc;
#[cfg(feature = "cluster")]
use std::task::Poll;
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult, Value};
use redis_manager_core::{Instant, Runtime};

#[cfg(feature = "cluster")]
use crate::cluster::RetryBudget;
use crate::error::GetClientError;
use crate::redis_node::command_profile::CommandProfile;
use crate::redis_node::connection::{is_fatal, outcome_unknown, timed_out, unanswered};
use crate::redis_node::dirty_flags::DirtyFlags;
use crate::redis_node::metrics::RequestWay;
use crate::redis_node::metrics::counted_request::{CountedRequest, CountsRequests};
use crate::redis_node::metrics::node_counters::NodeCounters;
#[cfg(feature = "cluster")]
use crate::redis_node::metrics::request_result::RequestEnd;
use crate::redis_node::replies::name_of;
use crate::redis_node::reply_class::{ReplyClass, ReplyValues, RequestRef};
use crate::redis_node::reply_timeout::{Awaited, ReusableSleep};
use crate::redis_node::session::Session;
use crate::redis_node::shared_connection::SharedConnection;
use crate::redis_node::shared_connections::SharedConnections;

/// A client of the shared connections of one node.
pub(crate) struct SharedHandle {
    connections: Arc<SharedConnections>,
    seat: Option<PinnedConnection>,
    timer: ReusableSleep,
}

/// The connection that a shared client used last. It does not keep the lease.
#[derive(Clone)]
struct PinnedConnection {
    connection: Arc<SharedConnection>,
    handle: MultiplexedConnection,
}

impl SharedHandle {
    /// Waits until the node has a connection to share.
    pub(crate) async fn ready(connections: Arc<SharedConnections>, timeout: Duration) -> Result<Self, GetClientError> {
        let mut client = Self { connections, seat: None, timer: ReusableSleep::default() };
        let now = client.connections.runtime.now();
        client.board(now, now + timeout).await?.arrive();
        Ok(client)
    }

    pub(crate) fn node(&self) -> &str {
        self.connections.pool.name()
    }

    /// A client that waits for a connection at its first command.
    #[cfg(feature = "cluster")]
    pub(crate) fn unready(connections: Arc<SharedConnections>) -> Self {
        Self { connections, seat: None, timer: ReusableSleep::default() }
    }

    /// Begins a command by `deadline`: on the connection of the previous one, if that is the only one, or on the least busy
    /// one.
    async fn board(&mut self, now: Instant, deadline: Instant) -> Result<InFlight<'_>, GetClientError> {
        let mut begun_at = now;
        let alone = self.connections.is_single();
        let kept = self.seat.as_ref().is_some_and(|seat| alone && seat.connection.begin(now, self.connections.trusted_for));
        if !kept {
            let connection = match self.connections.quietest(now) {
                Some(connection) => connection,
                None => {
                    let opened = self.connections.open(&mut self.timer, deadline).await?;
                    begun_at = self.connections.runtime.now();
                    opened
                }
            };
            let known = self.seat.as_ref().is_some_and(|seat| Arc::ptr_eq(&seat.connection, &connection));
            if !known {
                let handle = connection.handle.clone();
                self.seat = Some(PinnedConnection { connection, handle });
            }
        }
        let PinnedConnection { connection, handle } = self.seat.as_mut().expect("it was taken just now");
        Ok(InFlight {
            connection,
            handle,
            timer: &mut self.timer,
            runtime: &*self.connections.runtime,
            begun_at,
            answered: false,
        })
    }

    /// Sends a request of a user, unless it is refused.
    async fn ask_counted<T: ReplyValues>(
        &mut self,
        checked: RedisResult<CommandProfile>,
        asked: RequestRef<'_>,
        send: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>,
    ) -> RedisResult<T> {
        let counted = CountedRequest::begin(self, RequestWay::Shared, asked);
        let result = match checked {
            Ok(request) => counted.sender.ask(request, asked, send).await,
            Err(refused) => Err(refused),
        };
        counted.end(&result, asked);
        result
    }

    /// Sends a command of our own, which is not counted.
    #[cfg(feature = "cluster")]
    pub(crate) async fn ask_ours(&mut self, cmd: &Cmd) -> RedisResult<Value> {
        let request = CommandProfile::of_command(cmd, self.connections.session);
        self.ask(request, RequestRef::Ours, async |handle| handle.send_packed_command(cmd).await).await
    }

    async fn ask<T: ReplyValues>(
        &mut self,
        request: CommandProfile,
        asked: RequestRef<'_>,
        send: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>,
    ) -> RedisResult<T> {
        let now = self.connections.runtime.now();
        let deadline = request.reply_timeout.limit().map_or(Instant::from_nanos(u64::MAX), |limit| now + limit);
        let flight = self.board(now, deadline).await?;
        flight.fly(request, deadline, asked, send).await
    }

    /// The same, but the wait for a connection may be cancelled: `elsewhere` ends when the command must not be sent here any
    /// more. Then, and only if nothing was sent, there is no result.
    #[cfg(feature = "cluster")]
    pub(crate) async fn ask_unless<T: ReplyValues>(
        &mut self,
        attempt: &RetryBudget,
        elsewhere: impl Future<Output = ()>,
        asked: RequestRef<'_>,
        send: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>,
    ) -> Result<Option<RedisResult<T>>, GetClientError> {
        let counted = CountedRequest::begin(self, RequestWay::Shared, asked);
        let outcome = counted.sender.ask_here_or(attempt, elsewhere, asked, send).await;
        match &outcome {
            Ok(Some(result)) => counted.end(result, asked),
            Ok(None) | Err(_) => counted.end_as(RequestEnd::NotSent, asked),
        }
        outcome
    }

    #[cfg(feature = "cluster")]
    async fn ask_here_or<T: ReplyValues>(
        &mut self,
        attempt: &RetryBudget,
        elsewhere: impl Future<Output = ()>,
        asked: RequestRef<'_>,
        send: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>,
    ) -> Result<Option<RedisResult<T>>, GetClientError> {
        let now = self.connections.runtime.now();
        let boarded = {
            let (mut boarding, mut elsewhere) = (pin!(self.board(now, attempt.begin_by)), pin!(elsewhere));
            poll_fn(|cx| match boarding.as_mut().poll(cx) {
                Poll::Ready(boarded) => Poll::Ready(Some(boarded)),
                Poll::Pending => elsewhere.as_mut().poll(cx).map(|()| None),
            })
            .await
        };
        let Some(flight) = boarded.transpose()? else { return Ok(None) };
        Ok(Some(flight.fly(attempt.request, attempt.deadline, asked, send).await))
    }
}

impl InFlight<'_> {
    /// Sends, and waits for the reply until `deadline`.
    async fn fly<T: ReplyValues>(
        mut self,
        request: CommandProfile,
        deadline: Instant,
        asked: RequestRef<'_>,
        send: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>,
    ) -> RedisResult<T> {
        let flight = &mut self;
        let (sent_at, received) = (flight.begun_at, flight.connection.socket.received.mark());
        let socket = &flight.connection.socket;
        let answered = match flight.timer.reply(flight.runtime, sent_at, Some(deadline), socket, send(flight.handle)).await {
            Awaited::Reply(answered) => Some(answered),
            Awaited::TimedOut => None,
            Awaited::Unanswered => Some(Err(unanswered())),
        };
        flight.answered = answered.is_some();
        let (connection, reply_timeout) = (flight.connection, request.reply_timeout);
        if request.leaves.has(DirtyFlags::CHECK) {
            // The connection is checked when it returns to the pool.
            connection.check_later();
        }
        let Some(result) = answered else {
            // The time before it was sent is no wait for a reply.
            let waited = flight.runtime.now().saturating_duration_since(sent_at);
            if reply_timeout.limit().is_none_or(|limit| waited >= limit / 2) {
                // A server is not silent if it answers other commands, or sends a reply that takes long.
                if !connection.socket.received.mark().has_reply_since(received) {
                    connection.fall_silent();
                }
                connection.retire();
            }
            return Err(timed_out(Some(connection.socket.node()), reply_timeout, flight.runtime));
        };
        connection.answer(sent_at);
        let result = result.map_err(|error| match is_fatal(&error) {
            true => {
                // Other commands in flight could get wrong replies.
                connection.socket.close();
                outcome_unknown(&error, &connection.socket)
            }
            false => error,
        });
        let news = ReplyClass::of(&result, asked);
        if !matches!(news, ReplyClass::AllWell | ReplyClass::Refused) && connection.socket.tell(&news, flight.runtime.now()) {
            connection.retire();
        }
        result
    }
}

impl CountsRequests for SharedHandle {
    fn counters(&self) -> &NodeCounters {
        &self.connections.pool.connector().counters
    }
}

impl Clone for SharedHandle {
    fn clone(&self) -> Self {
        Self { connections: Arc::clone(&self.connections), seat: self.seat.clone(), timer: ReusableSleep::default() }
    }
}

/// A command in flight, from its beginning to its end.
struct InFlight<'a> {
    connection: &'a SharedConnection,
    handle: &'a mut MultiplexedConnection,
    timer: &'a mut ReusableSleep,
    runtime: &'a dyn Runtime,
    begun_at: Instant,
    answered: bool,
}

impl InFlight<'_> {
    /// Nothing was sent.
    fn arrive(mut self) {
        self.answered = true;
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.connection.abandon(self.runtime.now());
        }
        self.connection.end();
    }
}

impl ConnectionLike for SharedHandle {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        let request = CommandProfile::of_command(cmd, self.connections.session);
        Box::pin(async move {
            let checked = refuse_unless_plain(cmd, request).map(|()| request);
            let send = async |handle: &mut MultiplexedConnection| handle.send_packed_command(cmd).await;
            self.ask_counted(checked, RequestRef::Command(cmd), send).await
        })
    }

    fn req_packed_commands<'a>(&'a mut self, pipeline: &'a Pipeline, offset: usize, count: usize) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            let checked = refuse_unless_plain_pipeline(pipeline, offset, count, self.connections.session);
            let asked = RequestRef::Pipeline(pipeline, offset);
            let send = async |handle: &mut MultiplexedConnection| handle.send_packed_commands(pipeline, offset, count).await;
            self.ask_counted(checked, asked, send).await
        })
    }

    fn get_db(&self) -> i64 {
        self.connections.session.home
    }
}

/// The same for every command of a pipeline, and for the pipeline as a whole.
pub(crate) fn refuse_unless_plain_pipeline(
    pipeline: &Pipeline,
    offset: usize,
    count: usize,
    session: Session,
) -> RedisResult<CommandProfile> {
    let traces = if pipeline.is_transaction() { DirtyFlags::MULTI } else { DirtyFlags::NONE };
    let inside = Session { traces, ..session };
    for cmd in pipeline.cmd_iter() {
        refuse_unless_plain(cmd, CommandProfile::of_command(cmd, inside))?;
    }
    let request = CommandProfile::of_packed_commands(pipeline, offset, count, session);
    request.check_pipeline(pipeline)?;
    Ok(request)
}

/// Refuses commands that would affect other users of the connection.
pub(crate) fn refuse_unless_plain(cmd: &Cmd, request: CommandProfile) -> RedisResult<()> {
    if request.leaves.without(DirtyFlags::CHECK).is_none() && request.ends.is_none() && !request.reply_timeout.is_blocking() {
        return request.check(cmd);
    }
    Err(RedisError::from((ErrorKind::Client, "a shared client cannot send this command", name_of(cmd))))
}

#[cfg(all(test, feature = "tokio"))]
mod tests;
