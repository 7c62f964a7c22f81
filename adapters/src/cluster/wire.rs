//! One node of a cluster as the redis crate sees it: a connection that is always there, and never hangs.
//!
//! Whatever the redis crate would wait for while others wait for it (that a node can be connected to, that it is alive, who
//! owns what) is answered here, at once. Commands wait, each for itself, for a shared connection of the node's pools.

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster_async::Connect;
use redis::{
    Arg, AsyncConnectionConfig, Cmd, ConnectionAddr, ErrorKind, IntoConnectionInfo, Pipeline, RedisError, RedisFuture,
    RedisResult, ServerError, ServerErrorKind, Value,
};
use redis_manager_core::GetClientError;

use crate::cluster::map;
use crate::cluster::members::{Cluster, Member};
use crate::cluster::routed::conceal;
use crate::redis_node::{Answer, NodeShare, lost};

/// How long a node that is no owner any more may take to answer what it was sent before: it answers MOVED if it lives.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// A command that a node refuses for the moment is sent there again after pauses that double between these.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// A node of a cluster. Clones are the same node; what follows an ASK is the clone's own.
pub(crate) struct Wire {
    cluster: u64,
    member: Arc<Member>,
    client: NodeShare,
    /// The next command is for a slot that is on its way here.
    asking: bool,
}

impl Clone for Wire {
    fn clone(&self) -> Self {
        Self { cluster: self.cluster, member: Arc::clone(&self.member), client: self.client.clone(), asking: false }
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
            let member = cluster.member(&address).map_err(|error| not_there(&error))?;
            let client = NodeShare::unready(Arc::clone(&member.hub));
            Ok(Self { cluster: key, member, client, asking: false })
        })
    }
}

/// What the redis crate asks of a connection for its own sake. Users' commands of the same words come in lower case.
enum Errand {
    Ping,
    ReadOnly,
    Asking,
    Slots,
}

impl Errand {
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
            (_, _) => return None,
        };
        Some(errand)
    }
}

impl ConnectionLike for Wire {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            let cluster = map::find(self.cluster).ok_or_else(closed)?;
            match Errand::of(cmd) {
                Some(Errand::Ping) => return Ok(Value::SimpleString(String::from("PONG"))),
                // Where it is wanted every connection has said so when it was made.
                Some(Errand::ReadOnly) => return Ok(Value::Okay),
                Some(Errand::Asking) => {
                    self.asking = true;
                    return Ok(Value::Okay);
                }
                Some(Errand::Slots) => return Ok(cluster.topology().slots_value()),
                None => {}
            }
            let mut values = self.send(&cluster, Parcel::One(cmd)).await?;
            values.pop().ok_or_else(closed)
        })
    }

    fn req_packed_commands<'a>(&'a mut self, pipeline: &'a Pipeline, offset: usize, count: usize) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            let cluster = map::find(self.cluster).ok_or_else(closed)?;
            match self.send(&cluster, Parcel::Many { pipeline, offset, count }).await {
                Ok(values) => Ok(spare_what_was_done(values)),
                Err(error) => refused_as_a_whole(error),
            }
        })
    }

    fn get_db(&self) -> i64 {
        0
    }
}

/// What is sent in one piece.
#[derive(Clone, Copy)]
enum Parcel<'a> {
    One(&'a Cmd),
    Many { pipeline: &'a Pipeline, offset: usize, count: usize },
}

impl Parcel<'_> {
    async fn send(self, handle: &mut MultiplexedConnection) -> RedisResult<Vec<Value>> {
        match self {
            Self::One(cmd) => handle.send_packed_command(cmd).await.map(|value| vec![value]),
            Self::Many { pipeline, offset, count } => handle.send_packed_commands(pipeline, offset, count).await,
        }
    }

    /// The same behind ASKING, which holds for the command after it, or for the transaction.
    fn behind_asking(self) -> (Pipeline, usize, usize) {
        let mut led = Pipeline::new();
        led.cmd("ASKING");
        match self {
            Self::One(cmd) => {
                led.add_command(cmd.clone());
                (led, 1, 1)
            }
            Self::Many { pipeline, offset, count } => {
                if pipeline.is_transaction() {
                    led.cmd("MULTI");
                }
                for cmd in pipeline.cmd_iter() {
                    led.add_command(cmd.clone());
                }
                if pipeline.is_transaction() {
                    led.cmd("EXEC");
                }
                (led, offset + 1, count)
            }
        }
    }
}

impl Wire {
    /// Sends until it is carried out, or refused for more than the moment. Whoever waits for it gives up at its deadline.
    async fn send(&mut self, cluster: &Cluster, parcel: Parcel<'_>) -> RedisResult<Vec<Value>> {
        let asking = std::mem::take(&mut self.asking);
        let led = asking.then(|| parcel.behind_asking());
        let parcel = match &led {
            Some((pipeline, offset, count)) => Parcel::Many { pipeline, offset: *offset, count: *count },
            None => parcel,
        };
        let mut pause = SHORTEST_PAUSE;
        loop {
            let values = self.send_once(cluster, parcel, asking).await?;
            if values.is_empty() || !values.iter().all(is_not_now) {
                return Ok(values);
            }
            cluster.doubted.raise();
            cluster.runtime().sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Sends once, or not at all if the node is not the one to be asked any more.
    async fn send_once(&mut self, cluster: &Cluster, parcel: Parcel<'_>, asking: bool) -> RedisResult<Vec<Value>> {
        let member = Arc::clone(&self.member);
        // One that was told to ask here does so, whoever owns the slot.
        let elsewhere = Box::pin(until_elsewhere(cluster, &member, asking));
        let deserted = Box::pin(until_deserted(cluster, &member, asking));
        let mut answered = pin!(self.client.ask_unless(elsewhere, async |handle| parcel.send(handle).await));
        let mut deserted = pin!(deserted);
        let outcome = std::future::poll_fn(|cx| match answered.as_mut().poll(cx) {
            Poll::Ready(answered) => Poll::Ready(Some(answered)),
            Poll::Pending => deserted.as_mut().poll(cx).map(|()| None),
        })
        .await;
        match outcome {
            Some(Some(Ok(values))) => {
                values.iter().for_each(|value| note_redirection(cluster, value));
                Ok(values)
            }
            Some(Some(Err(error))) => {
                cluster.doubted.raise();
                Err(conceal(error))
            }
            // Not sent: the redis crate reads this as "look at the slots again, and send it to the owner".
            Some(None) => Err(RedisError::from((ErrorKind::Server(ServerErrorKind::ReadOnly), "the owner has changed"))),
            None => Err(conceal(lost("connection lost, outcome unknown: another node has taken this one's place"))),
        }
    }
}

/// Ends when the node owns nothing, and is not one that may be read from.
async fn until_elsewhere(cluster: &Cluster, member: &Member, asking: bool) {
    // Whoever waits has found no connection: somebody should see to it.
    cluster.doubted.raise();
    loop {
        let version = cluster.changed.version();
        if !asking && !is_served(cluster, member) {
            return;
        }
        cluster.changed.beyond(version).await;
    }
}

/// Ends when the node has lost what it owned, and has had time for its last words.
async fn until_deserted(cluster: &Cluster, member: &Member, asking: bool) {
    loop {
        let version = cluster.changed.version();
        if !asking && !is_served(cluster, member) {
            cluster.runtime().sleep(LAST_WORDS).await;
            if !is_served(cluster, member) {
                return;
            }
        }
        cluster.changed.beyond(version).await;
    }
}

fn is_served(cluster: &Cluster, member: &Member) -> bool {
    let topology = cluster.topology();
    if cluster.setup.cluster_args.read_from_replicas {
        topology.knows(&member.address)
    } else {
        topology.is_owner(&member.address)
    }
}

/// `MOVED 3999 127.0.0.1:6381`
fn note_redirection(cluster: &Cluster, value: &Value) {
    if let Value::ServerError(error) = value {
        note_moved(cluster, error);
    }
}

/// What a reply on a connection of a cluster's node tells of slots.
pub(crate) fn note_redirections<T: Answer>(cluster: u64, result: &RedisResult<T>) {
    let redirected = |error: &ServerError| {
        if let Some(cluster) = map::find(cluster) {
            note_moved(&cluster, error);
        }
    };
    match result {
        Ok(answer) => answer.values().iter().for_each(|value| {
            if let Value::ServerError(error) = value {
                redirected(error);
            }
        }),
        Err(error) => {
            let errors = error.clone().into_server_errors();
            errors.iter().flat_map(|errors| errors.iter()).for_each(|(_, error)| redirected(error));
        }
    }
}

/// Notes where a slot is now, if this says so.
fn note_moved(cluster: &Cluster, error: &ServerError) {
    if error.code() != "MOVED" {
        return;
    }
    let mut words = error.details().unwrap_or_default().split_ascii_whitespace();
    let slot = words.next().and_then(|slot| slot.parse().ok());
    if let (Some(slot), Some(to)) = (slot, words.next().filter(|to| !to.starts_with(':'))) {
        cluster.moved(slot, to);
    }
}

/// A pipeline of which only a part was redirected must not be sent again as a whole: the other part was carried out. Its
/// redirections are then told to the caller as they are.
fn spare_what_was_done(mut values: Vec<Value>) -> Vec<Value> {
    let redirected = |value: &Value| matches!(value, Value::ServerError(error) if is_redirection(error));
    if values.iter().all(redirected) {
        return values;
    }
    for value in &mut values {
        if let Value::ServerError(error) = value
            && is_redirection(error)
        {
            let told = redis::make_extension_error(String::from(error.code()), error.details().map(String::from));
            if let Ok(told) = ServerError::try_from(told) {
                *value = Value::ServerError(told);
            }
        }
    }
    values
}

/// Whether a command was not carried out because the node cannot do it now: half of its keys have moved, or a slot of the
/// cluster has no owner, or the node is loading.
fn is_not_now(value: &Value) -> bool {
    let Value::ServerError(error) = value else { return false };
    match error.kind() {
        Some(
            ServerErrorKind::TryAgain | ServerErrorKind::ClusterDown | ServerErrorKind::MasterDown | ServerErrorKind::BusyLoading,
        ) => true,
        Some(_) | None => false,
    }
}

/// Whether a command was not carried out here, and the redis crate would send it again.
fn is_redirection(error: &ServerError) -> bool {
    match error.kind() {
        Some(
            ServerErrorKind::Moved
            | ServerErrorKind::Ask
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown
            | ServerErrorKind::BusyLoading
            | ServerErrorKind::ReadOnly,
        ) => true,
        Some(_) | None => false,
    }
}

/// A transaction that was refused because its slot is elsewhere was not carried out, so it may follow.
fn refused_as_a_whole(error: RedisError) -> RedisResult<Vec<Value>> {
    let refusals = error.clone().into_server_errors();
    let redirection = refusals.iter().flat_map(|errors| errors.iter()).find(|(_, error)| is_redirection(error));
    match redirection {
        Some((_, redirection)) => Ok(vec![Value::ServerError(redirection.clone())]),
        None => Err(error),
    }
}

fn closed() -> RedisError {
    conceal(lost("not sent: the cluster was closed"))
}

fn not_there(error: &GetClientError) -> RedisError {
    conceal(lost(&format!("not sent: {error}")))
}
