//! A request that goes to one node: a command, or a transaction. Redirections are followed.

use redis::{Cmd, Pipeline, RedisError, RedisResult, ServerError, Value};

use crate::connection::resp::answer::{Replies, TransactionStep};
use crate::connection::resp::request::Outgoing;
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

/// A request in its two forms.
pub(super) trait OneRequest: Sync {
    fn outgoing(&self) -> Outgoing<'_>;

    /// Behind ASKING, which holds for the next command or transaction.
    fn behind_asking(&self) -> Pipeline;

    /// Why it was not carried out here, if another node would, or this one later.
    fn redirection(&self, replies: &Replies) -> Option<Redirection>;
}

impl OneRequest for Cmd {
    fn outgoing(&self) -> Outgoing<'_> {
        Outgoing::Command(self)
    }

    fn behind_asking(&self) -> Pipeline {
        let mut led = Pipeline::new();
        led.cmd("ASKING").add_command(self.clone());
        led
    }

    #[inline]
    fn redirection(&self, replies: &Replies) -> Option<Redirection> {
        match replies {
            Replies::One(value) => Redirection::of(self, value),
            // Behind ASKING.
            Replies::Many(values) => values.last().and_then(|value| Redirection::of(self, value)),
            Replies::Refused(_) => None,
        }
    }
}

/// An atomic pipeline, of which `count` replies after the first `offset` are wanted.
pub(super) struct TransactionRequest<'a> {
    pub(super) pipeline: &'a Pipeline,
    pub(super) offset: usize,
    pub(super) count: usize,
}

impl OneRequest for TransactionRequest<'_> {
    fn outgoing(&self) -> Outgoing<'_> {
        Outgoing::Pipeline { pipeline: self.pipeline, offset: self.offset, count: self.count }
    }

    fn behind_asking(&self) -> Pipeline {
        let mut led = Pipeline::new();
        led.cmd("ASKING").cmd("MULTI");
        for cmd in self.pipeline.cmd_iter() {
            led.add_command(cmd.clone());
        }
        led.cmd("EXEC");
        led
    }

    fn redirection(&self, replies: &Replies) -> Option<Redirection> {
        let errors: Vec<&ServerError> = match replies {
            // Behind ASKING. The last one is the answer to EXEC: anything but an error means that it was carried out, or that a
            // watched key has changed. If MULTI was refused, what follows it was carried out.
            Replies::Many(values) if matches!(values.first(), Some(Value::ServerError(_))) => return None,
            Replies::Many(values) if matches!(values.last(), Some(Value::ServerError(_))) => {
                values.iter().filter_map(|value| if let Value::ServerError(error) = value { Some(error) } else { None }).collect()
            }
            Replies::Many(_) | Replies::One(_) => return None,
            Replies::Refused(refused) if refused.errors.iter().any(|(step, _)| *step == TransactionStep::Multi) => return None,
            Replies::Refused(refused) => refused.errors.iter().map(|(_, error)| error).collect(),
        };
        errors.into_iter().find_map(Redirection::of_error)
    }
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
                TryOutcome::Elsewhere if budget.limits.begin_by > self.cluster.runtime().now() => continue,
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
        let cluster = std::sync::Arc::clone(&self.cluster);
        let handle = match self.handle(node) {
            Ok(handle) => handle,
            Err(error) => return self.without_connection(node, error),
        };
        let sent = if is_asking {
            let led = request.behind_asking();
            let outgoing = Outgoing::Pipeline { pipeline: &led, offset: 1, count: led.len() - 1 };
            // It stays here, whoever owns the slot.
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
        self.drop_handle(node);
        if matches!(error, GetClientError::Closed { .. }) && !self.cluster.is_closed() {
            return TryOutcome::Elsewhere;
        }
        TryOutcome::Failed(error.into())
    }
}
