//! How a request is sent to one node: redirections are followed, within its budget.

use redis::{RedisError, RedisResult};

use crate::connection::resp::answer::Replies;
use crate::connection::resp::request::Outgoing;
use crate::deployment::cluster::one_request::OneRequest;
use crate::deployment::cluster::pieces::PieceTarget;
use crate::deployment::cluster::redirection::Redirection;
use crate::deployment::cluster::retry_budget::RetryBudget;
use crate::deployment::cluster::routed_client::RoutedClient;
use crate::deployment::cluster::state::topology::ClusterNodeId;
use crate::error::GetClientError;

/// What one try has come to.
enum TryOutcome {
    Replied(Replies),
    Failed(RedisError),
    /// Nothing was sent: another node is the right one now.
    Elsewhere,
}

impl RoutedClient {
    /// Sends to one node until it is carried out or finally refused, within its budget. The second value says whether the
    /// replies are those behind an ASKING.
    pub(super) async fn send_one(
        &mut self,
        target: PieceTarget,
        request: &(impl OneRequest + ?Sized),
        budget: &mut RetryBudget,
    ) -> RedisResult<(Replies, bool)> {
        let mut ask_at: Option<String> = None;
        loop {
            let seen = self.cluster.changed.version();
            let asking = ask_at.take();
            let node = match &asking {
                Some(address) => self.cluster.number_of(address),
                None => self.cluster.node_for(target),
            };
            let Some(node) = node else {
                if asking.is_none() && budget.until_changed(&self.cluster, seen).await {
                    self.check_open()?;
                    continue;
                }
                return Err(self.no_owner(target));
            };
            let is_asking = asking.is_some();
            let replies = match self.try_one(node, target, request, is_asking, budget).await {
                TryOutcome::Replied(replies) => replies,
                TryOutcome::Failed(error) => {
                    self.cluster.suspect();
                    return Err(error);
                }
                TryOutcome::Elsewhere if budget.look_again(&self.cluster, seen).await => {
                    self.check_open()?;
                    continue;
                }
                TryOutcome::Elsewhere => return Err(self.no_owner(target)),
            };
            let Some(redirection) = request.redirection(&replies) else { return Ok((replies, is_asking)) };
            let goes_on = match redirection {
                Redirection::Moved { slot, to } => {
                    let to = to.address(&self.cluster.address_of(node));
                    self.cluster.moved(slot, &to);
                    budget.redirect(&self.cluster)
                }
                Redirection::Ask { to } => {
                    ask_at = Some(to.address(&self.cluster.address_of(node)));
                    budget.redirect(&self.cluster)
                }
                Redirection::ReadOnly | Redirection::NotNow => {
                    self.cluster.note_refusal(node);
                    budget.pause(&self.cluster).await
                }
            };
            if !goes_on {
                return Ok((replies, is_asking));
            }
        }
    }

    async fn try_one(
        &mut self,
        node: ClusterNodeId,
        target: PieceTarget,
        request: &(impl OneRequest + ?Sized),
        is_asking: bool,
        budget: &RetryBudget,
    ) -> TryOutcome {
        let cluster = &*self.cluster;
        let handle = match self.handles.of(cluster, node) {
            Ok(handle) => handle,
            Err(error) => return self.without_connection(node, error),
        };
        let sent = if is_asking {
            let led = request.behind_asking();
            let outgoing = Outgoing::Pipeline { pipeline: &led, offset: 1, count: led.len() - 1 };
            // It stays here, whatever node owns the slot.
            handle.ask_unless(&budget.limits, std::future::pending(), outgoing).await
        } else {
            handle.ask_unless(&budget.limits, cluster.until_elsewhere(target, node), request.outgoing()).await
        };
        match sent {
            Ok(None) => TryOutcome::Elsewhere,
            Ok(Some(Ok(replies))) => TryOutcome::Replied(replies),
            Ok(Some(Err(error))) => TryOutcome::Failed(error),
            Err(error) => self.without_connection(node, error),
        }
    }

    /// There is no connection to a node. One that was closed has left the cluster.
    fn without_connection(&mut self, node: ClusterNodeId, error: GetClientError) -> TryOutcome {
        self.handles.forget(node);
        if matches!(error, GetClientError::Closed { .. }) && !self.cluster.is_closed() {
            return TryOutcome::Elsewhere;
        }
        TryOutcome::Failed(error.into())
    }
}
