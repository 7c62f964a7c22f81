//! The table against `COMMAND` and `COMMAND GETKEYS` of the server at hand.

use std::collections::{BTreeSet, HashMap};

use redis::{Connection, FromRedisValue, RedisError, Value};
use redis_manager_tests::redis_server::RedisServer;

use super::cmd;
use super::key_places::{KEYS, keys_in};
use crate::deployment::router::command_index::keys_of;
use crate::deployment::router::command_index::rule_of;
use crate::deployment::router::command_rule::{Access, CommandRule, Gather, NodeSet, SentTo};
use crate::deployment::router::command_table::GROUPS;
use crate::deployment::router::key_spec::{KeySpec, text_of};

/// Where the table differs from what a server says, and why.
const DIFFERENCES: &[(&str, &str)] = &[
    ("CLUSTERSCAN", "the cursor says the slot, as a key does"),
    ("LATENCY|RESET", "Redis 7.0 wants any reply, later ones the sum"),
    ("MIGRATE", "the key may be empty, and then KEYS tells"),
    ("MSETEX", "with NX or XX it sets all of its keys or none"),
    ("MSETNX", "Redis 7.0 says that it may be split, later ones do not: it sets all of its keys or none"),
    ("SORT", "no server says in its specifications where the key after STORE is"),
    ("SORT_RO", "its patterns are no keys"),
];

/// Commands that `COMMAND GETKEYS` is not asked about, and why.
const NOT_COMPARED: &[(&str, &str)] = &[
    ("EVAL script +1 a", "it reads numbers less strictly than the command, which is refused"),
    ("MIGRATE host 6379 \"\" 0 100 AUTH keys KEYS a b", "Redis 6.2 takes the password for the word KEYS"),
    ("MIGRATE host 6379 \"\" 0 100 AUTH2 keys keys KEYS a b", "Redis 6.2 takes the name for the word KEYS"),
    ("SPUBLISH a message", "a channel is no key, but it has a slot"),
    ("SSUBSCRIBE a b", "a channel is no key, but it has a slot"),
    ("XREAD COUNT 2 streams a b 0", "an ID is missing, and the server at the first key says so"),
];

fn connect(server: &RedisServer) -> Connection {
    let client = redis::Client::open(server.url()).expect("a URL");
    client.get_connection().expect("the server is up")
}

fn read<T: FromRedisValue>(value: &Value) -> T {
    redis::from_redis_value_ref(value).unwrap_or_else(|error| panic!("{error}: {value:?}"))
}

/// What `COMMAND` says of a command.
#[derive(Debug)]
struct Described {
    /// As in the table.
    name: String,
    is_read: bool,
    is_container: bool,
    has_movable_keys: bool,
    /// The first and the last key, and the step. What all servers say.
    range: [i64; 3],
    /// What servers say from 7.0 on.
    specs: Option<Vec<Option<KeySpec>>>,
    request: Option<String>,
    response: Option<String>,
}

fn describe(command: &Value, found: &mut Vec<Described>) {
    let fields: Vec<Value> = read(command);
    let (name, flags): (String, Vec<String>) = (read(&fields[0]), read(&fields[2]));
    let has = |flag: &str| flags.iter().any(|other| other == flag);
    let tips: Vec<String> = fields.get(7).map(read).unwrap_or_default();
    let tip = |policy: &str| tips.iter().find_map(|tip| tip.strip_prefix(policy).map(str::to_owned));
    let subcommands: Vec<Value> = fields.get(9).map(read).unwrap_or_default();
    found.push(Described {
        name: name.to_ascii_uppercase(),
        is_read: has("readonly"),
        is_container: !subcommands.is_empty(),
        has_movable_keys: has("movablekeys"),
        range: [&fields[3], &fields[4], &fields[5]].map(read),
        specs: fields.get(8).map(|specs| read::<Vec<Value>>(specs).iter().flat_map(specs_of).collect()),
        request: tip("request_policy:"),
        response: tip("response_policy:"),
    });
    subcommands.iter().for_each(|subcommand| describe(subcommand, found));
}

/// `None` for what a server cannot say, or what the table cannot.
fn specs_of(spec: &Value) -> Vec<Option<KeySpec>> {
    let part = |name: &str| -> (String, HashMap<String, Value>) {
        let parts: HashMap<String, Value> = read(spec);
        let part: HashMap<String, Value> = read(&parts[name]);
        (read(&part["type"]), read(&part["spec"]))
    };
    let ((begin, begin_spec), (find, find_spec)) = (part("begin_search"), part("find_keys"));
    let number = |name: &str| -> i64 { find_spec.get(name).map_or(0, read) };
    let place = |number: i64| usize::try_from(number).expect("a position");
    match (begin.as_str(), find.as_str()) {
        ("index", "range") => {
            let (first, last, step) = (read(&begin_spec["index"]), number("lastkey"), place(number("keystep")));
            match last {
                ..0 => vec![Some(KeySpec::UpToEnd { first, step, without: place(-1 - last) })],
                _ => (0..=place(last)).step_by(step).map(|offset| Some(KeySpec::At(first + offset))).collect(),
            }
        }
        ("index", "keynum") if (number("keynumidx"), number("firstkey")) == (0, 1) => {
            vec![Some(KeySpec::Counted { at: read(&begin_spec["index"]), step: place(number("keystep")) })]
        }
        ("keyword", "range") => {
            let (word, from): (String, i64) = (read(&begin_spec["keyword"]), read(&begin_spec["startfrom"]));
            let after = |word| usize::try_from(from).ok().map(|from| KeySpec::After { word, from, keys: 1 });
            vec![match (word.as_str(), number("limit")) {
                ("STREAMS", 2) => usize::try_from(from).ok().map(|from| KeySpec::Streams { from }),
                ("STORE", 0) => after(b"STORE"),
                ("STOREDIST", 0) => after(b"STOREDIST"),
                _ => None,
            }]
        }
        _ => vec![None],
    }
}

impl Described {
    /// What the table has under this name, found without the index.
    fn rule(&self) -> Option<&'static CommandRule> {
        let has_name = |names: &str| names.split_ascii_whitespace().any(|name| name == self.name);
        GROUPS.iter().find(|group| has_name(group.names)).map(|group| &group.rule)
    }

    /// What is wrong with the rule.
    fn compare(&self, rule: &CommandRule) -> Vec<String> {
        let mut wrong = Vec::new();
        if self.is_read != (rule.access == Access::Read) {
            wrong.push(format!("only reads: {}", self.is_read));
        }
        match &self.specs {
            Some(specs) if *specs != rule.keys.iter().copied().map(Some).collect::<Vec<_>>() => {
                wrong.push(format!("keys: {specs:?}"))
            }
            None if !self.has_movable_keys && self.range_of_keys() != self.keys_in_table() => {
                wrong.push(format!("keys: {:?}", self.range));
            }
            Some(_) | None => {}
        }
        if !self.is_sent_as(rule) {
            wrong.push(format!("policies: {:?} and {:?}", self.request, self.response));
        }
        wrong
    }

    /// Numbers as arguments, each its own position.
    const ARGUMENTS: std::ops::Range<i64> = 1..13;

    fn range_of_keys(&self) -> Vec<String> {
        let [first, last, step] = self.range;
        let last = if last < 0 { Self::ARGUMENTS.end + last } else { last };
        let is_key = |position: &i64| step > 0 && (first..=last).contains(position) && (position - first) % step == 0;
        Self::ARGUMENTS.filter(is_key).map(|position| position.to_string()).collect()
    }

    fn keys_in_table(&self) -> Vec<String> {
        let mut command = redis::cmd(&self.name);
        Self::ARGUMENTS.for_each(|position| {
            command.arg(position);
        });
        keys_of(&command).map(|key| String::from_utf8_lossy(key).into_owned()).collect()
    }

    fn is_sent_as(&self, rule: &CommandRule) -> bool {
        let gather = |gather: Gather| match self.response.as_deref() {
            Some("all_succeeded") => gather == Gather::AllSucceeded,
            Some("one_succeeded") => gather == Gather::OneSucceeded,
            Some("agg_sum") => gather == Gather::Sum,
            Some("agg_min") => gather == Gather::Min,
            Some("agg_logical_and") => gather == Gather::LogicalAnd,
            Some("special") | None => {
                [Gather::ByNode, Gather::ByPosition, Gather::Concatenated, Gather::AnyNonNil].contains(&gather)
            }
            Some(_) => false,
        };
        match (self.request.as_deref(), rule.sent) {
            (Some("multi_shard"), SentTo::Split(how)) => gather(how),
            (Some("all_nodes"), SentTo::ToNodes(NodeSet::All, how))
            | (Some("all_shards"), SentTo::ToNodes(NodeSet::Primaries, how)) => gather(how),
            (Some("special"), SentTo::ByCaller(_)) => true,
            (Some(_), _) => false,
            (None, SentTo::AsSubcommand) => self.is_container || self.specs.is_none(),
            // Servers before 7.0 say nothing of policies.
            (None, _) if self.specs.is_none() => true,
            (None, SentTo::ToKeys) => true,
            // Servers say nothing of most commands for administrators.
            (None, SentTo::ToNodes(..) | SentTo::ByCaller(_) | SentTo::ToSlot(_)) => rule.keys.is_empty(),
            (None, SentTo::Split(_)) => false,
        }
    }
}

/// Seen to bite: with EVAL as a command that reads, with FLUSHALL to replicas, with the numbers of WAIT added, and with GETEX left out
/// of the table.
#[test]
fn every_command_of_a_real_server_is_routed_as_it_says() {
    let server = RedisServer::start();
    let commands: Vec<Value> = redis::cmd("COMMAND").query(&mut connect(&server)).expect("COMMAND");
    let mut described = Vec::new();
    commands.iter().for_each(|command| describe(command, &mut described));
    assert!(described.len() > 200, "{}", described.len());
    let mut wrong = Vec::new();
    for command in described {
        let Some(rule) = command.rule() else {
            wrong.push(format!("{} is not in the table: {command:?}", command.name));
            continue;
        };
        let mut words = redis::Cmd::new();
        command.name.split('|').for_each(|word| {
            words.arg(word.to_ascii_lowercase());
        });
        // Before 7.0 a container is one command.
        let is_one_command = rule.sent == SentTo::AsSubcommand;
        assert!(is_one_command || rule_of(&words) == rule, "{} is not found", command.name);
        let differs = DIFFERENCES.iter().any(|(name, _)| *name == command.name);
        if differs || (is_one_command && command.specs.is_none()) {
            continue;
        }
        wrong.extend(command.compare(rule).into_iter().map(|words| format!("{}: the server says {words}", command.name)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Seen to bite: with the first STORE of SORT, with a pattern of SORT as an option, with the IDs of streams as keys, and with the
/// empty key of MIGRATE.
#[test]
fn every_command_of_a_real_server_has_its_keys_where_getkeys_finds_them() {
    let server = RedisServer::start();
    let mut connection = connect(&server);
    let (mut wrong, mut compared) = (Vec::new(), 0);
    let is_compared = |line: &str| !line.is_empty() && NOT_COMPARED.iter().all(|(other, _)| *other != line);
    for (line, _) in KEYS.iter().filter(|(line, _)| is_compared(line)) {
        let mut getkeys = redis::cmd("COMMAND");
        getkeys.arg("GETKEYS");
        cmd(line).args_iter().for_each(|arg| {
            getkeys.arg(text_of(arg).expect("no cursor"));
        });
        let reply: Result<Vec<String>, RedisError> = getkeys.query(&mut connection);
        // Redis 6.2 names the destination last.
        let in_order = |keys: &str| keys.split(' ').map(str::to_owned).collect::<BTreeSet<_>>();
        let keys = match reply {
            Ok(keys) => keys.join(" "),
            // Of another version, or with another number of arguments.
            Err(error) if error.to_string().contains("nvalid command") || error.to_string().contains("number of arg") => continue,
            Err(_) => String::new(),
        };
        compared += 1;
        let found = keys_in(line);
        if in_order(&keys) != in_order(&found) {
            wrong.push(format!("{line}: the server says {keys}, and not {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(compared > 25, "{compared}");
}
