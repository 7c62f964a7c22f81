//! The state of the fake server and its getters; what a command does to it is in the files of the commands.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use redis_manager_core::Instant;

use super::behaviour::Behaviour;
use super::cluster::FakeClusterState;
use super::journal::{Journal, Seen};
use super::keyspace::{Draw, FakeDatabase};
use super::replication::Replication;
use super::session::FakeSession;
use super::words::Bytes;

/// A connection of the server, numbered as CLIENT ID has it; a number is never given twice.
pub type ConnectionId = u64;

/// Databases that SELECT can choose.
pub(super) const DATABASES: usize = 16;

/// The wall clock at `Instant::ZERO`: 2026-01-01T00:00:00Z, in milliseconds.
const EPOCH_MS: i64 = 1_767_225_600_000;

/// What the server wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Bytes for a connection, behind all that was sent to it before.
    Send(ConnectionId, Vec<u8>),
    /// The server closes it, after what it has sent. It is forgotten: nothing more is to be said about it.
    Close(ConnectionId),
}

/// A connection as the server sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionSeen {
    /// As CLIENT ID.
    pub id: ConnectionId,
    /// Its address, as it was given to [`Server::connected`].
    pub peer: String,
    /// CLIENT SETNAME; empty: none.
    pub name: String,
    /// The user, once it is logged in or needs no login.
    pub user: Option<String>,
    /// The database that is selected.
    pub db: usize,
    /// 2 or 3.
    pub protocol: u8,
    /// Between MULTI and EXEC.
    pub in_multi: bool,
    /// WATCH holds at least one key.
    pub watching: bool,
    /// There is a subscription of any kind.
    pub subscribed: bool,
    /// A command waits for a key, or WAIT for replicas.
    pub blocked: bool,
}

/// An in-memory Redis without I/O, clock or thread: facts in, [`Output`]s out.
///
/// Say [`connected`](Self::connected), [`received`](Self::received), [`closed`](Self::closed) and [`tick`](Self::tick), each
/// with the time; after each take [`poll_output`](Self::poll_output) until it is None, and call `tick` again at
/// [`next_deadline`](Self::next_deadline). The same calls give the same bytes.
#[derive(Debug)]
pub struct Server {
    pub(super) now: Instant,
    pub(super) started_at: Instant,
    pub(super) databases: Vec<FakeDatabase>,
    pub(super) draw: Draw,
    pub(super) sessions: BTreeMap<ConnectionId, FakeSession>,
    pub(super) last_id: ConnectionId,
    pub(super) out: VecDeque<Output>,
    pub(super) behaviour: Behaviour,
    pub(super) journal: Journal,
    /// Blocking commands so far.
    pub(super) arrivals: u64,
    /// Sessions whose bytes may be read on.
    pub(super) runnable: VecDeque<ConnectionId>,
    pub(super) paused_until: Option<Instant>,
    /// Whether CLIENT PAUSE holds up reads, too.
    pub(super) pauses_all: bool,
    pub(super) published_to_none: u64,
    pub(super) config: BTreeMap<String, String>,
    pub(super) replication: Replication,
    /// None: it is no node of a cluster.
    pub(super) cluster: Option<Box<FakeClusterState>>,
}

impl Server {
    /// A server without data and connections. The seed decides what SPOP, SRANDMEMBER and their kin pick.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            now: Instant::ZERO,
            started_at: Instant::ZERO,
            databases: (0..DATABASES).map(|_| FakeDatabase::default()).collect(),
            draw: Draw::new(seed),
            sessions: BTreeMap::new(),
            last_id: 0,
            out: VecDeque::new(),
            behaviour: Behaviour::default(),
            journal: Journal::default(),
            arrivals: 0,
            runnable: VecDeque::new(),
            paused_until: None,
            pauses_all: false,
            published_to_none: 0,
            config: BTreeMap::new(),
            replication: Replication::new(seed),
            cluster: None,
        }
    }

    /// How it differs from a healthy server.
    pub fn settings(&mut self) -> &mut Behaviour {
        &mut self.behaviour
    }

    /// The next thing to do; None until the next input.
    #[must_use]
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When [`tick`](Self::tick) has something to do: a key expires, a wait or a pause ends.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let expiries = self.databases.iter().filter_map(FakeDatabase::next_expiry).map(instant_of);
        let waits = self.sessions.values().filter_map(|session| session.blocked.as_ref()?.until);
        let acks = self.sessions.values().filter_map(|session| session.ack_wait.as_ref()?.until);
        expiries.chain(waits).chain(acks).chain(self.paused_until).min()
    }

    /// The connections that are open, by id.
    #[must_use]
    pub fn connections(&self) -> Vec<ConnectionSeen> {
        let seen = |(id, session): (&ConnectionId, &FakeSession)| ConnectionSeen {
            id: *id,
            peer: session.peer.clone(),
            name: String::from_utf8_lossy(&session.name).into_owned(),
            user: session.authenticated.then(|| session.user.clone()),
            db: session.database,
            protocol: if session.resp3 { 3 } else { 2 },
            in_multi: session.multi.is_some(),
            watching: !session.watched.is_empty(),
            subscribed: session.is_subscriber(),
            blocked: session.blocked.is_some() || session.ack_wait.is_some(),
        };
        self.sessions.iter().map(seen).collect()
    }

    /// The commands that came, oldest first; of many only the later ones are kept.
    #[must_use]
    pub fn journal(&self) -> &[Seen] {
        self.journal.entries()
    }

    /// How often a command was carried out without an error; its name in upper case, without a subcommand.
    #[must_use]
    pub fn count_of(&self, command: &str) -> u64 {
        self.journal.count_of(command)
    }

    /// Messages that were published while nothing had subscribed.
    #[must_use]
    pub fn pushed_to_nobody(&self) -> u64 {
        self.published_to_none
    }

    /// The wall clock, in milliseconds since 1970.
    pub(super) fn unix_ms(&self) -> i64 {
        EPOCH_MS + i64::try_from(self.now.as_nanos() / 1_000_000).expect("584 years in milliseconds")
    }

    pub(super) fn after_ms(&self, ms: i64) -> Instant {
        self.now + Duration::from_millis(u64::try_from(ms).unwrap_or(0))
    }

    /// The session of a command that is being carried out.
    pub(super) fn session(&mut self, id: ConnectionId) -> &mut FakeSession {
        self.sessions.get_mut(&id).expect("a command is carried out for an open connection")
    }

    /// Sends bytes; together with those before them if no other output came between.
    pub(super) fn send(&mut self, id: ConnectionId, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        match self.out.back_mut() {
            Some(Output::Send(last, before)) if *last == id => before.extend_from_slice(&bytes),
            _ => self.out.push_back(Output::Send(id, bytes)),
        }
    }

    /// Forgets a connection and asks for its close; nothing if it is gone already.
    pub(super) fn close(&mut self, id: ConnectionId) {
        if self.sessions.remove(&id).is_some() {
            self.out.push_back(Output::Close(id));
        }
    }
}

/// The first instant at which the wall clock shows these milliseconds.
fn instant_of(unix_ms: i64) -> Instant {
    let ms = u64::try_from(unix_ms.saturating_sub(EPOCH_MS)).unwrap_or(0);
    Instant::ZERO + Duration::from_millis(ms)
}
