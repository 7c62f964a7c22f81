//! The commands on the server as a whole: INFO, CONFIG, TIME, ROLE, all databases; and those that it refuses by name.

use super::generic::{check_flush, put_entry};
use super::keyspace::FakeDatabase;
use super::reply::{Answer, Response};
use super::server::{ConnectionId, DATABASES, Server};
use super::subcommands::unknown_subcommand;
use super::words::{Bytes, Failure, SYNTAX, integer, matches_glob, strict_integer, upper};

pub(super) fn flushall(server: &mut Server, _id: ConnectionId, args: &[Bytes]) -> Answer {
    let answer = check_flush(args)?;
    server.databases.iter_mut().for_each(FakeDatabase::clear);
    Ok(answer)
}

fn database_index(word: &[u8]) -> Option<usize> {
    usize::try_from(strict_integer(word)?).ok().filter(|index| *index < DATABASES)
}

pub(super) fn copy(server: &mut Server, id: ConnectionId, args: &[Bytes]) -> Answer {
    let own = server.session(id).database;
    let (mut to, mut replaces) = (own, false);
    let mut rest = args[3..].iter();
    while let Some(word) = rest.next() {
        match upper(word).as_str() {
            "REPLACE" => replaces = true,
            "DB" => {
                let word = rest.next().ok_or(SYNTAX)?;
                integer(word)?;
                to = database_index(word).ok_or("ERR DB index is out of range")?;
            }
            _ => return Err(SYNTAX.into()),
        }
    }
    if own == to && args[1] == args[2] {
        return Err("ERR source and destination objects are the same".into());
    }
    let Some(entry) = server.databases[own].entry(&args[1]).cloned() else { return Ok(Response::Integer(0)) };
    if server.databases[to].contains(&args[2]) && !replaces {
        return Ok(Response::Integer(0));
    }
    put_entry(&mut server.databases[to], &args[2], entry);
    Ok(Response::Integer(1))
}

pub(super) fn move_key(server: &mut Server, id: ConnectionId, args: &[Bytes]) -> Answer {
    let own = server.session(id).database;
    integer(&args[2])?;
    let to = database_index(&args[2]).ok_or("ERR DB index is out of range")?;
    if to == own {
        return Err("ERR source and destination objects are the same".into());
    }
    if server.databases[to].contains(&args[1]) {
        return Ok(Response::Integer(0));
    }
    let Some(entry) = server.databases[own].remove(&args[1]) else { return Ok(Response::Integer(0)) };
    put_entry(&mut server.databases[to], &args[1], entry);
    Ok(Response::Integer(1))
}

pub(super) fn time(server: &mut Server, _id: ConnectionId, _args: &[Bytes]) -> Answer {
    let ms = server.unix_ms();
    let micros = (ms % 1_000) * 1_000 + i64::try_from(server.now.as_nanos() / 1_000 % 1_000).expect("below 1000");
    Ok(Response::bulks([(ms / 1_000).to_string().into_bytes(), micros.to_string().into_bytes()]))
}

pub(super) fn command(_server: &mut Server, _id: ConnectionId, args: &[Bytes]) -> Answer {
    match args.get(1).map(|word| upper(word)).as_deref() {
        Some("COUNT") if args.len() == 2 => Ok(Response::count(Server::command_count())),
        Some("DOCS") => Ok(Response::Map(Vec::new())),
        None => Ok(Response::Array(Vec::new())),
        Some(_) => Err(unknown_subcommand("COMMAND", &args[1])),
    }
}

/// Scripts, and what would stop the only thread that there is.
pub(super) fn refused(_server: &mut Server, _id: ConnectionId, args: &[Bytes]) -> Answer {
    let name = upper(&args[0]);
    Err(match name.as_str() {
        "DEBUG" => Failure::from("ERR the fake server refuses DEBUG: be slow with the fake network instead"),
        _ => format!("ERR the fake server has no Lua: it refuses {name}").into(),
    })
}

fn setting(server: &Server, name: &str) -> Option<String> {
    Some(match name {
        "databases" => DATABASES.to_string(),
        "maxclients" => server.behaviour.max_clients.to_string(),
        "requirepass" => server.behaviour.password.clone().unwrap_or_default(),
        "appendonly" => String::from("no"),
        "replica-serve-stale-data" => String::from(if server.replication.serves_stale_data { "yes" } else { "no" }),
        "maxmemory" | "timeout" => server.config.get(name).cloned().unwrap_or_else(|| String::from("0")),
        "maxmemory-policy" => server.config.get(name).cloned().unwrap_or_else(|| String::from("noeviction")),
        "save" => String::new(),
        _ => return None,
    })
}

const SETTINGS: [&str; 9] = [
    "appendonly",
    "databases",
    "maxclients",
    "maxmemory",
    "maxmemory-policy",
    "replica-serve-stale-data",
    "requirepass",
    "save",
    "timeout",
];

pub(super) fn config(server: &mut Server, _id: ConnectionId, args: &[Bytes]) -> Answer {
    match (upper(&args[1]).as_str(), args.len()) {
        ("GET", 3..) => {
            let is_asked =
                |name: &str| args[2..].iter().any(|pattern| matches_glob(&pattern.to_ascii_lowercase(), name.as_bytes()));
            let pair = |name: &str| (Response::text(name), Response::text(setting(server, name).unwrap_or_default()));
            Ok(Response::Map(SETTINGS.into_iter().filter(|name| is_asked(name)).map(pair).collect()))
        }
        ("SET", 4..) if args.len().is_multiple_of(2) => set_config(server, &args[2..]),
        ("SET", _) => Err(SYNTAX.into()),
        ("RESETSTAT" | "REWRITE", 2) => Ok(Response::OK),
        _ => Err(unknown_subcommand("CONFIG", &args[1])),
    }
}

fn set_config(server: &mut Server, pairs: &[Bytes]) -> Answer {
    for pair in pairs.chunks_exact(2) {
        let name = String::from_utf8_lossy(&pair[0]).to_ascii_lowercase();
        let value = String::from_utf8_lossy(&pair[1]).into_owned();
        match name.as_str() {
            "requirepass" => server.behaviour.password = Some(value).filter(|password| !password.is_empty()),
            "maxclients" => {
                let most = strict_integer(&pair[1]).and_then(|most| usize::try_from(most).ok()).filter(|most| *most > 0);
                server.behaviour.max_clients = most.ok_or_else(|| {
                    Failure::from("ERR CONFIG SET failed (possibly related to argument 'maxclients') - argument couldn't be parsed into an integer")
                })?;
            }
            "replica-serve-stale-data" => server.replication.serves_stale_data = value.eq_ignore_ascii_case("yes"),
            "maxmemory" | "maxmemory-policy" | "timeout" | "save" | "appendonly" => {
                server.config.insert(name, value);
            }
            _ => {
                let name = String::from_utf8_lossy(&pair[0]);
                return Err(format!("ERR Unknown option or number of arguments for CONFIG SET - '{name}'").into());
            }
        }
    }
    Ok(Response::OK)
}

/// The sections that this server has; others are left out, as an unknown one is.
pub(super) fn info(server: &mut Server, _id: ConnectionId, args: &[Bytes]) -> Answer {
    let asked: Vec<_> = args[1..].iter().map(|word| upper(word)).collect();
    let is_asked = |name: &str| {
        asked.is_empty() || asked.iter().any(|word| word == name || matches!(word.as_str(), "ALL" | "DEFAULT" | "EVERYTHING"))
    };
    let mut sections = Vec::new();
    let mut add = |name: &str, lines: Vec<String>| {
        if is_asked(&name.to_ascii_uppercase()) {
            sections.push(format!("# {name}\r\n{}", lines.into_iter().map(|line| line + "\r\n").collect::<String>()));
        }
    };
    let version = &server.behaviour.version;
    let up = server.now.saturating_duration_since(server.started_at).as_secs();
    add(
        "Server",
        vec![
            format!("redis_version:{version}"),
            format!("redis_mode:{}", if server.cluster.is_some() { "cluster" } else { "standalone" }),
            "process_id:1".into(),
            "tcp_port:6379".into(),
            format!("uptime_in_seconds:{up}"),
        ],
    );
    let blocked = server.sessions.values().filter(|session| session.blocked.is_some()).count();
    add(
        "Clients",
        vec![
            format!("connected_clients:{}", server.sessions.len()),
            format!("maxclients:{}", server.behaviour.max_clients),
            format!("blocked_clients:{blocked}"),
        ],
    );
    let policy = setting(server, "maxmemory-policy").unwrap_or_default();
    add("Memory", vec!["used_memory:1000000".into(), format!("maxmemory_policy:{policy}")]);
    add(
        "Persistence",
        vec![
            format!("loading:{}", u8::from(server.behaviour.loading || server.replication.is_loading(server.now))),
            "aof_enabled:0".into(),
        ],
    );
    add(
        "Stats",
        vec![
            format!("total_connections_received:{}", server.last_id),
            format!("total_commands_processed:{}", server.journal.total()),
        ],
    );
    add("Replication", server.replication_lines());
    add("Cluster", vec![format!("cluster_enabled:{}", u8::from(server.cluster.is_some()))]);
    let keys = server.databases.iter().enumerate().filter(|(_, database)| database.len() > 0);
    let line = |(index, database): (usize, &FakeDatabase)| {
        format!("db{index}:keys={},expires={},avg_ttl=0", database.len(), database.with_expiry())
    };
    add("Keyspace", keys.map(line).collect());
    Ok(Response::Verbatim(sections.join("\r\n")))
}
