//! A server as a primary or a replica: it writes its history, gives it to others, and takes over that of its primary.

use std::sync::Arc;
use std::time::Duration;

use redis_manager_core::Instant;

use super::keyspace::{FakeDatabase, KeyEntry};
use super::replication::{Changes, History, LogEntry, LostWrite, Position, ReplicaLink, Replication, mixed};
use super::server::{ConnectionId, Server};
use super::table::find_command;
use super::words::{Bytes, upper};

const UNBLOCKED: &str = "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)";

impl Server {
    /// Says where it is: this makes its history and its node different from those of other servers of one seed.
    pub fn set_own_address(&mut self, host: &str, port: u16, seed: u64) {
        self.replication.origin = Arc::from(format!("{host}:{port}"));
        let hash = format!("{host}:{port}").bytes().fold(seed, |hash, byte| mixed(hash ^ u64::from(byte)));
        if self.replication.history.offset == 0 {
            self.replication.seed = hash;
            self.replication.history.id = mixed(hash);
        }
    }

    /// Whom it follows, if it is a replica.
    #[must_use]
    pub fn primary(&self) -> Option<(String, u16)> {
        self.replication.primary.clone()
    }

    /// How far it has come.
    #[must_use]
    pub fn history(&self) -> History {
        self.replication.history
    }

    /// Becomes a replica, or, with None, a primary with the data that it has.
    pub fn follow(&mut self, now: Instant, primary: Option<(String, u16)>) {
        self.now = self.now.max(now);
        if self.replication.primary == primary {
            return;
        }
        self.make_news();
        let replication = &mut self.replication;
        let was_replica = replication.is_replica();
        replication.link = ReplicaLink::Never;
        replication.pending.clear();
        let becomes_replica = primary.is_some();
        replication.primary = primary;
        if becomes_replica && !was_replica {
            replication.followers.clear();
            let blocked: Vec<_> =
                self.sessions.iter().filter(|(_, session)| session.blocked.is_some()).map(|(id, _)| *id).collect();
            for id in blocked {
                self.unblock(id, Err(UNBLOCKED.into()));
            }
            self.run_all();
        } else if was_replica && !becomes_replica {
            replication.former.push(replication.history);
            replication.histories_made += 1;
            replication.history.id = mixed(replication.seed.wrapping_add(replication.histories_made));
        }
    }

    /// The connection to its primary has ended.
    pub fn lost_link(&mut self, now: Instant) {
        self.now = self.now.max(now);
        if self.replication.link == ReplicaLink::Up {
            self.replication.link = ReplicaLink::Down { since: self.now };
        }
    }

    /// What a replica with this history has to take over now, if writes are under way for so long; and when the next write was.
    pub fn changes_since(&mut self, now: Instant, of: &History, delay: Duration) -> (Changes, Option<Instant>) {
        self.tick(now);
        let replication = &mut self.replication;
        let is_cut_off = replication.is_replica() && replication.link != ReplicaLink::Up;
        if replication.is_loading(now) || is_cut_off {
            return (Changes::Refused, None);
        }
        replication.keep_log();
        let position = Position { history: replication.history, former: replication.former.clone() };
        if replication.common(of) != Some(of.offset) || of.offset < replication.log.kept_from {
            return (Changes::Full(self.databases.clone(), position, replication.log.clone()), None);
        }
        let mut behind = replication.log.behind(of.offset);
        let due: Vec<_> = behind.by_ref().take_while(|entry| entry.at + delay <= now).cloned().collect();
        let reached = due.last().map_or(of.offset, |entry| entry.end);
        let next_at = replication.log.behind(reached).next().map(|entry| entry.at);
        (Changes::Partial(due, position), next_at)
    }

    /// Takes over what its primary gave. The result is how far it has come.
    pub fn take_changes(&mut self, now: Instant, changes: Changes) -> u64 {
        self.now = self.now.max(now);
        match changes {
            Changes::Refused => {}
            Changes::Partial(entries, position) => {
                self.replication.keep_log();
                for entry in entries {
                    for (database, key, value) in &entry.effects {
                        put_effect(&mut self.databases[*database], key, value.as_ref());
                    }
                    self.replication.push(entry);
                }
                let offset = self.replication.history.offset;
                self.replication.history = History { id: position.history.id, offset };
                self.replication.former = position.former;
                self.link_is_up();
            }
            Changes::Full(databases, position, log) => {
                let lost = self.lost_to(&position);
                self.replication.lost.extend(lost);
                self.replication.log = log;
                self.replication.history = position.history;
                self.replication.former = position.former;
                self.replication.keeps_log = true;
                self.databases = databases;
                self.link_is_up();
            }
        }
        self.settle();
        self.run_all();
        self.replication.history.offset
    }

    /// The writes here that a server which stands there does not have. Of one with another past: those of keys that are still here.
    fn lost_to(&self, other: &Position) -> Vec<LostWrite> {
        let replication = &self.replication;
        let theirs = Replication { history: other.history, former: other.former.clone(), ..Replication::new(0) };
        let common = theirs.common(&replication.history);
        let is_here = |entry: &LogEntry| entry.effects.iter().any(|(database, key, _)| self.databases[*database].contains(key));
        let gone = replication.log.behind(common.unwrap_or(0)).filter(|entry| common.is_some() || is_here(entry));
        gone.flat_map(|entry| entry.lost()).collect()
    }

    fn link_is_up(&mut self) {
        if self.replication.link != ReplicaLink::Up {
            self.replication.link = ReplicaLink::Up;
            self.make_news();
        }
    }

    /// A replica has come so far: who waits for that is told.
    pub fn acknowledged(&mut self, now: Instant, follower: (String, u16), offset: u64) {
        self.replication.followers.insert(follower, offset);
        self.tick(now);
    }

    /// A replica has closed its connection.
    pub fn follower_left(&mut self, follower: &(String, u16)) {
        self.replication.followers.remove(follower);
    }

    /// It answers LOADING until then.
    pub fn load_until(&mut self, at: Instant) {
        self.replication.loads_until = at;
    }

    /// The writes that it lost by becoming a replica of a server that never got them.
    #[must_use]
    pub fn lost_writes(&self) -> Vec<LostWrite> {
        self.replication.lost.clone()
    }

    /// Its writes that another server, which was once its replica and is a primary now, never got.
    #[must_use]
    pub fn writes_lost_to(&self, promoted: &Position) -> Vec<LostWrite> {
        let own = self.replication.history;
        let parted = promoted.former.iter().find(|former| former.id == own.id);
        parted.map_or_else(Vec::new, |former| self.replication.log.behind(former.offset).flat_map(|entry| entry.lost()).collect())
    }

    /// Where it stands as a primary; None if it is a replica.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        let replication = &self.replication;
        let position = || Position { history: replication.history, former: replication.former.clone() };
        (!replication.is_replica()).then(position)
    }

    /// Others are to look at it: a write, or another role.
    pub fn make_news(&mut self) {
        self.replication.has_news = true;
    }

    /// The other nodes of its cluster are to look at it.
    pub(super) fn make_cluster_news(&mut self) {
        self.replication.has_cluster_news = true;
    }

    /// The same for [`make_news`](Self::make_news) of its cluster.
    pub fn take_cluster_news(&mut self) -> bool {
        std::mem::take(&mut self.replication.has_cluster_news)
    }

    /// Whether there were news since the last call.
    pub fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.replication.has_news)
    }

    /// A command has written.
    pub(super) fn note_write(&mut self, id: ConnectionId, args: &[Bytes]) {
        if self.replication.keeps_log && !self.replication.is_replica() {
            self.replication.pending.push((id, args.to_vec()));
        }
    }

    /// Writes into the history what has become of these keys; of none: what was carried out has changed nothing.
    pub(super) fn log_effects(&mut self, touched: &[(usize, Bytes)]) {
        let replication = &mut self.replication;
        let mut touched = touched.to_vec();
        if replication.keeps_log {
            // What a consumer group has read changes a stream, although nobody who watches it is told.
            for (id, words) in &replication.pending {
                let database = self.sessions.get(id).map_or(0, |session| session.database);
                touched.extend(stream_keys(words).map(|key| (database, key)));
            }
        }
        if replication.is_replica() || touched.is_empty() {
            replication.pending.clear();
            return;
        }
        let commands = std::mem::take(&mut replication.pending);
        let words = commands.iter().flat_map(|(_, words)| words).map(|word| word.len() + 15).sum::<usize>();
        let size = if commands.is_empty() { touched.iter().map(|(_, key)| key.len() + 30).sum() } else { words };
        let end = replication.history.offset + u64::try_from(size).unwrap_or(0);
        if !replication.keeps_log {
            replication.history.offset = end;
            return;
        }
        let mut effects: Vec<_> = Vec::new();
        for (database, key) in &touched {
            if !effects.iter().any(|(of, known, _)| of == database && known == key) {
                effects.push((*database, key.clone(), self.databases[*database].entry(key).cloned()));
            }
        }
        let replication = &mut self.replication;
        let (at, id, origin) = (self.now, replication.history.id, Arc::clone(&replication.origin));
        replication.push(Arc::new(LogEntry { at, id, end, origin, commands, effects }));
        replication.has_news = true;
    }
}

fn stream_keys(words: &[Bytes]) -> impl Iterator<Item = Bytes> {
    let name = upper(&words[0]);
    let spec = find_command(&name).filter(|_| name.starts_with('X'));
    spec.into_iter().flat_map(|spec| spec.keys(words)).cloned()
}

fn put_effect(database: &mut FakeDatabase, key: &[u8], value: Option<&KeyEntry>) {
    match value {
        Some(entry) => {
            database.put(key, entry.value.clone());
            database.set_expiry(key, entry.expires_at);
        }
        None => drop(database.remove(key)),
    }
}
