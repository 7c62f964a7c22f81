//! A connection to Redis as the pool holds it: one stream, and what is known of its health and session.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use redis::{Cmd, Pipeline, ProtocolVersion, RedisError, RedisResult, Value};
use redis_manager_core::{Condition, Instant, Runtime};

use crate::connection::resp::answer::{Replies, RequestFate, RequestOutcome};
use crate::connection::resp::request::Outgoing;
use crate::error::{CommandFailure, Outage};
use crate::redis_node::close_registry::{CloseRegistry, RegistryEntry, WaitsFor};
use crate::redis_node::command_profile::CommandProfile;
use crate::redis_node::contention::{Contender, Contention};
use crate::redis_node::dirty_flags::DirtyFlags;
use crate::redis_node::redirection_listener::RedirectionListener;
use crate::redis_node::reply_class::{Author, ReplyClass};
use crate::redis_node::reply_timeout::{ReplyTimeout, ReusableSleep};
use crate::redis_node::session::Session;
use crate::redis_node::sign_of_life::Echo;
use crate::redis_node::socket::Socket;
use crate::redis_node::socket_end::SocketEnd;

const RUNTIME_ENDED: &str = "connection lost, outcome unknown: the runtime of its pools has ended";

/// A connection that was idle for longer is peeked at before it is lent, which is a system call.
const TRUSTED_UNSEEN: Duration = Duration::from_millis(1);

/// A connection that one borrower uses at a time. Dropping it closes the socket, whatever is in flight.
pub(crate) struct RedisConnection {
    socket: Arc<Socket>,
    registry: Arc<CloseRegistry>,
    runtime: Arc<dyn Runtime>,
    contention: Arc<Contention>,
    /// Whether it gives the nonce of a PING back.
    pub(crate) echo: Echo,
    timer: ReusableSleep,
    state: ReplyState,
    /// What its borrower has left on it so far, and what it was before.
    session: Session,
    connected_at: Instant,
    /// When the last command was sent.
    used_at: Instant,
    /// Hears of the redirections that its node answers.
    redirections: Option<Arc<dyn RedirectionListener>>,
}

/// What the commands of its borrowers have made of a connection.
///
/// ```text
///  Clear --- a command is sent ---> Asked --- its reply arrives ---> Clear
///                                     |
///                                     '--- no reply in time ---> Silent
/// ```
///
/// A borrower that leaves while it is `Asked` leaves it so: a late reply may still come. The connection is clear once no
/// reply is outstanding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReplyState {
    Clear,
    /// Since when; none if the server may take its time.
    Asked(Option<Instant>),
    Silent,
}

impl RedisConnection {
    pub(crate) fn new(
        socket: Arc<Socket>,
        registry: Arc<CloseRegistry>,
        runtime: Arc<dyn Runtime>,
        contention: Arc<Contention>,
        session: Session,
    ) -> Self {
        let connected_at = runtime.now();
        Self {
            socket,
            registry,
            runtime,
            contention,
            echo: Echo::Untried,
            timer: ReusableSleep::default(),
            state: ReplyState::Clear,
            session,
            connected_at,
            used_at: connected_at,
            redirections: None,
        }
    }

    /// From now on redirections are reported.
    pub(crate) fn report_redirections(&mut self, listener: Arc<dyn RedirectionListener>) {
        self.redirections = Some(listener);
    }

    /// What a request is judged by.
    pub(crate) fn session(&self) -> Session {
        self.session
    }

    pub(crate) fn socket(&self) -> &Arc<Socket> {
        &self.socket
    }

    /// From now on it listens: until the guard is dropped, or the pools close, which ends it at once.
    pub(crate) fn listen(&self) -> Option<RegistryEntry> {
        self.socket.listen();
        let entry = self.registry.enter(&self.socket, WaitsFor::Messages);
        if entry.is_none() {
            self.socket.end(SocketEnd::PoolsClosed);
        }
        entry
    }

    /// The protocol of a new connection, if it is another one than was asked for.
    pub(crate) fn speak(&mut self, protocol: ProtocolVersion) {
        self.session.protocol = protocol;
    }

    pub(crate) fn protocol(&self) -> ProtocolVersion {
        self.session.protocol
    }

    pub(crate) fn db(&self) -> i64 {
        self.session.home
    }

    /// In which condition it is; a reply that has been outstanding for `reply_timeout` will not come. The first flag that is
    /// set decides.
    pub(crate) fn inspect(&self, reply_timeout: Duration) -> Condition {
        if self.socket.is_dead() {
            // It may have been closed because a command was not answered.
            return if self.state == ReplyState::Silent { Condition::Unresponsive } else { Condition::Broken };
        }
        match self.state {
            ReplyState::Clear => self.answered_condition(),
            ReplyState::Asked(_) if !self.socket.has_in_flight() => self.answered_condition(),
            ReplyState::Asked(Some(since)) if self.has_waited(since, reply_timeout) => Condition::Unresponsive,
            ReplyState::Asked(Some(_)) => match self.session_condition() {
                Condition::Clean | Condition::Resettable => Condition::Resettable,
                worse @ (Condition::Tainted | Condition::Broken | Condition::Unresponsive) => worse,
            },
            ReplyState::Silent => Condition::Unresponsive,
            ReplyState::Asked(None) => Condition::Broken,
        }
    }

    /// Whether the runtime may have had no time yet to notice what has happened since the last command.
    #[inline]
    fn has_idled(&self) -> bool {
        self.runtime.now().saturating_duration_since(self.used_at) > TRUSTED_UNSEEN
    }

    /// The condition of one whose replies have all come.
    #[inline]
    fn answered_condition(&self) -> Condition {
        if self.has_idled() && self.socket.is_found_dead() { Condition::Broken } else { self.session_condition() }
    }

    /// The same, by its session alone.
    #[inline]
    fn session_condition(&self) -> Condition {
        if self.session.traces.has(DirtyFlags::LASTING) {
            Condition::Tainted
        } else if self.session.traces.is_none() {
            Condition::Clean
        } else {
            Condition::Resettable
        }
    }

    /// Notes what a borrower leaves that does not send its commands by [`ask`](Self::ask).
    pub(crate) fn leave(&mut self, traces: DirtyFlags) {
        self.session.traces |= traces;
        if traces.has(DirtyFlags::LASTING) {
            self.socket.set_open_ended(true);
        }
    }

    /// Notes that replies are outstanding, since now or for too long.
    pub(crate) fn note_outstanding(&mut self, silent: bool) {
        self.socket.forget_heard();
        self.state = if silent { ReplyState::Silent } else { ReplyState::Asked(Some(self.runtime.now())) };
    }

    /// What the hook `after_connect` has left is the normal state from now on; or why it cannot be.
    pub(crate) fn adopt_session(&mut self, gets_pushes: bool) -> Result<(), &'static str> {
        self.socket.set_open_ended(gets_pushes);
        if !self.socket.has_in_flight() { self.session.adopt() } else { Err("one of its commands got no reply") }
    }

    /// The time since it was made.
    pub(crate) fn age(&self) -> Duration {
        self.runtime.now().saturating_duration_since(self.connected_at)
    }

    /// Undoes what a borrower has left, in one round trip, and makes sure that every reply before this one has come. Where
    /// the nonce does not come back, nothing is sure.
    pub(crate) async fn clean(&mut self, nonce: &str) -> RedisResult<bool> {
        if self.echo == Echo::Missing {
            return Ok(false);
        }
        let mut pipeline = Pipeline::new();
        if self.session.traces.has(DirtyFlags::MULTI) {
            pipeline.cmd("DISCARD");
        }
        if self.session.traces.has(DirtyFlags::WATCH) {
            pipeline.cmd("UNWATCH");
        }
        if self.session.traces.has(DirtyFlags::DATABASE) {
            pipeline.cmd("SELECT").arg(self.db());
        }
        pipeline.cmd("PING").arg(nonce);
        let request = Outgoing::whole(&pipeline);
        let mut answers = self.ask(CommandProfile::UNBOUNDED, request, Author::Ours).await?.into_values(request)?;
        let echoed = matches!(answers.pop(), Some(Value::BulkString(bytes)) if bytes == nonce.as_bytes());
        if self.session.traces.has(DirtyFlags::MULTI) {
            // An error if MULTI itself had failed; no transaction is open either way, or PING would have been queued.
            answers.remove(0);
        }
        let undone = echoed && answers.iter().all(|answer| *answer == Value::Okay);
        if undone {
            self.echo = Echo::Proven;
            self.session.traces = DirtyFlags::NONE;
        }
        Ok(undone)
    }

    /// Sends something and waits for its reply, no longer than its timeout.
    pub(crate) async fn ask(&mut self, profile: CommandProfile, request: Outgoing<'_>, author: Author) -> RedisResult<Replies> {
        let now = self.runtime.now();
        let since = match self.state {
            _ if self.socket.is_dead() => return Err(lost_before(self.socket.node(), self.socket.why_ended())),
            ReplyState::Silent | ReplyState::Asked(None) => {
                let why = "connection lost: an earlier command got no reply";
                return Err(CommandFailure::not_sent(Some(self.socket.node()), Outage::Server, why).lost());
            }
            // Replies come in the order of the commands: the one to this command ends the wait for all before it.
            ReplyState::Asked(Some(since)) if !self.has_heard() => since,
            ReplyState::Asked(Some(_)) | ReplyState::Clear => now,
        };
        let blocking = profile.reply_timeout.is_blocking();
        let entry = if blocking { self.registry.enter(&self.socket, WaitsFor::Reply) } else { None };
        if blocking && entry.is_none() {
            return Err(lost_before(self.socket.node(), Some(SocketEnd::PoolsClosed)));
        }
        let deadline = profile.reply_timeout.limit().map(|limit| now + limit);
        self.leave(profile.leaves);
        if self.session.traces.has(DirtyFlags::MULTI) && (profile.leaves | profile.ends).has(DirtyFlags::MULTI) {
            self.session.traces |= DirtyFlags::UNSURE;
        }
        self.state = ReplyState::Asked(if blocking { None } else { Some(since) });
        self.used_at = now;
        let mut asking = self.socket.ask(request);
        // In this order: what is not written yet is not written when both are dropped.
        let cancelled = CloseUnlessAnswered(blocking.then_some(&*self.socket));
        let outcome = self.timer.by(&*self.runtime, deadline, &mut asking).await;
        if outcome.is_some() {
            cancelled.answered();
        } else {
            drop(cancelled);
        }
        drop(entry);
        let answer = match outcome {
            Some(RequestOutcome::Answered(answer)) => answer,
            Some(RequestOutcome::Ended(fate)) => return Err(ended(fate, &self.socket)),
            None => {
                let was_sent = asking.was_sent();
                drop(asking);
                self.state = ReplyState::Silent;
                return Err(timed_out(Some(self.socket.node()), profile.reply_timeout, &*self.runtime, was_sent));
            }
        };
        self.state = ReplyState::Clear;
        if let Some(listener) = &self.redirections {
            listener.look_at(&answer);
        }
        let news = ReplyClass::of(&answer, request, author);
        if news == ReplyClass::AllWell {
            self.session.traces = self.session.traces.without(profile.ends | DirtyFlags::UNSURE);
        } else if !self.session.traces.has(DirtyFlags::LASTING) {
            // A borrower that has logged out gets errors that say nothing about the node.
            self.socket.tell(&news, self.runtime.now());
        }
        Ok(answer)
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
        let (socket, mut event) = (&self.socket, pin!(event));
        let happened = poll_fn(|cx| if socket.is_dead() { Poll::Ready(None) } else { event.as_mut().poll(cx).map(Some) });
        let deadline = self.runtime.now() + length;
        self.timer.by(&*self.runtime, Some(deadline), happened).await.flatten()
    }

    /// Whether anything has been received since the last command was sent: its reply, which no caller waits for any more, or
    /// a push, which is no reply but shows that the server is there. Cleaning shows whether it answers.
    fn has_heard(&self) -> bool {
        self.socket.has_heard()
    }

    /// Whether nothing has been received for so long.
    fn has_waited(&self, since: Instant, reply_timeout: Duration) -> bool {
        !self.has_heard() && self.runtime.now().saturating_duration_since(since) >= reply_timeout
    }
}

impl Drop for RedisConnection {
    fn drop(&mut self) {
        // Without this a command in flight would keep the socket open for as long as the server stays silent.
        self.socket.close();
    }
}

impl std::fmt::Debug for RedisConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisConnection").field("state", &self.state).field("socket", &self.socket).finish_non_exhaustive()
    }
}

/// Closes the socket of a blocking command that is dropped before its reply, or gets none in time: else the server would
/// hand an element to no reader.
struct CloseUnlessAnswered<'a>(Option<&'a Socket>);

impl CloseUnlessAnswered<'_> {
    fn answered(mut self) {
        self.0 = None;
    }
}

impl Drop for CloseUnlessAnswered<'_> {
    fn drop(&mut self) {
        if let Some(socket) = self.0 {
            socket.end(SocketEnd::Lost);
        }
    }
}

/// What a command gets whose connection has ended before its reply.
pub(crate) fn ended(fate: RequestFate, socket: &Socket) -> RedisError {
    let why = socket.why_ended();
    match fate {
        RequestFate::Unsent => lost_before(socket.node(), why),
        RequestFate::MaybeExecuted => {
            let unknown = |outage, text: &str| CommandFailure::unknown(Some(socket.node()), outage, text).lost();
            match why {
                Some(SocketEnd::PoolsClosed) => {
                    unknown(Outage::Ours, "connection closed, outcome unknown: the pools were closed, and no reply had come")
                }
                Some(SocketEnd::RuntimeEnded) => unknown(Outage::Ours, RUNTIME_ENDED),
                Some(SocketEnd::Lost) | None => {
                    unknown(Outage::Server, &format!("connection lost, outcome unknown: {}", socket.fault()))
                }
            }
        }
    }
}

/// What a command gets whose connection had ended before.
fn lost_before(node: &str, why: Option<SocketEnd>) -> RedisError {
    let (outage, why) = match why {
        Some(SocketEnd::PoolsClosed) => (Outage::Ours, "the pools of this client are closed"),
        Some(SocketEnd::RuntimeEnded) => (Outage::Ours, "the runtime of this client's pools has ended"),
        Some(SocketEnd::Lost) | None => (Outage::Server, "connection lost"),
    };
    CommandFailure::not_sent(Some(node), outage, why).lost()
}

/// What a command gets that has no reply when the wait for it is over.
pub(crate) fn timed_out(node: Option<&str>, reply_timeout: ReplyTimeout, runtime: &dyn Runtime, was_sent: bool) -> RedisError {
    if runtime.has_ended() {
        return CommandFailure::unknown(node, Outage::Ours, RUNTIME_ENDED).lost();
    }
    let waited = reply_timeout.limit().unwrap_or_default().as_millis();
    if !was_sent {
        let why = format!("the connection took no more commands for {waited} ms");
        return CommandFailure::not_sent(node, Outage::Server, &why).timed_out();
    }
    let text = format!("no reply within {waited} ms, outcome unknown");
    CommandFailure::unknown(node, Outage::Server, text).timed_out()
}
