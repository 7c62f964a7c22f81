//! The pools of Redis connections that are compared, behind one trait; each is used through its public API only.

use std::error::Error;
use std::future::Future;

use bb8_redis::RedisConnectionManager;
use redis::aio::ConnectionLike;
use redis::{Cmd, Pipeline, RedisFuture, Value};
use redis_manager::{Client, RedisManager, SharedClient};

use crate::runner::{BenchExecutor, Handle};

/// Why a pool lends nothing.
pub(crate) type Refusal = Box<dyn Error + Send + Sync>;

/// A pool of exclusive connections to one server.
pub(crate) trait RedisPool: Clone + Send + Sync + 'static {
    /// What it lends.
    type Client: ConnectionLike + Send;

    /// Lends a connection, which goes back when it is dropped.
    fn get(&self) -> impl Future<Output = Result<Self::Client, Refusal>> + Send;
}

/// redis-manager, one pool of one node.
#[derive(Clone)]
pub(crate) struct Ours {
    manager: RedisManager,
    node: String,
}

impl Ours {
    /// A node with one pool of at most `size` connections; `node` may name the protocol.
    pub(crate) async fn connect(handle: &Handle, node: String, size: usize) -> Result<Ours, Refusal> {
        let builder = RedisManager::builder().max_connection_size(size).max_pools_per_node(1);
        let manager = handle.build(builder);
        manager.add_node_pool(&node).await?;
        Ok(Ours { manager, node })
    }

    /// A client that many tasks share.
    pub(crate) async fn share(&self) -> Result<SharedClient, Refusal> {
        Ok(self.manager.get_shared_client(&self.node).await?)
    }
}

impl RedisPool for Ours {
    type Client = Client;

    async fn get(&self) -> Result<Client, Refusal> {
        Ok(self.manager.get_client(&self.node).await?)
    }
}

/// deadpool-redis; it sends a PING at every checkout.
#[derive(Clone)]
pub(crate) struct Deadpool(deadpool_redis::Pool);

impl Deadpool {
    pub(crate) fn new(node: &str, size: usize, kind: BenchExecutor) -> Result<Deadpool, Refusal> {
        let builder = deadpool_redis::Config::from_url(node).builder()?.max_size(size);
        let runtime = deadpool_redis::Runtime::Tokio1;
        let builder = if kind.is_tokio() { builder.runtime(runtime) } else { builder };
        Ok(Deadpool(builder.build()?))
    }
}

impl RedisPool for Deadpool {
    type Client = deadpool_redis::Connection;

    async fn get(&self) -> Result<Self::Client, Refusal> {
        Ok(self.0.get().await?)
    }
}

/// Whether bb8 sends a PING at every checkout, as it does by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    AtCheckout,
    Never,
}

/// bb8-redis.
#[derive(Clone)]
pub(crate) struct Bb8(bb8::Pool<RedisConnectionManager>);

impl Bb8 {
    pub(crate) async fn connect(node: &str, size: usize, check: Check) -> Result<Bb8, Refusal> {
        let manager = RedisConnectionManager::new(node)?;
        let size = u32::try_from(size).expect("a pool of the benchmark is small");
        let builder = bb8::Pool::builder().max_size(size).test_on_check_out(check == Check::AtCheckout);
        Ok(Bb8(builder.build(manager).await?))
    }
}

impl RedisPool for Bb8 {
    type Client = Bb8Client;

    async fn get(&self) -> Result<Bb8Client, Refusal> {
        Ok(Bb8Client(self.0.get_owned().await?))
    }
}

/// A connection of bb8-redis, which implements the trait of the redis crate only behind a dereference.
pub(crate) struct Bb8Client(bb8::PooledConnection<'static, RedisConnectionManager>);

impl ConnectionLike for Bb8Client {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        self.0.req_packed_command(cmd)
    }

    fn req_packed_commands<'a>(&'a mut self, pipeline: &'a Pipeline, offset: usize, count: usize) -> RedisFuture<'a, Vec<Value>> {
        self.0.req_packed_commands(pipeline, offset, count)
    }

    fn get_db(&self) -> i64 {
        self.0.get_db()
    }
}
