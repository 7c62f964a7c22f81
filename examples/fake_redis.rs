//! How to test a service that uses Redis: a fake network and a fake server under a virtual clock.
//!
//! `cargo run --example fake_redis` tells what happens in an outage of a minute; `cargo test --example fake_redis` runs the tests.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use redis_manager::redis::{self, AsyncCommands, RedisError, RedisResult};
use redis_manager::testing::{FakeNetwork, FakeRedis, FakeRuntime};
use redis_manager::{NodeHandle, Prepared, RedisManager, TransactionError};

/// The code under test: a cache, a queue with a worker, and a transaction. It knows nothing of tests.
struct Shop {
    redis: NodeHandle,
}

#[derive(Debug)]
enum SaleError {
    SoldOut,
    Redis(RedisError),
    Transaction(TransactionError),
}

impl fmt::Display for SaleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SoldOut => f.write_str("sold out"),
            Self::Redis(error) => write!(f, "{error}"),
            Self::Transaction(error) => write!(f, "{error}"),
        }
    }
}

impl From<RedisError> for SaleError {
    fn from(error: RedisError) -> Self {
        Self::Redis(error)
    }
}

impl From<TransactionError> for SaleError {
    fn from(error: TransactionError) -> Self {
        Self::Transaction(error)
    }
}

impl Shop {
    /// The price of an article: from the cache, else from where prices are made. An outage of the cache costs time, not the answer.
    async fn price(&self, article: &str) -> (u64, &'static str) {
        match self.cached_price(article).await {
            Ok(Some(price)) => (price, "cached"),
            Ok(None) => {
                let price = make_price(article);
                let _: RedisResult<()> = self.remember_price(article, price).await;
                (price, "made")
            }
            Err(_) => (make_price(article), "made, without the cache"),
        }
    }

    async fn cached_price(&self, article: &str) -> RedisResult<Option<u64>> {
        let mut client = self.redis.get_client_timeout(Duration::from_millis(200)).await?;
        client.get(format!("price:{article}")).await
    }

    async fn remember_price(&self, article: &str, price: u64) -> RedisResult<()> {
        let mut client = self.redis.get_client_timeout(Duration::from_millis(200)).await?;
        client.set_ex(format!("price:{article}"), price, 60).await
    }

    async fn order(&self, what: &str) -> RedisResult<()> {
        self.redis.get_shared_client().await?.rpush("orders", what).await
    }

    /// The next order, kept in `packing` until [`packed`](Self::packed), so that it survives the worker.
    async fn next_order(&self) -> RedisResult<Option<String>> {
        let mut client = self.redis.get_client().await?;
        redis::cmd("BLMOVE").arg(&["orders", "packing", "LEFT", "RIGHT", "5"]).query_async(&mut client).await
    }

    async fn packed(&self, what: &str) -> RedisResult<()> {
        self.redis.get_shared_client().await?.lrem("packing", 1, what).await
    }

    /// Sells one, and says how many are left.
    async fn sell(&self, article: &str) -> Result<i64, SaleError> {
        let stock = format!("stock:{article}");
        let mut client = self.redis.get_client().await.map_err(RedisError::from)?;
        let (left,): (i64,) = client
            .transaction(&stock, async |mut attempt| {
                let left: Option<i64> = attempt.client().get(&stock).await?;
                if left.unwrap_or(0) < 1 {
                    return Err(SaleError::SoldOut);
                }
                attempt.pipeline().decr(&stock, 1);
                Ok(Prepared::Execute)
            })
            .await?;
        Ok(left)
    }
}

fn make_price(article: &str) -> u64 {
    article.len() as u64 * 10
}

/// What each test begins with. The manager is that of production but for the network.
struct World {
    runtime: FakeRuntime,
    redis: FakeRedis,
    shop: Shop,
}

impl World {
    fn new() -> Result<Self, Box<dyn Error>> {
        let runtime = FakeRuntime::new(42);
        let network = FakeNetwork::new(&runtime);
        let redis = FakeRedis::start(&network, "redis.test")?;
        let manager = RedisManager::builder().build(network)?;
        let node = runtime.block_on(manager.add_node_pool("redis://redis.test"))?;
        Ok(Self { runtime, redis, shop: Shop { redis: node } })
    }

    fn ask_price(&self) -> String {
        let (price, from) = self.runtime.block_on(self.shop.price("teapot"));
        format!("{:>8.3} s  {price} ({from})", Duration::from_nanos(self.runtime.now().as_nanos()).as_secs_f64())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let world = World::new()?;
    println!("{}", world.ask_price());
    println!("{}", world.ask_price());
    world.redis.kill();
    println!("the server is killed");
    world.runtime.advance(Duration::from_secs(30));
    println!("{}", world.ask_price());
    world.runtime.advance(Duration::from_secs(30));
    world.redis.start_again()?;
    println!("the server is back");
    world.runtime.advance(Duration::from_secs(6));
    println!("{}", world.ask_price());
    println!("{}", world.ask_price());
    let World { runtime, shop, .. } = &world;
    match runtime.block_on(shop.sell("teapot")) {
        Ok(left) => println!("sold one teapot, {left} left"),
        Err(error) => println!("sold no teapot: {error}"),
    }
    runtime.block_on(shop.order("teapot"))?;
    if let Some(order) = runtime.block_on(shop.next_order())? {
        runtime.block_on(shop.packed(&order))?;
        println!("packed: {order}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world() -> World {
        World::new().expect("the server answers")
    }

    #[test]
    fn an_outage_of_a_minute_costs_the_cache_and_no_answer() {
        let World { runtime, redis, shop } = world();
        assert_eq!(runtime.block_on(shop.price("teapot")), (60, "made"));
        assert_eq!(runtime.block_on(shop.price("teapot")), (60, "cached"));
        redis.kill();
        for _ in 0..6 {
            runtime.advance(Duration::from_secs(10));
            let asked_at = runtime.now();
            assert_eq!(runtime.block_on(shop.price("teapot")), (60, "made, without the cache"));
            assert_eq!(runtime.now().saturating_duration_since(asked_at), Duration::from_millis(200));
        }
        redis.start_again().expect("the port is free");
        runtime.advance(Duration::from_secs(6));
        // It has expired meanwhile.
        assert_eq!(runtime.block_on(shop.price("teapot")), (60, "made"));
        assert_eq!(runtime.block_on(shop.price("teapot")), (60, "cached"));
    }

    #[test]
    fn a_slow_server_times_out() {
        let World { runtime, redis, shop } = world();
        redis.set_delay(Duration::from_secs(8));
        let asked_at = runtime.now();
        let error = runtime.block_on(shop.order("teapot")).expect_err("slower than the command_timeout");
        assert!(error.to_string().contains("no reply within 5000 ms, outcome unknown"), "{error}");
        assert_eq!(runtime.now().saturating_duration_since(asked_at).as_secs(), 5);
    }

    #[test]
    fn a_login_that_fails_is_told_apart_from_an_outage() {
        let World { runtime, redis, shop } = world();
        redis.set(|behaviour| behaviour.password = Some(String::from("rotated")));
        redis.kill();
        redis.start_again().expect("the port is free");
        runtime.advance(Duration::from_secs(1));
        let error = runtime.block_on(shop.redis.get_client()).expect_err("no password");
        assert_eq!(error.kind(), redis_manager::FailureKind::Authentication, "{error}");
    }

    #[test]
    fn an_order_is_not_lost_when_a_worker_leaves() {
        let World { runtime, redis, shop } = world();
        {
            let mut waiting = std::pin::pin!(shop.next_order());
            let once = std::future::poll_fn(|cx| std::task::Poll::Ready(waiting.as_mut().poll(cx).is_pending()));
            assert!(runtime.block_on(once));
            runtime.advance(Duration::from_secs(1));
        }
        // The worker has left while it waited; its connection is closed, so that nothing is moved for it.
        runtime.advance(Duration::from_secs(1));
        runtime.block_on(shop.order("teapot")).expect("the server answers");
        let order = runtime.block_on(shop.next_order()).expect("the server answers");
        assert_eq!(order.as_deref(), Some("teapot"));
        runtime.block_on(shop.packed("teapot")).expect("the server answers");
        assert_eq!(redis.count_of("LREM"), 1);
    }

    #[test]
    fn the_last_one_is_sold_once() {
        let World { runtime, shop, redis: _redis } = world();
        runtime.block_on(async {
            let mut client = shop.redis.get_client().await.expect("the server answers");
            let () = client.set("stock:teapot", 1).await.expect("the server answers");
        });
        assert_eq!(runtime.block_on(shop.sell("teapot")).expect("one is there"), 0);
        assert!(matches!(runtime.block_on(shop.sell("teapot")), Err(SaleError::SoldOut)));
    }
}
