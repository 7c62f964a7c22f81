//! A connection to Redis as the pool holds it: one stream, one driver task, and what is known of its health.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, RedisError, RedisResult};
use redis_manager_core::{Instant, Runtime, Task};

use crate::redis_node::link::Link;

/// A connection that one borrower uses at a time. Dropping it closes the socket, whatever is in flight.
pub(crate) struct RedisConnection {
    handle: MultiplexedConnection,
    link: Arc<Link>,
    runtime: Arc<dyn Runtime>,
    command_timeout: Duration,
    state: State,
    after_use: AfterUse,
}

/// What becomes of a connection when its borrower is done, if nothing is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterUse {
    Lend,
    /// Something was sent whose reply nobody waits for: it may still be carried out, or answered.
    Close,
}

/// What the commands of its borrowers have made of a connection.
///
/// ```text
///  Clear --- a command is sent ---> Asked --- its reply arrives ---> Clear
///                                     |
///                                     '--- no reply in time ---> Silent      an I/O or protocol error ---> Broken
/// ```
///
/// A borrower that leaves while it is `Asked` leaves it so: a late reply may still come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Clear,
    /// Since when; None for a command that blocks by its nature.
    Asked(Option<Instant>),
    Silent,
    Broken,
}

impl RedisConnection {
    pub(crate) fn new(
        handle: MultiplexedConnection,
        link: Arc<Link>,
        runtime: Arc<dyn Runtime>,
        command_timeout: Duration,
    ) -> Self {
        Self { handle, link, runtime, command_timeout, state: State::Clear, after_use: AfterUse::Lend }
    }

    /// How long an ordinary command may take.
    pub(crate) fn command_timeout(&self) -> Duration {
        self.command_timeout
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    pub(crate) fn db(&self) -> i64 {
        redis::aio::ConnectionLike::get_db(&self.handle)
    }

    /// Whether it must not be lent again.
    pub(crate) fn is_broken(&self) -> bool {
        self.after_use == AfterUse::Close || !self.is_usable()
    }

    fn is_usable(&self) -> bool {
        self.state == State::Clear && !self.link.is_dead()
    }

    /// Has it closed on return.
    pub(crate) fn spoil(&mut self) {
        self.after_use = AfterUse::Close;
    }

    /// Whether a command was sent and got no reply for at least `patience`.
    pub(crate) fn is_silent(&self, patience: Duration) -> bool {
        match self.state {
            State::Silent => !self.link.is_dead(),
            State::Asked(Some(since)) => !self.link.is_dead() && self.runtime.now().saturating_duration_since(since) >= patience,
            State::Clear | State::Asked(None) | State::Broken => false,
        }
    }

    /// Sends something and waits for the reply, no longer than `patience`.
    pub(crate) async fn ask<T>(
        &mut self,
        patience: Patience,
        send: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>,
    ) -> RedisResult<T> {
        if !self.is_usable() {
            return Err(lost("connection lost before the command was sent"));
        }
        self.state = State::Asked(match patience {
            Patience::Ordinary(_) => Some(self.runtime.now()),
            Patience::Blocking(_) => None,
        });
        let mut reply = pin!(send(&mut self.handle));
        let mut sleep: Option<Task> = None;
        let answered = poll_fn(|cx| {
            if let Poll::Ready(reply) = reply.as_mut().poll(cx) {
                return Poll::Ready(Some(reply));
            }
            match patience.limit() {
                // Most replies that are not there at once come long before this, but without it nothing bounds them.
                Some(limit) => sleep.get_or_insert_with(|| self.runtime.sleep(limit)).as_mut().poll(cx).map(|()| None),
                None => Poll::Pending,
            }
        })
        .await;
        let (state, result) = match answered {
            Some(Ok(value)) => (State::Clear, Ok(value)),
            Some(Err(error)) if is_fatal(&error) => (State::Broken, Err(outcome_unknown(&error))),
            Some(Err(error)) => (State::Clear, Err(error)),
            None => (State::Silent, Err(timed_out(patience))),
        };
        self.state = state;
        result
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

/// How long a command may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    Ordinary(Duration),
    /// It may block on the server by its nature; None: without end.
    Blocking(Option<Duration>),
}

impl Patience {
    fn limit(self) -> Option<Duration> {
        match self {
            Self::Ordinary(limit) => Some(limit),
            Self::Blocking(limit) => limit,
        }
    }
}

/// Whether the stream can no longer be trusted to be in step. Errors of the server do not come this way.
fn is_fatal(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Io | ErrorKind::Parse) || error.is_unrecoverable_error()
}

fn outcome_unknown(error: &RedisError) -> RedisError {
    lost(&format!("connection lost, outcome unknown: {error}"))
}

fn lost(text: &str) -> RedisError {
    RedisError::from(io::Error::new(io::ErrorKind::BrokenPipe, text))
}

fn timed_out(patience: Patience) -> RedisError {
    let waited = patience.limit().unwrap_or_default();
    RedisError::from(io::Error::new(io::ErrorKind::TimedOut, format!("no reply within {waited:?}, outcome unknown")))
}
