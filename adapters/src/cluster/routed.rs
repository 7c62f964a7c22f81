//! A cluster client on loan: commands that find their node, within the deadline that every command has.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::cluster_async::ClusterConnection;
use redis::{Arg, Cmd, Pipeline, RedisError, RedisResult, Value};
use redis_manager_core::Lease;

use crate::cluster::connector::ClusterConnector;
use crate::cluster::members::Cluster;
use crate::cluster::wire::Wire;
use crate::redis_node::{
    KeptTimer, Request, Session, Traces, redact, refuse_unless_plain, refuse_unless_plain_pipeline, timed_out,
};

/// The code of an error of ours on its way through the redis crate: one that it neither understands nor acts upon.
const CONCEALED: &str = "REDISMANAGER";

/// A client of a cluster that many tasks share; the lease goes back with the last clone.
#[derive(Clone)]
pub(crate) struct RoutedShare {
    /// Kept for as long as anybody shares it.
    _lease: Arc<Lease<ClusterConnector>>,
    routed: Routed,
    name: Arc<str>,
}

impl RoutedShare {
    pub(crate) fn new(lease: Lease<ClusterConnector>, name: &str) -> Self {
        let routed = Routed::clone(&lease);
        Self { _lease: Arc::new(lease), routed, name: redact(name).into() }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) async fn ask(&mut self, cmd: &Cmd) -> RedisResult<Value> {
        self.routed.ask(cmd).await
    }

    pub(crate) async fn ask_all(&mut self, pipeline: &Pipeline, offset: usize, count: usize) -> RedisResult<Vec<Value>> {
        self.routed.ask_all(pipeline, offset, count).await
    }
}

/// One of those who share a cluster connection.
pub(crate) struct Routed {
    cluster: Arc<Cluster>,
    connection: ClusterConnection<Wire>,
    /// Counts those who share it.
    _share: Arc<()>,
    timer: KeptTimer,
}

impl Routed {
    pub(crate) fn new(cluster: Arc<Cluster>, connection: ClusterConnection<Wire>, share: Arc<()>) -> Self {
        Self { cluster, connection, _share: share, timer: KeptTimer::default() }
    }

    pub(crate) fn is_down(&self) -> bool {
        self.cluster.is_down()
    }

    pub(crate) async fn ask(&mut self, cmd: &Cmd) -> RedisResult<Value> {
        let request = Request::of_command(cmd, self.session());
        refuse_unless_plain(cmd, request)?;
        let renamed = in_lower_case(cmd);
        let cmd = renamed.as_ref().unwrap_or(cmd);
        let deadline = request.patience.limit().map(|limit| self.cluster.runtime().now() + limit);
        let asked = self.connection.req_packed_command(cmd);
        let answered = self.timer.by(self.cluster.runtime(), deadline, asked).await;
        answered.unwrap_or_else(|| Err(timed_out(request.patience))).map_err(reveal)
    }

    pub(crate) async fn ask_all(&mut self, pipeline: &Pipeline, offset: usize, count: usize) -> RedisResult<Vec<Value>> {
        let request = refuse_unless_plain_pipeline(pipeline, offset, count, self.session())?;
        let deadline = request.patience.limit().map(|limit| self.cluster.runtime().now() + limit);
        let asked = self.connection.req_packed_commands(pipeline, offset, count);
        let answered = self.timer.by(self.cluster.runtime(), deadline, asked).await;
        answered.unwrap_or_else(|| Err(timed_out(request.patience))).map_err(reveal)
    }

    fn session(&self) -> Session {
        Session { traces: Traces::NONE, home: 0, command_timeout: self.command_timeout() }
    }

    fn command_timeout(&self) -> Duration {
        self.cluster.setup.args.command_timeout
    }
}

impl Clone for Routed {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.cluster), self.connection.clone(), Arc::clone(&self._share))
    }
}

impl std::fmt::Debug for Routed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Routed").finish_non_exhaustive()
    }
}

/// What the redis crate also asks for its own sake is known by its upper case; servers take either.
fn in_lower_case(cmd: &Cmd) -> Option<Cmd> {
    let mut words = cmd.args_iter();
    let name = match words.next()? {
        Arg::Simple(name @ (b"PING" | b"CLUSTER")) => name.to_ascii_lowercase(),
        Arg::Simple(_) | Arg::Cursor | _ => return None,
    };
    let mut renamed = Cmd::new();
    renamed.arg(name);
    for word in words {
        match word {
            Arg::Simple(word) => renamed.arg(word),
            Arg::Cursor | _ => return None,
        };
    }
    Some(renamed)
}

/// Makes an error of ours one that the redis crate passes on: it would send a command again after most others.
pub(crate) fn conceal(error: RedisError) -> RedisError {
    let kind = if error.is_timeout() { "timeout" } else { "lost" };
    redis::make_extension_error(String::from(CONCEALED), Some(format!("{kind} {}", error)))
}

fn reveal(error: RedisError) -> RedisError {
    if error.code() != Some(CONCEALED) {
        return error;
    }
    let detail = error.detail().unwrap_or_default();
    let (kind, text) = detail.split_once(' ').unwrap_or(("lost", detail));
    let kind = if kind == "timeout" { io::ErrorKind::TimedOut } else { io::ErrorKind::BrokenPipe };
    RedisError::from(io::Error::new(kind, String::from(text)))
}
