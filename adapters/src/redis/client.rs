//! The client that users hold: a Redis connection on loan.

use std::fmt;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::{Cmd, Pipeline, RedisFuture, RedisResult, Value};
use redis_manager_core::Lease;

use crate::connection::resp::answer::Replies;
use crate::connection::resp::request::Outgoing;
use crate::redis_node::RedisConnector;
use crate::redis_node::command_profile::CommandProfile;
use crate::redis_node::contention::Contender;
use crate::redis_node::metrics::RequestWay;
use crate::redis_node::metrics::counted_request::ask_counted;
use crate::redis_node::pub_sub::PubSub;
use crate::redis_node::routed_connection::RoutedConnection;
use crate::redis_node::written_keys::{check_in_body, check_pipeline_in_body};

/// A connection on loan. Use it with every command, pipeline and script of the redis crate; drop it to return it.
///
/// A client is exclusive and cannot be cloned. Dropping it does not block, needs no runtime, and works on any thread.
///
/// # State left behind
///
/// The next borrower always gets a clean connection. The commands that were sent decide what happens on return:
///
/// - The session is unchanged: the connection is returned as it is, without a round trip.
/// - `WATCH`, `MULTI`, `SELECT`, or a command that was cancelled before its reply: the connection is cleaned in the background
///   before it is lent again, in one round trip.
/// - Commands that may have closed it (`CLIENT KILL`, `SHUTDOWN`, `DEBUG`, `FAILOVER`, `REPLICAOF`, changes of users), and
///   unknown commands: the connection is checked in the background before it is lent again; see
///   [`unknown_commands`](crate::PoolArgs::unknown_commands).
/// - Commands that cannot be undone (`AUTH`, `HELLO`, `RESET`, `SUBSCRIBE`, `MONITOR`, `CLIENT SETNAME` / `TRACKING` / `REPLY`
///   / `NO-EVICT`, `READONLY`, `HIMPORT PREPARE`, commands without a response): the connection is closed.
///
/// # Refused requests
///
/// A request is refused if it would not get exactly the replies that the caller waits for. The error is of the kind
/// [`Client`](redis::ErrorKind::Client), and nothing is sent. Refused are:
///
/// - a pipeline with another number of requested replies than it has;
/// - in a pipeline: `SUBSCRIBE` and similar commands, `MONITOR`, `CLIENT REPLY OFF`, commands without a response, empty
///   commands;
/// - `SUBSCRIBE` to several channels at once;
/// - in an atomic pipeline: `MULTI`, `EXEC`, `DISCARD`, `RESET`;
/// - an atomic pipeline while a transaction is open;
/// - any command after `MONITOR`, `SCRIPT DEBUG`, or `SUBSCRIBE` over RESP2;
/// - in the body of a [`transaction`](Client::transaction): a write to a watched key, and commands that end the watch. Put
///   writes into the pipeline.
///
/// # Lost connections
///
/// After its connection is lost, all commands of a client fail. No command is ever sent twice. If a command may have reached
/// the server, the error says `outcome unknown`.
///
/// # Cancel safety
///
/// A command whose future is dropped before the reply may still be executed by the server. The client remains usable, with one
/// exception: dropping a command that blocks on the server (`BLPOP` and similar) closes the connection. Otherwise the server
/// could pop an element for a caller that is gone.
///
/// # Clients of a cluster
///
/// A client that [`get_client`](crate::RedisManager::get_client) lends for a cluster sends each command to the node of its key.
/// Several such clients share their connections. They therefore refuse the same commands as a
/// [`SharedClient`](crate::SharedClient). `get_client_for_key` lends an exclusive connection to one node.
#[must_use = "a client that is dropped at once is returned at once"]
pub struct Client {
    lent: LeaseKind,
    /// The WATCH of the transaction, while its body uses the client.
    watch: Option<Arc<Cmd>>,
}

enum LeaseKind {
    Node(Lease<RedisConnector>),
    /// No lease: it shares the connections of all nodes.
    Routed(Box<dyn RoutedConnection>),
}

impl Client {
    pub(crate) fn new(lease: Lease<RedisConnector>) -> Self {
        Self { lent: LeaseKind::Node(lease), watch: None }
    }

    pub(crate) fn routed(connection: Box<dyn RoutedConnection>) -> Self {
        Self { lent: LeaseKind::Routed(connection), watch: None }
    }

    /// Closes the connection instead of returning it to the pool.
    pub fn discard(self) {
        match self.lent {
            LeaseKind::Node(lease) => lease.discard(),
            LeaseKind::Routed(_) => {}
        }
    }

    /// Its connection, if it has one of its own.
    pub(crate) fn into_lease(self) -> Option<Lease<RedisConnector>> {
        match self.lent {
            LeaseKind::Node(lease) => Some(lease),
            LeaseKind::Routed(_) => None,
        }
    }

    /// Set while the body of a transaction that begins with `watch` uses the client.
    pub(crate) fn set_watch(&mut self, watch: Option<Arc<Cmd>>) {
        self.watch = watch;
    }

    /// Whether the body of a transaction that watches keys uses the client.
    pub(crate) fn is_watching(&self) -> bool {
        self.watch.is_some()
    }

    /// The node of the client: its URL with the password hidden, or `host:port` in a cluster.
    #[must_use]
    pub fn node(&self) -> &str {
        match &self.lent {
            LeaseKind::Node(lease) => lease.node_name(),
            LeaseKind::Routed(routed) => routed.name(),
        }
    }

    /// The age of the connection: the time since it was dialled.
    #[must_use]
    pub fn connection_age(&self) -> Duration {
        match &self.lent {
            LeaseKind::Node(lease) => lease.age(),
            LeaseKind::Routed(routed) => routed.age(),
        }
    }

    /// A transaction of this client that begins with `watch`. `None` for connections on which keys cannot be watched.
    pub(crate) fn contender(&self, watch: &Cmd) -> Option<Contender> {
        match &self.lent {
            LeaseKind::Node(lease) => Some(lease.contender(watch)),
            LeaseKind::Routed(_) => None,
        }
    }

    /// Waits for the transaction's turn, if conflicts have made transactions wait for each other.
    pub(crate) async fn wait_in_line(&mut self, contender: &mut Contender) {
        match &mut self.lent {
            LeaseKind::Node(lease) if contender.is_in_line() => {
                let turn = lease.within(Contender::LONGEST_WAIT, contender.next_turn()).await;
                contender.begin(turn);
            }
            LeaseKind::Node(_) => {}
            LeaseKind::Routed(_) => {}
        }
    }

    /// Pauses after a transaction had a conflict.
    pub(crate) async fn pause(&mut self, contender: &mut Contender) {
        match &mut self.lent {
            LeaseKind::Node(lease) => {
                let length = contender.after_conflict(lease.seed());
                let _nothing = lease.within(length, pending::<()>()).await;
            }
            LeaseKind::Routed(_) => {}
        }
    }

    /// Turns the client into a subscriber. Its connection is closed when it is returned.
    ///
    /// # Errors
    ///
    /// A [`RedisError`](redis::RedisError) of one of these kinds:
    ///
    /// - [`InvalidClientConfig`](redis::ErrorKind::InvalidClientConfig) if the connection uses RESP2; see
    ///   [`PoolArgs::protocol`](crate::PoolArgs::protocol).
    /// - [`Client`](redis::ErrorKind::Client) for a client of a whole cluster; use `get_client_for_key` with the channel's
    ///   name.
    pub fn into_pub_sub(self) -> RedisResult<PubSub> {
        match self.lent {
            LeaseKind::Node(lease) => PubSub::new(lease),
            LeaseKind::Routed(_) => {
                let text = "a client of a whole cluster cannot subscribe: use get_client_for_key";
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
                let profile = CommandProfile::of_command(cmd, lease.session());
                Box::pin(async move {
                    let checked = watch.map_or(Ok(()), |watch| check_in_body(watch, cmd)).and_then(|()| profile.check(cmd));
                    ask_counted(lease, checked.map(|()| profile), profile.request(cmd)).await.and_then(Replies::into_value)
                })
            }
            LeaseKind::Routed(routed) => routed.ask(RequestWay::Exclusive, cmd),
        }
    }

    fn req_packed_commands<'a>(&'a mut self, pipeline: &'a Pipeline, offset: usize, count: usize) -> RedisFuture<'a, Vec<Value>> {
        let watch = self.watch.as_deref();
        match &mut self.lent {
            LeaseKind::Node(lease) => {
                let profile = CommandProfile::of_packed_commands(pipeline, offset, count, lease.session());
                let request = Outgoing::Pipeline { pipeline, offset, count };
                Box::pin(async move {
                    let allowed = watch.map_or(Ok(()), |watch| check_pipeline_in_body(watch, pipeline));
                    let checked = allowed.and_then(|()| profile.check_pipeline(pipeline));
                    let asked = ask_counted(lease, checked.map(|()| profile), request).await;
                    asked.and_then(|answer| answer.into_values(request))
                })
            }
            LeaseKind::Routed(routed) => routed.ask_all(RequestWay::Exclusive, pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match &self.lent {
            LeaseKind::Node(lease) => lease.db(),
            LeaseKind::Routed(routed) => routed.db(),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Client");
        match &self.lent {
            LeaseKind::Node(lease) => shown.field("connection", &***lease),
            LeaseKind::Routed(routed) => shown.field("routed", &routed.name()),
        };
        shown.finish()
    }
}
