//! Callers that leave between a command and its reply and go on at once, that stay after a pop was given up, that miscount.

use redis_manager::redis::{self, RedisResult, aio::ConnectionLike};
use redis_manager::runtime::Timer;
use redis_manager::{RedisErrorExt, Sent};

use crate::borrower::{MS, SimulatedCaller, within};

impl SimulatedCaller {
    /// Some moment between a command and its reply.
    fn moment(&mut self) -> std::time::Duration {
        let round_trip = (self.plan.conditions.latency + self.plan.conditions.jitter) * 2 + MS / 5;
        self.rng.up_to(round_trip)
    }

    /// Leaves a command, goes back, and gets the same connection or another one at once.
    pub(crate) async fn cancel_and_go_on(&mut self, node: usize) -> RedisResult<()> {
        for _ in 0..1 + self.rng.index(3) {
            let (mut client, lease) = self.client(node).await?;
            let moment = self.moment();
            let network = self.network.clone();
            let _whatever = within(&network, moment, self.echo(lease, &mut client)).await;
        }
        let (mut client, lease) = self.client(node).await?;
        self.echo(lease, &mut client).await
    }

    /// The same on a connection that others use, too.
    pub(crate) async fn cancel_shared(&mut self, node: usize) -> RedisResult<()> {
        let mut client = self.nodes[node].get_shared_client().await?;
        for _ in 0..1 + self.rng.index(3) {
            let moment = self.moment();
            let network = self.network.clone();
            let _whatever = within(&network, moment, self.echo(None, &mut client)).await;
            if self.rng.index(2) == 0 {
                self.network.sleep(self.plan.conditions.latency * 3).await;
            }
        }
        self.echo(None, &mut client).await
    }

    /// Gives a pop up and keeps the client, while something is pushed.
    pub(crate) async fn stay_after_a_pop(&mut self, node: usize) -> RedisResult<()> {
        let (mut client, lease) = self.client(node).await?;
        self.echo(lease, &mut client).await?;
        let limit = self.rng.up_to(30 * MS);
        let network = self.network.clone();
        let popped = within(&network, limit, self.pop(node, lease, &mut client, 0.0)).await;
        if popped.is_none() {
            self.network.sleep(150 * MS + self.plan.conditions.latency * 3).await;
            let mut other = self.nodes[node].get_shared_client().await?;
            self.push(node, &mut other).await?;
            self.network.sleep(self.plan.conditions.latency * 3).await;
        }
        drop(client);
        popped.unwrap_or(Ok(()))
    }

    /// Asks for another number of replies than a pipeline has, while others use the connection.
    pub(crate) async fn miscount(&mut self, node: usize) -> RedisResult<()> {
        let length = 1 + self.rng.index(4);
        let mut pipeline = redis::pipe();
        for _ in 0..length {
            pipeline.cmd("ECHO").arg("miscounted");
        }
        let (offset, count) = (self.rng.index(length + 2), self.rng.index(length + 2));
        if (offset, count) == (0, length) {
            return Ok(());
        }
        let result = if self.rng.index(2) == 0 {
            let (mut client, lease) = self.client(node).await?;
            let result = client.req_packed_commands(&pipeline, offset, count).await;
            self.echo(lease, &mut client).await?;
            result
        } else {
            let mut client = self.nodes[node].get_shared_client().await?;
            let result = client.req_packed_commands(&pipeline, offset, count).await;
            self.echo(None, &mut client).await?;
            result
        };
        let is_refused = result.as_ref().is_err_and(|error| error.was_sent() == Sent::NotSent);
        self.ledger.expect(is_refused, || format!("L10: {count} replies from {offset} on of {length} commands: {result:?}"));
        Ok(())
    }
}
