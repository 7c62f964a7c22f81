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

/// What is not listed here may change the session.
const CLIENT: [(&str, Effect); 20] = [
    ("CACHING", Effect::Lasting),
    ("CAPA", Effect::Lasting),
    ("GETNAME", Effect::None),
    ("GETREDIR", Effect::None),
    ("HELP", Effect::None),
    ("ID", Effect::None),
    ("IMPORT-SOURCE", Effect::Lasting),
    ("INFO", Effect::None),
    ("KILL", Effect::None),
    ("LIST", Effect::None),
    ("NO-EVICT", Effect::Lasting),
    ("NO-TOUCH", Effect::Lasting),
    ("PAUSE", Effect::None),
    ("REPLY", Effect::Lasting),
    ("SETINFO", Effect::Lasting),
    ("SETNAME", Effect::Lasting),
    ("TRACKING", Effect::Lasting),
    ("TRACKINGINFO", Effect::None),
    ("UNBLOCK", Effect::None),
    ("UNPAUSE", Effect::None),
];

/// What is not listed here may change the session.
const SCRIPT: [(&str, Effect); 7] = [
    ("DEBUG", Effect::Lasting),
    ("EXISTS", Effect::None),
    ("FLUSH", Effect::None),
    ("HELP", Effect::None),
    ("KILL", Effect::None),
    ("LOAD", Effect::None),
    ("SHOW", Effect::None),
];

/// The longest name in the tables.
const LONGEST: usize = 13;

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

#[cfg(test)]
mod tests {
    use redis::Value;
    use redis_manager_tests::redis_server::RedisServer;

    use super::*;

    #[test]
    fn the_tables_are_sorted_so_that_names_are_found() {
        for table in [&COMMANDS[..], &CLIENT, &SCRIPT] {
            assert!(table.is_sorted_by(|(one, _), (other, _)| one.as_bytes() < other.as_bytes()));
            assert!(table.iter().all(|(name, _)| name.len() <= LONGEST));
        }
    }

    /// What scripts may not use, what blocks, and what is about connections, transactions or publishing: a session can be
    /// changed by nothing else.
    ///
    /// Seen to bite: with any row of the tables left out, and with BLPOP as `Effect::None`.
    #[test]
    fn every_command_of_a_real_server_that_may_change_a_session_is_in_the_tables() {
        let server = RedisServer::start();
        let client = redis::Client::open(server.url()).expect("a URL");
        let mut connection = client.get_connection().expect("the server is up");
        let commands: Vec<Value> = redis::cmd("COMMAND").query(&mut connection).expect("COMMAND");
        assert!(commands.len() > 200, "{}", commands.len());
        let mut missing = Vec::new();
        commands.iter().for_each(|command| look_at(command, &mut missing));
        assert!(missing.is_empty(), "what do these do to a session? {missing:?}");
    }

    fn look_at(command: &Value, missing: &mut Vec<String>) {
        let fields: Vec<Value> = redis::from_redis_value_ref(command).expect("a command");
        let words = |field: usize| -> Vec<String> { redis::from_redis_value_ref(&fields[field]).expect("words") };
        let subcommands: Vec<Value> = redis::from_redis_value_ref(&fields[9]).expect("subcommands");
        if !subcommands.is_empty() {
            return subcommands.iter().for_each(|subcommand| look_at(subcommand, missing));
        }
        let (flags, categories) = (words(2), words(6));
        let is_blocking = flags.iter().any(|flag| flag == "blocking");
        let telling = ["noscript", "pubsub", "@connection", "@transaction", "@pubsub"];
        if !is_blocking && !flags.iter().chain(&categories).any(|word| telling.contains(&word.as_str())) {
            return;
        }
        let name: String = redis::from_redis_value_ref(&fields[0]).expect("a name");
        let (container, subcommand) = name.split_once('|').unwrap_or((&name, ""));
        let effect = match find(&COMMANDS, container.as_bytes()) {
            Some(Effect::Container(table)) => find(table, subcommand.as_bytes()),
            other => other,
        };
        if effect.is_none() || (is_blocking && !matches!(effect, Some(Effect::Blocks(_)))) {
            missing.push(name);
        }
    }
}
