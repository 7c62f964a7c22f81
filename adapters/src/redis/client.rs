//! The client that users hold: a connection on loan that speaks Redis.

use std::fmt;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::{Cmd, Pipeline, RedisFuture, RedisResult, Value};
use redis_manager_core::Lease;

#[cfg(feature = "cluster")]
use crate::cluster::ClusterConnector;
use crate::redis_node::RedisConnector;
use crate::redis_node::command_profile::CommandProfile;
use crate::redis_node::contention::Contender;
use crate::redis_node::pub_sub::PubSub;
use crate::redis_node::reply_class::RequestRef;
use crate::redis_node::written_keys::{check_in_body, check_pipeline_in_body};

/// A connection on loan. Use it with every command, pipeline and script of the redis crate; drop it to give it back.
///
/// It is yours alone until then, and it cannot be cloned. Dropping it neither blocks nor needs a runtime, on any thread.
///
/// # What you leave behind
///
/// Nothing of it reaches the next borrower. A client that changed nothing goes back as it is, without a round trip. After
/// `WATCH`, `MULTI` or `SELECT`, and after a command that was cancelled before its reply, the connection is cleaned in the
/// background before it is lent again, in one round trip; after commands that may have ended it (`CLIENT KILL`, `SHUTDOWN`,
/// `DEBUG`, `FAILOVER`, `REPLICAOF`, changes of users) and after unknown ones it is asked for a sign of life then; see
/// [`unknown_commands`](crate::PoolArgs::unknown_commands). What only a new connection is rid of (`AUTH`, `HELLO`, `RESET`,
/// `SUBSCRIBE`, `MONITOR`, `CLIENT SETNAME` / `TRACKING` / `REPLY` / `NO-EVICT`, `READONLY`, `HIMPORT PREPARE`, commands
/// without a response) closes it.
///
/// # What is refused
///
/// A request whose replies are not those that are waited for, with an error of the kind [`Client`](redis::ErrorKind::Client),
/// and nothing is sent: a pipeline of which other replies are asked for than it has; `SUBSCRIBE` and its kin, `MONITOR`,
/// `CLIENT REPLY OFF`, commands without a response and empty ones in a pipeline; `SUBSCRIBE` to several channels at once;
/// `MULTI`, `EXEC`, `DISCARD`, `RESET` in an atomic pipeline, and an atomic pipeline while a transaction is open; whatever
/// comes after `MONITOR`, `SCRIPT DEBUG`, or `SUBSCRIBE` over RESP2. In the body of a [`transaction`](Client::transaction):
/// a write to a watched key, which belongs into the pipeline, and what ends the watch.
///
/// # Lost connections
///
/// A connection that is lost under a client stays lost: commands fail, and none is ever sent twice. If one may have
/// reached the server, the error says `outcome unknown`.
///
/// # Cancel safety
///
/// A command future that is dropped before its reply may still be carried out by the server. The client can be used
/// further, but for one case: a command that blocks on the server (`BLPOP` and its kin) closes its connection when it is
/// dropped, so that what it waits for is not taken for nobody.
///
/// # Clients of a cluster
///
/// What [`get_client`](crate::RedisManager::get_client) lends of a cluster finds the node of each command by its key. Several
/// such clients share the connections behind them, so they refuse what a [`SharedClient`](crate::SharedClient) refuses; a
/// client that is to have a node's connection for itself comes from `get_client_for_key`.
#[must_use = "a client that is dropped at once goes back at once"]
pub struct Client {
    lent: LeaseKind,
    /// The WATCH of the transaction whose body uses the client.
    watch: Option<Arc<Cmd>>,
}

enum LeaseKind {
    Node(Lease<RedisConnector>),
    #[cfg(feature = "cluster")]
    Cluster(Lease<ClusterConnector>),
}

impl Client {
    pub(crate) fn new(lease: Lease<RedisConnector>) -> Self {
        Self { lent: LeaseKind::Node(lease), watch: None }
    }

    #[cfg(feature = "cluster")]
    pub(crate) fn of_cluster(lease: Lease<ClusterConnector>) -> Self {
        Self { lent: LeaseKind::Cluster(lease), watch: None }
    }

    /// Gives the connection back to be closed instead of lent again.
    pub fn discard(self) {
        match self.lent {
            LeaseKind::Node(lease) => lease.discard(),
            #[cfg(feature = "cluster")]
            LeaseKind::Cluster(lease) => lease.discard(),
        }
    }

    /// From now on it is used by the body of a transaction that begins with `watch`; with none, by no body any more.
    pub(crate) fn set_watch(&mut self, watch: Option<Arc<Cmd>>) {
        self.watch = watch;
    }

    /// Whether it is used by the body of a transaction that watches keys.
    pub(crate) fn is_watching(&self) -> bool {
        self.watch.is_some()
    }

    /// The node that the client is of: its URL with the password hidden, or `host:port` in a cluster.
    #[must_use]
    pub fn node(&self) -> &str {
        match &self.lent {
            LeaseKind::Node(lease) => lease.node_name(),
            #[cfg(feature = "cluster")]
            LeaseKind::Cluster(lease) => lease.node_name(),
        }
    }

    /// How old the connection is: the time since it was dialled.
    #[must_use]
    pub fn connection_age(&self) -> Duration {
        match &self.lent {
            LeaseKind::Node(lease) => lease.age(),
            #[cfg(feature = "cluster")]
            LeaseKind::Cluster(lease) => lease.age(),
        }
    }

    /// A transaction of this client that begins with `watch`. None where keys cannot be watched.
    pub(crate) fn contender(&self, watch: &Cmd) -> Option<Contender> {
        match &self.lent {
            LeaseKind::Node(lease) => Some(lease.contender(watch)),
            #[cfg(feature = "cluster")]
            LeaseKind::Cluster(_) => None,
        }
    }

    /// Waits until it is a transaction's turn, if others are disturbed.
    pub(crate) async fn wait_in_line(&mut self, contender: &mut Contender) {
        match &mut self.lent {
            LeaseKind::Node(lease) if contender.is_in_line() => {
                let turn = lease.within(Contender::LONGEST_WAIT, contender.next_turn()).await;
                contender.begin(turn);
            }
            LeaseKind::Node(_) => {}
            #[cfg(feature = "cluster")]
            LeaseKind::Cluster(_) => {}
        }
    }

    /// Waits after a transaction was disturbed.
    pub(crate) async fn pause(&mut self, contender: &mut Contender) {
        match &mut self.lent {
            LeaseKind::Node(lease) => {
                let length = contender.after_conflict(lease.seed());
                let _nothing = lease.within(length, pending::<()>()).await;
            }
            #[cfg(feature = "cluster")]
            LeaseKind::Cluster(_) => {}
        }
    }

    /// Turns the client into one that listens to channels. Its connection is closed when it comes back.
    ///
    /// # Errors
    ///
    /// `InvalidClientConfig` if the connection speaks RESP2; see [`PoolArgs::protocol`](crate::PoolArgs::protocol). `Client`
    /// for a client of a whole cluster: get one for the channel's key.
    pub fn into_pub_sub(self) -> RedisResult<PubSub> {
        match self.lent {
            LeaseKind::Node(lease) => PubSub::new(lease),
            #[cfg(feature = "cluster")]
            LeaseKind::Cluster(_) => {
                let text = "a client of a whole cluster cannot listen: use get_client_for_key";
                Err(redis::RedisError::from((redis::ErrorKind::Client, text)))
            }
        }
    }
}

impl ConnectionLike for Client {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        let watch = self.watch.as_deref();
        match &mut self.lent {
            LeaseKind::Node(lease) => {
                let request = CommandProfile::of_command(cmd, lease.session());
                Box::pin(async move {
                    watch.map_or(Ok(()), |watch| check_in_body(watch, cmd))?;
                    request.check(cmd)?;
                    lease.ask(request, RequestRef::Command(cmd), async |handle| handle.send_packed_command(cmd).await).await
                })
            }
            #[cfg(feature = "cluster")]
            LeaseKind::Cluster(lease) => Box::pin(lease.ask(cmd)),
        }
    }

    fn req_packed_commands<'a>(&'a mut self, pipeline: &'a Pipeline, offset: usize, count: usize) -> RedisFuture<'a, Vec<Value>> {
        let watch = self.watch.as_deref();
        match &mut self.lent {
            LeaseKind::Node(lease) => {
                let request = CommandProfile::of_packed_commands(pipeline, offset, count, lease.session());
                let asked = RequestRef::Pipeline(pipeline, offset);
                Box::pin(async move {
                    watch.map_or(Ok(()), |watch| check_pipeline_in_body(watch, pipeline))?;
                    request.check_pipeline(pipeline)?;
                    lease.ask(request, asked, async |handle| handle.send_packed_commands(pipeline, offset, count).await).await
                })
            }
            #[cfg(feature = "cluster")]
            LeaseKind::Cluster(lease) => Box::pin(lease.ask_all(pipeline, offset, count)),
        }
    }

    fn get_db(&self) -> i64 {
        match &self.lent {
            LeaseKind::Node(lease) => lease.db(),
            #[cfg(feature = "cluster")]
            LeaseKind::Cluster(_) => 0,
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Client");
        match &self.lent {
            LeaseKind::Node(lease) => shown.field("connection", &***lease),
            #[cfg(feature = "cluster")]
            LeaseKind::Cluster(lease) => shown.field("connection", &***lease),
        };
        shown.finish()
    }
}
