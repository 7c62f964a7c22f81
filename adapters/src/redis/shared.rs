//! The client that many tasks share, of a node or of a cluster.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::{Cmd, Pipeline, RedisFuture, Value};

use crate::error::GetClientError;
use crate::redis_node::metrics::RequestWay;
use crate::redis_node::routed_connection::RoutedConnection;
use crate::redis_node::shared_connections::SharedConnections;
use crate::redis_node::shared_handle::SharedHandle;

/// A client that any number of tasks use at the same time. Cheap to clone; made by
/// [`RedisManager::get_shared_client`](crate::RedisManager::get_shared_client).
///
/// All shared clients of a node use the same `shared_connections_per_node` connections (default 1). Each command uses the one
/// with the fewest commands in flight. The connections are on loan from the node's pools while there is a shared client: they
/// count as `active`, and against the limits.
///
/// # Refused requests
///
/// Use it for plain commands, atomic pipelines and scripts. Commands that change the session or block the connection are
/// refused: `WATCH`, a single `MULTI`, commands that block, `SELECT`, `AUTH`, `HELLO`, `RESET`, `SUBSCRIBE`, `MONITOR`, most of
/// `CLIENT`, and commands without a response. The error is of the kind [`Client`](redis::ErrorKind::Client) and names the
/// command; nothing is sent. Get a [`Client`](crate::Client) for these commands.
///
/// Requests that a [`Client`](crate::Client) refuses are refused here, too. Unknown commands are refused depending on
/// [`unknown_commands`](crate::PoolArgs::unknown_commands).
///
/// # Lost connections
///
/// A command has `command_timeout` from start to end. A command that was not sent waits within that time for a new connection;
/// if none comes, the error says `not sent`. A command that may have been sent is never sent again; its error says
/// `outcome unknown`.
///
/// # Cancel safety
///
/// A command future may be dropped at any time. A command that was sent may still be executed. Other commands are not affected.
#[derive(Clone)]
#[must_use = "a client does nothing until it is used"]
pub struct SharedClient {
    of: SharedKind,
}

#[derive(Clone)]
enum SharedKind {
    Node(SharedHandle),
    Routed(Box<dyn RoutedConnection>),
}

impl SharedClient {
    pub(crate) async fn of_node(connections: Arc<SharedConnections>, timeout: Duration) -> Result<Self, GetClientError> {
        Ok(Self { of: SharedKind::Node(SharedHandle::ready(connections, timeout).await?) })
    }

    pub(crate) fn routed(connection: Box<dyn RoutedConnection>) -> Self {
        Self { of: SharedKind::Routed(connection) }
    }
}

impl ConnectionLike for SharedClient {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match &mut self.of {
            SharedKind::Node(share) => share.req_packed_command(cmd),
            SharedKind::Routed(routed) => routed.ask(RequestWay::Shared, cmd),
        }
    }

    fn req_packed_commands<'a>(&'a mut self, pipeline: &'a Pipeline, offset: usize, count: usize) -> RedisFuture<'a, Vec<Value>> {
        match &mut self.of {
            SharedKind::Node(share) => share.req_packed_commands(pipeline, offset, count),
            SharedKind::Routed(routed) => routed.ask_all(RequestWay::Shared, pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match &self.of {
            SharedKind::Node(share) => share.get_db(),
            SharedKind::Routed(routed) => routed.db(),
        }
    }
}

impl fmt::Debug for SharedClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("SharedClient");
        match &self.of {
            SharedKind::Node(share) => shown.field("node", &share.node()),
            SharedKind::Routed(routed) => shown.field("routed", &routed.name()),
        };
        shown.finish_non_exhaustive()
    }
}
