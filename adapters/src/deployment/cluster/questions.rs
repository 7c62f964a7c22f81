//! Questions to the nodes of a cluster over our own connections: the topology, roles, and signs of life.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use redis::{Cmd, RedisResult, Value};
use redis_manager_core::{Health, WaitPhase};

use crate::deployment::cluster::error::ClusterError;
use crate::deployment::cluster::inner::Cluster;
use crate::deployment::cluster::member::ClusterMember;
use crate::deployment::cluster::state::report::{Asked, TopologyReport, read_report};
use crate::deployment::cluster::state::topology::ClusterNodeId;
use crate::deployment::waiting::within;
use crate::error::{FailureKind, GetClientError};
use crate::redis_node::parts::{Secrets, SharedHandle};

/// How often a wait for a node looks whether the node is down.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

impl Cluster {
    /// Asks a node for the topology.
    ///
    /// # Errors
    ///
    /// Why it gave no usable answer.
    pub(crate) async fn ask_report(&self, address: &str) -> Result<TopologyReport, ClusterError> {
        let ask = |what: &'static str| {
            let mut cmd = redis::cmd("CLUSTER");
            cmd.arg(what);
            cmd
        };
        let mut replies = self.ask(address, &[ask("SLOTS"), ask("NODES")]).await?.into_iter();
        let (slots, nodes) = (replies.next().unwrap_or_default(), replies.next().unwrap_or_default());
        let refusal = |value: &Value| matches!(value, Value::ServerError(_));
        let shards = match (&slots, refusal(&nodes)) {
            // A user may be allowed to ask in one of these words only.
            (Value::ServerError(_), true) => self.ask(address, &[ask("SHARDS")]).await?.pop().filter(|value| !refusal(value)),
            (_, _) => None,
        };
        if let (Value::ServerError(error), true, None) = (&slots, refusal(&nodes), &shards) {
            let secrets = Secrets::of(&self.context.startup[0].login);
            return Err(ClusterError::of_reply(address, &redis::RedisError::from(error.clone()), &secrets));
        }
        let usable = |value: Value| Some(value).filter(|value| !refusal(value));
        let asked = Asked { address, tls: self.context.startup[0].tls().is_some() };
        let report = read_report(usable(slots).as_ref(), usable(nodes).as_ref(), shards.as_ref(), asked);
        report.map_err(|fault| ClusterError::Unusable { address: String::from(address), fault })
    }

    /// Whether a node gives a sign of life. One with all its connections on loan cannot be asked, and does not count as dead.
    pub(crate) async fn is_alive(&self, node: ClusterNodeId) -> bool {
        let Ok(member) = self.member(node) else { return false };
        // It takes this long at most to connect, and as long again to answer.
        let limit = self.context.nodes.config().health_check_timeout() * 2;
        let ping = [redis::cmd("PING")];
        let asked = self.ask(&member.address, &ping);
        matches!(within(self.runtime(), limit, asked).await, Some(Ok(_) | Err(ClusterError::Busy { .. })))
    }

    /// Whether a node says that it is a primary.
    pub(crate) async fn is_primary(&self, node: ClusterNodeId) -> bool {
        let Ok(member) = self.member(node) else { return false };
        let role = [redis::cmd("ROLE")];
        // A busy machine may take long: the question is not asked again before it is answered.
        let limit = self.context.nodes.config().health_check_timeout();
        let asked = within(self.runtime(), limit, self.ask(&member.address, &role)).await;
        let Some(Ok(replies)) = asked else { return false };
        let Some(Value::Array(parts)) = replies.first() else { return false };
        matches!(parts.first(), Some(Value::BulkString(word)) if word == b"master")
    }

    /// Sends commands to a node on our own connection, for `health_check_timeout` at most after connecting. All commands here
    /// may be sent twice.
    async fn ask(&self, address: &str, commands: &[Cmd]) -> Result<Vec<Value>, ClusterError> {
        let failed = |error: String, kind| ClusterError::NoAnswer { address: String::from(address), error, kind };
        let member = self.member_at(address).map_err(|error| failed(error.to_string(), error.kind()))?;
        let limit = self.context.nodes.config().health_check_timeout();
        let mut answered = self.ask_once(&member, limit, commands).await?;
        if let Some(Err(lost)) = &answered
            && lost.is_connection_dropped()
        {
            // A connection may be killed although its node is up.
            answered = self.ask_once(&member, limit, commands).await?;
        }
        let answered = answered.ok_or_else(|| failed(format!("no answer within {limit:?}"), FailureKind::Silent))?;
        // All nodes have the same login.
        let secrets = Secrets::of(&self.context.startup[0].login);
        answered.map_err(|error| ClusterError::of_reply(address, &error, &secrets))
    }

    async fn ask_once(
        &self,
        member: &ClusterMember,
        limit: Duration,
        commands: &[Cmd],
    ) -> Result<Option<RedisResult<Vec<Value>>>, ClusterError> {
        let mut client = self.ready(member).await?;
        let commands: Vec<&Cmd> = commands.iter().collect();
        Ok(within(self.runtime(), limit, client.ask_ours(&commands)).await)
    }

    /// Waits for a connection, unless the node is down.
    async fn ready(&self, member: &ClusterMember) -> Result<SharedHandle, ClusterError> {
        let failed = |error: String, kind| ClusterError::of_connecting(&member.address, error, kind);
        let mut ready = pin!(SharedHandle::ready(Arc::clone(&member.connections), self.connect_limit(member)));
        let mut look = self.runtime().sleep(BETWEEN_LOOKS);
        poll_fn(|cx| {
            if let Poll::Ready(ready) = ready.as_mut().poll(cx) {
                return Poll::Ready(ready.map_err(|error| match is_busy(&error) {
                    true => ClusterError::Busy { address: member.address.to_string() },
                    false => failed(error.to_string(), error.kind()),
                }));
            }
            while look.as_mut().poll(cx).is_ready() {
                let (health, last_error) = (member.pool().status().health, member.pool().last_error());
                if let (Health::Down, Some(error)) = (health, last_error) {
                    let kind = FailureKind::of_last_error(Some(&error));
                    return Poll::Ready(Err(failed(error.to_string(), kind)));
                }
                look = self.runtime().sleep(BETWEEN_LOOKS);
            }
            Poll::Pending
        })
        .await
    }

    /// A node that is up is asked at once. A new one may take as long as connecting does.
    fn connect_limit(&self, member: &ClusterMember) -> Duration {
        let is_known = self.state().topology().find(&member.address).is_some();
        let config = self.context.nodes.config();
        if is_known { config.health_check_timeout() } else { self.context.args.connect_timeout.min(config.default_timeout()) }
    }
}

/// Whether there was no connection because all are on loan.
fn is_busy(error: &GetClientError) -> bool {
    matches!(error, GetClientError::Timeout { phase: WaitPhase::LeasesHeld, .. } | GetClientError::Saturated { .. })
}
