//! What shared clients of one node do: plain commands over a few connections, which are leased from the node's pools.

#[cfg(feature = "cluster")]
use std::future::poll_fn;
use std::io;
#[cfg(feature = "cluster")]
use std::pin::pin;
use std::sync::Arc;
#[cfg(feature = "cluster")]
use std::task::Poll;
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult, Value};
use redis_manager_core::{GetClientError, Instant, Runtime};

#[cfg(feature = "cluster")]
use crate::cluster::Attempt;
use crate::redis_node::connection::{is_fatal, outcome_unknown, timed_out, unanswered};
use crate::redis_node::hub::Hub;
use crate::redis_node::news::{Answer, Asked, News};
use crate::redis_node::patience::{Awaited, KeptTimer};
use crate::redis_node::replies::name_of;
use crate::redis_node::session::{Request, Session, Traces};
use crate::redis_node::track::Track;

/// A client of the shared connections of one node.
pub(crate) struct NodeShare {
    hub: Arc<Hub>,
    seat: Option<Seat>,
    timer: KeptTimer,
}

/// What a shared client keeps of the connection that it used last. It does not keep the connection.
#[derive(Clone)]
struct Seat {
    track: Arc<Track>,
    handle: MultiplexedConnection,
}

impl NodeShare {
    /// Waits until the node has a connection to share.
    pub(crate) async fn ready(hub: Arc<Hub>, timeout: Duration) -> Result<Self, GetClientError> {
        let mut client = Self { hub, seat: None, timer: KeptTimer::default() };
        let now = client.hub.runtime.now();
        client.board(now, now + timeout).await?.arrive();
        Ok(client)
    }

    pub(crate) fn node(&self) -> &str {
        self.hub.pool.name()
    }

    /// One that waits at its first command.
    #[cfg(feature = "cluster")]
    pub(crate) fn unready(hub: Arc<Hub>) -> Self {
        Self { hub, seat: None, timer: KeptTimer::default() }
    }

    /// A command begins: on the connection of the one before, if that is the only one, or on the quietest; by `deadline`.
    async fn board(&mut self, now: Instant, deadline: Instant) -> Result<Flight<'_>, GetClientError> {
        let mut begun_at = now;
        let alone = self.hub.is_single();
        let kept = self.seat.as_ref().is_some_and(|seat| alone && seat.track.begin(now, self.hub.trusted_for));
        if !kept {
            let track = match self.hub.quietest(now) {
                Some(track) => track,
                None => {
                    let opened = self.hub.open(&mut self.timer, deadline).await?;
                    begun_at = self.hub.runtime.now();
                    opened
                }
            };
            let known = self.seat.as_ref().is_some_and(|seat| Arc::ptr_eq(&seat.track, &track));
            if !known {
                let handle = track.handle.clone();
                self.seat = Some(Seat { track, handle });
            }
        }
        let Seat { track, handle } = self.seat.as_mut().expect("it was taken just now");
        Ok(Flight { track, handle, timer: &mut self.timer, runtime: &*self.hub.runtime, begun_at, answered: false })
    }

    async fn ask<T: Answer>(
        &mut self,
        request: Request,
        asked: Asked<'_>,
        send: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>,
    ) -> RedisResult<T> {
        let now = self.hub.runtime.now();
        let deadline = request.patience.limit().map_or(Instant::from_nanos(u64::MAX), |limit| now + limit);
        let flight = self.board(now, deadline).await.map_err(not_sent)?;
        flight.fly(request, deadline, asked, send).await
    }

    /// The same, but for one who knows better than to wait: `elsewhere` ends when the command is not to be sent here. Then,
    /// and only if nothing was sent, there is no result.
    #[cfg(feature = "cluster")]
    pub(crate) async fn ask_unless<T: Answer>(
        &mut self,
        attempt: &Attempt,
        elsewhere: impl Future<Output = ()>,
        asked: Asked<'_>,
        send: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>,
    ) -> Result<Option<RedisResult<T>>, GetClientError> {
        let now = self.hub.runtime.now();
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

impl Flight<'_> {
    /// Sends, and waits for the reply until `deadline`.
    async fn fly<T: Answer>(
        mut self,
        request: Request,
        deadline: Instant,
        asked: Asked<'_>,
        send: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>,
    ) -> RedisResult<T> {
        let flight = &mut self;
        let (sent_at, heard) = (flight.begun_at, flight.track.link.received.mark());
        let link = &flight.track.link;
        let answered = match flight.timer.reply(flight.runtime, sent_at, Some(deadline), link, send(flight.handle)).await {
            Awaited::Reply(answered) => Some(answered),
            Awaited::TimedOut => None,
            Awaited::Unanswered => Some(Err(unanswered())),
        };
        flight.answered = answered.is_some();
        let (track, patience) = (flight.track, request.patience);
        if request.leaves.has(Traces::CHECK) {
            // It is checked when it goes back to the pool.
            track.check_later();
        }
        let Some(result) = answered else {
            // One that had to wait for its connection has not waited long for its reply.
            let waited = flight.runtime.now().saturating_duration_since(sent_at);
            if patience.limit().is_none_or(|limit| waited >= limit / 2) {
                // A server that answers others, or sends a reply that takes long, is not silent.
                if !track.link.received.mark().has_reply_since(heard) {
                    track.fall_silent();
                }
                track.retire();
            }
            return Err(timed_out(patience, flight.runtime));
        };
        track.answer(sent_at);
        let result = result.map_err(|error| match is_fatal(&error) {
            true => {
                // Whatever else is in flight might get a reply that is not its own.
                track.link.close();
                outcome_unknown(&error, &track.link)
            }
            false => error,
        });
        let news = News::of(&result, asked);
        if !matches!(news, News::AllWell | News::Refused) && track.link.tell(&news, flight.runtime.now()) {
            track.retire();
        }
        result
    }
}

impl Clone for NodeShare {
    fn clone(&self) -> Self {
        Self { hub: Arc::clone(&self.hub), seat: self.seat.clone(), timer: KeptTimer::default() }
    }
}

/// A command under way, from its beginning to its end.
struct Flight<'a> {
    track: &'a Track,
    handle: &'a mut MultiplexedConnection,
    timer: &'a mut KeptTimer,
    runtime: &'a dyn Runtime,
    begun_at: Instant,
    answered: bool,
}

impl Flight<'_> {
    /// Nothing was sent.
    fn arrive(mut self) {
        self.answered = true;
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.track.abandon(self.runtime.now());
        }
        self.track.end();
    }
}

impl ConnectionLike for NodeShare {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        let request = Request::of_command(cmd, self.hub.session);
        Box::pin(async move {
            refuse_unless_plain(cmd, request)?;
            self.ask(request, Asked::Command(cmd), async |handle| handle.send_packed_command(cmd).await).await
        })
    }

    fn req_packed_commands<'a>(&'a mut self, pipeline: &'a Pipeline, offset: usize, count: usize) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            let request = refuse_unless_plain_pipeline(pipeline, offset, count, self.hub.session)?;
            let asked = Asked::Pipeline(pipeline, offset);
            self.ask(request, asked, async |handle| handle.send_packed_commands(pipeline, offset, count).await).await
        })
    }

    fn get_db(&self) -> i64 {
        self.hub.session.home
    }
}

/// The same of every command of a pipeline, and of it as a whole.
pub(crate) fn refuse_unless_plain_pipeline(
    pipeline: &Pipeline,
    offset: usize,
    count: usize,
    session: Session,
) -> RedisResult<Request> {
    let traces = if pipeline.is_transaction() { Traces::MULTI } else { Traces::NONE };
    let inside = Session { traces, ..session };
    for cmd in pipeline.cmd_iter() {
        refuse_unless_plain(cmd, Request::of_command(cmd, inside))?;
    }
    let request = Request::of_packed_commands(pipeline, offset, count, session);
    request.check_pipeline(pipeline)?;
    Ok(request)
}

/// Others would notice.
pub(crate) fn refuse_unless_plain(cmd: &Cmd, request: Request) -> RedisResult<()> {
    if request.leaves.without(Traces::CHECK).is_none() && request.ends.is_none() && !request.patience.is_blocking() {
        return request.check(cmd);
    }
    Err(RedisError::from((ErrorKind::Client, "a shared client cannot send this command", name_of(cmd))))
}

/// The error of a command for which there was no connection.
#[derive(Debug, thiserror::Error)]
#[error("not sent: {0}")]
struct NotSent(#[source] GetClientError);

pub(crate) fn not_sent(error: GetClientError) -> RedisError {
    let kind = match &error {
        GetClientError::Timeout { .. } | GetClientError::NoHealthyPools { .. } => io::ErrorKind::TimedOut,
        GetClientError::UnknownNode { .. }
        | GetClientError::Saturated { .. }
        | GetClientError::NoFloorLeft { .. }
        | GetClientError::Closed { .. }
        | GetClientError::RuntimeEnded { .. }
        | _ => io::ErrorKind::NotConnected,
    };
    RedisError::from(io::Error::new(kind, NotSent(error)))
}

#[cfg(all(test, feature = "tokio"))]
mod tests;
