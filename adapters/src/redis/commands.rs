//! The effect of each command on the session of its connection, in one table.

use redis::{Arg, Cmd};

use crate::redis_node::command_name::CommandName;
use crate::redis_node::harmless::HARMLESS;
use crate::redis_node::reply_timeout::BlockTimeout;

/// The effect of a command that outlives its reply, or that matters before it is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Effect {
    /// Nothing.
    None,
    /// The command has no name.
    Empty,
    /// The command is not in the tables.
    Unknown,
    /// Keys are watched afterwards.
    Watch,
    /// No keys are watched afterwards.
    Unwatch,
    /// Commands are queued afterwards.
    Multi,
    /// Ends a transaction, whether its commands are executed or not.
    EndMulti,
    /// Selects another database.
    Select,
    /// The server waits before it replies, and replies to nothing else meanwhile. A cancelled command may still take effect.
    Blocks(BlockTimeout),
    /// The server may take long, up to a limit in the command.
    Takes(BlockTimeout),
    /// The server may close the connection shortly after the reply.
    MayClose,
    /// Changes the identity or the mode of the connection. Only a new connection undoes it.
    Lasting,
    /// [`Lasting`](Effect::Lasting), and may change the protocol.
    Protocol,
    /// [`Lasting`](Effect::Lasting). One reply for each channel, followed by the messages.
    Subscribes,
    /// [`Lasting`](Effect::Lasting). Later commands may have no reply, or more than one.
    Uncounted,
    /// [`Uncounted`](Effect::Uncounted), also for this command itself, unless its argument is ON.
    Reply,
    /// Depends on the subcommand. The second field is the effect of subcommands that are not listed.
    Container(&'static [(CommandName, Effect)], &'static Effect),
}

/// Every command that is not in [`HARMLESS`]. In alphabetical order.
const COMMANDS: [(CommandName, Effect); 51] = [
    (name("ACL"), Effect::Container(&ACL, &Effect::MayClose)),
    // It applies to the next command only, even to that of another borrower.
    (name("ASKING"), Effect::Lasting),
    (name("AUTH"), Effect::Lasting),
    (name("BLMOVE"), Effect::Blocks(BlockTimeout::LastSeconds)),
    (name("BLMOVEM"), Effect::Blocks(BlockTimeout::Seconds(5))),
    (name("BLMPOP"), Effect::Blocks(BlockTimeout::Seconds(1))),
    (name("BLPOP"), Effect::Blocks(BlockTimeout::LastSeconds)),
    (name("BRPOP"), Effect::Blocks(BlockTimeout::LastSeconds)),
    (name("BRPOPLPUSH"), Effect::Blocks(BlockTimeout::LastSeconds)),
    (name("BZMOVE"), Effect::Blocks(BlockTimeout::LastSeconds)),
    (name("BZMPOP"), Effect::Blocks(BlockTimeout::Seconds(1))),
    (name("BZPOPMAX"), Effect::Blocks(BlockTimeout::LastSeconds)),
    (name("BZPOPMIN"), Effect::Blocks(BlockTimeout::LastSeconds)),
    (name("CLIENT"), Effect::Container(&CLIENT, &Effect::Lasting)),
    (name("CLUSTER"), Effect::Container(&CLUSTER, &Effect::None)),
    (name("DEBUG"), Effect::MayClose),
    (name("DISCARD"), Effect::EndMulti),
    (name("EXEC"), Effect::EndMulti),
    (name("FAILOVER"), Effect::MayClose),
    (name("HELLO"), Effect::Protocol),
    (name("HIMPORT"), Effect::Container(&HIMPORT, &Effect::Lasting)),
    // A server treats it, and POST, as an attack over HTTP.
    (name("HOST:"), Effect::Lasting),
    (name("MIGRATE"), Effect::Takes(BlockTimeout::Millis(5))),
    (name("MONITOR"), Effect::Uncounted),
    (name("MULTI"), Effect::Multi),
    (name("POST"), Effect::Lasting),
    (name("PSUBSCRIBE"), Effect::Subscribes),
    (name("PSYNC"), Effect::Uncounted),
    (name("PUNSUBSCRIBE"), Effect::Subscribes),
    (name("QUIT"), Effect::Lasting),
    (name("READONLY"), Effect::Lasting),
    (name("READWRITE"), Effect::Lasting),
    (name("REPLCONF"), Effect::Uncounted),
    (name("REPLICAOF"), Effect::MayClose),
    (name("RESET"), Effect::Protocol),
    (name("SCRIPT"), Effect::Container(&SCRIPT, &Effect::Lasting)),
    (name("SELECT"), Effect::Select),
    (name("SHUTDOWN"), Effect::MayClose),
    (name("SLAVEOF"), Effect::MayClose),
    (name("SSUBSCRIBE"), Effect::Subscribes),
    (name("SUBSCRIBE"), Effect::Subscribes),
    (name("SUNSUBSCRIBE"), Effect::Subscribes),
    (name("SYNC"), Effect::Uncounted),
    // Its key and its first time come first, and may be any words.
    (name("TS.READ"), Effect::Blocks(BlockTimeout::AfterBlock(2))),
    (name("UNSUBSCRIBE"), Effect::Subscribes),
    (name("UNWATCH"), Effect::Unwatch),
    (name("WAIT"), Effect::Blocks(BlockTimeout::LastMillis)),
    (name("WAITAOF"), Effect::Blocks(BlockTimeout::LastMillis)),
    (name("WATCH"), Effect::Watch),
    (name("XREAD"), Effect::Blocks(BlockTimeout::AfterBlock(0))),
    (name("XREADGROUP"), Effect::Blocks(BlockTimeout::AfterBlock(0))),
];

/// Other subcommands may change users, and thereby close their connections.
const ACL: [(CommandName, Effect); 10] = [
    (name("CAT"), Effect::None),
    (name("DRYRUN"), Effect::None),
    (name("GENPASS"), Effect::None),
    (name("GETUSER"), Effect::None),
    (name("HELP"), Effect::None),
    (name("LIST"), Effect::None),
    (name("LOG"), Effect::None),
    (name("SAVE"), Effect::None),
    (name("USERS"), Effect::None),
    (name("WHOAMI"), Effect::None),
];

/// Other subcommands may change the session.
const CLIENT: [(CommandName, Effect); 20] = [
    (name("CACHING"), Effect::Lasting),
    (name("CAPA"), Effect::Lasting),
    (name("GETNAME"), Effect::None),
    (name("GETREDIR"), Effect::None),
    (name("HELP"), Effect::None),
    (name("ID"), Effect::None),
    (name("IMPORT-SOURCE"), Effect::Lasting),
    (name("INFO"), Effect::None),
    (name("KILL"), Effect::MayClose),
    (name("LIST"), Effect::None),
    (name("NO-EVICT"), Effect::Lasting),
    (name("NO-TOUCH"), Effect::Lasting),
    (name("PAUSE"), Effect::None),
    (name("REPLY"), Effect::Reply),
    (name("SETINFO"), Effect::Lasting),
    (name("SETNAME"), Effect::Lasting),
    (name("TRACKING"), Effect::Lasting),
    (name("TRACKINGINFO"), Effect::None),
    (name("UNBLOCK"), Effect::None),
    (name("UNPAUSE"), Effect::None),
];

/// Other subcommands are about the cluster, not about the connection.
const CLUSTER: [(CommandName, Effect); 4] = [
    (name("FAILOVER"), Effect::MayClose),
    (name("REPLICATE"), Effect::MayClose),
    (name("RESET"), Effect::MayClose),
    // It turns the connection into one between nodes.
    (name("SYNCSLOTS"), Effect::Uncounted),
];

/// Other subcommands are about the sets of fields that the session keeps.
const HIMPORT: [(CommandName, Effect); 2] = [(name("HELP"), Effect::None), (name("SET"), Effect::None)];

/// Other subcommands may change the session.
const SCRIPT: [(CommandName, Effect); 7] = [
    // Messages of a script to its debugger come before its reply.
    (name("DEBUG"), Effect::Uncounted),
    (name("EXISTS"), Effect::None),
    (name("FLUSH"), Effect::None),
    (name("HELP"), Effect::None),
    (name("KILL"), Effect::None),
    (name("LOAD"), Effect::None),
    (name("SHOW"), Effect::None),
];

/// The effect of a command. Names are looked up in any case, as the server does.
pub(crate) fn effect_of(cmd: &Cmd) -> Effect {
    let mut words = cmd.args_iter();
    let text = match words.next() {
        Some(Arg::Simple(text)) => text,
        Some(Arg::Cursor | _) => return Effect::Unknown,
        None => return Effect::Empty,
    };
    let effect = effect_of_name(text);
    let Effect::Container(subcommands, others) = effect else { return effect };
    match words.next() {
        Some(Arg::Simple(text)) => CommandName::read(text).and_then(|name| find(subcommands, name)).unwrap_or(*others),
        // The server rejects it without a subcommand.
        Some(Arg::Cursor | _) | None => Effect::None,
    }
}

/// How many names the tables have.
pub(crate) fn names() -> usize {
    HARMLESS.len() + COMMANDS.len()
}

/// The number of a name, less than [`names`]; `None` if it is not in the tables.
pub(crate) fn number_of_name(text: &[u8]) -> Option<usize> {
    let wanted = CommandName::read(text)?;
    HARMLESS.binary_search(&wanted).ok().or_else(|| {
        let found = COMMANDS.binary_search_by_key(&wanted, |(name, _)| *name).ok()?;
        Some(HARMLESS.len() + found)
    })
}

/// The name with this number.
pub(crate) fn name_of_number(number: usize) -> Option<CommandName> {
    let of_others = || COMMANDS.get(number - HARMLESS.len()).map(|(name, _)| *name);
    HARMLESS.get(number).copied().or_else(of_others)
}

/// The most frequent names come first.
fn effect_of_name(text: &[u8]) -> Effect {
    let Some(name) = CommandName::read(text) else { return Effect::Unknown };
    if HARMLESS.binary_search(&name).is_ok() {
        return Effect::None;
    }
    find(&COMMANDS, name).unwrap_or(Effect::Unknown)
}

fn find(table: &[(CommandName, Effect)], wanted: CommandName) -> Option<Effect> {
    let found = table.binary_search_by_key(&wanted, |(name, _)| *name).ok()?;
    Some(table[found].1)
}

const fn name(text: &str) -> CommandName {
    CommandName::of(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use redis::Value;
    use redis_manager_tests::redis_server::RedisServer;

    use super::*;

    #[test]
    fn the_tables_are_sorted_so_that_names_are_found() {
        for table in [&COMMANDS[..], &ACL, &CLIENT, &CLUSTER, &HIMPORT, &SCRIPT] {
            assert!(table.is_sorted_by(|(one, _), (other, _)| one < other));
        }
        assert!(HARMLESS.is_sorted_by(|one, other| one < other));
        assert!(HARMLESS.iter().all(|name| find(&COMMANDS, *name).is_none()), "a name is in two tables");
    }

    /// Seen to bite: with names that end before a zero.
    #[test]
    fn names_are_known_in_any_case_and_at_any_length() {
        for name in ["get", "Ts.Add", "GEORADIUSBYMEMBER", "georadiusbymember_ro", "tdigest.trimmed_mean"] {
            assert!(matches!(effect_of_name(name.as_bytes()), Effect::None), "{name}");
        }
        for name in ["GETS", "georadiusbymember_rw", "", "GET\0", "a-name-that-is-longer-than-any-in-the-tables"] {
            assert!(matches!(effect_of_name(name.as_bytes()), Effect::Unknown), "{name}");
        }
    }

    /// The effect of a new command must be decided. Until then it costs a check.
    ///
    /// Guards against: with GET left out of the harmless ones, with QUIT, CLIENT LIST or SCRIPT HELP left out of the tables,
    /// and with BLPOP as `Effect::None`.
    #[test]
    fn every_command_of_a_real_server_is_in_the_tables() {
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
        let name: String = redis::from_redis_value_ref(&fields[0]).expect("a name");
        let (container, subcommand) = name.split_once('|').unwrap_or((&name, ""));
        let of_container = effect_of_name(container.as_bytes());
        if matches!(of_container, Effect::Unknown) {
            missing.push(name.clone());
        }
        // Servers before 7.0 do not say.
        let subcommands: Vec<Value> =
            fields.get(9).map_or_else(Vec::new, |field| redis::from_redis_value_ref(field).expect("subcommands"));
        if !subcommands.is_empty() {
            return subcommands.iter().for_each(|subcommand| look_at(subcommand, missing));
        }
        let is_blocking = words(2).iter().any(|flag| flag == "blocking");
        // Before Redis 7 a container is one command.
        let is_told = if let Effect::Container(table, Effect::Lasting) = of_container {
            subcommand.is_empty() || CommandName::read(subcommand.as_bytes()).is_some_and(|name| find(table, name).is_some())
        } else {
            true
        };
        if !is_told || (is_blocking && !matches!(of_container, Effect::Blocks(_))) {
            missing.push(name);
        }
    }
}
