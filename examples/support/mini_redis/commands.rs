//! The commands of the mini Redis, its connections and transactions: plain data under one lock, without any I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::database::{Database, SYNTAX_ERROR, integer};
use super::{MAX_ARGS, MiniPeer, MiniReply, Protocol};

type Args = Vec<Vec<u8>>;
/// A reply or the text of an error as Redis sends it, code first.
pub(super) type CommandResult = Result<MiniReply, String>;
/// What is to be sent to others than the one who asked.
type Messages = Vec<(Arc<MiniPeer>, Vec<u8>)>;

/// Commands that one transaction may queue.
const MAX_QUEUED: usize = 65_536;
const DATABASES: usize = 16;
const VERSION: &str = "7.2.0";
const NO_PASSWORD: &str = "ERR AUTH <password> called without any password configured for the default user. \
                           Are you sure your configuration is correct?";

/// Every command, with the fewest and the most arguments that follow its name.
#[rustfmt::skip]
const COMMANDS: &[(&str, usize, usize)] = &[
    ("AUTH", 1, 2), ("BLPOP", 2, 2), ("CLIENT", 1, MAX_ARGS), ("COMMAND", 0, MAX_ARGS), ("DBSIZE", 0, 0), ("DEL", 1, MAX_ARGS),
    ("DISCARD", 0, 0), ("ECHO", 1, 1), ("EXEC", 0, 0), ("EXISTS", 1, MAX_ARGS), ("FLUSHALL", 0, 1), ("GET", 1, 1),
    ("HELLO", 0, MAX_ARGS), ("INCR", 1, 1), ("INCRBY", 2, 2), ("INFO", 0, MAX_ARGS), ("LLEN", 1, 1), ("LPOP", 1, 1),
    ("LPUSH", 2, MAX_ARGS), ("MULTI", 0, 0), ("PING", 0, 1), ("PUBLISH", 2, 2), ("QUIT", 0, MAX_ARGS), ("RESET", 0, 0),
    ("RPUSH", 2, MAX_ARGS), ("SELECT", 1, 1), ("SET", 2, MAX_ARGS), ("SUBSCRIBE", 1, 1),
];

/// All that the server knows: its connections and its databases.
pub(super) struct MiniServer {
    databases: [Database; DATABASES],
    sessions: BTreeMap<u64, MiniSession>,
    last_id: u64,
    messages: Messages,
}

struct MiniSession {
    peer: Arc<MiniPeer>,
    channels: BTreeSet<Vec<u8>>,
    opened_at: Instant,
    protocol: Protocol,
    name: String,
    database: usize,
    last_command: String,
    transaction: Transaction,
}

enum Transaction {
    None,
    Queued(Vec<Args>),
    /// A command was refused while queueing: EXEC can only abort.
    Refused,
}

impl MiniServer {
    pub(super) fn new() -> MiniServer {
        MiniServer { databases: Default::default(), sessions: BTreeMap::new(), last_id: 0, messages: Vec::new() }
    }

    /// Books a new connection and gives it its id.
    pub(super) fn open(&mut self, peer: Arc<MiniPeer>) -> u64 {
        self.last_id += 1;
        let session = MiniSession {
            peer,
            channels: BTreeSet::new(),
            opened_at: Instant::now(),
            protocol: Protocol::Resp2,
            name: String::new(),
            database: 0,
            last_command: "NULL".into(),
            transaction: Transaction::None,
        };
        self.sessions.insert(self.last_id, session);
        self.last_id
    }

    pub(super) fn close(&mut self, id: u64) {
        self.sessions.remove(&id);
    }

    pub(super) fn peers(&self) -> impl Iterator<Item = &MiniPeer> {
        self.sessions.values().map(|session| &*session.peer)
    }

    /// Runs or queues one command (`args` holds at least its name), and says how to write the reply, and what others get.
    pub(super) fn answer(&mut self, id: u64, args: Args) -> (MiniReply, Protocol, Messages) {
        let reply = self.run_or_queue(id, args).unwrap_or_else(MiniReply::Error);
        (reply, self.session(id).protocol, std::mem::take(&mut self.messages))
    }

    fn run_or_queue(&mut self, id: u64, args: Args) -> CommandResult {
        let checked = checked_name(&args);
        let session = self.session(id);
        let immediate = matches!(checked.as_deref(), Ok("DISCARD" | "EXEC" | "MULTI" | "QUIT" | "RESET"));
        match &mut session.transaction {
            Transaction::Queued(queue) if !immediate => {
                if checked.is_ok() && queue.len() < MAX_QUEUED {
                    queue.push(args);
                    return Ok(MiniReply::Simple("QUEUED"));
                }
                session.transaction = Transaction::Refused;
                checked?;
                Err("ERR transaction too long".into())
            }
            Transaction::Refused if !immediate => checked.map(|_| MiniReply::Simple("QUEUED")),
            Transaction::None | Transaction::Queued(_) | Transaction::Refused => self.run(id, &checked?, &args),
        }
    }

    fn run(&mut self, id: u64, name: &str, args: &[Vec<u8>]) -> CommandResult {
        let session = self.session(id);
        session.last_command = name.to_ascii_lowercase();
        match name {
            "AUTH" => return Err(NO_PASSWORD.into()),
            "BLPOP" => {
                let index = session.database;
                let popped = self.databases[index].run("LPOP", &args[..2]);
                return popped.unwrap_or_else(|| Err(unknown_command(args))).map(|element| {
                    let MiniReply::Bulk(element) = element else { return element };
                    MiniReply::Array(vec![MiniReply::Bulk(args[1].clone()), MiniReply::Bulk(element)])
                });
            }
            "CLIENT" => return self.client(id, args),
            "COMMAND" => return Ok(MiniReply::Array(Vec::new())),
            "DISCARD" | "EXEC" => return self.end_transaction(id, name),
            "ECHO" => return Ok(MiniReply::Bulk(args[1].clone())),
            "FLUSHALL" => self.databases = Default::default(),
            "HELLO" => return self.hello(id, &args[1..]),
            "INFO" => return Ok(MiniReply::Bulk(info().into())),
            "MULTI" => match session.transaction {
                Transaction::None => session.transaction = Transaction::Queued(Vec::new()),
                Transaction::Queued(_) | Transaction::Refused => {
                    return Err("ERR MULTI calls can not be nested".into());
                }
            },
            "PING" => match args.get(1) {
                Some(message) => return Ok(MiniReply::Bulk(message.clone())),
                None => return Ok(MiniReply::Simple("PONG")),
            },
            "PUBLISH" => return Ok(self.publish(&args[1], &args[2])),
            "QUIT" => {}
            "RESET" => {
                session.protocol = Protocol::Resp2;
                session.name.clear();
                session.database = 0;
                session.transaction = Transaction::None;
                return Ok(MiniReply::Simple("RESET"));
            }
            "SUBSCRIBE" if matches!(session.protocol, Protocol::Resp2) => {
                return Err("ERR this server needs RESP3 for that".into());
            }
            "SUBSCRIBE" => {
                session.channels.insert(args[1].clone());
                let count = MiniReply::count(session.channels.len());
                return Ok(MiniReply::Push(vec![
                    MiniReply::Bulk(b"subscribe".to_vec()),
                    MiniReply::Bulk(args[1].clone()),
                    count,
                ]));
            }
            "SELECT" => {
                let index = usize::try_from(integer(&args[1])?).ok();
                let index = index.filter(|index| *index < DATABASES);
                session.database = index.ok_or("ERR DB index is out of range")?;
            }
            _ => {
                let index = session.database;
                let outcome = self.databases[index].run(name, args);
                return outcome.unwrap_or_else(|| Err(unknown_command(args)));
            }
        }
        Ok(MiniReply::Simple("OK"))
    }

    fn publish(&mut self, channel: &[u8], message: &[u8]) -> MiniReply {
        let before = self.messages.len();
        for session in self.sessions.values().filter(|session| session.channels.contains(channel)) {
            let words = [&b"message"[..], channel, message].map(|word| MiniReply::Bulk(word.to_vec()));
            let mut bytes = Vec::new();
            MiniReply::Push(words.into()).encode(session.protocol, &mut bytes);
            self.messages.push((Arc::clone(&session.peer), bytes));
        }
        MiniReply::count(self.messages.len() - before)
    }

    fn end_transaction(&mut self, id: u64, name: &str) -> CommandResult {
        let transaction = std::mem::replace(&mut self.session(id).transaction, Transaction::None);
        match (name, transaction) {
            (_, Transaction::None) => Err(format!("ERR {name} without MULTI")),
            ("DISCARD", Transaction::Queued(_) | Transaction::Refused) => Ok(MiniReply::Simple("OK")),
            (_, Transaction::Refused) => Err("EXECABORT Transaction discarded because of previous errors.".into()),
            (_, Transaction::Queued(queue)) => {
                let replies = queue.into_iter().map(|args| {
                    let outcome = checked_name(&args).and_then(|name| self.run(id, &name, &args));
                    outcome.unwrap_or_else(MiniReply::Error)
                });
                Ok(MiniReply::Array(replies.collect()))
            }
        }
    }

    /// `HELLO [2|3 [AUTH user password] [SETNAME name]]`: takes all of it or nothing.
    fn hello(&mut self, id: u64, args: &[Vec<u8>]) -> CommandResult {
        let session = self.session(id);
        let mut protocol = session.protocol;
        let mut name = session.name.clone();
        if let Some((version, mut options)) = args.split_first() {
            protocol = match version.as_slice() {
                b"2" => Protocol::Resp2,
                b"3" => Protocol::Resp3,
                _ => return Err("NOPROTO unsupported protocol version".into()),
            };
            while let Some((option, rest)) = options.split_first() {
                match (option.to_ascii_uppercase().as_slice(), rest) {
                    (b"AUTH", [_, _, ..]) => return Err(NO_PASSWORD.into()),
                    (b"SETNAME", [wanted, rest @ ..]) => {
                        name = connection_name(wanted)?;
                        options = rest;
                    }
                    _ => return Err(SYNTAX_ERROR.into()),
                }
            }
        }
        session.protocol = protocol;
        session.name = name;
        let bulk = |text: &str| MiniReply::Bulk(text.into());
        Ok(MiniReply::Map(vec![
            ("server", bulk("redis")),
            ("version", bulk(VERSION)),
            ("proto", MiniReply::Integer(protocol as i64)),
            ("id", MiniReply::Integer(id.cast_signed())),
            ("mode", bulk("standalone")),
            ("role", bulk("master")),
            ("modules", MiniReply::Array(Vec::new())),
        ]))
    }

    fn client(&mut self, id: u64, args: &[Vec<u8>]) -> CommandResult {
        let subcommand = readable(&args[1]).to_ascii_lowercase();
        let session = self.session(id);
        session.last_command = format!("client|{subcommand}");
        match (subcommand.as_str(), &args[2..]) {
            ("getname", []) if session.name.is_empty() => Ok(MiniReply::Null),
            ("getname", []) => Ok(MiniReply::Bulk(session.name.clone().into())),
            ("id", []) => Ok(MiniReply::Integer(id.cast_signed())),
            ("list", []) => {
                let lines = self.sessions.iter().map(|(id, session)| session.line(*id));
                Ok(MiniReply::Bulk(lines.collect::<String>().into()))
            }
            ("setinfo", [_, _]) => Ok(MiniReply::Simple("OK")),
            ("setname", [name]) => {
                session.name = connection_name(name)?;
                Ok(MiniReply::Simple("OK"))
            }
            _ => Err(format!("ERR unknown subcommand or wrong number of arguments for '{subcommand}'. Try CLIENT HELP.")),
        }
    }

    fn session(&mut self, id: u64) -> &mut MiniSession {
        self.sessions.get_mut(&id).expect("only the thread of a session closes it, when it ends")
    }
}

impl MiniSession {
    /// One line of CLIENT LIST.
    fn line(&self, id: u64) -> String {
        let queued = match &self.transaction {
            Transaction::None => "-1".to_owned(),
            Transaction::Queued(queue) => queue.len().to_string(),
            Transaction::Refused => "0".to_owned(),
        };
        format!(
            "id={id} addr={} name={} age={} flags=N db={} multi={queued} cmd={} user=default resp={}\n",
            self.peer.address,
            self.name,
            self.opened_at.elapsed().as_secs(),
            self.database,
            self.last_command,
            self.protocol as u8,
        )
    }
}

/// How long a command waits for its element, if it is one that waits; none inside: without end.
pub(super) fn blocks_for(args: &[Vec<u8>]) -> Option<Option<Duration>> {
    let [name, _, seconds] = args else { return None };
    let seconds: f64 = std::str::from_utf8(seconds).ok()?.parse().ok()?;
    let limit = Duration::try_from_secs_f64(seconds).ok()?;
    name.eq_ignore_ascii_case(b"BLPOP").then_some(Some(limit).filter(|limit| !limit.is_zero()))
}

/// The name in capitals, if the command is known and has as many arguments as it takes.
fn checked_name(args: &[Vec<u8>]) -> Result<String, String> {
    let name = readable(&args[0]).to_ascii_uppercase();
    match COMMANDS.iter().find(|(known, ..)| *known == name) {
        Some((_, min, max)) if (*min..=*max).contains(&(args.len() - 1)) => Ok(name),
        Some(_) => Err(format!("ERR wrong number of arguments for '{}' command", name.to_ascii_lowercase())),
        None => Err(unknown_command(args)),
    }
}

fn unknown_command(args: &[Vec<u8>]) -> String {
    let shown: String = args[1..].iter().take(20).map(|arg| format!("'{}' ", readable(arg))).collect();
    format!("ERR unknown command '{}', with args beginning with: {shown}", readable(&args[0]))
}

/// What a peer sent, made fit for one line of an error or a list.
fn readable(bytes: &[u8]) -> String {
    let start = &bytes[..bytes.len().min(128)];
    String::from_utf8_lossy(start).replace(|letter: char| letter.is_control(), " ")
}

fn connection_name(bytes: &[u8]) -> Result<String, String> {
    let name = String::from_utf8(bytes.to_vec()).ok();
    name.filter(|name| name.bytes().all(|byte| byte.is_ascii_graphic()))
        .ok_or_else(|| "ERR Client names cannot contain spaces, newlines or special characters.".into())
}

fn info() -> String {
    let pid = std::process::id();
    format!("# Server\r\nredis_version:{VERSION}\r\nredis_mode:standalone\r\nprocess_id:{pid}\r\n")
}
