//! The ways to get values from a cluster.

use std::sync::Arc;

use fred::interfaces::{ClientLike, KeysInterface};
use redis::aio::ConnectionLike;
use redis_manager::{ClusterArgs, RedisManager, SharedClient};
use redis_manager_tests::cluster::TestCluster;
use redis_manager_tests::redis_server::RedisServer;
use rustis::commands::StringCommands;

use crate::end_to_end::contenders::RaceContender;
use crate::end_to_end::load::GetLoad;
use crate::peers::Refusal;
use crate::runner::Handle;

/// How many keys there are.
const KEYS: usize = 1_000;
/// How many of them are got at once.
const BATCH: usize = 100;
const NAME: &str = "cluster";

pub(super) const OURS_ROUTED: &str = "redis-manager, shared client";
pub(super) const OURS_LENT: &str = "redis-manager, get_client + GET";
pub(super) const LEASE_FOR_KEY: &str = "redis-manager, get_client_for_key + GET";
pub(super) const LEASE_OF_NODE: &str = "redis-manager, get_client + GET on one node";
pub(super) const LEASE_OF_THREE: &str = "redis-manager, get_client + GET on three nodes";
pub(super) const REDIS_RS: &str = "redis cluster_async";
pub(super) const FRED: &str = "fred, clustered";
pub(super) const RUSTIS: &str = "rustis, clustered";

fn key(number: usize) -> String {
    format!("bench:{number}")
}

/// Sets all keys, in the cluster and on each of the nodes.
pub(super) fn fill(cluster: &TestCluster, nodes: &[RedisServer]) {
    for number in 0..KEYS {
        let (key, value) = (key(number), "x".repeat(100));
        cluster.primary_of(&key).command(&["SET", &key, &value]);
        for node in nodes {
            node.command(&["SET", &key, &value]);
        }
    }
}

/// The keys in turn, for one task.
#[derive(Clone)]
struct KeysInTurn {
    keys: Arc<Vec<String>>,
    next: usize,
}

impl KeysInTurn {
    fn new() -> KeysInTurn {
        KeysInTurn { keys: Arc::new((0..KEYS).map(key).collect()), next: 0 }
    }

    fn next(&mut self) -> usize {
        // Tasks begin together and go through the keys in the same order, with their own steps.
        self.next = (self.next + 7) % KEYS;
        self.next
    }

    fn batch(&mut self) -> Vec<&str> {
        let first = self.next();
        (0..BATCH).map(|step| self.keys[(first + step) % KEYS].as_str()).collect()
    }
}

async fn manager(handle: &Handle, urls: Vec<String>) -> Result<RedisManager, Refusal> {
    let manager = handle.build(RedisManager::builder().max_connection_size(16).max_pools_per_node(1));
    manager.add_cluster(NAME, urls, ClusterArgs::default()).await?;
    Ok(manager)
}

async fn fred_client(urls: &[String]) -> Result<fred::clients::Client, Refusal> {
    let hosts: Vec<&str> = urls.iter().map(|url| url.trim_start_matches("redis://")).collect();
    let mut url = format!("redis-cluster://{}", hosts[0]);
    for (number, host) in hosts[1..].iter().enumerate() {
        url += &format!("{}node={host}", if number == 0 { '?' } else { '&' });
    }
    let client = fred::clients::Client::new(fred::types::config::Config::from_url(&url)?, None, None, None);
    client.init().await?;
    Ok(client)
}

async fn rustis_client(urls: &[String]) -> Result<rustis::client::Client, Refusal> {
    let hosts: Vec<&str> = urls.iter().map(|url| url.trim_start_matches("redis://")).collect();
    Ok(rustis::client::Client::connect(format!("redis+cluster://{}", hosts.join(","))).await?)
}

pub(super) async fn single(handle: &Handle, urls: Vec<String>) -> Result<Vec<RaceContender>, Refusal> {
    let keys = KeysInTurn::new;
    let manager = manager(handle, urls.clone()).await?;
    let shared = manager.get_shared_client(NAME).await?;
    let crate_client = redis::cluster::ClusterClient::new(urls.clone())?.get_async_connection().await?;
    Ok(vec![
        RaceContender::new(OURS_ROUTED, ByCommand { client: shared, keys: keys() }),
        RaceContender::new(OURS_LENT, LentOfCluster { manager, keys: keys() }),
        RaceContender::new(REDIS_RS, ByCommand { client: crate_client, keys: keys() }),
        RaceContender::new(FRED, FredCluster { client: fred_client(&urls).await?, keys: keys() }),
        RaceContender::new(RUSTIS, RustisCluster { client: rustis_client(&urls).await?, keys: keys() }),
    ])
}

pub(super) async fn leases(handle: &Handle, urls: Vec<String>, nodes: Vec<String>) -> Result<Vec<RaceContender>, Refusal> {
    let of_cluster = manager(handle, urls).await?;
    let of_node = handle.build(RedisManager::builder().max_connection_size(48).max_pools_per_node(1));
    let of_three = handle.build(RedisManager::builder().max_connection_size(16).max_pools_per_node(1));
    of_node.add_node_pool(&nodes[0]).await?;
    for node in &nodes {
        of_three.add_node_pool(node).await?;
    }
    let (one, three) = (Arc::new(vec![nodes[0].clone()]), Arc::new(nodes));
    Ok(vec![
        RaceContender::new(LEASE_FOR_KEY, LentForKey { manager: of_cluster, keys: KeysInTurn::new() }),
        RaceContender::new(LEASE_OF_NODE, LentOfNodes { manager: of_node, nodes: one, keys: KeysInTurn::new() }),
        RaceContender::new(LEASE_OF_THREE, LentOfNodes { manager: of_three, nodes: three, keys: KeysInTurn::new() }),
    ])
}

/// How many keys are got at once.
#[derive(Clone, Copy)]
pub(super) enum Batch {
    Pipeline,
    MultiGet,
}

pub(super) async fn batches(handle: &Handle, urls: Vec<String>, batch: Batch) -> Result<Vec<RaceContender>, Refusal> {
    let keys = KeysInTurn::new;
    let manager = manager(handle, urls.clone()).await?;
    let shared: SharedClient = manager.get_shared_client(NAME).await?;
    let ours = RaceContender::new(OURS_ROUTED, InBatches { client: HeldClient(shared, manager), keys: keys(), batch });
    Ok(match batch {
        // The redis crate refuses pipelines over several slots.
        Batch::Pipeline => {
            vec![ours, RaceContender::new(FRED, FredPipelines { client: fred_client(&urls).await?, keys: keys() })]
        }
        Batch::MultiGet => {
            let crate_client = redis::cluster::ClusterClient::new(urls.clone())?.get_async_connection().await?;
            vec![
                ours,
                RaceContender::new(REDIS_RS, InBatches { client: crate_client, keys: keys(), batch }),
                RaceContender::new(RUSTIS, RustisBatches { client: rustis_client(&urls).await?, keys: keys() }),
            ]
        }
    })
}

/// A client that keeps its manager.
#[derive(Clone)]
struct HeldClient(SharedClient, #[expect(dead_code, reason = "its pools are open while it is there")] RedisManager);

impl ConnectionLike for HeldClient {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a redis::Cmd) -> redis::RedisFuture<'a, redis::Value> {
        self.0.req_packed_command(cmd)
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a redis::Pipeline,
        offset: usize,
        count: usize,
    ) -> redis::RedisFuture<'a, Vec<redis::Value>> {
        self.0.req_packed_commands(pipeline, offset, count)
    }

    fn get_db(&self) -> i64 {
        self.0.get_db()
    }
}

#[derive(Clone)]
struct ByCommand<C> {
    client: C,
    keys: KeysInTurn,
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> GetLoad for ByCommand<C> {
    async fn get(&mut self) -> Result<Vec<u8>, Refusal> {
        let key = self.keys.next();
        Ok(redis::cmd("GET").arg(&self.keys.keys[key]).query_async(&mut self.client).await?)
    }
}

#[derive(Clone)]
struct LentOfCluster {
    manager: RedisManager,
    keys: KeysInTurn,
}

impl GetLoad for LentOfCluster {
    async fn get(&mut self) -> Result<Vec<u8>, Refusal> {
        let key = self.keys.next();
        let mut client = self.manager.get_client(NAME).await?;
        Ok(redis::cmd("GET").arg(&self.keys.keys[key]).query_async(&mut client).await?)
    }
}

#[derive(Clone)]
struct LentForKey {
    manager: RedisManager,
    keys: KeysInTurn,
}

impl GetLoad for LentForKey {
    async fn get(&mut self) -> Result<Vec<u8>, Refusal> {
        let key = self.keys.next();
        let key = &self.keys.keys[key];
        let mut client = self.manager.get_client_for_key(NAME, key).await?;
        Ok(redis::cmd("GET").arg(key).query_async(&mut client).await?)
    }
}

#[derive(Clone)]
struct LentOfNodes {
    manager: RedisManager,
    /// Each has all keys.
    nodes: Arc<Vec<String>>,
    keys: KeysInTurn,
}

impl GetLoad for LentOfNodes {
    async fn get(&mut self) -> Result<Vec<u8>, Refusal> {
        let key = self.keys.next();
        let mut client = self.manager.get_client(&self.nodes[key % self.nodes.len()]).await?;
        Ok(redis::cmd("GET").arg(&self.keys.keys[key]).query_async(&mut client).await?)
    }
}

#[derive(Clone)]
struct FredCluster {
    client: fred::clients::Client,
    keys: KeysInTurn,
}

impl GetLoad for FredCluster {
    async fn get(&mut self) -> Result<Vec<u8>, Refusal> {
        let key = self.keys.next();
        Ok(self.client.get(self.keys.keys[key].as_str()).await?)
    }
}

#[derive(Clone)]
struct RustisCluster {
    client: rustis::client::Client,
    keys: KeysInTurn,
}

impl GetLoad for RustisCluster {
    async fn get(&mut self) -> Result<Vec<u8>, Refusal> {
        let key = self.keys.next();
        let value: String = self.client.get(self.keys.keys[key].as_str()).await?;
        Ok(value.into_bytes())
    }
}

/// One operation is one batch.
#[derive(Clone)]
struct InBatches<C> {
    client: C,
    keys: KeysInTurn,
    batch: Batch,
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> GetLoad for InBatches<C> {
    async fn get(&mut self) -> Result<Vec<u8>, Refusal> {
        let keys = self.keys.batch();
        let values: Vec<Vec<u8>> = match self.batch {
            Batch::Pipeline => {
                let mut pipeline = redis::pipe();
                for key in keys {
                    pipeline.cmd("GET").arg(key);
                }
                pipeline.query_async(&mut self.client).await?
            }
            Batch::MultiGet => redis::cmd("MGET").arg(&keys).query_async(&mut self.client).await?,
        };
        last(values)
    }
}

#[derive(Clone)]
struct FredPipelines {
    client: fred::clients::Client,
    keys: KeysInTurn,
}

impl GetLoad for FredPipelines {
    async fn get(&mut self) -> Result<Vec<u8>, Refusal> {
        let pipeline = self.client.pipeline();
        for key in self.keys.batch() {
            let () = pipeline.get(key).await?;
        }
        last(pipeline.all::<Vec<Vec<u8>>>().await?)
    }
}

#[derive(Clone)]
struct RustisBatches {
    client: rustis::client::Client,
    keys: KeysInTurn,
}

impl GetLoad for RustisBatches {
    async fn get(&mut self) -> Result<Vec<u8>, Refusal> {
        let values: Vec<String> = self.client.mget(self.keys.batch()).await?;
        last(values.into_iter().map(String::into_bytes).collect())
    }
}

fn last(mut values: Vec<Vec<u8>>) -> Result<Vec<u8>, Refusal> {
    if values.len() == BATCH {
        values.pop().ok_or_else(|| Refusal::from("no reply"))
    } else {
        Err(Refusal::from("replies are missing"))
    }
}
