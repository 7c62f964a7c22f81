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
    Container(&'static [(Name, Effect)]),
}

/// Every command of Redis 7 that scripts may not use, that blocks, or that is about connections, transactions or
/// publishing: those are the ones that may change a session. In alphabetical order. Others leave a session as it is.
const COMMANDS: [(Name, Effect); 65] = [
    (name("ACL"), Effect::None),
    // It is meant for the next command only, whoever sends that.
    (name("ASKING"), Effect::Lasting),
    (name("AUTH"), Effect::Lasting),
    (name("BGREWRITEAOF"), Effect::None),
    (name("BGSAVE"), Effect::None),
    (name("BLMOVE"), Effect::Blocks(Timeout::LastSeconds)),
    (name("BLMPOP"), Effect::Blocks(Timeout::FirstSeconds)),
    (name("BLPOP"), Effect::Blocks(Timeout::LastSeconds)),
    (name("BRPOP"), Effect::Blocks(Timeout::LastSeconds)),
    (name("BRPOPLPUSH"), Effect::Blocks(Timeout::LastSeconds)),
    (name("BZMPOP"), Effect::Blocks(Timeout::FirstSeconds)),
    (name("BZPOPMAX"), Effect::Blocks(Timeout::LastSeconds)),
    (name("BZPOPMIN"), Effect::Blocks(Timeout::LastSeconds)),
    (name("CLIENT"), Effect::Container(&CLIENT)),
    (name("CLUSTER"), Effect::None),
    (name("COMMAND"), Effect::None),
    (name("CONFIG"), Effect::None),
    (name("DEBUG"), Effect::None),
    (name("DISCARD"), Effect::EndMulti),
    (name("ECHO"), Effect::None),
    (name("EVAL"), Effect::None),
    (name("EVALSHA"), Effect::None),
    (name("EVALSHA_RO"), Effect::None),
    (name("EVAL_RO"), Effect::None),
    (name("EXEC"), Effect::EndMulti),
    (name("FAILOVER"), Effect::None),
    (name("FCALL"), Effect::None),
    (name("FCALL_RO"), Effect::None),
    (name("FUNCTION"), Effect::None),
    (name("HELLO"), Effect::Lasting),
    (name("LATENCY"), Effect::None),
    (name("MIGRATE"), Effect::Takes(Timeout::Millis(5))),
    (name("MODULE"), Effect::None),
    (name("MONITOR"), Effect::Lasting),
    (name("MULTI"), Effect::Multi),
    (name("PING"), Effect::None),
    (name("PSUBSCRIBE"), Effect::Lasting),
    (name("PSYNC"), Effect::Lasting),
    (name("PUBLISH"), Effect::None),
    (name("PUBSUB"), Effect::None),
    (name("PUNSUBSCRIBE"), Effect::Lasting),
    (name("QUIT"), Effect::Lasting),
    (name("READONLY"), Effect::Lasting),
    (name("READWRITE"), Effect::Lasting),
    (name("REPLCONF"), Effect::Lasting),
    (name("REPLICAOF"), Effect::None),
    (name("RESET"), Effect::Lasting),
    (name("ROLE"), Effect::None),
    (name("SAVE"), Effect::None),
    (name("SCRIPT"), Effect::Container(&SCRIPT)),
    (name("SELECT"), Effect::Select),
    (name("SHUTDOWN"), Effect::None),
    (name("SLAVEOF"), Effect::None),
    (name("SPUBLISH"), Effect::None),
    (name("SSUBSCRIBE"), Effect::Lasting),
    (name("SUBSCRIBE"), Effect::Lasting),
    (name("SUNSUBSCRIBE"), Effect::Lasting),
    (name("SYNC"), Effect::Lasting),
    (name("UNSUBSCRIBE"), Effect::Lasting),
    (name("UNWATCH"), Effect::Unwatch),
    (name("WAIT"), Effect::Blocks(Timeout::LastMillis)),
    (name("WAITAOF"), Effect::Blocks(Timeout::LastMillis)),
    (name("WATCH"), Effect::Watch),
    (name("XREAD"), Effect::Blocks(Timeout::AfterBlock)),
    (name("XREADGROUP"), Effect::Blocks(Timeout::AfterBlock)),
];

/// What is not listed here may change the session.
const CLIENT: [(Name, Effect); 20] = [
    (name("CACHING"), Effect::Lasting),
    (name("CAPA"), Effect::Lasting),
    (name("GETNAME"), Effect::None),
    (name("GETREDIR"), Effect::None),
    (name("HELP"), Effect::None),
    (name("ID"), Effect::None),
    (name("IMPORT-SOURCE"), Effect::Lasting),
    (name("INFO"), Effect::None),
    (name("KILL"), Effect::None),
    (name("LIST"), Effect::None),
    (name("NO-EVICT"), Effect::Lasting),
    (name("NO-TOUCH"), Effect::Lasting),
    (name("PAUSE"), Effect::None),
    (name("REPLY"), Effect::Lasting),
    (name("SETINFO"), Effect::Lasting),
    (name("SETNAME"), Effect::Lasting),
    (name("TRACKING"), Effect::Lasting),
    (name("TRACKINGINFO"), Effect::None),
    (name("UNBLOCK"), Effect::None),
    (name("UNPAUSE"), Effect::None),
];

/// What is not listed here may change the session.
const SCRIPT: [(Name, Effect); 7] = [
    (name("DEBUG"), Effect::Lasting),
    (name("EXISTS"), Effect::None),
    (name("FLUSH"), Effect::None),
    (name("HELP"), Effect::None),
    (name("KILL"), Effect::None),
    (name("LOAD"), Effect::None),
    (name("SHOW"), Effect::None),
];

/// What a command does. A name is looked up as the server does: in any case.
pub(crate) fn effect_of(cmd: &Cmd) -> Effect {
    let mut words = cmd.args_iter();
    let Some(Arg::Simple(text)) = words.next() else { return Effect::None };
    match find(&COMMANDS, text) {
        None => Effect::None,
        Some(Effect::Container(subcommands)) => match words.next() {
            Some(Arg::Simple(text)) => find(subcommands, text).unwrap_or(Effect::Lasting),
            Some(Arg::Cursor | _) | None => Effect::None,
        },
        Some(effect) => effect,
    }
}

/// A name as one number, in upper case: it is looked up at every command.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Name(u128);

const fn name(text: &str) -> Name {
    match Name::read(text.as_bytes()) {
        Some(name) => name,
        None => panic!("a name in the tables is too long"),
    }
}

impl Name {
    /// None for what is longer than any name in the tables.
    const fn read(text: &[u8]) -> Option<Self> {
        let mut bytes = [0; 16];
        if text.len() > bytes.len() {
            return None;
        }
        let mut at = 0;
        while at < text.len() {
            bytes[at] = text[at].to_ascii_uppercase();
            at += 1;
        }
        Some(Self(u128::from_be_bytes(bytes)))
    }
}

fn find(table: &[(Name, Effect)], text: &[u8]) -> Option<Effect> {
    let wanted = Name::read(text)?;
    let found = table.binary_search_by_key(&wanted, |(name, _)| *name).ok()?;
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
            assert!(table.is_sorted_by(|(one, _), (other, _)| one < other));
        }
    }

    /// What scripts may not use, what blocks, and what is about connections, transactions or publishing: a session can be
    /// changed by nothing else.
    ///
    /// Seen to bite: with any row of the tables left out that Redis 7.0 knows (but MIGRATE, which only takes its time, and
    /// SCRIPT HELP, which nothing tells from others), and with BLPOP as `Effect::None`. `WAITAOF`, `SCRIPT SHOW` and
    /// `CLIENT CAPA`, `IMPORT-SOURCE`, `NO-TOUCH`, `SETINFO` need a newer server to be missed.
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
        // Before Redis 7 a container is one command.
        let subcommands: Vec<Value> =
            fields.get(9).map(|field| redis::from_redis_value_ref(field).expect("subcommands")).unwrap_or_default();
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
        let effect = match name.split_once('|') {
            Some((container, subcommand)) => match find(&COMMANDS, container.as_bytes()) {
                Some(Effect::Container(table)) => find(table, subcommand.as_bytes()),
                other => other,
            },
            None => find(&COMMANDS, name.as_bytes()),
        };
        if effect.is_none() || (is_blocking && !matches!(effect, Some(Effect::Blocks(_)))) {
            missing.push(name);
        }
    }
}
