//! What a request is made of: pieces that each go to one node, and how their replies become one again. Sends nothing.

use redis::{Cmd, RedisError, Value};

use crate::deployment::cluster::state::topology::ClusterNodeId;
use crate::deployment::router::{Access, Destination, Gather, Gathering, NodeSet, RouteError, Routed, SplitPart, route_command};

/// Where a piece goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PieceTarget {
    /// To the owner of a slot, or for a read to one of its replicas.
    Slot(u16, Access),
    AnyNode(Access),
    /// To this node, whatever it owns.
    Node(ClusterNodeId),
}

/// A command, or a part of one.
#[derive(Debug)]
pub(crate) enum PieceCommand<'a> {
    Whole(&'a Cmd),
    Part(SplitPart),
}

impl PieceCommand<'_> {
    pub(crate) fn cmd(&self) -> &Cmd {
        match self {
            Self::Whole(cmd) => cmd,
            Self::Part(part) => &part.cmd,
        }
    }
}

/// How a piece has ended.
#[derive(Debug)]
pub(crate) enum PieceEnd {
    /// The node's reply, which may be an error.
    Replied {
        node: String,
        value: Value,
    },
    Failed(RedisError),
}

/// Something that goes to one node.
#[derive(Debug)]
pub(crate) struct Piece<'a> {
    /// Of which command of the request, from 0 on.
    command: usize,
    /// Which part of the command, from 0 on.
    part: usize,
    pub(crate) target: PieceTarget,
    pub(crate) cmd: PieceCommand<'a>,
    /// Where it goes once, behind ASKING.
    pub(crate) ask_at: Option<String>,
    /// The latest reply, or failure.
    pub(crate) end: Option<PieceEnd>,
    /// The latest reply was a redirection: it was not carried out.
    pub(crate) goes_on_after: bool,
}

impl Piece<'_> {
    /// Whether it is to be sent, or sent again.
    pub(crate) fn is_left(&self) -> bool {
        self.end.is_none() || self.goes_on_after
    }

    /// It has failed at a node, and is not sent any more, whatever it was answered before: it may have been carried out.
    pub(crate) fn fail(&mut self, error: RedisError) {
        (self.end, self.ask_at, self.goes_on_after) = (Some(PieceEnd::Failed(error)), None, false);
    }

    /// It is not sent any more: the latest reply stands, or it was never sent.
    pub(crate) fn give_up(&mut self, unsent: RedisError) {
        self.goes_on_after = false;
        self.end.get_or_insert(PieceEnd::Failed(unsent));
    }
}

/// How the reply to one command is made.
#[derive(Debug)]
enum ReplyForm {
    OfOne,
    Gathered { gather: Gather, items: usize, parts: usize },
}

/// All pieces of a request.
#[derive(Debug)]
pub(crate) struct Pieces<'a> {
    pub(crate) all: Vec<Piece<'a>>,
    /// By command.
    forms: Vec<ReplyForm>,
}

impl<'a> Pieces<'a> {
    /// The pieces of commands, in their order. `nodes` says which nodes a set has now.
    ///
    /// # Errors
    ///
    /// Of the first command that cannot be sent to a cluster.
    pub(crate) fn new(
        commands: impl Iterator<Item = &'a Cmd>,
        nodes: impl Fn(&NodeSet) -> Vec<ClusterNodeId>,
    ) -> Result<Self, RouteError> {
        let mut pieces = Self { all: Vec::new(), forms: Vec::new() };
        for cmd in commands {
            let routed = route_command(cmd)?;
            pieces.add(cmd, routed, &nodes);
        }
        Ok(pieces)
    }

    /// The pieces of one command that goes to several nodes.
    pub(crate) fn of_command(cmd: &'a Cmd, routed: Routed, nodes: impl Fn(&NodeSet) -> Vec<ClusterNodeId>) -> Self {
        let mut pieces = Self { all: Vec::new(), forms: Vec::new() };
        pieces.add(cmd, routed, &nodes);
        pieces
    }

    /// A command for one node, whatever it owns.
    pub(crate) fn to_node(cmd: &'a Cmd, target: PieceTarget) -> Self {
        let piece =
            Piece { command: 0, part: 0, target, cmd: PieceCommand::Whole(cmd), ask_at: None, end: None, goes_on_after: false };
        Self { all: vec![piece], forms: vec![ReplyForm::OfOne] }
    }

    fn add(&mut self, cmd: &'a Cmd, routed: Routed, nodes: impl Fn(&NodeSet) -> Vec<ClusterNodeId>) {
        let command = self.forms.len();
        let whole = |target| vec![(target, PieceCommand::Whole(cmd))];
        let (form, parts) = match routed.to {
            Destination::Slot(slot) => (ReplyForm::OfOne, whole(PieceTarget::Slot(slot, routed.access))),
            Destination::AnyNode => (ReplyForm::OfOne, whole(PieceTarget::AnyNode(routed.access))),
            Destination::Nodes(set, gather) => {
                let nodes = nodes(&set);
                let parts: Vec<_> = nodes.into_iter().map(|node| (PieceTarget::Node(node), PieceCommand::Whole(cmd))).collect();
                (ReplyForm::Gathered { gather, items: 0, parts: parts.len() }, parts)
            }
            Destination::Split(parts, gather) => {
                let items = parts.iter().map(|part| part.places.len()).sum();
                let form = ReplyForm::Gathered { gather, items, parts: parts.len() };
                let target = |slot| PieceTarget::Slot(slot, routed.access);
                (form, parts.into_iter().map(|part| (target(part.slot), PieceCommand::Part(part))).collect())
            }
        };
        self.forms.push(form);
        self.all.extend(parts.into_iter().enumerate().map(|(part, (target, cmd))| Piece {
            command,
            part,
            target,
            cmd,
            ask_at: None,
            end: None,
            goes_on_after: false,
        }));
    }

    /// The replies, one for each command; or the error of a piece that has no reply, if there is one.
    pub(crate) fn finish(self) -> Result<Vec<Value>, PartFailure> {
        let is_one = self.all.len() == 1;
        let mut failure: Option<RedisError> = None;
        let mut others = false;
        let mut replies: Vec<Option<Value>> = self.forms.iter().map(|_| None).collect();
        let mut gatherings: Vec<Option<Gathering>> = self
            .forms
            .iter()
            .map(|form| match form {
                ReplyForm::OfOne => None,
                ReplyForm::Gathered { gather, items, parts } => Some(Gathering::new(*gather, *items, *parts)),
            })
            .collect();
        for piece in self.all {
            match piece.end {
                Some(PieceEnd::Replied { node, value }) => {
                    others = true;
                    let split = if let PieceCommand::Part(part) = &piece.cmd { Some(part) } else { None };
                    match &mut gatherings[piece.command] {
                        Some(gathering) => gathering.put(piece.part, &node, split, value),
                        None => replies[piece.command] = Some(value),
                    }
                }
                Some(PieceEnd::Failed(error)) => {
                    use crate::error::{RedisErrorExt, Sent};
                    // What may have been carried out weighs more than what was not sent.
                    let is_unsent = error.was_sent() == Sent::NotSent;
                    others |= !is_unsent && !is_one;
                    if failure.is_none() || !is_unsent {
                        failure = Some(error);
                    }
                }
                None => debug_assert!(false, "a piece without an end"),
            }
        }
        if let Some(error) = failure {
            return Err(PartFailure { error, others });
        }
        let gathered = gatherings.into_iter().map(|gathering| gathering.map(Gathering::finish));
        Ok(replies.into_iter().zip(gathered).map(|(reply, gathered)| reply.or(gathered).unwrap_or_default()).collect())
    }
}

/// A piece has no reply.
#[derive(Debug)]
pub(crate) struct PartFailure {
    pub(crate) error: RedisError,
    /// Others were carried out, or may have been.
    pub(crate) others: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{CommandFailure, Outage, RedisErrorExt, Sent};

    fn command(words: &str) -> Cmd {
        let mut cmd = Cmd::new();
        cmd.arg(words.split(' ').collect::<Vec<_>>());
        cmd
    }

    fn replied(value: Value) -> Option<PieceEnd> {
        Some(PieceEnd::Replied { node: String::from("h:1"), value })
    }

    fn unsent() -> RedisError {
        CommandFailure::not_sent(None, Outage::Server, "it was not sent").lost()
    }

    fn unknown() -> RedisError {
        CommandFailure::unknown(None, Outage::Server, String::from("outcome unknown")).lost()
    }

    /// Seen to bite: with replies in the order in which the pieces ended.
    #[test]
    fn k5_the_replies_to_a_pipeline_are_in_the_order_of_its_commands() {
        let commands = [command("GET a"), command("MGET c b a"), command("GET b")];
        let mut pieces = Pieces::new(commands.iter(), |_| vec![]).expect("each can be sent");
        assert_eq!(pieces.all.len(), 5);
        for piece in pieces.all.iter_mut().rev() {
            let keys = piece.cmd.cmd().args_iter().skip(1).map(|arg| match arg {
                redis::Arg::Simple(key) => Value::BulkString(key.to_vec()),
                redis::Arg::Cursor | _ => Value::Nil,
            });
            let mut keys: Vec<Value> = keys.collect();
            piece.end = replied(if piece.command == 1 { Value::Array(keys) } else { keys.remove(0) });
        }
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let values = pieces.finish().expect("each has a reply");
        assert_eq!(values, [text("a"), Value::Array(vec![text("c"), text("b"), text("a")]), text("b")]);
    }

    /// Seen to bite: with the first failure as the one that is told.
    #[test]
    fn k2_what_may_have_been_carried_out_weighs_more_than_what_was_not_sent() {
        let cmd = command("MSET a 1 b 2");
        let pieces = || Pieces::new(std::iter::once(&cmd), |_| vec![]).expect("it can be sent");
        let mut neither = pieces();
        neither.all.iter_mut().for_each(|piece| piece.give_up(unsent()));
        let PartFailure { error, others } = neither.finish().expect_err("nothing was sent");
        assert!(error.was_sent() == Sent::NotSent && !others);
        for order in [[0, 1], [1, 0]] {
            let mut both = pieces();
            both.all[order[0]].end = Some(PieceEnd::Failed(unknown()));
            both.all[order[1]].give_up(unsent());
            let PartFailure { error, others } = both.finish().expect_err("one is unknown");
            assert!(error.was_sent() == Sent::Unknown && others, "{error}");
        }
        let mut half = pieces();
        half.all[0].end = replied(Value::Okay);
        half.all[1].give_up(unsent());
        assert!(half.finish().expect_err("the other one was not sent").others);
    }

    /// Seen to bite: with an earlier refusal that outlives the failure. It was found by a seed of the simulator.
    #[test]
    fn k2_a_piece_that_fails_after_it_was_refused_is_not_sent_again() {
        let cmd = command("SET a 1");
        let mut pieces = Pieces::to_node(&cmd, PieceTarget::AnyNode(Access::Write));
        pieces.all[0].end = replied(Value::Okay);
        pieces.all[0].goes_on_after = true;
        pieces.all[0].ask_at = Some(String::from("h:2"));
        pieces.all[0].fail(unknown());
        assert!(!pieces.all[0].is_left() && pieces.all[0].ask_at.is_none());
        let PartFailure { error, .. } = pieces.finish().expect_err("its outcome is unknown");
        assert!(error.was_sent() == Sent::Unknown, "{error}");
    }

    /// Seen to bite: with a redirection that is forgotten when the time is up.
    #[test]
    fn k5_a_piece_that_is_given_up_keeps_the_words_of_its_node() {
        let cmd = command("GET a");
        let mut pieces = Pieces::to_node(&cmd, PieceTarget::AnyNode(Access::Read));
        assert!(pieces.all[0].is_left());
        pieces.all[0].end = replied(Value::Int(7));
        assert!(!pieces.all[0].is_left());
        pieces.all[0].goes_on_after = true;
        assert!(pieces.all[0].is_left());
        pieces.all[0].give_up(unsent());
        assert!(!pieces.all[0].is_left());
        assert_eq!(pieces.finish().expect("it has a reply"), [Value::Int(7)]);
    }
}
