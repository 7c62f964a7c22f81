//! The ways to get a value from a server: exclusive clients from a pool, and clients that many tasks share.

use fred::clients::{ExclusivePool, Pool};
use fred::interfaces::{ClientLike, KeysInterface};
use redis::AsyncConnectionConfig;
use redis::aio::{ConnectionLike, ConnectionManager};
use redis_manager_tests::redis_server::RedisServer;
use rustis::commands::StringCommands;

use super::KEY;
use super::load::{GetLoad, Racer};
use crate::peers::{Bb8, Check, Deadpool, Ours, RedisPool, Refusal};
use crate::runner::{BenchExecutor, Handle};

/// Commands of a pipeline.
pub(super) const PIPELINE_LENGTH: usize = 100;

/// Connections of a pool of exclusive clients.
pub(super) const POOL_SIZE: usize = 16;

pub(super) const OURS: &str = "redis-manager";
pub(super) const OURS_SHARED: &str = "redis-manager, shared";
pub(super) const DEADPOOL: &str = "deadpool-redis";
pub(super) const BB8: &str = "bb8-redis";
pub(super) const BB8_UNCHECKED: &str = "bb8-redis, no check";
pub(super) const FRED_EXCLUSIVE: &str = "fred ExclusivePool";
pub(super) const MULTIPLEXED: &str = "MultiplexedConnection";
pub(super) const MULTIPLEXED_NO_TIMEOUT: &str = "the same, no timeout";
pub(super) const CONNECTION_MANAGER: &str = "ConnectionManager";
pub(super) const FRED_POOL: &str = "fred Pool of 1";
pub(super) const FRED_POOL_16: &str = "fred Pool of 16";
pub(super) const RUSTIS: &str = "rustis";

const ALL: [&str; 12] = [
    OURS,
    OURS_SHARED,
    DEADPOOL,
    BB8,
    BB8_UNCHECKED,
    FRED_EXCLUSIVE,
    MULTIPLEXED,
    MULTIPLEXED_NO_TIMEOUT,
    CONNECTION_MANAGER,
    FRED_POOL,
    FRED_POOL_16,
    RUSTIS,
];

/// A contender. Each logs in as a user of its own, so that the server can tell whose connections it has.
pub(crate) struct RaceContender {
    pub(super) name: &'static str,
    pub(super) racer: Box<dyn Racer>,
}

impl RaceContender {
    pub(crate) fn new(name: &'static str, racer: impl Racer + 'static) -> RaceContender {
        RaceContender { name, racer: Box::new(racer) }
    }
}

/// The user of a contender at the server, and its password.
pub(super) fn user(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).collect()
}

/// Adds a user for each contender.
pub(super) fn add_users(server: &RedisServer) {
    for name in ALL {
        let user = user(name);
        server.command(&["ACL", "SETUSER", &user, "on", &format!(">{user}"), "~*", "&*", "+@all"]);
    }
}

/// Where a contender finds the server, as its own user.
pub(super) fn url(port: u16, name: &str) -> String {
    let user = user(name);
    format!("redis://{user}:{user}@127.0.0.1:{port}")
}

/// Those that lend a connection to one task at a time, out of 16.
pub(super) async fn exclusive(kind: BenchExecutor, handle: &Handle, port: u16) -> Result<Vec<RaceContender>, Refusal> {
    let ours = Ours::connect(handle, url(port, OURS), POOL_SIZE).await?;
    let deadpool = Deadpool::new(&url(port, DEADPOOL), POOL_SIZE, kind)?;
    let mut all = vec![RaceContender::new(OURS, Borrowed(ours)), RaceContender::new(DEADPOOL, Borrowed(deadpool))];
    if kind.is_tokio() {
        for (name, check) in [(BB8, Check::AtCheckout), (BB8_UNCHECKED, Check::Never)] {
            let pool = Bb8::connect(&url(port, name), POOL_SIZE, check).await?;
            all.push(RaceContender::new(name, Borrowed(pool)));
        }
        let config = fred::types::config::Config::from_url(&url(port, FRED_EXCLUSIVE))?;
        let pool = ExclusivePool::new(config, None, None, None, POOL_SIZE)?;
        pool.init().await?;
        all.push(RaceContender::new(FRED_EXCLUSIVE, FredExclusive(pool)));
    }
    Ok(all)
}

/// Those that all tasks use at once.
pub(super) async fn shared(kind: BenchExecutor, handle: &Handle, port: u16) -> Result<Vec<RaceContender>, Refusal> {
    let bare = redis::Client::open(url(port, MULTIPLEXED))?.get_multiplexed_async_connection().await?;
    let client = redis::Client::open(url(port, MULTIPLEXED_NO_TIMEOUT))?;
    let no_timeout = AsyncConnectionConfig::new().set_response_timeout(None);
    let no_timeout = client.get_multiplexed_async_connection_with_config(&no_timeout).await?;
    let managed = ConnectionManager::new(redis::Client::open(url(port, CONNECTION_MANAGER))?).await?;
    let ours = Ours::connect(handle, url(port, OURS_SHARED), 1).await?.share().await?;
    let mut all = vec![
        RaceContender::new(OURS_SHARED, SharedLoad(ours)),
        RaceContender::new(MULTIPLEXED, SharedLoad(bare)),
        RaceContender::new(MULTIPLEXED_NO_TIMEOUT, SharedLoad(no_timeout)),
        RaceContender::new(CONNECTION_MANAGER, SharedLoad(managed)),
    ];
    if kind.is_tokio() {
        for (name, size) in [(FRED_POOL, 1), (FRED_POOL_16, POOL_SIZE)] {
            let config = fred::types::config::Config::from_url(&url(port, name))?;
            let pool = Pool::new(config, None, None, None, size)?;
            pool.init().await?;
            all.push(RaceContender::new(name, FredPool(pool)));
        }
        let client = rustis::client::Client::connect(url(port, RUSTIS)).await?;
        all.push(RaceContender::new(RUSTIS, Rustis(client)));
    }
    Ok(all)
}

/// Those that all tasks use at once, for pipelines.
pub(super) async fn pipelining(handle: &Handle, port: u16) -> Result<Vec<RaceContender>, Refusal> {
    let bare = redis::Client::open(url(port, MULTIPLEXED))?.get_multiplexed_async_connection().await?;
    let ours = Ours::connect(handle, url(port, OURS_SHARED), 1).await?.share().await?;
    Ok(vec![RaceContender::new(OURS_SHARED, PipelineLoad(ours)), RaceContender::new(MULTIPLEXED, PipelineLoad(bare))])
}

/// A client of a pool, for one GET.
#[derive(Clone)]
struct Borrowed<P>(P);

impl<P: RedisPool> GetLoad for Borrowed<P> {
    async fn get(&mut self) -> Result<Vec<u8>, Refusal> {
        let mut client = self.0.get().await?;
        Ok(redis::cmd("GET").arg(KEY).query_async(&mut client).await?)
    }
}

/// A client of the redis crate that can be cloned and used by many.
#[derive(Clone)]
struct SharedLoad<C>(C);

impl<C: ConnectionLike + Clone + Send + Sync + 'static> GetLoad for SharedLoad<C> {
    async fn get(&mut self) -> Result<Vec<u8>, Refusal> {
        Ok(redis::cmd("GET").arg(KEY).query_async(&mut self.0).await?)
    }
}

/// The same, for a pipeline of GETs. One operation is one pipeline.
#[derive(Clone)]
struct PipelineLoad<C>(C);

impl<C: ConnectionLike + Clone + Send + Sync + 'static> GetLoad for PipelineLoad<C> {
    async fn get(&mut self) -> Result<Vec<u8>, Refusal> {
        let mut pipeline = redis::pipe();
        for _ in 0..PIPELINE_LENGTH {
            pipeline.cmd("GET").arg(KEY);
        }
        let values: Vec<Vec<u8>> = pipeline.query_async(&mut self.0).await?;
        values.into_iter().next().ok_or_else(|| Refusal::from("no reply"))
    }
}

#[derive(Clone)]
struct FredExclusive(ExclusivePool);

impl GetLoad for FredExclusive {
    async fn get(&mut self) -> Result<Vec<u8>, Refusal> {
        let client = self.0.acquire().await;
        Ok(client.get(KEY).await?)
    }
}

#[derive(Clone)]
struct FredPool(Pool);

impl GetLoad for FredPool {
    async fn get(&mut self) -> Result<Vec<u8>, Refusal> {
        Ok(self.0.get(KEY).await?)
    }
}

#[derive(Clone)]
struct Rustis(rustis::client::Client);

impl GetLoad for Rustis {
    async fn get(&mut self) -> Result<Vec<u8>, Refusal> {
        let value: String = self.0.get(KEY).await?;
        Ok(value.into_bytes())
    }
}
