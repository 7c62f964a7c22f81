//! A caller that does what callers do, and leaves whenever it likes.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use redis_manager::redis::{self, AsyncCommands, RedisError, RedisResult, aio::ConnectionLike};
use redis_manager::runtime::Timer;
use redis_manager::testing::{FakeNetwork, SeededRng};
use redis_manager::{Client, NodeHandle, Prepared, TransactionError};

use crate::ledger::{Fate, Ledger};
use crate::plan::SimulatedSeed;
use crate::traces::CommandTrace;

pub(crate) const MS: Duration = Duration::from_millis(1);

/// What timers and polls of the schedule add to a deadline.
const SLACK: Duration = Duration::from_millis(150);

pub(crate) struct SimulatedCaller {
    pub(crate) network: FakeNetwork,
    pub(crate) nodes: Vec<NodeHandle>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) plan: SimulatedSeed,
    pub(crate) rng: SeededRng,
}

impl SimulatedCaller {
    /// Works until the time is up.
    pub(crate) async fn work(mut self, length: Duration) {
        let end = self.network.now() + length;
        while self.network.now() < end {
            let may_be_cancelled = self.rng.index(4) == 0;
            let limit = [Duration::ZERO, MS, 20 * MS, 200 * MS][self.rng.index(4)];
            let patience = may_be_cancelled.then(|| self.rng.up_to(limit));
            let (network, ledger) = (self.network.clone(), Arc::clone(&self.ledger));
            let operation = self.operation();
            let ended = match patience {
                Some(patience) => within(&network, patience, operation).await,
                None => Some(operation.await),
            };
            ledger.count(ended.as_ref().map(Result::is_ok));
            let pause = self.rng.up_to(100 * MS);
            self.network.sleep(pause).await;
        }
    }

    async fn operation(&mut self) -> RedisResult<()> {
        let node = self.rng.index(self.nodes.len());
        match self.rng.index(13) {
            0 | 1 => self.lease(node).await,
            2 | 3 => self.share(node).await,
            4 => self.pipeline(node).await,
            5 => self.transaction(node).await,
            6 => self.queue(node).await,
            7 => self.leave_dirt(node).await,
            8 => self.listen(node).await,
            9 => self.cancel_and_go_on(node).await,
            10 => self.cancel_shared(node).await,
            11 => self.stay_after_a_pop(node).await,
            _ => self.miscount(node).await,
        }
    }

    /// A client within its deadline, on which nothing is left of others, and the number of its lease.
    pub(crate) async fn client(&mut self, node: usize) -> RedisResult<(Client, Option<u64>)> {
        let begun_at = self.network.now();
        let client = self.nodes[node].get_client().await;
        let took = self.network.now().saturating_duration_since(begun_at);
        self.ledger.expect_in_time("get_client", took, self.plan.default_timeout + SLACK);
        let (mut client, lease) = (client?, Some(self.ledger.token()));
        if self.rng.index(2) == 0 {
            self.expect_clean(lease, &mut client).await?;
        }
        Ok((client, lease))
    }

    async fn expect_clean(&self, lease: Option<u64>, client: &mut Client) -> RedisResult<()> {
        let token = self.ledger.token();
        let mut questions = redis::pipe();
        questions.cmd("CLIENT").arg("GETNAME").cmd("GET").arg("database").cmd("CLIENT").arg("INFO").cmd("ECHO").arg(token);
        let answers = self.traced("the questions", lease, &[token], questions.query_async(client)).await?;
        let (name, database, info, echo): (Option<String>, Option<String>, String, u64) = answers;
        let is_plain = info.contains(" flags=N ") && info.contains(" sub=0 psub=0 ssub=0 multi=-1 ");
        self.ledger.expect(is_plain, || format!("L2: a client was lent that is {}", info.trim_end()));
        self.ledger.expect(name.is_none(), || format!("a client was lent that is called {name:?}"));
        self.ledger.expect(database.as_deref() == Some("0"), || format!("a client was lent in the database {database:?}"));
        self.ledger.expect(echo == token, || format!("ECHO {token} got {echo}"));
        Ok(())
    }

    async fn timed<T>(&self, what: &str, request: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
        let begun_at = self.network.now();
        let result = request.await;
        let took = self.network.now().saturating_duration_since(begun_at);
        self.ledger.expect_in_time(what, took, self.plan.command_timeout + SLACK);
        result
    }

    /// The same for commands that the journal of the server is compared with.
    pub(crate) async fn traced<T>(
        &self,
        what: &str,
        lease: Option<u64>,
        tokens: &[u64],
        request: impl Future<Output = RedisResult<T>>,
    ) -> RedisResult<T> {
        let trace = CommandTrace::begin(&self.ledger, &self.network, lease, tokens);
        let result = self.timed(what, request).await;
        trace.end(&result);
        result
    }

    async fn count_once(&self, node: usize, lease: Option<u64>, connection: &mut impl AsyncCommands) -> RedisResult<()> {
        let token = self.ledger.begin_once(node);
        let result = self.traced("INCR", lease, &[token], connection.incr(format!("once:{token}"), 1)).await;
        self.ledger.end_once(token, &result);
        result.map(drop)
    }

    pub(crate) async fn echo(&self, lease: Option<u64>, connection: &mut impl ConnectionLike) -> RedisResult<()> {
        let token = self.ledger.token();
        let echo: u64 = self.traced("ECHO", lease, &[token], redis::cmd("ECHO").arg(token).query_async(connection)).await?;
        self.ledger.expect(echo == token, || format!("ECHO {token} got {echo}"));
        Ok(())
    }

    async fn lease(&mut self, node: usize) -> RedisResult<()> {
        let (mut client, lease) = self.client(node).await?;
        for _ in 0..1 + self.rng.index(3) {
            match self.rng.index(2) {
                0 => self.echo(lease, &mut client).await?,
                _ => self.count_once(node, lease, &mut client).await?,
            }
        }
        if self.rng.index(3) == 0 {
            self.network.sleep(self.rng.up_to(300 * MS)).await;
        }
        if self.rng.index(8) == 0 {
            client.discard();
        }
        Ok(())
    }

    async fn share(&mut self, node: usize) -> RedisResult<()> {
        let mut client = self.nodes[node].get_shared_client().await?;
        for _ in 0..1 + self.rng.index(4) {
            match self.rng.index(2) {
                0 => self.echo(None, &mut client).await?,
                _ => self.count_once(node, None, &mut client).await?,
            }
        }
        Ok(())
    }

    async fn pipeline(&mut self, node: usize) -> RedisResult<()> {
        let tokens: Vec<u64> = (0..1 + self.rng.index(5)).map(|_| self.ledger.token()).collect();
        let mut pipeline = redis::pipe();
        if self.rng.index(2) == 0 {
            pipeline.atomic();
        }
        for token in &tokens {
            pipeline.cmd("ECHO").arg(token);
        }
        let replies: Vec<u64> = if self.rng.index(2) == 0 {
            let (mut client, lease) = self.client(node).await?;
            self.traced("a pipeline", lease, &tokens, pipeline.query_async(&mut client)).await?
        } else {
            let mut client = self.nodes[node].get_shared_client().await?;
            self.traced("a shared pipeline", None, &tokens, pipeline.query_async(&mut client)).await?
        };
        self.ledger.expect(replies == tokens, || format!("ECHO of {tokens:?} got {replies:?}"));
        Ok(())
    }

    /// Sells one of something, if nobody else does at the same time.
    async fn transaction(&mut self, node: usize) -> RedisResult<()> {
        let (mut client, _) = self.client(node).await?;
        self.ledger.lock().sold.entry(node).or_default().1 += 1;
        let result: Result<(u64,), TransactionError> = client
            .transaction("sold", async |mut attempt| {
                let sold: Option<u64> = attempt.client().get("sold").await?;
                attempt.pipeline().set("sold", sold.unwrap_or(0) + 1).ignore().get("sold");
                Ok::<_, TransactionError>(Prepared::Execute)
            })
            .await;
        let mut records = self.ledger.lock();
        let sold = records.sold.entry(node).or_default();
        match &result {
            Ok(_) => {
                *sold = (sold.0 + 1, sold.1 - 1);
            }
            Err(error) if redis_manager::RedisErrorExt::was_sent(error) != redis_manager::Sent::Unknown => sold.1 -= 1,
            Err(_) => {}
        }
        drop(records);
        result.map(drop).map_err(|_| RedisError::from((redis::ErrorKind::Client, "the transaction failed")))
    }

    /// Pushes to a queue, or waits for an element of it.
    async fn queue(&mut self, node: usize) -> RedisResult<()> {
        let (mut client, lease) = self.client(node).await?;
        if self.rng.index(2) == 0 {
            return self.push(node, &mut client).await;
        }
        self.echo(lease, &mut client).await?;
        let wait = 0.05 + self.rng.index(4) as f64 / 10.0;
        self.pop(node, lease, &mut client, wait).await
    }

    pub(crate) async fn push(&self, node: usize, client: &mut impl AsyncCommands) -> RedisResult<()> {
        self.ledger.lock().queued.entry(node).or_default().perhaps_pushed += 1;
        let result: RedisResult<u64> = client.rpush("queue", "job").await;
        let mut records = self.ledger.lock();
        let queued = records.queued.entry(node).or_default();
        match result.as_ref().map_err(Fate::of) {
            Ok(_) => (queued.pushed, queued.perhaps_pushed) = (queued.pushed + 1, queued.perhaps_pushed - 1),
            Err(Fate::NotCarriedOut) => queued.perhaps_pushed -= 1,
            Err(_) => {}
        }
        result.map(drop)
    }

    /// Waits for an element for so many seconds. The second key, which never has one, is the number of the command.
    pub(crate) async fn pop(&self, node: usize, lease: Option<u64>, client: &mut Client, wait: f64) -> RedisResult<()> {
        self.ledger.lock().queued.entry(node).or_default().perhaps_popped += 1;
        let token = self.ledger.token();
        let begun_at = self.network.now();
        let trace = CommandTrace::begin(&self.ledger, &self.network, lease, std::slice::from_ref(&token));
        let result: RedisResult<Option<(String, String)>> = client.blpop(("queue", format!("pop:{token}")), wait).await;
        trace.end(&result);
        let took = self.network.now().saturating_duration_since(begun_at);
        self.ledger.expect_in_time("BLPOP", took, self.plan.command_timeout + Duration::from_secs_f64(wait) + SLACK);
        let mut records = self.ledger.lock();
        let queued = records.queued.entry(node).or_default();
        match result.as_ref().map_err(Fate::of) {
            Ok(Some(_)) => (queued.popped, queued.perhaps_popped) = (queued.popped + 1, queued.perhaps_popped - 1),
            Ok(None) | Err(Fate::NotCarriedOut) => queued.perhaps_popped -= 1,
            Err(_) => {}
        }
        result.map(drop)
    }

    /// Leaves what a careless borrower leaves.
    async fn leave_dirt(&mut self, node: usize) -> RedisResult<()> {
        let (mut client, lease) = self.client(node).await?;
        // So that the journal shows that it was lent.
        self.echo(lease, &mut client).await?;
        let dirt: &[&str] = match self.rng.index(5) {
            0 => &["SELECT", "3"],
            1 => &["MULTI"],
            2 => &["WATCH", "sold"],
            3 => &["CLIENT", "SETNAME", "dirty"],
            _ => &["BLPOP", "empty", "0"],
        };
        let mut command = redis::cmd(dirt[0]);
        command.arg(&dirt[1..]);
        let network = self.network.clone();
        let limit = self.rng.up_to(20 * MS);
        within(&network, limit, command.exec_async(&mut client)).await.unwrap_or(Ok(()))
    }

    /// Hears messages in their order.
    async fn listen(&mut self, node: usize) -> RedisResult<()> {
        let (mut client, lease) = self.client(node).await?;
        self.echo(lease, &mut client).await?;
        if !self.plan.is_resp3 {
            return Ok(());
        }
        let mut news = client.into_pub_sub()?;
        news.subscribe("news").await?;
        let mut latest = 0;
        let first = self.ledger.token();
        let mut publisher = self.nodes[node].get_shared_client().await?;
        let _: u64 = publisher.publish("news", first).await?;
        let (network, ledger) = (self.network.clone(), Arc::clone(&self.ledger));
        let listening = async {
            while let Some(message) = news.next_message().await {
                let number: u64 = message.get_payload()?;
                ledger.expect(message.get_channel_name() == "news", || format!("a message of {}", message.get_channel_name()));
                latest = latest.max(number);
                if number == first {
                    return Ok(());
                }
            }
            Ok(())
        };
        within(&network, 500 * MS, listening).await.unwrap_or(Ok(()))
    }
}

/// The result of a future if it comes in time, else it is dropped.
pub(crate) async fn within<T>(network: &FakeNetwork, limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut sleep = network.sleep(limit);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => sleep.as_mut().poll(cx).map(|()| None),
    })
    .await
}
