//! The client that users hold: a connection on loan that speaks Redis.

use std::fmt;

use redis::aio::ConnectionLike;
use redis::{Cmd, Pipeline, RedisFuture, Value};
use redis_manager_core::Lease;

use crate::redis_node::RedisConnector;
use crate::redis_node::patience;

/// A connection on loan. Use it with every command, pipeline and script of the redis crate; drop it to give it back.
///
/// It is yours alone until then, and it cannot be cloned. Dropping it neither blocks nor needs a runtime, on any thread.
///
/// What you change of the session (an open MULTI, WATCH, SELECT, AUTH, SUBSCRIBE, CLIENT REPLY) stays with the connection:
/// undo it, or [`discard`](Client::discard) the client. A client that was sent a command without a response is closed on
/// return.
///
/// A connection that is lost under a client stays lost: commands fail, and none is ever sent twice. If one may have
/// reached the server, the error says `outcome unknown`.
///
/// # Cancel safety
///
/// A command future that is dropped before its reply may still be carried out by the server. The client can be dropped
/// then, and its connection is closed; commands sent on it fail.
pub struct Client {
    lease: Lease<RedisConnector>,
}

impl Client {
    pub(crate) fn new(lease: Lease<RedisConnector>) -> Self {
        Self { lease }
    }

    /// Gives the connection back to be closed instead of lent again.
    pub fn discard(self) {
        self.lease.discard();
    }
}

impl ConnectionLike for Client {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        let patience = patience::of_command(cmd, self.lease.command_timeout());
        if cmd.is_no_response() {
            self.lease.spoil();
        }
        Box::pin(self.lease.ask(patience, async move |handle| handle.send_packed_command(cmd).await))
    }

    fn req_packed_commands<'a>(&'a mut self, pipeline: &'a Pipeline, offset: usize, count: usize) -> RedisFuture<'a, Vec<Value>> {
        let patience = patience::of_pipeline(pipeline, self.lease.command_timeout());
        Box::pin(self.lease.ask(patience, async move |handle| handle.send_packed_commands(pipeline, offset, count).await))
    }

    fn get_db(&self) -> i64 {
        self.lease.db()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("connection", &**self.lease).finish()
    }
}
