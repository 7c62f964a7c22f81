//! From bytes to replies: reads commands, checks them in Redis's order, carries them out, and serves those that waited.

use redis_manager_core::Instant;

use super::checks::READ_ONLY;
use super::keyspace::Call;
use super::protocol::Request;
use super::replication::ReplicaLink;
use super::reply::{Answer, Response};
use super::server::{ConnectionId, Output, Server};
use super::session::{BlockedOn, FakeSession, ReplyMode};
use super::spec::{CommandSpec, Run};
use super::table::{COMMANDS, find_command};
use super::words::{Bytes, upper};

const DENIED: &str = "-DENIED Redis is running in protected mode because protected mode is enabled and no password is set for \
                      the default user. In this mode connections are only accepted from the loopback interface.\r\n";
const TOO_MANY: &str = "-ERR max number of clients reached\r\n";
/// Commands that one transaction may queue.
const MAX_QUEUED: usize = 65_536;

impl Server {
    /// A client has connected from this address. At `maxclients` it gets an id, an error and its end at once; None if no
    /// connection is taken.
    pub fn connected(&mut self, now: Instant, peer: &str) -> Option<ConnectionId> {
        self.advance(now);
        if self.behaviour.refuses_connections {
            return None;
        }
        self.last_id += 1;
        let id = self.last_id;
        let refusal = match () {
            () if self.sessions.len() >= self.behaviour.max_clients => Some(TOO_MANY),
            () if self.behaviour.protected => Some(DENIED),
            () => None,
        };
        if let Some(refusal) = refusal {
            self.send(id, refusal.into());
            self.out.push_back(Output::Close(id));
            return Some(id);
        }
        let default = self.behaviour.user("default").unwrap_or_default();
        let authenticated = default.passwords.is_empty() && !default.disabled;
        self.sessions.insert(id, FakeSession::new(peer, now, authenticated));
        Some(id)
    }

    /// Bytes of a client, in any split; ignored if its connection is closed.
    pub fn received(&mut self, now: Instant, id: ConnectionId, bytes: &[u8]) {
        self.advance(now);
        if let Some(session) = self.sessions.get_mut(&id) {
            session.reader.feed(bytes);
            self.runnable.push_back(id);
        }
        self.run_all();
    }

    /// The client has closed or vanished: nothing is popped for it any more.
    pub fn closed(&mut self, now: Instant, id: ConnectionId) {
        self.advance(now);
        self.sessions.remove(&id);
        self.run_all();
    }

    /// The time has come to this: keys expire, and waits end.
    pub fn tick(&mut self, now: Instant) {
        self.advance(now);
        self.run_all();
    }

    /// The process ends and starts again: all connections are gone without any output, and the ids go on. Settings stay.
    pub fn restart(&mut self, now: Instant, keep_data: bool) {
        self.now = self.now.max(now);
        self.started_at = self.now;
        self.sessions.clear();
        self.out.clear();
        self.runnable.clear();
        self.paused_until = None;
        if !keep_data {
            self.databases.iter_mut().for_each(super::keyspace::FakeDatabase::clear);
        }
        self.replication.link = ReplicaLink::Never;
        self.restart_cluster(now);
        self.replication.followers.clear();
        self.settle();
    }

    /// All data goes, as by FLUSHALL.
    pub fn forget(&mut self, now: Instant) {
        self.advance(now);
        self.databases.iter_mut().for_each(super::keyspace::FakeDatabase::clear);
        self.settle();
        self.run_all();
    }

    fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
        if self.paused_until.is_some_and(|until| until <= self.now) {
            self.end_pause();
        }
        self.settle();
        self.end_waits();
        self.end_ack_waits();
    }

    /// Reads on from every connection that may, until all wait for bytes.
    pub(super) fn run_all(&mut self) {
        while let Some(id) = self.runnable.pop_front() {
            self.read_on(id);
        }
    }

    fn read_on(&mut self, id: ConnectionId) {
        loop {
            let Some(session) = self.sessions.get_mut(&id).filter(|session| !session.is_held()) else { return };
            match session.reader.next(session.authenticated) {
                None => return,
                Some(Request::Command(args)) => self.execute(id, args),
                Some(Request::Garbage(text)) => {
                    let mut bytes = Vec::new();
                    Response::Error(text.into()).encode(false, &mut bytes);
                    self.send(id, bytes);
                    self.close(id);
                }
                Some(Request::TooMuch) => self.close(id),
            }
        }
    }

    pub(super) fn execute(&mut self, id: ConnectionId, args: Vec<Bytes>) {
        let now = self.now;
        let session = self.session(id);
        session.last_at = now;
        if let Some(raw) = self.behaviour.replacement(&args) {
            self.journal.add(now, id, &args, false);
            self.send(id, raw);
            return;
        }
        if self.is_paused_for(&args) {
            self.session(id).postponed = Some(args);
            return;
        }
        if self.session(id).reply_mode == ReplyMode::SkipNext {
            self.session(id).reply_mode = ReplyMode::Skip;
        }
        let answer = self.process(id, &args);
        if !matches!(upper(&args[0]).as_str(), "ASKING" | "MULTI")
            && let Some(session) = self.sessions.get_mut(&id)
            && session.multi.is_none()
        {
            session.is_asking = false;
        }
        self.answer(id, answer);
        self.settle();
    }

    fn is_paused_for(&self, args: &[Bytes]) -> bool {
        let is_write = || find_command(&upper(&args[0])).is_some_and(|spec| spec.has('w') || spec.name == "EXEC");
        self.paused_until.is_some() && (self.pauses_all || is_write())
    }

    pub(super) fn end_pause(&mut self) {
        self.paused_until = None;
        let held: Vec<_> = self.sessions.iter_mut().filter_map(|(id, session)| Some((*id, session.postponed.take()?))).collect();
        for (id, args) in held {
            self.execute(id, args);
            self.runnable.push_back(id);
        }
    }

    fn answer(&mut self, id: ConnectionId, answer: Answer) {
        let reply = answer.unwrap_or_else(Response::Error);
        if let Response::WaitForReplicas = reply {
            return;
        }
        if let Response::Wait(wait) = reply {
            self.arrivals += 1;
            let (arrival, until) = (self.arrivals, wait.timeout_ms.map(|ms| self.after_ms(ms)));
            let session = self.session(id);
            session.blocked = Some(BlockedOn { wait: *wait, database: session.database, arrival, until });
            return;
        }
        self.send_reply(id, &reply);
        let session = self.session(id);
        if session.reply_mode == ReplyMode::Skip {
            session.reply_mode = ReplyMode::On;
        }
        if session.closes_after_reply {
            self.close(id);
        }
    }

    pub(super) fn send_reply(&mut self, id: ConnectionId, reply: &Response) {
        let session = self.session(id);
        if !matches!(session.reply_mode, ReplyMode::On | ReplyMode::SkipNext) {
            return;
        }
        let mut bytes = Vec::new();
        reply.encode(session.resp3, &mut bytes);
        self.send(id, bytes);
    }

    fn process(&mut self, id: ConnectionId, args: &[Bytes]) -> Answer {
        let now = self.now;
        let checked = self.check(id, args);
        let session = self.session(id);
        let spec = match checked {
            Ok(spec) => spec,
            Err(failure) => {
                if let Some(queued) = &mut session.multi {
                    queued.refused = true;
                }
                self.journal.add(now, id, args, false);
                return Err(self.refuse(id, args, failure));
            }
        };
        session.last_command = spec.name.to_ascii_lowercase();
        match &mut session.multi {
            Some(queued) if !spec.has('i') => {
                if queued.commands.len() >= MAX_QUEUED {
                    queued.refused = true;
                    return Err("ERR transaction too long for the fake server".into());
                }
                queued.commands.push(args.to_vec());
                self.journal.add(now, id, args, false);
                Ok(Response::Simple("QUEUED"))
            }
            _ => self.run(id, spec, args),
        }
    }

    /// Carries out one command that has passed the checks.
    pub(super) fn run(&mut self, id: ConnectionId, spec: &CommandSpec, args: &[Bytes]) -> Answer {
        let answer = match spec.run {
            Run::Server(run) => run(self, id, args),
            Run::Data(run) => {
                let now_ms = self.unix_ms();
                let session = self.sessions.get(&id).expect("an open connection");
                let db = &mut self.databases[session.database];
                run(&mut Call { db, args, now_ms, resp3: session.resp3, draw: &mut self.draw })
            }
        };
        let carried_out = answer.as_ref().is_ok_and(|reply| !matches!(reply, Response::Wait(_) | Response::WaitForReplicas));
        if carried_out && spec.has('w') {
            self.note_write(id, args);
        }
        self.journal.add(self.now, id, args, carried_out);
        answer
    }

    /// Carries out one command of a transaction, where nothing waits.
    pub(super) fn run_queued(&mut self, id: ConnectionId, args: &[Bytes]) -> Response {
        let name = upper(&args[0]);
        let own_name = self.behaviour.renamed_commands.get(&name).unwrap_or(&name);
        let spec = find_command(own_name).expect("it was found when it was queued");
        if (self.behaviour.read_only || self.replication.is_replica()) && spec.has('w') {
            return Response::Error(READ_ONLY.into());
        }
        match self.run(id, spec, args) {
            Ok(Response::Wait(wait)) => *wait.at_once,
            Ok(Response::WaitForReplicas) => self.acks_so_far(id),
            Ok(reply) => reply,
            Err(failure) => Response::Error(failure),
        }
    }

    /// The names of all commands, in upper case.
    #[must_use]
    pub fn command_names() -> Vec<&'static str> {
        COMMANDS.iter().map(|spec| spec.name).collect()
    }

    /// How many commands there are, for COMMAND COUNT.
    pub(super) fn command_count() -> usize {
        COMMANDS.len()
    }

    /// After each command and each step of time: what has expired goes, transactions learn of changed keys, and those who
    /// wait for a key are served in order of arrival.
    pub(super) fn settle(&mut self) {
        let now_ms = self.unix_ms();
        loop {
            let mut touched = Vec::new();
            for (number, database) in self.databases.iter_mut().enumerate() {
                database.expire(now_ms);
                touched.extend(database.take_touched().into_iter().map(|key| (number, key)));
            }
            self.log_effects(&touched);
            if touched.is_empty() {
                return;
            }
            for (database, key) in touched {
                self.tell_watchers(database, &key);
                self.serve_waiting(database, &key);
            }
        }
    }

    fn tell_watchers(&mut self, database: usize, key: &Bytes) {
        let watched = (database, key.clone());
        for session in self.sessions.values_mut().filter(|session| session.watched.contains(&watched)) {
            session.dirty = true;
        }
    }

    fn serve_waiting(&mut self, database: usize, key: &Bytes) {
        let waits = |session: &FakeSession| {
            let blocked = session.blocked.as_ref().filter(|blocked| blocked.database == database)?;
            blocked.wait.keys.contains(key).then_some(blocked.arrival)
        };
        let mut waiting: Vec<_> = self.sessions.iter().filter_map(|(id, session)| Some((waits(session)?, *id))).collect();
        waiting.sort_unstable();
        for (_, id) in waiting {
            let Some(found) = self.databases[database].entry(key).map(|entry| entry.value.type_name()) else { return };
            let blocked = self.session(id).blocked.take().expect("it waits");
            let is_awaited = blocked.wait.awaited == found;
            let args = (blocked.wait.for_key)(&blocked.wait.args, key);
            let spec = find_command(&upper(&args[0])).filter(|_| is_awaited);
            let reply = match spec.map(|spec| self.run(id, spec, &args)) {
                None | Some(Ok(Response::Wait(_))) => {
                    self.session(id).blocked = Some(blocked);
                    continue;
                }
                Some(answer) => answer,
            };
            self.answer(id, reply);
            self.runnable.push_back(id);
        }
    }

    /// Ends the waits whose time has come, in order of arrival.
    fn end_waits(&mut self) {
        let now = self.now;
        let is_over = |session: &FakeSession| {
            let blocked = session.blocked.as_ref()?;
            (blocked.until? <= now).then_some((blocked.until, blocked.arrival))
        };
        let mut over: Vec<_> = self.sessions.iter().filter_map(|(id, session)| Some((is_over(session)?, *id))).collect();
        over.sort_unstable();
        for (_, id) in over {
            self.unblock(id, Ok(Response::NullArray));
        }
    }

    /// Ends a wait with this answer.
    pub(super) fn unblock(&mut self, id: ConnectionId, answer: Answer) -> bool {
        let was_blocked = self.sessions.get_mut(&id).is_some_and(|session| session.blocked.take().is_some());
        if was_blocked {
            self.answer(id, answer);
            self.runnable.push_back(id);
        }
        was_blocked
    }
}
