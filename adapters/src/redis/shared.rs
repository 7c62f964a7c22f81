//! The client that many tasks share, of a node or of a cluster.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::{Cmd, Pipeline, RedisFuture, Value};

#[cfg(feature = "cluster")]
use crate::cluster::RoutedClient;
use crate::error::GetClientError;
use crate::redis_node::shared_connections::SharedConnections;
use crate::redis_node::shared_handle::SharedHandle;

/// A client that any number of tasks use at once. Cheap to clone; made by
/// [`RedisManager::get_shared_client`](crate::RedisManager::get_shared_client).
///
/// All shared clients of a node send their commands over the same `shared_connections_per_node` connections, each command
/// over the one with the fewest in flight. Those connections are on loan from the node's pools for as long as there is a
/// shared client: they count as `active`, and against the limits.
///
/// It is for plain commands, atomic pipelines and scripts. What changes a session or keeps the connection busy is refused
/// with an error of the kind [`Client`](redis::ErrorKind::Client) that names the command, and nothing is sent: `WATCH`, a single
/// `MULTI`, commands that block, `SELECT`, `AUTH`, `HELLO`, `RESET`, `SUBSCRIBE`, `MONITOR`, most of `CLIENT`, and
/// commands without a response; so is whatever a [`Client`](crate::Client) refuses, and commands that are not known if
/// [`unknown_commands`](crate::PoolArgs::unknown_commands) says so. Get a [`Client`](crate::Client) for the former.
///
/// # Lost connections
///
/// A command has `command_timeout` from start to end. One that was never sent waits within it for a new connection; the
/// error says `not sent` if none came. One that may have been sent is never sent again: its error says `outcome unknown`.
///
/// # Cancel safety
///
/// A command future may be dropped at any time; a command that was sent may still be carried out. Others do not notice.
#[derive(Clone)]
#[must_use = "a client does nothing until it is used"]
pub struct SharedClient {
    of: SharedKind,
}

#[derive(Clone)]
enum SharedKind {
    Node(SharedHandle),
    #[cfg(feature = "cluster")]
    Cluster(RoutedClient),
}

impl SharedClient {
    pub(crate) async fn of_node(connections: Arc<SharedConnections>, timeout: Duration) -> Result<Self, GetClientError> {
        Ok(Self { of: SharedKind::Node(SharedHandle::ready(connections, timeout).await?) })
    }

    #[cfg(feature = "cluster")]
    pub(crate) fn of_cluster(share: RoutedClient) -> Self {
        Self { of: SharedKind::Cluster(share) }
    }
}

impl ConnectionLike for SharedClient {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match &mut self.of {
            SharedKind::Node(share) => share.req_packed_command(cmd),
            #[cfg(feature = "cluster")]
            SharedKind::Cluster(share) => Box::pin(share.ask(cmd)),
        }
    }

    fn req_packed_commands<'a>(&'a mut self, pipeline: &'a Pipeline, offset: usize, count: usize) -> RedisFuture<'a, Vec<Value>> {
        match &mut self.of {
            SharedKind::Node(share) => share.req_packed_commands(pipeline, offset, count),
            #[cfg(feature = "cluster")]
            SharedKind::Cluster(share) => Box::pin(share.ask_all(pipeline, offset, count)),
        }
    }

    fn get_db(&self) -> i64 {
        match &self.of {
            SharedKind::Node(share) => share.get_db(),
            #[cfg(feature = "cluster")]
            SharedKind::Cluster(_) => 0,
        }
    }
}

impl fmt::Debug for SharedClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("SharedClient");
        match &self.of {
            SharedKind::Node(share) => shown.field("node", &share.node()),
            #[cfg(feature = "cluster")]
            SharedKind::Cluster(share) => shown.field("cluster", &share.name()),
        };
        shown.finish_non_exhaustive()
    }
}
