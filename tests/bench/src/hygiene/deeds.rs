//! What borrowers do to a session before they give the connection back.

use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::{Cmd, Pipeline, Value};
use redis_manager_tests::redis_server::RedisServer;
use redis_manager_tests::tasks::within;

use crate::runner::Handle;

/// A key with this name and value is there before every deed, and shall be read so afterwards.
pub(super) const KEY: &str = "hygiene";
pub(super) const VALUE: &str = "of db 0";
/// A list that a cancelled BLPOP waits for.
pub(super) const LIST: &str = "queue";
/// The other user, who may do everything.
pub(super) const USER: &str = "guest";
const PASSWORD: &str = "guest";

/// A command that keeps the server busy for about 30 ms and then answers.
const SLOW: &str = "local t = redis.call('TIME'); local e = t[1] * 1000000 + t[2] + 30000; \
    repeat t = redis.call('TIME') until t[1] * 1000000 + t[2] > e; return ARGV[1]";

/// How a borrower sends what it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// Each command on its own, waiting for each reply.
    Awaited,
    /// Each command on its own, told that no reply will come.
    WithoutResponse,
    /// Each command on its own; the last one is dropped 10 ms after it was sent.
    Cancelled,
    /// All in one pipeline, which is dropped 10 ms after it was sent.
    CancelledPipeline,
}

/// What a deed needs of its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Standalone,
    /// READONLY is a command of cluster nodes only.
    ClusterNode,
}

/// One row of the matrix.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deed {
    pub(super) name: &'static str,
    pub(super) manner: Manner,
    pub(super) place: Place,
    /// Pushed from outside once the connection was given back.
    pub(super) push: bool,
    commands: &'static [&'static [&'static str]],
}

const fn deed(name: &'static str, manner: Manner, commands: &'static [&'static [&'static str]]) -> Deed {
    Deed { name, manner, place: Place::Standalone, push: false, commands }
}

pub(super) const DEEDS: [Deed; 18] = [
    deed("open WATCH", Manner::Awaited, &[&["WATCH", KEY]]),
    deed("open MULTI", Manner::Awaited, &[&["MULTI"], &["SET", "queued", "1"]]),
    deed("SELECT 5", Manner::Awaited, &[&["SELECT", "5"]]),
    deed("AUTH as another user", Manner::Awaited, &[&["AUTH", USER, PASSWORD]]),
    deed("CLIENT SETNAME", Manner::Awaited, &[&["CLIENT", "SETNAME", "mine"]]),
    deed("CLIENT TRACKING ON", Manner::Awaited, &[&["CLIENT", "TRACKING", "ON", "BCAST"]]),
    deed("CLIENT NO-EVICT ON", Manner::Awaited, &[&["CLIENT", "NO-EVICT", "ON"]]),
    deed("HELLO, other protocol", Manner::Awaited, &[&["HELLO", "OTHER"]]),
    deed("SUBSCRIBE", Manner::Awaited, &[&["SUBSCRIBE", "news"]]),
    deed("PSUBSCRIBE", Manner::Awaited, &[&["PSUBSCRIBE", "n*"]]),
    deed("MONITOR", Manner::Awaited, &[&["MONITOR"]]),
    deed("CLIENT REPLY OFF", Manner::WithoutResponse, &[&["CLIENT", "REPLY", "OFF"]]),
    deed("CLIENT REPLY SKIP", Manner::WithoutResponse, &[&["CLIENT", "REPLY", "SKIP"]]),
    Deed { place: Place::ClusterNode, ..deed("READONLY", Manner::Awaited, &[&["READONLY"]]) },
    deed("cancelled command", Manner::Cancelled, &[&["EVAL", SLOW, "0", "stale"]]),
    deed(
        "cancelled pipeline",
        Manner::CancelledPipeline,
        &[&["ECHO", "stale 1"], &["EVAL", SLOW, "0", "stale 2"], &["ECHO", "stale 3"]],
    ),
    Deed { push: true, ..deed("cancelled BLPOP", Manner::Cancelled, &[&["BLPOP", LIST, "5"]]) },
    deed("SCRIPT DEBUG", Manner::Awaited, &[&["SCRIPT", "DEBUG", "YES"]]),
];

impl Deed {
    /// Puts on a fresh server what the deeds need.
    pub(super) fn prepare(server: &RedisServer) {
        server.command(&["ACL", "SETUSER", USER, "on", &format!(">{PASSWORD}"), "~*", "&*", "+@all"]);
        server.command(&["SET", KEY, VALUE]);
        server.command(&["DEL", LIST]);
    }

    /// Does it. What the server or the client says to it comes back if it is an error, or no reply within a second.
    pub(super) async fn commit(&self, client: &mut (impl ConnectionLike + Send), protocol: u8, handle: &Handle) -> Vec<String> {
        let commands: Vec<Cmd> = self.commands.iter().map(|words| command(words, protocol)).collect();
        let mut complaints = Vec::new();
        if self.manner == Manner::CancelledPipeline {
            let mut pipeline = Pipeline::new();
            for command in commands {
                pipeline.add_command(command);
            }
            let sent = client.req_packed_commands(&pipeline, 0, self.commands.len());
            let _ = within(handle, CANCEL_AFTER, sent).await;
            return complaints;
        }
        for (mut command, words) in commands.into_iter().zip(self.commands) {
            command.set_no_response(self.manner == Manner::WithoutResponse);
            let limit = if self.manner == Manner::Cancelled { CANCEL_AFTER } else { Duration::from_secs(1) };
            let reply = within(handle, limit, client.req_packed_command(&command)).await;
            match reply {
                Some(Ok(Value::ServerError(error))) => complaints.push(format!("{}: {error}", words.join(" "))),
                Some(Ok(_)) => {}
                Some(Err(error)) => complaints.push(format!("{}: {error}", words.join(" "))),
                None if self.manner == Manner::Cancelled => {}
                None => complaints.push(format!("{}: no reply", words.join(" "))),
            }
        }
        complaints
    }
}

const CANCEL_AFTER: Duration = Duration::from_millis(10);

fn command(words: &[&str], protocol: u8) -> Cmd {
    let mut command = Cmd::new();
    for word in words {
        match *word {
            "OTHER" => command.arg(5 - protocol),
            word => command.arg(word),
        };
    }
    command
}
