//! A connection to Redis as the pool holds it: one stream, one driver task, and what is known of its health and session.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, Pipeline, ProtocolVersion, RedisError, RedisResult, Value};
use redis_manager_core::{Instant, Residue, Runtime};

use crate::redis_node::close_registry::{CloseRegistry, Entry, WaitsFor};
use crate::redis_node::contention::{Contender, Contention};
use crate::redis_node::link::{Link, LinkEnd};
use crate::redis_node::news::{Answer, Asked, News};
use crate::redis_node::patience::{Awaited, KeptTimer, Patience};
use crate::redis_node::received::Mark;
use crate::redis_node::session::{Request, Session, Traces};
use crate::redis_node::sign_of_life::Echo;

const RUNTIME_ENDED: &str = "connection lost, outcome unknown: the runtime of its pools has ended";

/// A connection that one borrower uses at a time. Dropping it closes the socket, whatever is in flight.
pub(crate) struct RedisConnection {
    handle: MultiplexedConnection,
    link: Arc<Link>,
    registry: Arc<CloseRegistry>,
    runtime: Arc<dyn Runtime>,
    contention: Arc<Contention>,
    /// Whether it gives the nonce of a PING back.
    pub(crate) echo: Echo,
    timer: KeptTimer,
    state: State,
    /// What the server had sent when the last command was sent.
    asked_at: Mark,
    /// What its borrower has left on it so far, and what it was before.
    session: Session,
    /// The number of the cluster that its node is a part of.
    #[cfg(feature = "cluster")]
    cluster: Option<u64>,
}

/// What the commands of its borrowers have made of a connection.
///
/// ```text
///  Clear --- a command is sent ---> Asked --- its reply arrives, or that of a later one ---> Clear
///                                     |
///                                     '--- no reply in time ---> Silent      an I/O or protocol error ---> Broken
/// ```
///
/// A borrower that leaves while it is `Asked` leaves it so: a late reply may still come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Clear,
    /// Since when; none if the server may take its time.
    Asked(Option<Instant>),
    Silent,
    Broken,
}

impl RedisConnection {
    pub(crate) fn new(
        handle: MultiplexedConnection,
        link: Arc<Link>,
        registry: Arc<CloseRegistry>,
        runtime: Arc<dyn Runtime>,
        contention: Arc<Contention>,
        session: Session,
    ) -> Self {
        link.outstanding.set_asked(false);
        Self {
            handle,
            link,
            registry,
            runtime,
            contention,
            echo: Echo::Untried,
            timer: KeptTimer::default(),
            state: State::Clear,
            asked_at: Mark::default(),
            session,
            #[cfg(feature = "cluster")]
            cluster: None,
        }
    }

    /// From now on the cluster is told of slots that have moved.
    #[cfg(feature = "cluster")]
    pub(crate) fn enter_cluster(&mut self, cluster: u64) {
        self.cluster = Some(cluster);
    }

    /// What a request is judged by.
    pub(crate) fn session(&self) -> Session {
        self.session
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// From now on it listens: until the guard is dropped, or the pools close, which ends it at once.
    pub(crate) fn listen(&self) -> Option<Entry> {
        self.link.listen();
        let entry = self.registry.enter(&self.link, WaitsFor::Messages);
        if entry.is_none() {
            self.link.end(LinkEnd::PoolsClosed);
        }
        entry
    }

    /// Another handle on the same stream.
    pub(crate) fn handle(&self) -> MultiplexedConnection {
        self.handle.clone()
    }

    pub(crate) fn protocol(&self) -> ProtocolVersion {
        self.session.protocol
    }

    pub(crate) fn db(&self) -> i64 {
        self.session.home
    }

    /// Whether it must not be lent again; a reply that has been outstanding for `patience` will not come.
    pub(crate) fn is_broken(&self, patience: Duration) -> bool {
        self.link.is_dead()
            || match self.state {
                State::Clear => false,
                State::Asked(Some(since)) => self.has_waited(since, patience),
                State::Asked(None) | State::Silent | State::Broken => true,
            }
    }

    /// Whether a command was sent and got no reply for at least `patience`.
    pub(crate) fn is_silent(&self, patience: Duration) -> bool {
        match self.state {
            // Also if the link was closed for it.
            State::Silent => true,
            State::Asked(Some(since)) => !self.link.is_dead() && self.has_waited(since, patience),
            State::Clear | State::Asked(None) | State::Broken => false,
        }
    }

    /// What its borrower has left on it, if it is sound.
    pub(crate) fn residue(&self) -> Residue {
        if self.session.traces.has(Traces::LASTING) {
            Residue::Lasting
        } else if self.link.buffers().have_outgrown() {
            Residue::Oversized
        } else if self.session.traces.is_none() && self.state == State::Clear {
            Residue::None
        } else {
            Residue::Removable
        }
    }

    /// Notes what a borrower leaves that does not send its commands by [`ask`](Self::ask).
    pub(crate) fn leave(&mut self, traces: Traces) {
        self.session.traces |= traces;
        if traces.has(Traces::LASTING) {
            self.link.outstanding.set_open_ended();
        }
    }

    /// Notes that replies are outstanding, since now or for too long.
    pub(crate) fn note_outstanding(&mut self, silent: bool) {
        self.asked_at = self.link.received.mark();
        self.state = if silent { State::Silent } else { State::Asked(Some(self.runtime.now())) };
    }

    /// Undoes what a borrower has left, in one round trip, and makes sure that every reply before this one has come. Where
    /// the nonce does not come back, nothing is sure.
    pub(crate) async fn clean(&mut self, nonce: &str) -> RedisResult<bool> {
        if self.echo == Echo::Missing {
            return Ok(false);
        }
        let mut pipeline = Pipeline::new();
        if self.session.traces.has(Traces::MULTI) {
            pipeline.cmd("DISCARD");
        }
        if self.session.traces.has(Traces::WATCH) {
            pipeline.cmd("UNWATCH");
        }
        if self.session.traces.has(Traces::DATABASE) {
            pipeline.cmd("SELECT").arg(self.db());
        }
        pipeline.cmd("PING").arg(nonce);
        let count = pipeline.len();
        let send = async |handle: &mut MultiplexedConnection| handle.send_packed_commands(&pipeline, 0, count).await;
        let mut answers = self.ask(Request::UNBOUNDED, Asked::Ours, send).await?;
        let echoed = matches!(answers.pop(), Some(Value::BulkString(bytes)) if bytes == nonce.as_bytes());
        if self.session.traces.has(Traces::MULTI) {
            // An error if MULTI itself had failed; no transaction is open either way, or PING would have been queued.
            answers.remove(0);
        }
        let undone = echoed && answers.iter().all(|answer| *answer == Value::Okay);
        if undone {
            self.echo = Echo::Proven;
            self.session.traces = Traces::NONE;
        }
        Ok(undone)
    }

    /// Sends something and waits for its reply, no longer than its patience.
    pub(crate) async fn ask<T: Answer>(
        &mut self,
        request: Request,
        asked: Asked<'_>,
        send: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>,
    ) -> RedisResult<T> {
        let now = self.runtime.now();
        let since = match self.state {
            _ if self.link.is_dead() => return Err(lost_before(self.link.why_ended())),
            State::Broken => return Err(lost_before(None)),
            State::Silent | State::Asked(None) => return Err(lost("connection lost: an earlier command got no reply")),
            // Replies come in the order of the commands: the one to this command ends the wait for all before it.
            State::Asked(Some(since)) if !self.has_heard() => since,
            State::Asked(Some(_)) | State::Clear => now,
        };
        let blocking = request.patience.is_blocking();
        let entry = if blocking { self.registry.enter(&self.link, WaitsFor::Reply) } else { None };
        if blocking && entry.is_none() {
            return Err(lost_before(Some(LinkEnd::PoolsClosed)));
        }
        self.asked_at = self.link.received.mark();
        self.link.outstanding.set_asked(true);
        let deadline = request.patience.limit().map(|limit| now + limit);
        self.leave(request.leaves);
        if self.session.traces.has(Traces::MULTI) && (request.leaves | request.ends).has(Traces::MULTI) {
            self.session.traces |= Traces::UNSURE;
        }
        self.state = State::Asked(if blocking { None } else { Some(since) });
        let cancelled = CloseUnlessAnswered(blocking.then_some(&*self.link));
        let answered = match self.timer.reply(&*self.runtime, now, deadline, &self.link, send(&mut self.handle)).await {
            Awaited::Reply(answered) => Some(answered),
            Awaited::TimedOut => None,
            Awaited::Unanswered => Some(Err(unanswered())),
        };
        if answered.is_some() {
            cancelled.answered();
        } else {
            drop(cancelled);
        }
        drop(entry);
        let (state, result) = match answered {
            Some(Ok(value)) => (State::Clear, Ok(value)),
            Some(Err(error)) if is_fatal(&error) => (State::Broken, Err(outcome_unknown(&error, &self.link))),
            Some(Err(error)) => (State::Clear, Err(error)),
            None => (State::Silent, Err(timed_out(request.patience, &*self.runtime))),
        };
        self.state = state;
        self.link.outstanding.set_asked(state != State::Clear);
        #[cfg(feature = "cluster")]
        if let Some(cluster) = self.cluster {
            crate::cluster::note_redirections(cluster, &result);
        }
        let news = News::of(&result, asked);
        if news == News::AllWell {
            self.session.traces = self.session.traces.without(request.ends | Traces::UNSURE);
        } else if !self.session.traces.has(Traces::LASTING) {
            // One who has logged out, say, is told what others are not.
            self.link.tell(&news, self.runtime.now());
        }
        result
    }

    /// A transaction that begins with `watch`, among those of the node.
    pub(crate) fn contender(&self, watch: &Cmd) -> Contender {
        Contender::new(Arc::clone(&self.contention), watch)
    }

    pub(crate) fn seed(&self) -> u64 {
        self.runtime.seed()
    }

    /// Waits for something that is no reply, at most for so long, and no longer than the connection lives: its end is looked
    /// at before the timer, which may be that of a runtime that has ended.
    pub(crate) async fn within<T>(&mut self, length: Duration, event: impl Future<Output = T>) -> Option<T> {
        let (link, mut event) = (&self.link, pin!(event));
        let happened = poll_fn(|cx| if link.is_dead() { Poll::Ready(None) } else { event.as_mut().poll(cx).map(Some) });
        let deadline = self.runtime.now() + length;
        self.timer.by(&*self.runtime, Some(deadline), happened).await.flatten()
    }

    /// Whether anything was heard since the last command was sent. It may be the reply itself, which nobody waited for any
    /// more. It may be a push, too, which is no reply but shows that the server is there; whether it answers shows when the
    /// connection is cleaned.
    fn has_heard(&self) -> bool {
        self.link.received.mark().is_beyond(self.asked_at)
    }

    /// Whether nothing was heard for so long.
    fn has_waited(&self, since: Instant, patience: Duration) -> bool {
        !self.has_heard() && self.runtime.now().saturating_duration_since(since) >= patience
    }
}

impl Drop for RedisConnection {
    fn drop(&mut self) {
        // Without this a command in flight would keep the socket open for as long as the server stays silent.
        self.link.close();
    }
}

impl std::fmt::Debug for RedisConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisConnection").field("state", &self.state).field("link", &self.link).finish_non_exhaustive()
    }
}

/// A command that blocks and is dropped before its reply, or gets none in time, closes the socket: what it waits for
/// would be taken by nobody.
struct CloseUnlessAnswered<'a>(Option<&'a Link>);

impl CloseUnlessAnswered<'_> {
    fn answered(mut self) {
        self.0 = None;
    }
}

impl Drop for CloseUnlessAnswered<'_> {
    fn drop(&mut self) {
        if let Some(link) = self.0 {
            link.close();
        }
    }
}

/// Whether the stream can no longer be trusted to be in step. Errors of the server do not come this way.
pub(crate) fn is_fatal(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Io | ErrorKind::Parse) || error.is_unrecoverable_error()
}

/// What a command gets that may have been sent before its connection ended. The error may quote what the server has sent,
/// which may be what we have sent.
pub(crate) fn outcome_unknown(error: &RedisError, link: &Link) -> RedisError {
    match link.why_ended() {
        Some(LinkEnd::PoolsClosed) => lost("connection closed, outcome unknown: the pools were closed, and no reply had come"),
        Some(LinkEnd::RuntimeEnded) => lost(RUNTIME_ENDED),
        Some(LinkEnd::Lost) | None => {
            lost(&format!("connection lost, outcome unknown: {}", link.secrets().clean(&error.to_string())))
        }
    }
}

/// What a command gets whose connection had ended before.
fn lost_before(why: Option<LinkEnd>) -> RedisError {
    lost(match why {
        Some(LinkEnd::PoolsClosed) => "not sent: the pools of this client are closed",
        Some(LinkEnd::RuntimeEnded) => "not sent: the runtime of this client's pools has ended",
        Some(LinkEnd::Lost) | None => "connection lost before the command was sent",
    })
}

/// What a request gets that the redis driver has left without an answer.
pub(crate) fn unanswered() -> RedisError {
    lost("the connection ended as the command was sent")
}

pub(crate) fn lost(text: &str) -> RedisError {
    RedisError::from(io::Error::new(io::ErrorKind::BrokenPipe, text))
}

/// What a command gets that was sent and has no reply when the wait for it is over.
pub(crate) fn timed_out(patience: Patience, runtime: &dyn Runtime) -> RedisError {
    if runtime.has_ended() {
        return lost(RUNTIME_ENDED);
    }
    let waited = patience.limit().unwrap_or_default();
    RedisError::from(io::Error::new(io::ErrorKind::TimedOut, format!("no reply within {waited:?}, outcome unknown")))
}
