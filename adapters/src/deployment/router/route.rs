//! Where a command or a transaction goes in a cluster, from its words alone: no node is known here.

use redis::{Cmd, Pipeline};

use crate::deployment::router::command_index::{rule_of, shown_name};
use crate::deployment::router::command_rule::{Access, CommandRule, Gather, NodeSet, SentTo};
use crate::deployment::router::key_spec::{KeySpec, argument, keys_by, number_in, text_of};
use crate::deployment::router::route_error::RouteError;
use crate::deployment::router::shown_key::shown_key;
use crate::deployment::router::slot::{SLOTS, slot_of};
use crate::deployment::router::split::{SplitOutcome, SplitPart, cut};

/// Where a command goes, and whether a replica will do.
#[derive(Debug)]
pub(crate) struct Routed {
    pub(crate) access: Access,
    pub(crate) to: Destination,
}

/// Where a command goes.
#[derive(Debug)]
pub(crate) enum Destination {
    /// To the node of this slot, which all keys are of.
    Slot(u16),
    /// To one node, any: it has no key.
    AnyNode,
    /// As it is to each of these nodes.
    Nodes(NodeSet, Gather),
    /// By slot: at least two parts, in the order of their first keys.
    Split(Vec<SplitPart>, Gather),
}

/// Where a command goes. Allocates nothing unless the command is split or refused.
///
/// # Errors
/// If the keys are of several slots and the command cannot be split, or if only the caller can say which node is meant.
pub(crate) fn route_command(cmd: &Cmd) -> Result<Routed, RouteError> {
    let rule = rule_of(cmd);
    let to = match rule.sent {
        SentTo::ToKeys | SentTo::AsSubcommand => match slot_of_keys(rule.keys, cmd)? {
            Some(slot) => Destination::Slot(slot),
            None => Destination::AnyNode,
        },
        SentTo::Split(gather) => match cut(cmd, rule.keys[0])? {
            SplitOutcome::NoKey => Destination::AnyNode,
            SplitOutcome::Whole(slot) => Destination::Slot(slot),
            SplitOutcome::Parts(parts) => Destination::Split(parts, gather),
        },
        SentTo::ToNodes(nodes, gather) => Destination::Nodes(nodes, gather),
        SentTo::ToSlot(position) => slot_at(cmd, position).map_or(Destination::AnyNode, Destination::Slot),
        SentTo::ByCaller(way) => return Err(RouteError::NeedsOneNode { command: shown_name(cmd), way }),
    };
    Ok(Routed { access: rule.access, to })
}

/// Whether a replica may carry the command out as well: it reads keys, all at once. One that reads them by a cursor does not count:
/// the cursor holds on one server only.
pub(crate) fn reads_keys(cmd: &Cmd) -> bool {
    let rule = rule_of(cmd);
    let is_by_key = matches!(rule.sent, SentTo::ToKeys | SentTo::Split(_)) && !rule.keys.is_empty();
    rule.access == Access::Read && is_by_key && !has_cursor(cmd)
}

fn has_cursor(cmd: &Cmd) -> bool {
    let name = cmd.args_iter().next().and_then(text_of).unwrap_or_default();
    name.windows(4).any(|letters| letters.eq_ignore_ascii_case(b"SCAN"))
}

/// The one slot of a transaction, which is an atomic pipeline; `None` if it has no key at all.
///
/// # Errors
/// If its keys are of several slots, if a command would go to several nodes, or if only the caller can say which node is meant.
pub(crate) fn route_transaction(pipeline: &Pipeline) -> Result<Option<u16>, RouteError> {
    let mut found: Option<FoundSlot<'_>> = None;
    for cmd in pipeline.cmd_iter() {
        let CommandRule { keys, sent, .. } = rule_of(cmd);
        match *sent {
            SentTo::ToKeys | SentTo::AsSubcommand | SentTo::Split(_) => {
                for key in keys_by(keys, cmd) {
                    found = Some(FoundSlot::of_key(key).joined(found, cmd)?);
                }
            }
            SentTo::ToSlot(position) => {
                if let (Some(slot), Some(key)) = (slot_at(cmd, position), argument(cmd, position)) {
                    found = Some(FoundSlot { slot, key }.joined(found, cmd)?);
                }
            }
            SentTo::ToNodes(..) => return Err(RouteError::NotInATransaction { command: shown_name(cmd) }),
            SentTo::ByCaller(way) => return Err(RouteError::NeedsOneNode { command: shown_name(cmd), way }),
        }
    }
    Ok(found.map(|found| found.slot))
}

/// A slot, and the first key of it.
#[derive(Clone, Copy, Debug)]
struct FoundSlot<'a> {
    slot: u16,
    key: &'a [u8],
}

impl<'a> FoundSlot<'a> {
    fn of_key(key: &'a [u8]) -> Self {
        Self { slot: slot_of(key), key }
    }

    /// The one that was found before, if there is one and it is of the same slot.
    fn joined(self, before: Option<Self>, cmd: &Cmd) -> Result<Self, RouteError> {
        match before {
            Some(before) if before.slot != self.slot => Err(before.crossed_by(self, cmd)),
            Some(before) => Ok(before),
            None => Ok(self),
        }
    }

    #[cold]
    fn crossed_by(self, other: Self, cmd: &Cmd) -> RouteError {
        RouteError::CrossSlot {
            command: shown_name(cmd),
            first_key: shown_key(self.key),
            first_slot: self.slot,
            other_key: shown_key(other.key),
            other_slot: other.slot,
        }
    }
}

fn slot_of_keys(specs: &'static [KeySpec], cmd: &Cmd) -> Result<Option<u16>, RouteError> {
    // Most commands have one key, in one place.
    if let [KeySpec::At(position)] = specs {
        return Ok(argument(cmd, *position).map(slot_of));
    }
    let mut found: Option<FoundSlot<'_>> = None;
    for key in keys_by(specs, cmd) {
        found = Some(FoundSlot::of_key(key).joined(found, cmd)?);
    }
    Ok(found.map(|found| found.slot))
}

/// The number of a slot at this position, if it is one.
fn slot_at(cmd: &Cmd, position: usize) -> Option<u16> {
    let slot = number_in(argument(cmd, position)?)?;
    u16::try_from(slot).ok().filter(|slot| *slot < SLOTS)
}
