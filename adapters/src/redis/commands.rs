//! What each command does to the session of its connection: the one table of them.

use redis::{Arg, Cmd};

use crate::redis_node::patience::Timeout;

/// What of a command outlives its reply, or is to be known before it is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Effect {
    /// Nothing.
    None,
    /// Keys are watched from now on.
    Watch,
    /// None is watched any more.
    Unwatch,
    /// Commands are queued from now on.
    Multi,
    /// The end of a transaction, whether its commands are carried out or not.
    EndMulti,
    /// Another database is in use.
    Select,
    /// The server waits before it answers, and answers nothing else meanwhile. Cancelled, it may still take effect.
    Blocks(Timeout),
    /// The server takes its time, up to a limit of the command's own.
    Takes(Timeout),
    /// Who the connection is, or how it talks: nothing undoes that for less than a new connection.
    Lasting,
    /// Depends on the subcommand.
    Container(&'static [(&'static str, Effect)]),
}

/// Every command of Redis 7 that scripts may not use, that blocks, or that is about connections, transactions or
/// publishing: those are the ones that may change a session. In alphabetical order. Others leave a session as it is.
const COMMANDS: [(&str, Effect); 65] = [
    ("ACL", Effect::None),
    // It is meant for the next command only, whoever sends that.
    ("ASKING", Effect::Lasting),
    ("AUTH", Effect::Lasting),
    ("BGREWRITEAOF", Effect::None),
    ("BGSAVE", Effect::None),
    ("BLMOVE", Effect::Blocks(Timeout::LastSeconds)),
    ("BLMPOP", Effect::Blocks(Timeout::FirstSeconds)),
    ("BLPOP", Effect::Blocks(Timeout::LastSeconds)),
    ("BRPOP", Effect::Blocks(Timeout::LastSeconds)),
    ("BRPOPLPUSH", Effect::Blocks(Timeout::LastSeconds)),
    ("BZMPOP", Effect::Blocks(Timeout::FirstSeconds)),
    ("BZPOPMAX", Effect::Blocks(Timeout::LastSeconds)),
    ("BZPOPMIN", Effect::Blocks(Timeout::LastSeconds)),
    ("CLIENT", Effect::Container(&CLIENT)),
    ("CLUSTER", Effect::None),
    ("COMMAND", Effect::None),
    ("CONFIG", Effect::None),
    ("DEBUG", Effect::None),
    ("DISCARD", Effect::EndMulti),
    ("ECHO", Effect::None),
    ("EVAL", Effect::None),
    ("EVALSHA", Effect::None),
    ("EVALSHA_RO", Effect::None),
    ("EVAL_RO", Effect::None),
    ("EXEC", Effect::EndMulti),
    ("FAILOVER", Effect::None),
    ("FCALL", Effect::None),
    ("FCALL_RO", Effect::None),
    ("FUNCTION", Effect::None),
    ("HELLO", Effect::Lasting),
    ("LATENCY", Effect::None),
    ("MIGRATE", Effect::Takes(Timeout::Millis(5))),
    ("MODULE", Effect::None),
    ("MONITOR", Effect::Lasting),
    ("MULTI", Effect::Multi),
    ("PING", Effect::None),
    ("PSUBSCRIBE", Effect::Lasting),
    ("PSYNC", Effect::Lasting),
    ("PUBLISH", Effect::None),
    ("PUBSUB", Effect::None),
    ("PUNSUBSCRIBE", Effect::Lasting),
    ("QUIT", Effect::Lasting),
    ("READONLY", Effect::Lasting),
    ("READWRITE", Effect::Lasting),
    ("REPLCONF", Effect::Lasting),
    ("REPLICAOF", Effect::None),
    ("RESET", Effect::Lasting),
    ("ROLE", Effect::None),
    ("SAVE", Effect::None),
    ("SCRIPT", Effect::Container(&SCRIPT)),
    ("SELECT", Effect::Select),
    ("SHUTDOWN", Effect::None),
    ("SLAVEOF", Effect::None),
    ("SPUBLISH", Effect::None),
    ("SSUBSCRIBE", Effect::Lasting),
    ("SUBSCRIBE", Effect::Lasting),
    ("SUNSUBSCRIBE", Effect::Lasting),
    ("SYNC", Effect::Lasting),
    ("UNSUBSCRIBE", Effect::Lasting),
    ("UNWATCH", Effect::Unwatch),
    ("WAIT", Effect::Blocks(Timeout::LastMillis)),
    ("WAITAOF", Effect::Blocks(Timeout::LastMillis)),
    ("WATCH", Effect::Watch),
    ("XREAD", Effect::Blocks(Timeout::AfterBlock(1))),
    ("XREADGROUP", Effect::Blocks(Timeout::AfterBlock(4))),
];

/// Those that only look, or act on others. What is not listed here may change the session.
const CLIENT: [(&str, Effect); 11] = [
    ("GETNAME", Effect::None),
    ("GETREDIR", Effect::None),
    ("HELP", Effect::None),
    ("ID", Effect::None),
    ("INFO", Effect::None),
    ("KILL", Effect::None),
    ("LIST", Effect::None),
    ("PAUSE", Effect::None),
    ("TRACKINGINFO", Effect::None),
    ("UNBLOCK", Effect::None),
    ("UNPAUSE", Effect::None),
];

const SCRIPT: [(&str, Effect); 6] = [
    ("EXISTS", Effect::None),
    ("FLUSH", Effect::None),
    ("HELP", Effect::None),
    ("KILL", Effect::None),
    ("LOAD", Effect::None),
    ("SHOW", Effect::None),
];

/// The longest name in the tables.
const LONGEST: usize = 12;

/// What a command does. A name is looked up as the server does: in any case.
pub(crate) fn effect_of(cmd: &Cmd) -> Effect {
    let mut words = cmd.args_iter();
    let Some(Arg::Simple(name)) = words.next() else { return Effect::None };
    match find(&COMMANDS, name) {
        None => Effect::None,
        Some(Effect::Container(subcommands)) => match words.next() {
            Some(Arg::Simple(name)) => find(subcommands, name).unwrap_or(Effect::Lasting),
            Some(Arg::Cursor | _) | None => Effect::None,
        },
        Some(effect) => effect,
    }
}

fn find(table: &[(&str, Effect)], name: &[u8]) -> Option<Effect> {
    let mut upper = [0; LONGEST];
    let upper = upper.get_mut(..name.len())?;
    for (to, from) in upper.iter_mut().zip(name) {
        *to = from.to_ascii_uppercase();
    }
    let found = table.binary_search_by(|(known, _)| known.as_bytes().cmp(upper)).ok()?;
    Some(table[found].1)
}
