//! Where a command has its keys, in the terms of the key specifications of `COMMAND`.

use redis::{Arg, Cmd};

/// Some of the keys of a command. Positions count from the command's name, which is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeySpec {
    /// The argument at this position.
    At(usize),
    /// From `first` on every `step`th argument, up to the last one without so many at the end.
    UpToEnd { first: usize, step: usize, without: usize },
    /// The number of keys is at this position, and they follow it, every `step`th argument.
    Counted { at: usize, step: usize },
    /// So many arguments after a word, which is looked for from a position on.
    After { word: &'static [u8], from: usize, keys: usize },
    /// The first half of what follows STREAMS, which is looked for from this position on.
    Streams { from: usize },
    /// Of MIGRATE: the third argument, or if that is empty what follows KEYS.
    Migrate,
    /// Of SORT: what follows the last STORE.
    SortStore,
}

/// Positions in a command: `count` of them, `step` apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeyRun {
    pub(super) start: usize,
    pub(super) step: usize,
    pub(super) count: usize,
}

impl KeyRun {
    const NONE: Self = Self { start: 0, step: 1, count: 0 };

    fn one(start: usize) -> Self {
        Self { start, step: 1, count: 1 }
    }
}

impl KeySpec {
    /// Where the keys are. A command that the server will reject for its form, such as one with fewer keys than it says, has
    /// none there.
    pub(super) fn run(self, cmd: &Cmd) -> KeyRun {
        match self {
            Self::At(position) => KeyRun::one(position),
            Self::UpToEnd { first, step, without } => {
                let end = cmd.args_iter().len().saturating_sub(without);
                KeyRun { start: first, step, count: end.saturating_sub(first).div_ceil(step) }
            }
            Self::Counted { at, step } => counted(cmd, at, step).unwrap_or(KeyRun::NONE),
            Self::After { word, from, keys } => {
                position_of(cmd, word, from).map_or(KeyRun::NONE, |found| KeyRun { start: found + 1, step: 1, count: keys })
            }
            Self::Streams { from } => position_of(cmd, b"STREAMS", from).map_or(KeyRun::NONE, |found| {
                let rest = cmd.args_iter().len() - found - 1;
                KeyRun { start: found + 1, step: 1, count: rest / 2 }
            }),
            Self::Migrate => migrated(cmd),
            Self::SortStore => sort_store(cmd).map_or(KeyRun::NONE, KeyRun::one),
        }
    }
}

/// The keys that these specifications find, in the order of the specifications.
pub(super) fn keys_by<'a>(specs: &'static [KeySpec], cmd: &'a Cmd) -> impl Iterator<Item = &'a [u8]> {
    specs.iter().flat_map(move |spec| {
        let run = spec.run(cmd);
        cmd.args_iter().skip(run.start).step_by(run.step).take(run.count).filter_map(text_of)
    })
}

/// `None` for a cursor.
pub(super) fn text_of(arg: Arg<&[u8]>) -> Option<&[u8]> {
    match arg {
        Arg::Simple(text) => Some(text),
        Arg::Cursor | _ => None,
    }
}

/// The argument at a position, unless it is a cursor.
pub(super) fn argument(cmd: &Cmd, position: usize) -> Option<&[u8]> {
    cmd.args_iter().nth(position).and_then(text_of)
}

/// A number as servers read it: digits only.
pub(super) fn number_in(text: &[u8]) -> Option<usize> {
    let all_digits = text.iter().all(u8::is_ascii_digit);
    all_digits.then(|| std::str::from_utf8(text).ok()?.parse().ok()).flatten()
}

fn counted(cmd: &Cmd, at: usize, step: usize) -> Option<KeyRun> {
    let mut rest = cmd.args_iter().skip(at);
    let count = rest.next().and_then(text_of).and_then(number_in)?;
    let room = rest.len().div_ceil(step);
    (count <= room).then_some(KeyRun { start: at + 1, step, count })
}

fn position_of(cmd: &Cmd, word: &[u8], from: usize) -> Option<usize> {
    let is_word = |arg: Arg<&[u8]>| text_of(arg).is_some_and(|text| text.eq_ignore_ascii_case(word));
    cmd.args_iter().skip(from).position(is_word).map(|offset| from + offset)
}

fn migrated(cmd: &Cmd) -> KeyRun {
    if argument(cmd, 3).is_some_and(|key| !key.is_empty()) {
        return KeyRun::one(3);
    }
    let mut words = cmd.args_iter().enumerate().skip(6);
    while let Some((position, arg)) = words.next() {
        let Some(word) = text_of(arg) else { continue };
        if word.eq_ignore_ascii_case(b"KEYS") {
            return KeyRun { start: position + 1, step: 1, count: words.len() };
        }
        // A password may be any word, and so may the name of a user.
        skip_values(&mut words, word, &[(b"AUTH", 1), (b"AUTH2", 2)]);
    }
    KeyRun::NONE
}

fn sort_store(cmd: &Cmd) -> Option<usize> {
    let mut words = cmd.args_iter().enumerate().skip(2);
    let mut found = None;
    while let Some((position, arg)) = words.next() {
        let Some(word) = text_of(arg) else { continue };
        if word.eq_ignore_ascii_case(b"STORE") && words.len() > 0 {
            found = Some(position + 1);
        }
        skip_values(&mut words, word, &[(b"LIMIT", 2), (b"GET", 1), (b"BY", 1)]);
    }
    found
}

/// Steps over the values of an option, if the word is one of these.
fn skip_values<I: Iterator>(words: &mut I, word: &[u8], options: &[(&[u8], usize)]) {
    let values = options.iter().find(|(option, _)| word.eq_ignore_ascii_case(option)).map_or(0, |(_, values)| *values);
    if values > 0 {
        words.nth(values - 1);
    }
}
