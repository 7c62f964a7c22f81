//! One user of the cluster: what it sends, and what it was told.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use redis_manager::redis::{self, AsyncCommands, RedisResult};
use redis_manager::runtime::{Instant, Timer};
use redis_manager::testing::{FakeNetwork, SeededRng};
use redis_manager::{NodeHandle, RedisManager, ScanOptions, SharedClient};

use crate::borrower::{MS, within};
use crate::cluster::cluster_world::{COMMAND_TIMEOUT, DEFAULT_TIMEOUT, NAME};
use crate::cluster::write_book::WriteBook;

/// Timers may be late by some milliseconds.
const SLACK: Duration = Duration::from_millis(50);
/// Keys that are read by all and never written again.
pub(crate) const STABLE_KEYS: usize = 40;

pub(crate) struct ClusterCaller {
    pub(crate) network: FakeNetwork,
    pub(crate) manager: RedisManager,
    pub(crate) node: NodeHandle,
    pub(crate) book: Arc<WriteBook>,
    pub(crate) rng: SeededRng,
}

impl ClusterCaller {
    pub(crate) async fn work(mut self, until: Instant) {
        let mut client = None;
        while self.network.now() < until {
            let limit = (self.rng.index(6) == 0).then(|| self.rng.up_to(40 * MS));
            let (network, book) = (self.network.clone(), Arc::clone(&self.book));
            let operation = self.operation(&mut client);
            let ended = match limit {
                Some(limit) => within(&network, limit, operation).await,
                None => Some(operation.await),
            };
            book.count(ended);
            let pause = self.rng.up_to(60 * MS);
            self.network.sleep(pause).await;
        }
    }

    async fn operation(&mut self, kept: &mut Option<SharedClient>) -> RedisResult<()> {
        let mut client = match kept {
            Some(client) => client.clone(),
            None => kept.insert(self.node.get_shared_client().await?).clone(),
        };
        match self.rng.index(17) {
            0..=3 => self.write_one(&mut client).await,
            4 | 5 => self.write_leased().await,
            6 | 7 => self.pipeline(&mut client).await,
            8 | 9 => self.transaction(&mut client).await,
            10 | 11 => self.write_many(&mut client).await,
            12 | 13 => self.read_many(&mut client).await,
            14 | 15 => self.read_one(&mut client).await,
            _ => self.scan().await,
        }
    }

    async fn timed<T>(&self, what: &str, request: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
        let begun_at = self.network.now();
        let result = request.await;
        let took = self.network.now().saturating_duration_since(begun_at);
        self.book.expect(took <= COMMAND_TIMEOUT + SLACK, || format!("W6: {what} took {took:?}"));
        result
    }

    async fn write_one(&mut self, client: &mut SharedClient) -> RedisResult<()> {
        let keys = self.book.keys(1, None);
        let result = self.timed("INCR", client.incr::<_, _, u64>(&keys[0], 1)).await;
        if let Ok(count) = &result {
            self.book.expect(*count == 1, || format!("K2: {} was raised to {count}", keys[0]));
        }
        self.book.end(&keys, &result);
        result.map(drop)
    }

    async fn write_leased(&mut self) -> RedisResult<()> {
        let keys = self.book.keys(1, None);
        let begun_at = self.network.now();
        let client = self.manager.get_client_for_key(NAME, &keys[0]).await;
        let took = self.network.now().saturating_duration_since(begun_at);
        self.book.expect(took <= DEFAULT_TIMEOUT + SLACK, || format!("W6: a client of a key came after {took:?}"));
        let mut client = client?;
        let result = self.timed("INCR", client.incr::<_, _, u64>(&keys[0], 1)).await;
        self.book.end(&keys, &result);
        result.map(drop)
    }

    async fn pipeline(&mut self, client: &mut SharedClient) -> RedisResult<()> {
        let keys = self.book.keys(1 + self.rng.index(6), None);
        let mut pipeline = redis::pipe();
        for key in &keys {
            pipeline.incr(key, 1);
        }
        let result: RedisResult<Vec<u64>> = self.timed("a pipeline", pipeline.query_async(client)).await;
        if let Ok(counts) = &result {
            self.book.expect(counts.len() == keys.len() && counts.iter().all(|count| *count == 1), || {
                format!("K2: {keys:?}: {counts:?}")
            });
        }
        self.book.end(&keys, &result);
        result.map(drop)
    }

    async fn transaction(&mut self, client: &mut SharedClient) -> RedisResult<()> {
        let keys = self.book.keys(2, Some(self.rng.index(50)));
        let mut pipeline = redis::pipe();
        pipeline.atomic().incr(&keys[0], 1).incr(&keys[1], 1);
        let result: RedisResult<(u64, u64)> = self.timed("a transaction", pipeline.query_async(client)).await;
        if let Ok(counts) = &result {
            self.book.expect(*counts == (1, 1), || format!("K2: {keys:?}: {counts:?}"));
        }
        self.book.end(&keys, &result);
        result.map(drop)
    }

    async fn write_many(&mut self, client: &mut SharedClient) -> RedisResult<()> {
        let keys = self.book.keys(4, None);
        let pairs: Vec<_> = keys.iter().map(|key| (key, 1)).collect();
        let result: RedisResult<()> = self.timed("MSET", client.mset(&pairs)).await;
        self.book.end(&keys, &result);
        result
    }

    async fn read_many(&mut self, client: &mut SharedClient) -> RedisResult<()> {
        let numbers: Vec<usize> = (0..8).map(|_| self.rng.index(STABLE_KEYS)).collect();
        let keys: Vec<_> = numbers.iter().map(|number| format!("stable:{number}")).collect();
        let found: Vec<Option<usize>> = self.timed("MGET", client.mget(&keys)).await?;
        let is_right = found.iter().zip(&numbers).all(|(found, number)| found.is_none_or(|found| found == *number));
        self.book.expect(is_right && found.len() == numbers.len(), || format!("K5: MGET of {numbers:?}: {found:?}"));
        let absent = keys.into_iter().zip(found).filter(|(_, found)| found.is_none());
        self.book.lock().absent.extend(absent.map(|(key, _)| key));
        Ok(())
    }

    async fn read_one(&mut self, client: &mut SharedClient) -> RedisResult<()> {
        let number = self.rng.index(STABLE_KEYS);
        let found: Option<usize> = self.timed("GET", client.get(format!("stable:{number}"))).await?;
        self.book.expect(found.is_none_or(|found| found == number), || format!("K5: GET of {number}: {found:?}"));
        Ok(())
    }

    async fn scan(&mut self) -> RedisResult<()> {
        let mut scan = self.manager.scan(NAME, ScanOptions::default().pattern("stable:*").count(200)).await?;
        loop {
            let begun_at = self.network.now();
            let next = scan.next().await;
            let took = self.network.now().saturating_duration_since(begun_at);
            // It asks a node three times until it gets on, and tries again if it does not.
            self.book.expect(took <= 4 * COMMAND_TIMEOUT + SLACK, || format!("W6: a scan took {took:?} for one key"));
            let Some(key) = next else { return Ok(()) };
            let key = String::from_utf8(key?).unwrap_or_default();
            self.book.expect(key.starts_with("stable:"), || format!("K5: a scan of stable:* found {key}"));
        }
    }
}
