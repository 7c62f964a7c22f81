//! What a command of the table is: its name, its number of words, its keys and the function that carries it out.

use super::keyspace::DataCommand;
use super::reply::Answer;
use super::server::{ConnectionId, Server};
use super::words::{Bytes, strict_integer, upper};

/// A command on the server, its connections or several databases.
pub(super) type ServerCommand = fn(&mut Server, ConnectionId, &[Bytes]) -> Answer;

#[derive(Clone, Copy, Debug)]
pub(super) enum Run {
    Data(DataCommand),
    Server(ServerCommand),
}

/// Which words are keys.
#[derive(Clone, Copy, Debug)]
pub(super) enum KeyWords {
    None,
    One,
    Two,
    All,
    /// All but the last, which is a timeout.
    AllButLast,
    /// Every second one.
    Pairs,
    /// As many as this word says, from the next on.
    Counted(usize),
    /// The first word, and as many as the second says.
    FirstAndCounted,
    /// The first half of what follows the word STREAMS.
    Streams,
    /// The second word.
    Second,
}

#[derive(Debug)]
pub(super) struct CommandSpec {
    pub(super) name: &'static str,
    /// The number of words with the name; below zero: at least so many.
    pub(super) arity: i32,
    /// `w` writes; `m` may need memory; `n` needs no login; `l` runs while loading, and without the primary; `p` runs on a RESP2 connection with
    /// subscriptions; `i` is carried out inside MULTI.
    pub(super) flags: &'static str,
    pub(super) key_words: KeyWords,
    pub(super) run: Run,
}

impl CommandSpec {
    pub(super) fn has(&self, flag: char) -> bool {
        self.flags.contains(flag)
    }

    pub(super) fn takes(&self, words: usize) -> bool {
        let words = i32::try_from(words).unwrap_or(i32::MAX);
        if self.arity < 0 { words >= -self.arity } else { words == self.arity }
    }

    /// The words of this command that are keys.
    pub(super) fn keys<'a>(&self, args: &'a [Bytes]) -> Vec<&'a Bytes> {
        let counted = |at: usize| {
            let count = args.get(at).and_then(|word| strict_integer(word)).and_then(|count| usize::try_from(count).ok());
            let last = (at + 1).saturating_add(count.unwrap_or(0)).min(args.len());
            args.get(at + 1..last).unwrap_or_default()
        };
        let (first, rest, step): (&[Bytes], &[Bytes], usize) = match self.key_words {
            KeyWords::None => (&[], &[], 1),
            KeyWords::One => (&[], &args[1..args.len().min(2)], 1),
            KeyWords::Second => (&[], &args[2.min(args.len())..args.len().min(3)], 1),
            KeyWords::Two => (&[], &args[1..args.len().min(3)], 1),
            KeyWords::All => (&[], &args[1..], 1),
            KeyWords::AllButLast => (&[], &args[1..args.len() - 1], 1),
            KeyWords::Pairs => (&[], &args[1..], 2),
            KeyWords::Counted(at) => (&[], counted(at), 1),
            KeyWords::FirstAndCounted => (&args[1..2], counted(2), 1),
            KeyWords::Streams => {
                let start = args.iter().position(|word| upper(word) == "STREAMS").map_or(args.len(), |at| at + 1);
                (&[], &args[start..start + (args.len() - start) / 2], 1)
            }
        };
        first.iter().chain(rest.iter().step_by(step)).collect()
    }
}
