//! One node of a cluster as the redis crate sees it: a connection that always exists and never hangs.
//!
//! Requests of the redis crate that would block others (whether a node can be reached, whether it is alive, the slots) are
//! answered here, at once. Commands wait, each for itself, for a shared connection of the node's pools.

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::cluster_async::Connect;
use redis::{
    Arg, AsyncConnectionConfig, Cmd, ConnectionAddr, IntoConnectionInfo, Pipeline, RedisError, RedisFuture, RedisResult, Value,
};

use crate::cluster::map;
use crate::cluster::nodes::{Cluster, ClusterMember};
use crate::cluster::redirection::{Redirection, note_moved, tell};
use crate::cluster::retry::{elsewhere, please_look_again};
use crate::cluster::retry_budget::RetryBudget;
use crate::cluster::routed_client::conceal;
use crate::connection::resp::answer::Replies;
use crate::connection::resp::request::Outgoing;
use crate::error::{CommandFailure, GetClientError, Outage};
use crate::redis_node::{CommandProfile, Session, SharedHandle};

/// How long a node that is no owner any more may take to answer earlier commands: it answers MOVED if it is alive.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// How often a wait for a replica checks whether it can be read from.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// A node of a cluster. Clones are the same node; what follows an ASK is the clone's own.
pub(crate) struct Wire {
    key: u64,
    member: Arc<ClusterMember>,
    client: SharedHandle,
    /// The next command is for a slot that is on its way here.
    asking: bool,
}

impl Clone for Wire {
    fn clone(&self) -> Self {
        Self { key: self.key, member: Arc::clone(&self.member), client: self.client.clone(), asking: false }
    }
}

impl Connect for Wire {
    fn connect_with_config<'a, T>(info: T, _config: AsyncConnectionConfig) -> RedisFuture<'a, Self>
    where
        T: IntoConnectionInfo + Send + 'a,
    {
        Box::pin(async move {
            let info = info.into_connection_info()?;
            let key = info.redis_settings().username().and_then(|word| word.parse().ok()).unwrap_or_default();
            let cluster = map::find(key).ok_or_else(closed)?;
            let address = match info.addr() {
                ConnectionAddr::Tcp(host, port) => format!("{host}:{port}"),
                ConnectionAddr::TcpTls { host, port, .. } => format!("{host}:{port}"),
                ConnectionAddr::Unix(_) | _ => return Err(closed()),
            };
            Self::to(&cluster, &address)
        })
    }
}

/// Requests of the redis crate itself. Users' commands with the same words are in lower case.
enum CrateRequest {
    Ping,
    ReadOnly,
    Asking,
    Slots,
    /// Ours: the slots must be requested again. The first answer says so, and the next one that all is well.
    Refresh(u64),
}

/// The one command that is never sent to a server: with a number that was not used before.
pub(crate) fn refresh_errand(number: u64) -> Cmd {
    let mut cmd = redis::cmd(REFRESH);
    cmd.arg(number);
    cmd
}

const REFRESH: &str = "REDISMANAGER-REFRESH";

impl CrateRequest {
    fn of(cmd: &Cmd) -> Option<Self> {
        let mut words = cmd.args_iter().map(|word| match word {
            Arg::Simple(word) => word,
            Arg::Cursor | _ => &[][..],
        });
        let errand = match (words.next()?, words.next()) {
            (b"PING", None) => Self::Ping,
            (b"READONLY", None) => Self::ReadOnly,
            (b"ASKING", None) => Self::Asking,
            (b"CLUSTER", Some(b"SLOTS")) => Self::Slots,
            (name, Some(number)) if name == REFRESH.as_bytes() => Self::Refresh(std::str::from_utf8(number).ok()?.parse().ok()?),
            (_, _) => return None,
        };
        Some(errand)
    }
}

impl ConnectionLike for Wire {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            let cluster = map::find(self.key).ok_or_else(closed)?;
            match CrateRequest::of(cmd) {
                Some(CrateRequest::Ping) => Ok(Value::SimpleString(String::from("PONG"))),
                // If it is wanted, every connection was set up with it.
                Some(CrateRequest::ReadOnly) => Ok(Value::Okay),
                Some(CrateRequest::Asking) => {
                    self.asking = true;
                    Ok(Value::Okay)
                }
                Some(CrateRequest::Slots) => Ok(cluster.topology().slots_value()),
                Some(CrateRequest::Refresh(number)) if cluster.is_first_errand(number) => Err(please_look_again()),
                Some(CrateRequest::Refresh(_)) => Ok(Value::Okay),
                None => self.send_command(&cluster, cmd).await,
            }
        })
    }

    fn req_packed_commands<'a>(&'a mut self, pipeline: &'a Pipeline, offset: usize, count: usize) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            let cluster = map::find(self.key).ok_or_else(closed)?;
            if pipeline.is_transaction() {
                self.send_transaction(&cluster, pipeline, offset, count).await
            } else {
                self.send_pipeline(&cluster, pipeline, offset).await
            }
        })
    }

    fn get_db(&self) -> i64 {
        0
    }
}

impl Wire {
    /// The node at an address.
    pub(crate) fn to(cluster: &Cluster, address: &str) -> RedisResult<Self> {
        let member = cluster.member(address).map_err(|error| conceal(error.into()))?;
        let client = SharedHandle::unready(Arc::clone(&member.connections));
        Ok(Self { key: cluster.key, member, client, asking: false })
    }

    /// Whether the next command follows an ASK.
    pub(crate) fn take_asking(&mut self) -> bool {
        std::mem::take(&mut self.asking)
    }

    pub(crate) fn attempt(&self, cluster: &Cluster, request: impl FnOnce(Session) -> CommandProfile) -> RetryBudget {
        RetryBudget::new(cluster, request(self.member.connections.session))
    }

    /// Sends until it is executed or finally refused.
    async fn send_command(&mut self, cluster: &Cluster, cmd: &Cmd) -> RedisResult<Value> {
        let asking = self.take_asking();
        let led = asking.then(|| behind_asking([cmd]));
        let parcel = match &led {
            Some(pipeline) => Outgoing::Pipeline { pipeline, offset: 1, count: 1 },
            None => Outgoing::Command(cmd),
        };
        let mut attempt = self.attempt(cluster, |session| CommandProfile::of_command(cmd, session));
        loop {
            let sent = self.send_once(cluster, parcel, &attempt, asking).await?;
            let value = sent.ok_or_else(|| elsewhere(cluster, Some(cmd)))?.into_value()?;
            match Redirection::of(cmd, &value) {
                None => return Ok(spare(value)),
                Some(Redirection::Elsewhere) => {
                    note_refusal(cluster, &value);
                    return Ok(value);
                }
                Some(Redirection::NotNow) => {
                    if !attempt.pause(cluster).await {
                        return Ok(tell(value));
                    }
                    if !asking && !cluster.topology().is_owner(&self.member.address) {
                        // There are other nodes to read from.
                        self.member.note_refusal(cluster.runtime().now());
                        return Err(elsewhere(cluster, Some(cmd)));
                    }
                }
            }
        }
    }

    /// Sends once. `None`, and nothing was sent, if another node is the right one now.
    pub(crate) async fn send_once(
        &mut self,
        cluster: &Cluster,
        parcel: Outgoing<'_>,
        attempt: &RetryBudget,
        asking: bool,
    ) -> RedisResult<Option<Replies>> {
        // A command after an ASK stays here, regardless of the slot's owner.
        if !asking && !cluster.serves(&self.member.address) {
            return Ok(None);
        }
        if self.member.connections.is_closed() {
            // The node had left the cluster, and is back.
            *self = Self::to(cluster, &self.member.address)?;
        }
        let member = Arc::clone(&self.member);
        let elsewhere = Box::pin(until_elsewhere(cluster, &member, asking));
        let mut deserted = pin!(Box::pin(until_deserted(cluster, &member, asking)));
        let mut answered = pin!(self.client.ask_unless(attempt, elsewhere, parcel));
        let outcome = std::future::poll_fn(|cx| match answered.as_mut().poll(cx) {
            Poll::Ready(answered) => Poll::Ready(Some(answered)),
            Poll::Pending => deserted.as_mut().poll(cx).map(|()| None),
        })
        .await;
        match outcome {
            Some(Ok(None)) => Ok(None),
            Some(Ok(Some(Ok(answer)))) => Ok(Some(answer)),
            Some(Ok(Some(Err(error)))) => {
                cluster.doubted.raise();
                Err(conceal(error))
            }
            // It left the cluster while the command waited.
            Some(Err(GetClientError::Closed { .. })) if !asking && !cluster.is_closed() => Ok(None),
            Some(Err(error)) => {
                cluster.doubted.raise();
                Err(conceal(error.into()))
            }
            None => {
                let text = "connection lost, outcome unknown: another node has taken this one's place";
                Err(conceal(CommandFailure::unknown(Some(member.pool().name()), Outage::Server, text).lost()))
            }
        }
    }
}

/// The same commands, each behind an ASKING, which holds for the one after it.
pub(crate) fn behind_asking<'a>(commands: impl IntoIterator<Item = &'a Cmd>) -> Pipeline {
    let mut led = Pipeline::new();
    for cmd in commands {
        led.cmd("ASKING").add_command(cmd.clone());
    }
    led
}

/// An error that the redis crate would take for a redirection belongs to an executed command: it is passed on.
pub(crate) fn spare(value: Value) -> Value {
    let is_taken_for_one = matches!(&value, Value::ServerError(error) if Redirection::of_error(error).is_some());
    if is_taken_for_one { tell(value) } else { value }
}

pub(crate) fn note_refusal(cluster: &Cluster, value: &Value) {
    if let Value::ServerError(error) = value {
        note_moved(cluster, error);
    }
}

/// Ends when another node is the right one.
async fn until_elsewhere(cluster: &Cluster, member: &ClusterMember, asking: bool) {
    // There is no free connection: the monitor should check the node.
    cluster.doubted.raise();
    loop {
        let version = cluster.changed.version();
        if !asking && !cluster.serves(&member.address) {
            return;
        }
        if asking || cluster.topology().is_owner(&member.address) {
            cluster.changed.beyond(version).await;
        } else {
            cluster.runtime().sleep(BETWEEN_LOOKS).await;
        }
    }
}

/// Ends when the node has lost its slots, and its time for late answers has passed. A replica gets no commands that it might
/// not answer.
async fn until_deserted(cluster: &Cluster, member: &ClusterMember, asking: bool) {
    loop {
        let version = cluster.changed.version();
        if !asking && !cluster.topology().is_part(&member.address) {
            cluster.runtime().sleep(LAST_WORDS).await;
            if !cluster.topology().is_part(&member.address) {
                return;
            }
        }
        cluster.changed.beyond(version).await;
    }
}

fn closed() -> RedisError {
    conceal(CommandFailure::not_sent(None, Outage::Ours, "the cluster was closed").lost())
}
