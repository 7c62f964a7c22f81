//! A client of a whole cluster: each request goes to the node that it belongs to, over the shared connections of that node.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult, Value};
use redis_manager_core::Instant;

use crate::connection::resp::answer::Replies;
use crate::connection::resp::request::Outgoing;
use crate::deployment::cluster::inner::Cluster;
use crate::deployment::cluster::name_state::NameState;
use crate::deployment::cluster::node_handles::NodeHandles;
use crate::deployment::cluster::one_request::TransactionRequest;
use crate::deployment::cluster::pieces::{PartFailure, PieceTarget, Pieces};
use crate::deployment::cluster::retry_budget::RetryBudget;
use crate::deployment::cluster::state::topology::ClusterNodeId;
use crate::deployment::router::{Access, Destination, RouteError, route_command, route_transaction};
use crate::error::{CommandFailure, GetClientError, Outage, RedisErrorExt};
use crate::redis_node::parts::{
    CommandProfile, CountedRequest, CountsRequests, NodeCounters, RoutedConnection, refuse_unless_plain,
    refuse_unless_plain_pipeline,
};
use crate::redis_node::{RequestWay, Session};

/// A client of a cluster. Cheap to clone; clones share all connections.
pub(crate) struct RoutedClient {
    pub(super) cluster: Arc<Cluster>,
    /// The name under which it was got.
    name: Arc<NameState>,
    session: Session,
    pub(super) handles: NodeHandles,
    made_at: Instant,
}

impl Clone for RoutedClient {
    fn clone(&self) -> Self {
        let Self { cluster, name, session, handles, made_at } = self;
        let (cluster, name) = (Arc::clone(cluster), Arc::clone(name));
        Self { cluster, name, session: *session, handles: handles.clone(), made_at: *made_at }
    }
}

impl CountsRequests for RoutedClient {
    fn counters(&self) -> &NodeCounters {
        &self.name.counters
    }
}

impl RoutedClient {
    pub(crate) fn new(cluster: Arc<Cluster>, name: Arc<NameState>) -> Self {
        let login = &cluster.context.startup[0].login;
        let session = Session::fresh(&cluster.context.args, login.protocol(), login.db());
        let made_at = cluster.runtime().now();
        Self { cluster, name, session, handles: NodeHandles::default(), made_at }
    }

    pub(super) fn session(&self) -> Session {
        self.session
    }

    /// An error after the name was closed.
    pub(super) fn check_open(&self) -> RedisResult<()> {
        self.name.check_open()
    }

    /// No node was there for it until its time was up.
    pub(super) fn no_owner(&self, target: PieceTarget) -> RedisError {
        match target {
            PieceTarget::Slot(slot, _) if self.cluster.owners.owner(slot) != ClusterNodeId::NONE => {
                let why = "its owner fails or has changed, and no node has taken it in time";
                CommandFailure::not_sent(Some(&self.name.shown), Outage::Server, why).timed_out()
            }
            PieceTarget::Slot(slot, _) => GetClientError::NoOwner { node: self.name.shown.to_string(), slot }.into(),
            PieceTarget::AnyNode(_) | PieceTarget::Node(_) => {
                CommandFailure::not_sent(Some(&self.name.shown), Outage::Server, "no node of the cluster can be asked").lost()
            }
        }
    }

    async fn ask(&mut self, way: RequestWay, cmd: &Cmd) -> RedisResult<Value> {
        let asked = Outgoing::Command(cmd);
        let counted = CountedRequest::begin(self, way, asked);
        let result = counted.sender.route(cmd).await;
        counted.end(&result, asked);
        result
    }

    async fn ask_all(&mut self, way: RequestWay, pipeline: &Pipeline, offset: usize, count: usize) -> RedisResult<Vec<Value>> {
        let asked = Outgoing::Pipeline { pipeline, offset, count };
        let counted = CountedRequest::begin(self, way, asked);
        let result = counted.sender.route_all(pipeline, offset, count).await;
        counted.end(&result, asked);
        result
    }

    async fn route(&mut self, cmd: &Cmd) -> RedisResult<Value> {
        self.name.check_open()?;
        let profile = CommandProfile::of_command(cmd, self.session);
        refuse_unless_plain(cmd, profile)?;
        let routed = route_command(cmd).map_err(refuse)?;
        let mut budget = RetryBudget::new(&self.cluster, profile);
        let target = match routed.to {
            Destination::Slot(slot) => PieceTarget::Slot(slot, routed.access),
            Destination::AnyNode => PieceTarget::AnyNode(routed.access),
            Destination::Nodes(..) | Destination::Split(..) => {
                let pieces = Pieces::of_command(cmd, routed, |set| self.cluster.nodes_of(set));
                return Box::pin(self.fan_out(pieces, &mut budget)).await.map(|mut values| values.pop().unwrap_or_default());
            }
        };
        self.send_one(target, cmd, &mut budget).await?.0.into_value()
    }

    async fn route_all(&mut self, pipeline: &Pipeline, offset: usize, count: usize) -> RedisResult<Vec<Value>> {
        self.name.check_open()?;
        let profile = refuse_unless_plain_pipeline(pipeline, offset, count, self.session)?;
        let mut budget = RetryBudget::new(&self.cluster, profile);
        if pipeline.is_transaction() {
            let target = match route_transaction(pipeline).map_err(refuse)? {
                Some(slot) => PieceTarget::Slot(slot, Access::Write),
                None => PieceTarget::AnyNode(Access::Write),
            };
            let request = TransactionRequest { pipeline, offset, count };
            let (replies, is_asking) = self.send_one(target, &request, &mut budget).await?;
            return transaction_values(replies, is_asking, &request);
        }
        let pieces = Pieces::new(pipeline.cmd_iter(), |set| self.cluster.nodes_of(set)).map_err(refuse)?;
        let mut values = self.fan_out(pieces, &mut budget).await?;
        values.drain(..offset.min(values.len()));
        Ok(values)
    }

    async fn fan_out(&mut self, mut pieces: Pieces<'_>, budget: &mut RetryBudget) -> RedisResult<Vec<Value>> {
        self.send_pieces(&mut pieces, budget).await;
        pieces.finish().map_err(|PartFailure { error, others }| if others { in_part(&error) } else { error })
    }
}

impl RoutedConnection for RoutedClient {
    fn ask<'a>(&'a mut self, way: RequestWay, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(Self::ask(self, way, cmd))
    }

    fn ask_all<'a>(
        &'a mut self,
        way: RequestWay,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(Self::ask_all(self, way, pipeline, offset, count))
    }

    fn clone_routed(&self) -> Box<dyn RoutedConnection> {
        Box::new(self.clone())
    }

    fn name(&self) -> &str {
        &self.name.shown
    }

    fn db(&self) -> i64 {
        self.session.home
    }

    fn age(&self) -> Duration {
        self.cluster.runtime().now().saturating_duration_since(self.made_at)
    }
}

/// Nothing was sent.
fn refuse(error: RouteError) -> RedisError {
    RedisError::from((ErrorKind::Client, "a cluster cannot carry this out", error.to_string()))
}

/// The wanted replies to a transaction; behind ASKING all of them are there, from MULTI to EXEC.
fn transaction_values(replies: Replies, is_asking: bool, request: &TransactionRequest<'_>) -> RedisResult<Vec<Value>> {
    let &TransactionRequest { pipeline, offset, count } = request;
    let values = replies.into_values(Outgoing::Pipeline { pipeline, offset, count })?;
    Ok(if is_asking { values.into_iter().skip(offset).take(count).collect() } else { values })
}

/// The error of a request that was carried out in part, when the rest was not, or may not have been.
fn in_part(error: &RedisError) -> RedisError {
    let outage = if error.is_unavailable() { Outage::Server } else { Outage::Ours };
    let text = format!("outcome unknown: a part of the request was carried out, or may have been; then: {error}");
    let failure = CommandFailure::unknown(error.node(), outage, text);
    if error.is_timeout() { failure.timed_out() } else { failure.lost() }
}
