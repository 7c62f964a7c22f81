//! The scan of a cluster: one node after the other, by the plan in `state/scan_plan`.

use std::sync::Arc;
use std::time::Duration;

use redis::{RedisError, RedisResult, Value};
use redis_manager_core::Instant;

use crate::deployment::cluster::pieces::{PieceTarget, Pieces};
use crate::deployment::cluster::retry_budget::RetryBudget;
use crate::deployment::cluster::routed_client::RoutedClient;
use crate::deployment::cluster::state::scan_plan::{NextScan, OwnSlots, ScanPlan};
use crate::deployment::interface::{KeyBatch, KeySource};
use crate::deployment::scan_options::ScanOptions;
use crate::error::GetClientError;
use crate::redis_node::parts::CommandProfile;

/// The pause before a node is asked once more that has failed, or before a slot without an owner is looked up again.
const BEFORE_NEXT_TRY: Duration = Duration::from_millis(100);

pub(crate) struct ClusterScan {
    client: RoutedClient,
    options: ScanOptions,
    plan: ScanPlan,
    /// The node that is scanned, and its next cursor.
    at: Option<(Arc<str>, u64)>,
    /// When the last step succeeded; it fails for good when none has for `command_timeout`.
    last_success: Instant,
}

impl ClusterScan {
    pub(crate) fn new(client: RoutedClient, options: ScanOptions) -> Self {
        let last_success = client.cluster.runtime().now();
        Self { client, options, plan: ScanPlan::new(), at: None, last_success }
    }

    async fn step(&mut self) -> RedisResult<Option<Vec<Vec<u8>>>> {
        loop {
            let (node, cursor) = match self.at.take() {
                Some(at) => at,
                None => match self.plan.next(|slot| self.owner(slot)) {
                    NextScan::Done => return Ok(None),
                    NextScan::NoOwner(slot) => {
                        let node = String::from(crate::redis_node::parts::RoutedConnection::name(&self.client));
                        self.pause(GetClientError::NoOwner { node, slot }.into()).await?;
                        continue;
                    }
                    NextScan::Node(node) => match self.own_slots(&node).await {
                        Ok(before) if self.plan.begin(&node, &before) => (node, 0),
                        // Another node owns them by now: it is looked up again.
                        Ok(_) => {
                            self.pause(slots_have_moved(&node)).await?;
                            continue;
                        }
                        Err(error) => {
                            self.abandon(&node, error).await?;
                            continue;
                        }
                    },
                },
            };
            let reply = self.ask(&node, &self.options.command(cursor)).await;
            let read = |reply| redis::from_redis_value::<(u64, Vec<Vec<u8>>)>(reply).map_err(RedisError::from);
            let (cursor, keys) = match reply.and_then(read) {
                Ok(batch) => batch,
                Err(error) => {
                    self.abandon(&node, error).await?;
                    continue;
                }
            };
            let keys: Vec<_> = keys.into_iter().filter(|key| self.plan.is_wanted(key)).collect();
            let goes_on = if cursor != 0 {
                self.at = Some((Arc::clone(&node), cursor));
                true
            } else {
                match self.own_slots(&node).await {
                    Ok(after) => self.plan.end(&after),
                    Err(_) => {
                        self.plan.abandon(&node);
                        false
                    }
                }
            };
            if goes_on {
                self.last_success = self.client.cluster.runtime().now();
            } else if keys.is_empty() {
                self.pause(slots_have_moved(&node)).await?;
            }
            if !keys.is_empty() {
                return Ok(Some(keys));
            }
        }
    }

    fn owner(&self, slot: u16) -> Option<Arc<str>> {
        let state = self.client.cluster.state();
        state.topology().node(state.topology().owner(slot)).map(|node| Arc::clone(&node.address))
    }

    async fn own_slots(&mut self, node: &Arc<str>) -> RedisResult<OwnSlots> {
        let mut cmd = redis::cmd("CLUSTER");
        cmd.arg("NODES");
        let text: String = redis::from_redis_value(self.ask(node, &cmd).await?)?;
        let address_of = |id: &str| self.client.cluster.state().topology().find_id(id);
        let unreadable =
            || RedisError::from((redis::ErrorKind::UnexpectedReturnType, "CLUSTER NODES does not show the node itself"));
        OwnSlots::read(&text, address_of).ok_or_else(unreadable)
    }

    async fn ask(&mut self, node: &str, cmd: &redis::Cmd) -> RedisResult<Value> {
        let unknown = || RedisError::from(GetClientError::UnknownNode { node: String::from(node) });
        let number = self.client.cluster.state().topology().find(node).ok_or_else(unknown)?;
        let profile = CommandProfile { reply_timeout: self.client.session().ordinary(), ..CommandProfile::UNBOUNDED };
        let mut budget = RetryBudget::new(&self.client.cluster, profile);
        let mut pieces = Pieces::to_node(cmd, PieceTarget::Node(number));
        self.client.send_pieces(&mut pieces, &mut budget).await;
        let replies = pieces.finish().map_err(|failure| failure.error)?;
        replies.into_iter().next().unwrap_or_default().extract_error()
    }

    async fn abandon(&mut self, node: &str, error: RedisError) -> RedisResult<()> {
        self.plan.abandon(node);
        self.pause(error).await
    }

    /// Waits before the next try; the error if there has been no success for too long.
    async fn pause(&mut self, error: RedisError) -> RedisResult<()> {
        let cluster = &self.client.cluster;
        let waited = cluster.runtime().now().saturating_duration_since(self.last_success);
        if waited >= cluster.context.args.command_timeout || cluster.is_closed() || cluster.runtime().has_ended() {
            return Err(error);
        }
        cluster.suspect();
        cluster.runtime().sleep(BEFORE_NEXT_TRY).await;
        Ok(())
    }
}

fn slots_have_moved(node: &str) -> RedisError {
    let text = format!("the slots of {node} have moved each time that it was scanned");
    RedisError::from((redis::ErrorKind::Client, "the cluster cannot be scanned", text))
}

impl KeySource for ClusterScan {
    fn next_batch(mut self: Box<Self>) -> KeyBatch {
        Box::pin(async move {
            let batch = self.step().await;
            (self as Box<dyn KeySource>, batch)
        })
    }
}
