//! The replies to one command that went to several nodes, and the one reply that they become.

use redis::{ServerError, Value, parse_redis_value};

use crate::deployment::router::combine::{concatenate, fold, sum_pairs};
use crate::deployment::router::command_index::keys_of;
use crate::deployment::router::command_rule::Gather;
use crate::deployment::router::shown_key::{shown_key, shown_keys};
use crate::deployment::router::split::SplitPart;

/// Takes the reply of each part, in any order, and makes one of them.
///
/// A refusal of one node does not hide what the others replied. Where the reply has a place for each key or for each node, the
/// error is in its place. Otherwise the whole reply is the error, and its text says how many other parts were carried out.
#[derive(Debug)]
pub(crate) struct Gathering {
    gather: Gather,
    parts: usize,
    arrived: usize,
    gathered: Gathered,
    refused: Vec<Refused>,
}

/// What the parts that succeeded have replied.
#[derive(Debug)]
enum Gathered {
    /// By key, also the errors.
    Places(Vec<Value>),
    /// By part: the address and the reply of a node, also if that is an error.
    Nodes(Vec<Option<(Value, Value)>>),
    /// By part.
    Replies(Vec<Option<Value>>),
    /// One is enough.
    One(Value),
}

/// An error of one part.
#[derive(Debug)]
struct Refused {
    part: usize,
    error: ServerError,
    /// Which keys and which node it is about.
    about: String,
    is_split: bool,
}

impl Gathering {
    /// `items` is the number of keys, over all parts; it matters for a command that is split. `parts` is the number of parts
    /// or of nodes.
    pub(crate) fn new(gather: Gather, items: usize, parts: usize) -> Self {
        let gathered = match gather {
            Gather::ByPosition => Gathered::Places(vec![Value::Nil; items]),
            Gather::ByNode => Gathered::Nodes(vec![None; parts]),
            Gather::AnyNonNil => Gathered::One(Value::Nil),
            Gather::AllSucceeded
            | Gather::OneSucceeded
            | Gather::Sum
            | Gather::Min
            | Gather::LogicalAnd
            | Gather::Concatenated
            | Gather::SummedPairs => Gathered::Replies(vec![None; parts]),
        };
        Self { gather, parts, arrived: 0, gathered, refused: Vec::new() }
    }

    /// The reply of one part, which may be an error. `part` counts from 0 in the order of the parts or nodes, `node` is host
    /// and port, and `split` is the part itself if the command was split.
    pub(crate) fn put(&mut self, part: usize, node: &str, split: Option<&SplitPart>, reply: Value) {
        debug_assert!(part < self.parts && self.arrived < self.parts, "part {part} of {}", self.parts);
        self.arrived += 1;
        match (&mut self.gathered, reply) {
            (Gathered::Places(places), reply) => put_items(places, node, split, reply),
            (Gathered::Nodes(nodes), reply) => {
                let refused = if let Value::ServerError(error) = &reply { Some(error) } else { None };
                let reply = refused.map(|error| with_words(error, &format!("at {node}"))).unwrap_or(reply);
                nodes[part] = Some((Value::BulkString(node.as_bytes().to_vec()), reply));
            }
            (_, Value::ServerError(error)) => {
                let about = match split {
                    Some(split) => format!("{} at {node}", shown_keys(keys_of(&split.cmd))),
                    None => format!("at {node}"),
                };
                self.refused.push(Refused { part, error, about, is_split: split.is_some() });
            }
            (Gathered::Replies(replies), reply) => replies[part] = Some(reply),
            (Gathered::One(one), reply) if *one == Value::Nil => *one = reply,
            (Gathered::One(_), _) => {}
        }
    }

    /// The one reply. Errors are [`Value::ServerError`]: in their places, or instead of all else.
    ///
    /// # Panics
    /// If a part has no reply.
    pub(crate) fn finish(self) -> Value {
        assert!(self.arrived == self.parts, "{} of {} parts have replied", self.arrived, self.parts);
        let error = self.error();
        let replies = match self.gathered {
            Gathered::Places(places) => return Value::Array(places),
            Gathered::Nodes(nodes) => return Value::Map(nodes.into_iter().flatten().collect()),
            Gathered::One(Value::Nil) => return error.unwrap_or(Value::Nil),
            Gathered::One(one) => return one,
            Gathered::Replies(replies) => replies.into_iter().flatten(),
        };
        error.unwrap_or_else(|| combined(self.gather, replies))
    }

    /// Where errors have no place and matter: the words of the first part that was refused, and what became of the others.
    fn error(&self) -> Option<Value> {
        if self.gather == Gather::OneSucceeded && self.refused.len() < self.parts {
            return None;
        }
        let first = |refused: &&Refused| (self.gather == Gather::OneSucceeded && is_idle(&refused.error), refused.part);
        let Refused { error, about, is_split, .. } = self.refused.iter().min_by_key(first)?;
        let (others, done) = (self.parts - 1, self.parts - self.refused.len());
        let rest = match (others, is_split) {
            (0, _) => String::new(),
            (_, true) => format!("; {done} of the other {others} parts were carried out"),
            (_, false) => format!("; {done} of the other {others} nodes carried it out"),
        };
        Some(with_words(error, &format!("{about}{rest}")))
    }
}

/// Of a reply that no server gives to this command.
const UNLIKE: &str = "the replies of the nodes are of forms that cannot be put together";

/// Most nodes have nothing to kill: the one that has and refuses to do so has the word.
fn is_idle(error: &ServerError) -> bool {
    error.code() == "NOTBUSY"
}

fn put_items(places: &mut [Value], node: &str, split: Option<&SplitPart>, reply: Value) {
    let Some(split) = split else { return };
    let error = if let Value::ServerError(error) = reply {
        error
    } else if let Value::Array(items) = reply
        && items.len() == split.places.len()
    {
        for (place, item) in split.places.iter().zip(items) {
            places[*place] = item;
        }
        return;
    } else {
        error_of("ERR", UNLIKE)
    };
    for (place, key) in split.places.iter().zip(keys_of(&split.cmd)) {
        places[*place] = with_words(&error, &format!("{:?} at {node}", shown_key(key)));
    }
}

fn combined(gather: Gather, mut replies: impl Iterator<Item = Value>) -> Value {
    let one = match gather {
        Gather::AllSucceeded | Gather::OneSucceeded => replies.next(),
        Gather::Sum => fold(replies, i64::saturating_add),
        Gather::Min => fold(replies, i64::min),
        Gather::LogicalAnd => fold(replies, |one, other| i64::from(one > 0 && other > 0)),
        Gather::Concatenated => concatenate(replies),
        Gather::SummedPairs => sum_pairs(replies),
        Gather::ByPosition | Gather::AnyNonNil | Gather::ByNode => None,
    };
    one.unwrap_or_else(|| Value::ServerError(error_of("ERR", UNLIKE)))
}

/// The same error with more at the end of its text.
fn with_words(error: &ServerError, words: &str) -> Value {
    let details = error.details().unwrap_or_default();
    let gap = if details.is_empty() { "" } else { " " };
    Value::ServerError(error_of(error.code(), &format!("{details}{gap}({words})")))
}

/// As if a server had said it, so that it is of the kind that its code stands for.
fn error_of(code: &str, details: &str) -> ServerError {
    let line = format!("-{code} {}\r\n", details.replace(['\r', '\n'], " "));
    match parse_redis_value(line.as_bytes()) {
        Ok(Value::ServerError(error)) => error,
        other => unreachable!("a line of an error is one: {other:?}"),
    }
}
