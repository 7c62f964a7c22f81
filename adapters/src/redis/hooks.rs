//! A program's own code in the life of a connection: once after it was made, and before each loan.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::{Arg, Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult, Value};

use crate::connection::resp::answer::Replies;
use crate::connection::resp::request::Outgoing;
use crate::redis_node::command_profile::CommandProfile;
use crate::redis_node::connection::RedisConnection;
use crate::redis_node::error::ConnectError;
use crate::redis_node::metrics::counted_request::ask_counted;
use crate::redis_node::secrets::Secrets;
use crate::redis_node::socket::Socket;

type HookFuture = Pin<Box<dyn Future<Output = RedisResult<()>> + Send>>;
type AfterConnect = dyn Fn(NewConnection) -> HookFuture + Send + Sync;
type BeforeLend = dyn Fn(&LendCandidate<'_>) -> bool + Send + Sync;

/// The hooks of a manager.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    after_connect: Option<Arc<AfterConnect>>,
    before_lend: Option<Arc<BeforeLend>>,
}

impl Hooks {
    pub(crate) fn set_after_connect<F, R>(&mut self, hook: F)
    where
        F: Fn(NewConnection) -> R + Send + Sync + 'static,
        R: Future<Output = RedisResult<()>> + Send + 'static,
    {
        self.after_connect = Some(Arc::new(move |connection| Box::pin(hook(connection))));
    }

    pub(crate) fn set_before_lend(&mut self, hook: impl Fn(&LendCandidate<'_>) -> bool + Send + Sync + 'static) {
        self.before_lend = Some(Arc::new(hook));
    }

    pub(crate) fn has_after_connect(&self) -> bool {
        self.after_connect.is_some()
    }

    /// Runs `after_connect`, if there is one. What it leaves on the session is the connection's normal state from then on. If
    /// it fails, or keeps the connection, the socket is closed.
    pub(crate) async fn run_after_connect(&self, connection: Box<RedisConnection>) -> Result<Box<RedisConnection>, ConnectError> {
        let Some(hook) = &self.after_connect else { return Ok(connection) };
        let mut closes = CloseUnlessAdopted(Some(Arc::clone(connection.socket())));
        let returned = Arc::new(Mutex::new(HookOutcome::default()));
        let run = hook(NewConnection { connection: Some(connection), returned: Arc::clone(&returned) });
        let result = run.await;
        let HookOutcome { connection, gets_pushes, credentials } = std::mem::take(&mut *lock(&returned));
        result.map_err(|error| ConnectError::AfterConnect { text: without_credentials(&error, &credentials), error })?;
        let mut connection = connection.ok_or(ConnectError::Hook { problem: "it has kept the connection" })?;
        connection.adopt_session(gets_pushes).map_err(|problem| ConnectError::Hook { problem })?;
        closes.0 = None;
        Ok(connection)
    }

    /// Whether the connection may be lent.
    #[inline]
    pub(crate) fn allow_lend(&self, connection: &RedisConnection) -> bool {
        self.before_lend.as_ref().is_none_or(|hook| hook(&LendCandidate { connection }))
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (after_connect, before_lend) = (self.after_connect.is_some(), self.before_lend.is_some());
        f.debug_struct("Hooks").field("after_connect", &after_connect).field("before_lend", &before_lend).finish()
    }
}

/// Closes the socket where the hook has failed, was cut off, or has kept the connection.
struct CloseUnlessAdopted(Option<Arc<Socket>>);

impl Drop for CloseUnlessAdopted {
    fn drop(&mut self) {
        if let Some(socket) = &self.0 {
            socket.close();
        }
    }
}

/// The connection after the hook, and what the hook has sent.
#[derive(Default)]
struct HookOutcome {
    connection: Option<Box<RedisConnection>>,
    /// Pushes were requested: data may arrive at any time.
    gets_pushes: bool,
    /// The arguments of logins, which no text may show.
    credentials: Vec<Vec<u8>>,
}

impl HookOutcome {
    fn note(&mut self, cmd: &Cmd) {
        let mut words = cmd.args_iter().filter_map(|arg| match arg {
            Arg::Simple(word) => Some(word),
            Arg::Cursor | _ => None,
        });
        let Some(name) = words.next() else { return };
        if name.eq_ignore_ascii_case(b"AUTH") || name.eq_ignore_ascii_case(b"HELLO") {
            self.credentials.extend(words.map(<[u8]>::to_vec));
        } else if name.eq_ignore_ascii_case(b"CLIENT") && words.next().is_some_and(|word| word.eq_ignore_ascii_case(b"TRACKING"))
        {
            self.gets_pushes = true;
        }
    }
}

fn lock(outcome: &Mutex<HookOutcome>) -> MutexGuard<'_, HookOutcome> {
    outcome.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The text of an error without the arguments that a server quotes, and without credentials.
fn without_credentials(error: &RedisError, credentials: &[Vec<u8>]) -> String {
    let text = error.to_string();
    let text = text.split(", with args beginning with").next().unwrap_or_default();
    credentials.iter().fold(String::from(text), |text, word| Secrets::of_word(word).clean(&text))
}

/// An error for a command whose reply the hook would not wait for.
fn refuse_without_reply(cmd: &Cmd) -> RedisResult<()> {
    let refused = cmd.is_no_response();
    if refused { Err(RedisError::from((ErrorKind::Client, "after_connect: a command must wait for its reply"))) } else { Ok(()) }
}

/// A connection that has just logged in, for [`after_connect`](crate::RedisManagerBuilder::after_connect). It goes to the pool
/// when it is dropped.
pub struct NewConnection {
    /// None once it was dropped.
    connection: Option<Box<RedisConnection>>,
    /// Where it goes then.
    returned: Arc<Mutex<HookOutcome>>,
}

impl NewConnection {
    /// The node: its URL with the password hidden, or `host:port` in a cluster.
    #[must_use]
    pub fn node(&self) -> &str {
        self.connection().socket().node()
    }

    fn connection(&self) -> &RedisConnection {
        self.connection.as_deref().expect("it is there until it is dropped")
    }

    fn connection_mut(&mut self) -> &mut RedisConnection {
        self.connection.as_deref_mut().expect("it is there until it is dropped")
    }
}

impl ConnectionLike for NewConnection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        lock(&self.returned).note(cmd);
        let connection = self.connection_mut();
        let profile = CommandProfile::of_command(cmd, connection.session());
        Box::pin(async move {
            let checked = refuse_without_reply(cmd).and_then(|()| profile.check(cmd)).map(|()| profile);
            ask_counted(connection, checked, profile.request(cmd)).await.and_then(Replies::into_value)
        })
    }

    fn req_packed_commands<'a>(&'a mut self, pipeline: &'a Pipeline, offset: usize, count: usize) -> RedisFuture<'a, Vec<Value>> {
        pipeline.cmd_iter().for_each(|cmd| lock(&self.returned).note(cmd));
        let connection = self.connection_mut();
        let profile = CommandProfile::of_packed_commands(pipeline, offset, count, connection.session());
        let request = Outgoing::Pipeline { pipeline, offset, count };
        Box::pin(async move {
            let checked = profile.check_pipeline(pipeline).map(|()| profile);
            ask_counted(connection, checked, request).await.and_then(|answer| answer.into_values(request))
        })
    }

    fn get_db(&self) -> i64 {
        self.connection().db()
    }
}

impl Drop for NewConnection {
    fn drop(&mut self) {
        lock(&self.returned).connection = self.connection.take();
    }
}

impl fmt::Debug for NewConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewConnection").field("node", &self.node()).finish_non_exhaustive()
    }
}

/// A connection that may be lent next, for [`before_lend`](crate::RedisManagerBuilder::before_lend).
#[derive(Debug)]
pub struct LendCandidate<'a> {
    connection: &'a RedisConnection,
}

impl LendCandidate<'_> {
    /// The node: its URL with the password hidden, or `host:port` in a cluster.
    #[must_use]
    pub fn node(&self) -> &str {
        self.connection.socket().node()
    }

    /// The time since the connection was made. Reads the clock.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.connection.age()
    }
}
