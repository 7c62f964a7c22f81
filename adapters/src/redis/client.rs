//! The client that users hold: a connection on loan that speaks Redis.

use std::fmt;

use redis::aio::ConnectionLike;
use redis::{Cmd, Pipeline, RedisFuture, RedisResult, Value};
use redis_manager_core::Lease;

use crate::redis_node::RedisConnector;
use crate::redis_node::pub_sub::PubSub;
use crate::redis_node::session::Request;

/// A connection on loan. Use it with every command, pipeline and script of the redis crate; drop it to give it back.
///
/// It is yours alone until then, and it cannot be cloned. Dropping it neither blocks nor needs a runtime, on any thread.
///
/// # What you leave behind
///
/// Nothing of it reaches the next borrower. A client that changed nothing goes back as it is, without a round trip. After
/// `WATCH`, `MULTI` or `SELECT`, and after a command that was cancelled before its reply, the connection is cleaned in the
/// background before it is lent again, in one round trip. What only a new connection is rid of (`AUTH`, `HELLO`, `RESET`,
/// `SUBSCRIBE`, `MONITOR`, `CLIENT SETNAME` / `TRACKING` / `REPLY` / `NO-EVICT`, `READONLY`, commands without a response)
/// closes it.
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

    /// Turns the client into one that listens to channels. Its connection is closed when it comes back.
    ///
    /// # Errors
    ///
    /// `InvalidClientConfig` if the connection speaks RESP2; see [`PoolArgs::protocol`](crate::PoolArgs::protocol).
    pub fn into_pub_sub(self) -> RedisResult<PubSub> {
        PubSub::new(self.lease)
    }
}

impl ConnectionLike for Client {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        let request = Request::of_command(cmd, self.lease.session());
        Box::pin(self.lease.ask(request, async move |handle| handle.send_packed_command(cmd).await))
    }

    fn req_packed_commands<'a>(&'a mut self, pipeline: &'a Pipeline, offset: usize, count: usize) -> RedisFuture<'a, Vec<Value>> {
        let request = Request::of_packed_commands(pipeline, offset.saturating_add(count), self.lease.session());
        Box::pin(self.lease.ask(request, async move |handle| handle.send_packed_commands(pipeline, offset, count).await))
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
