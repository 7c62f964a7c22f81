//! What a server has of replication: its history of writes, whom it follows, who follows it, and where histories part.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use redis_manager_core::Instant;

use super::keyspace::{FakeDatabase, KeyEntry};
use super::words::Bytes;

/// Writes that are kept for replicas that are behind; one that is further behind gets a copy of all data.
const MOST_KEPT: usize = 65_536;

/// A write that a server has carried out and that is gone: the server has become a replica of one that never got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostWrite {
    /// The address of the server that carried it out.
    pub server: String,
    /// When it did.
    pub at: Instant,
    /// From which of its connections.
    pub connection: u64,
    /// The words of the command.
    pub command: Vec<Vec<u8>>,
    /// Where the write stood: its history, its end there, and its number among those that happened together.
    place: (u64, u64, usize),
}

#[cfg(any(feature = "tokio", feature = "smol"))]
impl LostWrite {
    /// Where it stood in all histories: different for different writes.
    pub(in crate::testing) fn place(&self) -> (u64, u64, usize) {
        self.place
    }
}

/// How far a server has come in which history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    pub(super) id: u64,
    pub(super) offset: u64,
}

/// What a primary gives to a replica.
#[derive(Clone, Debug)]
pub enum Changes {
    /// Nothing: it loads, or follows nobody that it hears.
    Refused,
    /// What follows what the replica has, maybe nothing.
    Partial(Vec<Arc<LogEntry>>, Position),
    /// All data.
    Full(Vec<FakeDatabase>, Position, KeptLog),
}

/// Where a primary stands: its history, and those that led to it.
#[derive(Clone, Debug)]
pub struct Position {
    pub(super) history: History,
    pub(super) former: Vec<History>,
}

/// Writes that happen together, and what they have done.
#[derive(Clone, Debug)]
pub struct LogEntry {
    pub(super) at: Instant,
    pub(super) id: u64,
    pub(super) end: u64,
    pub(super) origin: Arc<str>,
    pub(super) commands: Vec<(u64, Vec<Bytes>)>,
    pub(super) effects: Vec<(usize, Bytes, Option<KeyEntry>)>,
}

impl LogEntry {
    pub(super) fn lost(&self) -> impl Iterator<Item = LostWrite> {
        self.commands.iter().enumerate().map(|(number, (connection, command))| LostWrite {
            server: self.origin.as_ref().to_owned(),
            at: self.at,
            connection: *connection,
            command: command.clone(),
            place: (self.id, self.end, number),
        })
    }
}

/// The latest writes.
#[derive(Clone, Debug, Default)]
pub struct KeptLog {
    pub(super) entries: VecDeque<Arc<LogEntry>>,
    /// All behind this offset are there.
    pub(super) kept_from: u64,
}

impl KeptLog {
    pub(super) fn behind(&self, offset: u64) -> impl Iterator<Item = &Arc<LogEntry>> {
        self.entries.iter().filter(move |entry| entry.end > offset)
    }

    fn push(&mut self, entry: Arc<LogEntry>) {
        if self.entries.len() == MOST_KEPT
            && let Some(oldest) = self.entries.pop_front()
        {
            self.kept_from = oldest.end;
        }
        self.entries.push_back(entry);
    }
}

/// What a replica has of its primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReplicaLink {
    /// Not since it follows this one.
    Never,
    Down {
        since: Instant,
    },
    Up,
}

#[derive(Debug)]
pub(super) struct Replication {
    /// Whom it follows; None: it is a primary.
    pub(super) primary: Option<(String, u16)>,
    pub(super) link: ReplicaLink,
    pub(super) history: History,
    /// Histories that have led to this one, and where each ended.
    pub(super) former: Vec<History>,
    /// How far each replica has come.
    pub(super) followers: BTreeMap<(String, u16), u64>,
    pub(super) serves_stale_data: bool,
    pub(super) log: KeptLog,
    /// Only since a replica has asked for it.
    pub(super) keeps_log: bool,
    pub(super) pending: Vec<(u64, Vec<Bytes>)>,
    pub(super) lost: Vec<LostWrite>,
    pub(super) origin: Arc<str>,
    pub(super) histories_made: u64,
    pub(super) seed: u64,
    pub(super) loads_until: Instant,
    pub(super) has_news: bool,
    pub(super) has_cluster_news: bool,
}

impl Replication {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            primary: None,
            link: ReplicaLink::Never,
            history: History { id: mixed(seed), offset: 0 },
            former: Vec::new(),
            followers: BTreeMap::new(),
            serves_stale_data: true,
            log: KeptLog::default(),
            keeps_log: false,
            pending: Vec::new(),
            lost: Vec::new(),
            origin: Arc::from(""),
            histories_made: 0,
            seed,
            loads_until: Instant::ZERO,
            has_news: false,
            has_cluster_news: false,
        }
    }

    /// From now on it keeps its writes for replicas.
    pub(super) fn keep_log(&mut self) {
        if !std::mem::replace(&mut self.keeps_log, true) {
            self.log.kept_from = self.history.offset;
        }
    }

    pub(super) fn is_replica(&self) -> bool {
        self.primary.is_some()
    }

    /// A replica that has lost its primary and may not say what it remembers.
    pub(super) fn is_stale(&self) -> bool {
        self.is_replica() && self.link != ReplicaLink::Up && !self.serves_stale_data
    }

    pub(super) fn is_loading(&self, now: Instant) -> bool {
        now < self.loads_until
    }

    /// A write of the server's own that nobody can read.
    pub(super) fn stranded(&self, at: Instant, command: Vec<Bytes>) -> LostWrite {
        let hash = command.concat().into_iter().fold(0, |hash, byte| mixed(hash ^ u64::from(byte)));
        LostWrite { server: self.origin.as_ref().to_owned(), at, connection: 0, command, place: (self.seed, hash, usize::MAX) }
    }

    /// How many replicas have all writes up to here.
    pub(super) fn followers_at(&self, offset: u64) -> usize {
        self.followers.values().filter(|reached| **reached >= offset).count()
    }

    /// Where the histories of a replica and this one part; None: they have nothing in common.
    pub(super) fn common(&self, replica: &History) -> Option<u64> {
        if replica.id == self.history.id {
            return Some(self.history.offset.min(replica.offset));
        }
        self.former.iter().find(|former| former.id == replica.id).map(|former| former.offset.min(replica.offset))
    }

    pub(super) fn push(&mut self, entry: Arc<LogEntry>) {
        self.history.offset = entry.end;
        self.log.push(entry);
    }
}

/// A number that looks like no other: splitmix64.
pub(super) fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// Forty hexadecimal digits.
pub(super) fn forty_digits(number: u64) -> String {
    let text = format!("{:016x}{:016x}{:016x}", mixed(number), mixed(number ^ 1), mixed(number ^ 2));
    text[..40].to_owned()
}
