//! What the server has seen: each command with its connection, bounded, and how often each was carried out.

use std::collections::BTreeMap;

use redis_manager_core::Instant;

use super::words::{Bytes, upper};

/// More than that is not kept: the older half goes.
const MOST_ENTRIES: usize = 65_536;

/// One command that the server got.
///
/// A command inside a transaction stands there twice: when it was queued (not carried out), and when EXEC ran it. So does
/// one that waited and was served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// When.
    pub at: Instant,
    /// From where.
    pub connection: u64,
    /// Its words.
    pub command: Vec<Vec<u8>>,
    /// Whether it ran and gave no error. What was refused, queued, answered by the script, or waits, was not.
    pub carried_out: bool,
}

#[derive(Debug, Default)]
pub(super) struct Journal {
    entries: Vec<Seen>,
    counts: BTreeMap<String, u64>,
}

impl Journal {
    pub(super) fn add(&mut self, at: Instant, connection: u64, command: &[Bytes], carried_out: bool) {
        if self.entries.len() == MOST_ENTRIES {
            self.entries.drain(..MOST_ENTRIES / 2);
        }
        if carried_out && let Some(name) = command.first() {
            *self.counts.entry(upper(name)).or_default() += 1;
        }
        self.entries.push(Seen { at, connection, command: command.to_vec(), carried_out });
    }

    pub(super) fn entries(&self) -> &[Seen] {
        &self.entries
    }

    pub(super) fn count_of(&self, command: &str) -> u64 {
        self.counts.get(command).copied().unwrap_or(0)
    }

    pub(super) fn total(&self) -> u64 {
        self.counts.values().sum()
    }
}
