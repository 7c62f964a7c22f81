//! The value of a stream: entries by id, and what its consumer groups have delivered; no command.

use std::collections::BTreeMap;
use std::fmt;

use super::words::{Bytes, strict_integer};

/// The id of an entry: milliseconds and a number within them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EntryId {
    pub(super) ms: u64,
    pub(super) sequence: u64,
}

impl EntryId {
    pub(super) const MAX: Self = Self { ms: u64::MAX, sequence: u64::MAX };

    /// `ms` or `ms-sequence`; without a sequence it is the one that is given here.
    pub(super) fn parse(bytes: &[u8], sequence: u64) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let Some((ms, after)) = text.split_once('-') else {
            return Some(Self { ms: unsigned(text)?, sequence });
        };
        Some(Self { ms: unsigned(ms)?, sequence: unsigned(after)? })
    }

    pub(super) fn next(self) -> Option<Self> {
        match self.sequence.checked_add(1) {
            Some(sequence) => Some(Self { sequence, ..self }),
            None => Some(Self { ms: self.ms.checked_add(1)?, sequence: 0 }),
        }
    }

    pub(super) fn before(self) -> Option<Self> {
        match self.sequence.checked_sub(1) {
            Some(sequence) => Some(Self { sequence, ..self }),
            None => Some(Self { ms: self.ms.checked_sub(1)?, sequence: u64::MAX }),
        }
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.sequence)
    }
}

pub(super) fn unsigned(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text || strict_integer(text.as_bytes()).is_some()).then_some(number)
}

/// An entry that a consumer has got and not acknowledged.
#[derive(Clone, Debug)]
pub(super) struct PendingEntry {
    pub(super) consumer: Bytes,
    pub(super) delivered_at: i64,
    pub(super) deliveries: i64,
}

#[derive(Clone, Debug)]
pub(super) struct StreamConsumer {
    pub(super) seen_at: i64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct ConsumerGroup {
    pub(super) last_delivered: EntryId,
    /// How many entries it has read, if that is known.
    pub(super) entries_read: Option<u64>,
    pub(super) pending: BTreeMap<EntryId, PendingEntry>,
    pub(super) consumers: BTreeMap<Bytes, StreamConsumer>,
}

impl ConsumerGroup {
    /// Says whether it is new.
    pub(super) fn see_consumer(&mut self, name: &[u8], now_ms: i64) -> bool {
        let is_new = !self.consumers.contains_key(name);
        self.consumers.insert(name.to_vec(), StreamConsumer { seen_at: now_ms });
        is_new
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct StreamLog {
    /// Field, value, field, value.
    pub(super) entries: BTreeMap<EntryId, Vec<Bytes>>,
    pub(super) last_id: EntryId,
    pub(super) max_deleted: EntryId,
    pub(super) entries_added: u64,
    pub(super) groups: BTreeMap<Bytes, ConsumerGroup>,
}
