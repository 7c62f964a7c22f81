//! Shared clients of one node: plain commands over a few connections, leased from the node's pools.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult, Value};
use redis_manager_core::{Instant, Runtime};

use crate::connection::resp::answer::{Replies, RequestFate, RequestOutcome};
use crate::connection::resp::request::Outgoing;
use crate::error::GetClientError;
use crate::redis_node::command_profile::CommandProfile;
use crate::redis_node::connection::{ended, timed_out};
use crate::redis_node::dirty_flags::DirtyFlags;
use crate::redis_node::metrics::RequestWay;
use crate::redis_node::metrics::counted_request::{CountedRequest, CountsRequests};
use crate::redis_node::metrics::node_counters::NodeCounters;
use crate::redis_node::replies::name_of;
use crate::redis_node::reply_class::{Author, ReplyClass};
use crate::redis_node::reply_timeout::ReusableSleep;
use crate::redis_node::session::Session;
use crate::redis_node::shared_connection::SharedConnection;
use crate::redis_node::shared_connections::SharedConnections;
use crate::redis_node::socket_end::SocketEnd;

/// A client of the shared connections of one node.
pub(crate) struct SharedHandle {
    pub(super) connections: Arc<SharedConnections>,
    /// The connection that it used last. It does not keep the lease.
    pub(super) pinned: Option<Arc<SharedConnection>>,
    pub(super) timer: ReusableSleep,
}

/// A request, and how it is to be judged.
#[derive(Clone, Copy)]
pub(crate) struct SharedRequest<'a> {
    pub(crate) profile: CommandProfile,
    pub(crate) request: Outgoing<'a>,
    pub(crate) author: Author,
}

impl SharedHandle {
    /// Waits until the node has a connection to share.
    pub(crate) async fn ready(connections: Arc<SharedConnections>, timeout: Duration) -> Result<Self, GetClientError> {
        let mut client = Self { connections, pinned: None, timer: ReusableSleep::default() };
        client.wait_ready(timeout).await?;
        Ok(client)
    }

    pub(crate) async fn wait_ready(&mut self, timeout: Duration) -> Result<(), GetClientError> {
        let now = self.connections.runtime.now();
        self.reserve(now, now + timeout).await?.release();
        Ok(())
    }

    pub(crate) fn node(&self) -> &str {
        self.connections.pool.name()
    }

    /// Begins a command by `deadline`: on the connection of the previous one, if that is the only one, or on the least busy
    /// one.
    pub(super) async fn reserve(&mut self, now: Instant, deadline: Instant) -> Result<InFlight<'_>, GetClientError> {
        let mut begun_at = now;
        let alone = self.connections.is_single();
        let kept = self.pinned.as_ref().is_some_and(|pinned| alone && pinned.begin(now, self.connections.trusted_for));
        if !kept {
            let connection = match self.connections.quietest(now) {
                Some(connection) => connection,
                None => {
                    let opened = self.connections.open(&mut self.timer, deadline).await?;
                    begun_at = self.connections.runtime.now();
                    opened
                }
            };
            self.pinned = Some(connection);
        }
        let connection = self.pinned.as_ref().expect("it was pinned just now");
        Ok(InFlight { connection, timer: &mut self.timer, runtime: &*self.connections.runtime, begun_at, answered: false })
    }

    /// Sends a request of a user, unless it is refused.
    async fn ask_counted(&mut self, checked: RedisResult<CommandProfile>, request: Outgoing<'_>) -> RedisResult<Replies> {
        let counted = CountedRequest::begin(self, RequestWay::Shared, request);
        let result = match checked {
            Ok(profile) => counted.sender.ask(SharedRequest { profile, request, author: Author::User }).await,
            Err(refused) => Err(refused),
        };
        counted.end(&result, request);
        result
    }

    /// Sends a request. What its connection did not send before it ended is sent on another one, until the deadline.
    pub(super) async fn ask(&mut self, asked: SharedRequest<'_>) -> RedisResult<Replies> {
        let mut now = self.connections.runtime.now();
        let deadline = asked.profile.reply_timeout.limit().map_or(Instant::from_nanos(u64::MAX), |limit| now + limit);
        loop {
            if let Some(result) = self.reserve(now, deadline).await?.send(asked, deadline).await {
                return result;
            }
            now = self.connections.runtime.now();
        }
    }
}

impl InFlight<'_> {
    /// Sends, and waits for the reply until `deadline`. `None` if the connection has ended, and nothing was sent.
    pub(super) async fn send(mut self, asked: SharedRequest<'_>, deadline: Instant) -> Option<RedisResult<Replies>> {
        let flight = &mut self;
        let SharedRequest { profile, request, author } = asked;
        let (sent_at, connection) = (flight.begun_at, flight.connection);
        let socket = &connection.socket;
        let mut asking = socket.ask(request);
        let outcome = flight.timer.by(flight.runtime, Some(deadline), &mut asking).await;
        flight.answered = outcome.is_some();
        if profile.leaves.has(DirtyFlags::CHECK) {
            // The connection is checked when it returns to the pool.
            connection.check_later();
        }
        let answer = match outcome {
            Some(RequestOutcome::Answered(answer)) => answer,
            Some(RequestOutcome::Ended(fate)) => {
                connection.retire();
                let is_lost = matches!(socket.why_ended(), None | Some(SocketEnd::Lost));
                let goes_on = fate == RequestFate::Unsent && is_lost;
                return (!goes_on).then(|| Err(ended(fate, socket)));
            }
            None => {
                let reply_timeout = profile.reply_timeout;
                // Even if the reply comes just afterwards.
                connection.check_later();
                // The time before it was sent is no wait for a reply.
                let waited = flight.runtime.now().saturating_duration_since(sent_at);
                if reply_timeout.limit().is_none_or(|limit| waited >= limit / 2) {
                    // A server is not silent if it answers other commands, or sends a reply that takes long.
                    if !asking.has_heard() {
                        connection.fall_silent();
                    }
                    connection.retire();
                }
                return Some(Err(timed_out(Some(socket.node()), reply_timeout, flight.runtime, asking.was_sent())));
            }
        };
        connection.answer();
        let news = ReplyClass::of(&answer, request, author);
        if !matches!(news, ReplyClass::AllWell | ReplyClass::Refused) && socket.tell(&news, flight.runtime.now()) {
            connection.retire();
        }
        Some(Ok(answer))
    }
}

impl CountsRequests for SharedHandle {
    fn counters(&self) -> &NodeCounters {
        &self.connections.pool.connector().counters
    }
}

impl Clone for SharedHandle {
    fn clone(&self) -> Self {
        Self { connections: Arc::clone(&self.connections), pinned: self.pinned.clone(), timer: ReusableSleep::default() }
    }
}

/// A command in flight, from its beginning to its end.
pub(super) struct InFlight<'a> {
    connection: &'a SharedConnection,
    timer: &'a mut ReusableSleep,
    runtime: &'a dyn Runtime,
    begun_at: Instant,
    answered: bool,
}

impl InFlight<'_> {
    /// Nothing was sent.
    fn release(mut self) {
        self.answered = true;
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.connection.abandon();
        }
        self.connection.end();
    }
}

impl ConnectionLike for SharedHandle {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        let profile = CommandProfile::of_command(cmd, self.connections.session);
        Box::pin(async move {
            let checked = refuse_unless_plain(cmd, profile).map(|()| profile);
            self.ask_counted(checked, Outgoing::Command(cmd)).await.and_then(Replies::into_value)
        })
    }

    fn req_packed_commands<'a>(&'a mut self, pipeline: &'a Pipeline, offset: usize, count: usize) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            let checked = refuse_unless_plain_pipeline(pipeline, offset, count, self.connections.session);
            let request = Outgoing::Pipeline { pipeline, offset, count };
            self.ask_counted(checked, request).await.and_then(|answer| answer.into_values(request))
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
