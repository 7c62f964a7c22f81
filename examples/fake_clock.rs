//! How to test your own code with a virtual clock: a price service that must fall back while its server is down.
//!
//! `cargo run --example fake_clock` tells the story; `cargo test --example fake_clock` runs the same as tests.

use std::sync::Arc;
use std::time::Duration;

use redis_manager::OnNodeDown;
use redis_manager::pool::{AcquireError, NodeConfig, NodePool};
use redis_manager::testing::{FakeMode, FakeRuntime, FakeServer};

/// The code under test. In production the pool's connector is one for Redis; here it is the fake one.
struct Prices {
    pool: NodePool<redis_manager::testing::FakeConnector>,
    last_known: u64,
}

impl Prices {
    /// The price of an article; the last one known if the server does not answer within 200 ms.
    async fn price(&mut self, article: u64) -> (u64, &'static str) {
        match self.ask(article).await {
            Ok(price) => {
                self.last_known = price;
                (price, "fresh")
            }
            Err(_) => (self.last_known, "last known"),
        }
    }

    async fn ask(&self, article: u64) -> Result<u64, AcquireError> {
        let mut lease = self.pool.get_timeout(Duration::from_millis(200)).await?;
        // The fake server says what it hears; a real one would look the price up.
        Ok(lease.echo(article * 10).await.unwrap_or(self.last_known))
    }
}

fn service(runtime: &FakeRuntime, server: &FakeServer) -> Prices {
    let config = NodeConfig::builder().max_connection_size(4).on_node_down(OnNodeDown::Wait).build();
    let pool = NodePool::new(server.connector(), config.expect("these settings are valid"), Arc::new(runtime.clone()));
    Prices { pool, last_known: 0 }
}

/// Thirty seconds without a server, in a millisecond.
fn story() -> Vec<String> {
    let runtime = FakeRuntime::new(7);
    let server = FakeServer::new(&runtime);
    let mut prices = service(&runtime, &server);
    let mut told = Vec::new();
    let mut tell =
        |runtime: &FakeRuntime, (price, source)| told.push(format!("{:>8}  {price} ({source})", runtime.now().to_string()));

    tell(&runtime, runtime.block_on(prices.price(3)));
    server.kill();
    tell(&runtime, runtime.block_on(prices.price(4)));
    runtime.advance(Duration::from_secs(30));
    tell(&runtime, runtime.block_on(prices.price(4)));
    server.set_mode(FakeMode::Up);
    runtime.advance(Duration::from_secs(6));
    tell(&runtime, runtime.block_on(prices.price(4)));
    told
}

fn main() {
    story().iter().for_each(|line| println!("{line}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_fall_back_in_an_outage_and_are_fresh_after_it() {
        let told = story();
        assert_eq!(
            told,
            ["     0ns  30 (fresh)", "   200ms  30 (last known)", "   30.4s  30 (last known)", "   36.4s  40 (fresh)"]
        );
    }
}
