//! One connection as the server has it: its bytes, login, database, transaction, subscriptions, and what it waits for.

use std::collections::BTreeSet;

use redis_manager_core::Instant;

use super::protocol::RequestReader;
use super::reply::KeyWait;
use super::words::Bytes;

#[derive(Debug, Default)]
pub(super) struct QueuedCommands {
    pub(super) commands: Vec<Vec<Bytes>>,
    /// A command was refused: EXEC can only abort.
    pub(super) refused: bool,
}

#[derive(Debug)]
pub(super) struct BlockedOn {
    pub(super) wait: KeyWait,
    pub(super) database: usize,
    /// Who came first is served first.
    pub(super) arrival: u64,
    pub(super) until: Option<Instant>,
}

/// WAIT, until so many replicas have all writes up to here.
#[derive(Clone, Copy, Debug)]
pub(super) struct AckWait {
    pub(super) offset: u64,
    pub(super) replicas: usize,
    pub(super) until: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReplyMode {
    On,
    Off,
    /// The next reply is left out.
    SkipNext,
    /// This one.
    Skip,
}

#[derive(Debug)]
pub(super) struct FakeSession {
    pub(super) peer: String,
    pub(super) reader: RequestReader,
    pub(super) name: Bytes,
    pub(super) library: (Bytes, Bytes),
    pub(super) user: String,
    pub(super) authenticated: bool,
    pub(super) database: usize,
    pub(super) resp3: bool,
    pub(super) multi: Option<QueuedCommands>,
    pub(super) watched: BTreeSet<(usize, Bytes)>,
    /// A watched key was changed.
    pub(super) dirty: bool,
    pub(super) channels: BTreeSet<Bytes>,
    pub(super) patterns: BTreeSet<Bytes>,
    pub(super) shard_channels: BTreeSet<Bytes>,
    pub(super) blocked: Option<BlockedOn>,
    pub(super) ack_wait: Option<AckWait>,
    /// READONLY was said: replicas answer reads.
    pub(super) reads_replica: bool,
    /// ASKING was said just before.
    pub(super) is_asking: bool,
    /// A command that waits for the end of CLIENT PAUSE.
    pub(super) postponed: Option<Vec<Bytes>>,
    pub(super) reply_mode: ReplyMode,
    pub(super) closes_after_reply: bool,
    pub(super) tracking: bool,
    pub(super) no_evict: bool,
    pub(super) connected_at: Instant,
    pub(super) last_at: Instant,
    pub(super) last_command: String,
}

impl FakeSession {
    pub(super) fn new(peer: &str, now: Instant, authenticated: bool) -> Self {
        Self {
            peer: peer.to_owned(),
            reader: RequestReader::default(),
            name: Bytes::new(),
            library: (Bytes::new(), Bytes::new()),
            user: String::from("default"),
            authenticated,
            database: 0,
            resp3: false,
            multi: None,
            watched: BTreeSet::new(),
            dirty: false,
            channels: BTreeSet::new(),
            patterns: BTreeSet::new(),
            shard_channels: BTreeSet::new(),
            blocked: None,
            ack_wait: None,
            reads_replica: false,
            is_asking: false,
            postponed: None,
            reply_mode: ReplyMode::On,
            closes_after_reply: false,
            tracking: false,
            no_evict: false,
            connected_at: now,
            last_at: now,
            last_command: String::from("NULL"),
        }
    }

    /// Whether its bytes wait.
    pub(super) fn is_held(&self) -> bool {
        self.blocked.is_some() || self.ack_wait.is_some() || self.postponed.is_some() || self.closes_after_reply
    }

    pub(super) fn subscriptions(&self) -> usize {
        self.channels.len() + self.patterns.len()
    }

    pub(super) fn is_subscriber(&self) -> bool {
        self.subscriptions() + self.shard_channels.len() > 0
    }

    pub(super) fn end_transaction(&mut self) {
        self.multi = None;
        self.watched.clear();
        self.dirty = false;
    }
}
