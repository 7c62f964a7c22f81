//! A request that goes to several nodes: its pieces are sent side by side, those for one node together and in their order.

use redis::{Cmd, RedisError, RedisResult, Value};

use crate::connection::resp::answer::Replies;
use crate::connection::resp::request::Outgoing;
use crate::deployment::cluster::inner::Cluster;
use crate::deployment::cluster::join_all::{Joined, join_all};
use crate::deployment::cluster::pieces::{PieceEnd, PieceTarget, Pieces};
use crate::deployment::cluster::redirection::Redirection;
use crate::deployment::cluster::retry_budget::RetryBudget;
use crate::deployment::cluster::routed_client::RoutedClient;
use crate::deployment::cluster::state::topology::ClusterNodeId;
use crate::error::GetClientError;
use crate::redis_node::parts::{RequestLimits, SharedHandle};

/// What is sent to one node at once: the indices of pieces.
struct Group {
    node: ClusterNodeId,
    is_asking: bool,
    pieces: Vec<usize>,
}

type GroupOutcome = Result<Option<RedisResult<Replies>>, GetClientError>;

impl RoutedClient {
    /// Sends all pieces until each of them is carried out, finally refused, or has failed.
    pub(super) async fn send_pieces(&mut self, pieces: &mut Pieces<'_>, budget: &mut RetryBudget) {
        let mut left: Vec<usize> = (0..pieces.all.len()).collect();
        while !left.is_empty() {
            let seen = self.cluster.changed.version();
            let groups = self.groups(pieces, &left);
            if groups.is_empty() {
                if budget.until_changed(&self.cluster, seen).await && self.check_open().is_ok() {
                    continue;
                }
                self.give_up(pieces, &left);
                return;
            }
            let outcomes = self.send_groups(pieces, &groups, &budget.limits).await;
            let mut turn = FanOutTurn::default();
            for (group, outcome) in groups.iter().zip(outcomes) {
                turn = turn.and(self.book(pieces, group, outcome));
            }
            left.retain(|index| pieces.all[*index].is_left());
            let may_go_on = left.is_empty()
                || (!turn.follows || budget.redirect(&self.cluster))
                    && (!turn.waits || budget.pause(&self.cluster).await)
                    && (turn.waits || !turn.looks_again || budget.look_again(&self.cluster, seen).await)
                    && self.cluster.runtime().now() < budget.limits.begin_by
                    && self.check_open().is_ok();
            if !may_go_on {
                self.give_up(pieces, &left);
                return;
            }
        }
    }

    fn give_up(&self, pieces: &mut Pieces<'_>, left: &[usize]) {
        for index in left {
            let unsent = self.no_owner(pieces.all[*index].target);
            pieces.all[*index].give_up(unsent);
        }
    }

    fn groups(&self, pieces: &Pieces<'_>, left: &[usize]) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        for index in left {
            let piece = &pieces.all[*index];
            let asked_at = piece.ask_at.as_ref().and_then(|address| self.cluster.number_of(address));
            let node = asked_at.or_else(|| match piece.target {
                PieceTarget::Node(node) => Some(node),
                target @ (PieceTarget::Slot(..) | PieceTarget::AnyNode(_)) => self.cluster.node_for(target),
            });
            let Some(node) = node else { continue };
            let is_asking = asked_at.is_some();
            match groups.iter_mut().find(|group| group.node == node && group.is_asking == is_asking) {
                Some(group) => group.pieces.push(*index),
                None => groups.push(Group { node, is_asking, pieces: vec![*index] }),
            }
        }
        groups
    }

    async fn send_groups(&mut self, pieces: &Pieces<'_>, groups: &[Group], limits: &RequestLimits) -> Vec<GroupOutcome> {
        let mut sent: Vec<Joined<'_, GroupOutcome>> = Vec::with_capacity(groups.len());
        for group in groups {
            let handle = self.handles.of(&self.cluster, group.node).map(|handle| handle.clone());
            let cluster = &*self.cluster;
            sent.push(Box::pin(async move { send_group(cluster, handle?, pieces, group, limits).await }));
        }
        join_all(sent).await
    }

    /// Notes what has become of the pieces of a group.
    fn book(&mut self, pieces: &mut Pieces<'_>, group: &Group, outcome: GroupOutcome) -> FanOutTurn {
        let values = match outcome {
            // Nothing was sent: another node is the right one now.
            Ok(None) => return FanOutTurn { looks_again: true, ..FanOutTurn::default() },
            Ok(Some(Ok(replies))) => replies.into_values(Outgoing::Batch(&[])),
            Ok(Some(Err(error))) => Err(error),
            Err(GetClientError::Closed { .. }) if !self.cluster.is_closed() => {
                self.handles.forget(group.node);
                let is_for_it = group.pieces.iter().any(|index| matches!(pieces.all[*index].target, PieceTarget::Node(_)));
                if !is_for_it {
                    return FanOutTurn { waits: true, ..FanOutTurn::default() };
                }
                Err(GetClientError::Closed { node: self.cluster.address_of(group.node) }.into())
            }
            Err(error) => Err(error.into()),
        };
        let values: Vec<Value> = match values {
            Ok(values) if group.is_asking => values.into_iter().skip(1).step_by(2).collect(),
            Ok(values) => values,
            Err(error) => {
                self.cluster.suspect();
                for index in &group.pieces {
                    pieces.all[*index].fail(RedisError::clone(&error));
                }
                return FanOutTurn::default();
            }
        };
        let asked = self.cluster.address_of(group.node);
        let mut turn = FanOutTurn::default();
        for (index, value) in group.pieces.iter().zip(values) {
            let piece = &mut pieces.all[*index];
            piece.ask_at = None;
            piece.goes_on_after = false;
            let is_for_it = matches!(piece.target, PieceTarget::Node(_));
            match Redirection::of(piece.cmd.cmd(), &value).filter(|_| !is_for_it) {
                None => {}
                Some(Redirection::Moved { slot, to }) => {
                    self.cluster.moved(slot, &to.address(&asked));
                    (piece.goes_on_after, turn.follows) = (true, true);
                }
                Some(Redirection::Ask { to }) => {
                    piece.ask_at = Some(to.address(&asked));
                    (piece.goes_on_after, turn.follows) = (true, true);
                }
                Some(Redirection::ReadOnly | Redirection::NotNow) => {
                    self.cluster.note_refusal(group.node);
                    (piece.goes_on_after, turn.waits) = (true, true);
                }
            }
            piece.end = Some(PieceEnd::Replied { node: asked.clone(), value });
        }
        turn
    }
}

/// What the pieces that are left need before the next round.
#[derive(Clone, Copy, Default)]
struct FanOutTurn {
    /// A redirection is followed.
    follows: bool,
    /// A node has refused for the moment.
    waits: bool,
    /// Nothing was sent to a node because another one is the right one.
    looks_again: bool,
}

impl FanOutTurn {
    fn and(self, other: Self) -> Self {
        Self {
            follows: self.follows || other.follows,
            waits: self.waits || other.waits,
            looks_again: self.looks_again || other.looks_again,
        }
    }
}

async fn send_group(
    cluster: &Cluster,
    mut handle: SharedHandle,
    pieces: &Pieces<'_>,
    group: &Group,
    limits: &RequestLimits,
) -> GroupOutcome {
    let asking = redis::cmd("ASKING");
    let mut commands: Vec<&Cmd> = Vec::with_capacity(group.pieces.len());
    for index in &group.pieces {
        if group.is_asking {
            commands.push(&asking);
        }
        commands.push(pieces.all[*index].cmd.cmd());
    }
    let targets: Vec<PieceTarget> = group.pieces.iter().map(|index| pieces.all[*index].target).collect();
    if group.is_asking {
        return handle.ask_unless(limits, std::future::pending(), Outgoing::Batch(&commands)).await;
    }
    handle.ask_unless(limits, cluster.until_one_is_elsewhere(&targets, group.node), Outgoing::Batch(&commands)).await
}
