//! The errors that the redis crate gets when another node is the right one: they decide which node it chooses.

use redis::{Arg, Cmd, ErrorKind, RedisError, ServerErrorKind};

use crate::cluster::nodes::Cluster;
use crate::cluster::routed_client::conceal;
use crate::cluster::topology::slot_of;
use crate::error::{CommandFailure, Outage};

/// The text of an answer that is ours.
pub(crate) const OWNER_CHANGED: &str = "the owner has changed";

/// Commands that the redis crate splits by slot.
const SPLIT: [&[u8]; 8] = [b"MGET", b"MSET", b"DEL", b"UNLINK", b"EXISTS", b"TOUCH", b"JSON.MGET", b"JSON.MSET"];

/// Commands that it sends to every node, or every primary.
const FOR_ALL: [&[u8]; 20] = [
    b"ACL",
    b"CLIENT",
    b"CONFIG",
    b"DBSIZE",
    b"DEBUG",
    b"FLUSHALL",
    b"FLUSHDB",
    b"FT._ALIASLIST",
    b"FT._LIST",
    b"FUNCTION",
    b"INFO",
    b"KEYS",
    b"LATENCY",
    b"MEMORY",
    b"PING",
    b"PUBSUB",
    b"RANDOMKEY",
    b"SCRIPT",
    b"SLOWLOG",
    b"UNWATCH",
];

/// An error that makes the redis crate request the slots again and send the command to the owner.
///
/// A part of a command that was split or sent to all nodes stays with its first node. If that node is gone, the redis crate
/// sends all parts again, also the executed ones. So such a part gets the new owner of its keys, or an error that it was not
/// sent.
pub(crate) fn elsewhere(cluster: &Cluster, cmd: Option<&Cmd>) -> RedisError {
    cluster.ask_again();
    let mut words = cmd.into_iter().flat_map(|cmd| cmd.args_iter());
    let (name, key) = (words.next(), words.next());
    let is_one_of = |names: &[&[u8]]| match name {
        Some(Arg::Simple(name)) => names.iter().any(|other| name.eq_ignore_ascii_case(other)),
        Some(Arg::Cursor | _) | None => false,
    };
    let owner = match key {
        Some(Arg::Simple(key)) if is_one_of(&SPLIT) => {
            let slot = slot_of(key);
            cluster.topology().owner(slot).map(|owner| format!("{slot} {owner}"))
        }
        Some(Arg::Simple(_) | Arg::Cursor | _) | None => None,
    };
    match owner {
        Some(moved) => RedisError::from((ErrorKind::Server(ServerErrorKind::Moved), OWNER_CHANGED, moved)),
        None if is_one_of(&SPLIT) || is_one_of(&FOR_ALL) => {
            conceal(CommandFailure::not_sent(None, Outage::Server, "a node that it is meant for fails, or has left").lost())
        }
        None => please_look_again(),
    }
}

/// Whether a command goes to several nodes: then an error of one of its parts says nothing about the others.
pub(crate) fn goes_out_in_parts(cmd: &Cmd) -> bool {
    let mut words = cmd.args_iter().filter_map(|arg| match arg {
        Arg::Simple(word) => Some(word),
        Arg::Cursor | _ => None,
    });
    let Some(name) = words.next() else { return false };
    let is_one_of = |names: &[&[u8]]| names.iter().any(|other| name.eq_ignore_ascii_case(other));
    let words_for_a_key = match name.to_ascii_uppercase().as_slice() {
        b"MSET" => 2,
        b"JSON.MSET" => 3,
        _ => 1,
    };
    let mut slots = words.step_by(words_for_a_key).map(slot_of);
    let first = slots.next();
    is_one_of(&FOR_ALL) || (is_one_of(&SPLIT) && slots.any(|slot| Some(slot) != first))
}

pub(crate) fn please_look_again() -> RedisError {
    RedisError::from((ErrorKind::Server(ServerErrorKind::ReadOnly), OWNER_CHANGED))
}
