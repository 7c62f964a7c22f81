//! CLIENT and its subcommands, and the other commands on the connection itself.

use super::access::{BAD_NAME, is_client_name};
use super::reply::{Answer, Response};
use super::server::{ConnectionId, DATABASES, Server};
use super::session::{FakeSession, ReplyMode};
use super::words::{Bytes, Failure, SYNTAX, integer, strict_integer, upper, wrong_arity};

pub(super) fn ping(server: &mut Server, id: ConnectionId, args: &[Bytes]) -> Answer {
    if args.len() > 2 {
        return Err(wrong_arity("ping"));
    }
    let session = server.session(id);
    if session.is_subscriber() && !session.resp3 {
        let text = args.get(1).cloned().unwrap_or_default();
        return Ok(Response::bulks([b"pong".to_vec(), text]));
    }
    Ok(args.get(1).map_or(Response::Simple("PONG"), |text| Response::Bulk(text.clone())))
}

pub(super) fn echo(_server: &mut Server, _id: ConnectionId, args: &[Bytes]) -> Answer {
    Ok(Response::Bulk(args[1].clone()))
}

pub(super) fn select(server: &mut Server, id: ConnectionId, args: &[Bytes]) -> Answer {
    let number = integer(&args[1])?;
    let databases = server.cluster.as_ref().map_or(DATABASES, |cluster| cluster.databases());
    if databases == 1 && number != 0 {
        return Err("ERR SELECT is not allowed in cluster mode".into());
    }
    let database = usize::try_from(number).ok().filter(|number| *number < databases);
    server.session(id).database = database.ok_or("ERR DB index is out of range")?;
    Ok(Response::OK)
}

pub(super) fn quit(server: &mut Server, id: ConnectionId, _args: &[Bytes]) -> Answer {
    server.session(id).closes_after_reply = true;
    Ok(Response::OK)
}

pub(super) fn reset(server: &mut Server, id: ConnectionId, _args: &[Bytes]) -> Answer {
    let default = server.behaviour.user("default").unwrap_or_default();
    let session = server.session(id);
    session.end_transaction();
    session.channels.clear();
    session.patterns.clear();
    session.shard_channels.clear();
    session.tracking = false;
    session.reads_replica = false;
    session.database = 0;
    session.resp3 = false;
    session.name.clear();
    session.reply_mode = ReplyMode::On;
    session.user = String::from("default");
    session.authenticated = default.passwords.is_empty() && !default.disabled;
    Ok(Response::Simple("RESET"))
}

pub(super) fn client(server: &mut Server, id: ConnectionId, args: &[Bytes]) -> Answer {
    let word = upper(&args[1]);
    match word.as_str() {
        "ID" => Ok(Response::Integer(number(id))),
        "GETNAME" => {
            let name = server.session(id).name.clone();
            Ok(Response::bulk_or_null(Some(name).filter(|name| !name.is_empty())))
        }
        "SETNAME" => {
            if !is_client_name(&args[2]) {
                return Err(BAD_NAME.into());
            }
            server.session(id).name = args[2].clone();
            Ok(Response::OK)
        }
        "SETINFO" => set_info(server.session(id), &args[2], &args[3]),
        "INFO" => Ok(Response::Verbatim(format!("{}\n", describe(server, id)))),
        "LIST" => list(server, args),
        "KILL" => kill(server, id, args),
        "REPLY" => reply_mode(server.session(id), &args[2]),
        "NO-EVICT" | "NO-TOUCH" => {
            server.session(id).no_evict = on_or_off(&args[2])?;
            Ok(Response::OK)
        }
        "TRACKING" => {
            check_tracking(&args[3..])?;
            server.session(id).tracking = on_or_off(&args[2])?;
            Ok(Response::OK)
        }
        "GETREDIR" => Ok(Response::Integer(if server.session(id).tracking { 0 } else { -1 })),
        "CACHING" => {
            Err("ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled"
                .into())
        }
        "UNBLOCK" => unblock(server, args),
        "PAUSE" => pause(server, args),
        _ => {
            server.end_pause();
            Ok(Response::OK)
        }
    }
}

fn number(id: ConnectionId) -> i64 {
    i64::try_from(id).unwrap_or(i64::MAX)
}

/// The options of CLIENT TRACKING are taken, but nothing is ever invalidated.
fn check_tracking(words: &[Bytes]) -> Result<(), Failure> {
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        match upper(word).as_str() {
            "BCAST" | "OPTIN" | "OPTOUT" | "NOLOOP" => {}
            "PREFIX" | "REDIRECT" if rest.next().is_some() => {}
            _ => return Err(SYNTAX.into()),
        }
    }
    Ok(())
}

fn on_or_off(word: &[u8]) -> Result<bool, Failure> {
    match upper(word).as_str() {
        "ON" => Ok(true),
        "OFF" => Ok(false),
        _ => Err(SYNTAX.into()),
    }
}

fn set_info(session: &mut FakeSession, attribute: &[u8], value: &[u8]) -> Answer {
    let is_name = match upper(attribute).as_str() {
        "LIB-NAME" => true,
        "LIB-VER" => false,
        _ => return Err(Failure([b"ERR Unrecognized option '", attribute, b"'"].concat())),
    };
    if !is_client_name(value) {
        let word = if is_name { "lib-name" } else { "lib-ver" };
        return Err(format!("ERR {word} cannot contain spaces, newlines or special characters.").into());
    }
    *(if is_name { &mut session.library.0 } else { &mut session.library.1 }) = value.to_vec();
    Ok(Response::OK)
}

fn reply_mode(session: &mut FakeSession, word: &[u8]) -> Answer {
    session.reply_mode = match upper(word).as_str() {
        "ON" => ReplyMode::On,
        "OFF" => ReplyMode::Off,
        "SKIP" if session.reply_mode == ReplyMode::Off => ReplyMode::Off,
        "SKIP" => ReplyMode::SkipNext,
        _ => return Err(SYNTAX.into()),
    };
    Ok(if session.reply_mode == ReplyMode::On { Response::OK } else { Response::Several(Vec::new()) })
}

fn describe(server: &Server, id: ConnectionId) -> String {
    let Some(session) = server.sessions.get(&id) else { return String::new() };
    let mut flags = String::new();
    flags.extend(session.is_subscriber().then_some('P'));
    flags.extend(session.multi.is_some().then_some('x'));
    flags.extend((session.blocked.is_some() || session.ack_wait.is_some()).then_some('b'));
    flags.extend(session.reads_replica.then_some('r'));
    flags.extend(session.tracking.then_some('t'));
    flags.extend(session.dirty.then_some('d'));
    if flags.is_empty() {
        flags.push('N');
    }
    let seconds = |since| server.now.saturating_duration_since(since).as_secs();
    let multi = session.multi.as_ref().map_or(-1, |queued| i64::try_from(queued.commands.len()).unwrap_or(i64::MAX));
    let library = if server.behaviour.is_at_least(7, 2) {
        let (name, version) = (String::from_utf8_lossy(&session.library.0), String::from_utf8_lossy(&session.library.1));
        format!(" lib-name={name} lib-ver={version}")
    } else {
        String::new()
    };
    format!(
        "id={id} addr={} laddr=127.0.0.1:6379 fd={} name={} age={} idle={} flags={flags} db={} sub={} psub={} ssub={} \
         multi={multi} qbuf={} qbuf-free=0 argv-mem=0 multi-mem=0 rbs=1024 rbp=0 obl=0 oll=0 omem=0 tot-mem=0 events=r cmd={} \
         user={} redir=-1 resp={}{library}",
        session.peer,
        id + 7,
        String::from_utf8_lossy(&session.name),
        seconds(session.connected_at),
        seconds(session.last_at),
        session.database,
        session.channels.len(),
        session.patterns.len(),
        session.shard_channels.len(),
        session.reader.pending(),
        session.last_command,
        session.user,
        if session.resp3 { 3 } else { 2 },
    )
}

fn client_type(session: &FakeSession) -> &'static str {
    if session.is_subscriber() { "PUBSUB" } else { "NORMAL" }
}

fn list(server: &mut Server, args: &[Bytes]) -> Answer {
    let mut ids: Vec<_> = server.sessions.keys().copied().collect();
    match args.get(2).map(|word| upper(word)).as_deref() {
        None => {}
        Some("TYPE") if args.len() == 4 => {
            let word = upper(&args[3]);
            if !["NORMAL", "PUBSUB", "MASTER", "REPLICA", "SLAVE"].contains(&word.as_str()) {
                return Err(Failure([b"ERR Unknown client type '", args[3].as_slice(), b"'"].concat()));
            }
            ids.retain(|id| client_type(&server.sessions[id]) == word);
        }
        Some("ID") if args.len() > 3 => {
            let asked: Result<Vec<i64>, Failure> =
                args[3..].iter().map(|word| strict_integer(word).ok_or_else(|| "ERR Invalid client ID".into())).collect();
            let asked = asked?;
            ids.retain(|id| asked.contains(&number(*id)));
        }
        Some(_) => return Err(SYNTAX.into()),
    }
    Ok(Response::Verbatim(ids.into_iter().map(|id| format!("{}\n", describe(server, id))).collect()))
}

fn kill(server: &mut Server, id: ConnectionId, args: &[Bytes]) -> Answer {
    if let [_, _, address] = args {
        let address = String::from_utf8_lossy(address).into_owned();
        let found = server.sessions.iter().find(|(_, session)| session.peer == address).map(|(id, _)| *id);
        end(server, id, found.ok_or("ERR No such client")?);
        return Ok(Response::OK);
    }
    if !args.len().is_multiple_of(2) {
        return Err(SYNTAX.into());
    }
    let mut ids: Vec<_> = server.sessions.keys().copied().collect();
    let mut skips_own = true;
    for pair in args[2..].chunks_exact(2) {
        let value = String::from_utf8_lossy(&pair[1]).into_owned();
        match upper(&pair[0]).as_str() {
            "ID" => {
                let asked =
                    strict_integer(&pair[1]).filter(|asked| *asked > 0).ok_or("ERR client-id should be greater than 0")?;
                ids.retain(|id| number(*id) == asked);
            }
            "ADDR" => ids.retain(|id| server.sessions[id].peer == value),
            "LADDR" => ids.retain(|_| value == "127.0.0.1:6379"),
            "USER" => {
                if server.behaviour.user(&value).is_none() {
                    return Err(format!("ERR No such user '{value}'").into());
                }
                ids.retain(|id| server.sessions[id].user == value);
            }
            "TYPE" => {
                let word = upper(&pair[1]);
                if !["NORMAL", "PUBSUB", "MASTER", "REPLICA", "SLAVE"].contains(&word.as_str()) {
                    return Err(format!("ERR Unknown client type '{value}'").into());
                }
                ids.retain(|id| client_type(&server.sessions[id]) == word);
            }
            "SKIPME" => {
                skips_own = match upper(&pair[1]).as_str() {
                    "YES" => true,
                    "NO" => false,
                    _ => return Err(SYNTAX.into()),
                };
            }
            _ => return Err(SYNTAX.into()),
        }
    }
    ids.retain(|other| *other != id || !skips_own);
    ids.iter().for_each(|other| end(server, id, *other));
    Ok(Response::count(ids.len()))
}

/// Closes a connection; the own one after the reply.
fn end(server: &mut Server, own: ConnectionId, other: ConnectionId) {
    if own == other {
        server.session(own).closes_after_reply = true;
    } else {
        server.close(other);
    }
}

fn unblock(server: &mut Server, args: &[Bytes]) -> Answer {
    let with_error = match args.get(3).map(|word| upper(word)).as_deref() {
        None | Some("TIMEOUT") => false,
        Some("ERROR") => true,
        Some(_) => return Err("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR".into()),
    };
    let other = ConnectionId::try_from(integer(&args[2])?).unwrap_or(0);
    let answer = if with_error { Err("UNBLOCKED client unblocked via CLIENT UNBLOCK".into()) } else { Ok(Response::NullArray) };
    Ok(Response::flag(server.unblock(other, answer)))
}

fn pause(server: &mut Server, args: &[Bytes]) -> Answer {
    let all = match args.get(3).map(|word| upper(word)).as_deref() {
        None | Some("ALL") => true,
        Some("WRITE") => false,
        Some(_) => return Err("ERR CLIENT PAUSE mode must be WRITE or ALL".into()),
    };
    let ms = strict_integer(&args[2]).ok_or("ERR timeout is not an integer or out of range")?;
    if ms < 0 {
        return Err("ERR timeout is negative".into());
    }
    server.pauses_all = all;
    server.paused_until = Some(server.after_ms(ms));
    Ok(Response::OK)
}
