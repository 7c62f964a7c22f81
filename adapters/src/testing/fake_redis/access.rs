//! Logins and rights: AUTH, HELLO, ACL WHOAMI, and what a user may do.

use super::behaviour::FakeUser;
use super::reply::{Answer, Response};
use super::server::{ConnectionId, Server};
use super::spec::CommandSpec;
use super::subcommands::{has_subcommands, unknown_subcommand};
use super::words::{Bytes, Failure, SYNTAX, matches_glob, strict_integer, upper};

const WRONG_PASSWORD: &str = "WRONGPASS invalid username-password pair or user is disabled.";
const NO_PASSWORD: &str = "ERR AUTH <password> called without any password configured for the default user. \
                           Are you sure your configuration is correct?";
const HELLO_NEEDS_AUTH: &str = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH \
                                <user> <pass> option can be used to authenticate the client and select the RESP protocol version \
                                at the same time";
pub(super) const BAD_NAME: &str = "ERR Client names cannot contain spaces, newlines or special characters.";

pub(super) fn check_rights(user: &FakeUser, spec: &CommandSpec, args: &[Bytes]) -> Result<(), Failure> {
    if let Some(word) = args.get(1).filter(|_| has_subcommands(spec.name)) {
        let full = format!("{}|{}", spec.name, upper(word));
        if user.refused.contains(&full) {
            return Err(format!("NOPERM this user has no permissions to run the '{}' command", full.to_ascii_lowercase()).into());
        }
    }
    if user.refused.contains(spec.name) || user.commands.as_ref().is_some_and(|commands| !commands.contains(spec.name)) {
        let name = spec.name.to_ascii_lowercase();
        return Err(format!("NOPERM this user has no permissions to run the '{name}' command").into());
    }
    let Some(patterns) = &user.keys else { return Ok(()) };
    let is_allowed = |key: &Bytes| patterns.iter().any(|pattern| matches_glob(pattern.as_bytes(), key));
    if spec.keys(args).into_iter().all(is_allowed) {
        return Ok(());
    }
    Err("NOPERM this user has no permissions to access one of the keys used as arguments".into())
}

fn log_in(server: &mut Server, id: ConnectionId, user: &[u8], password: &[u8]) -> Result<(), Failure> {
    let name = String::from_utf8_lossy(user).into_owned();
    let is_right = server.behaviour.user(&name).is_some_and(|user| {
        let fits = user.passwords.is_empty() || user.passwords.iter().any(|right| right.as_bytes() == password);
        fits && !user.disabled
    });
    if !is_right {
        return Err(WRONG_PASSWORD.into());
    }
    let session = server.session(id);
    session.user = name;
    session.authenticated = true;
    Ok(())
}

pub(super) fn auth(server: &mut Server, id: ConnectionId, args: &[Bytes]) -> Answer {
    match args {
        [_, password] => {
            if server.behaviour.user("default").is_some_and(|user| user.passwords.is_empty()) {
                return Err(NO_PASSWORD.into());
            }
            log_in(server, id, b"default", password)?;
        }
        [_, user, password] => log_in(server, id, user, password)?,
        _ => return Err(SYNTAX.into()),
    }
    Ok(Response::OK)
}

pub(super) fn is_client_name(name: &[u8]) -> bool {
    name.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

pub(super) fn hello(server: &mut Server, id: ConnectionId, args: &[Bytes]) -> Answer {
    let mut resp3 = server.session(id).resp3;
    if let Some(version) = args.get(1) {
        let version = strict_integer(version).ok_or("ERR Protocol version is not an integer or out of range")?;
        resp3 = match version {
            2 => false,
            3 => true,
            _ => return Err("NOPROTO unsupported protocol version".into()),
        };
    }
    let mut name = None;
    let mut rest = args.get(2..).unwrap_or_default();
    while let Some(option) = rest.first() {
        match (upper(option).as_str(), rest.len()) {
            ("AUTH", 3..) => {
                log_in(server, id, &rest[1], &rest[2])?;
                rest = &rest[3..];
            }
            ("SETNAME", 2..) => {
                if !is_client_name(&rest[1]) {
                    return Err(BAD_NAME.into());
                }
                name = Some(rest[1].clone());
                rest = &rest[2..];
            }
            _ => return Err(Failure([b"ERR Syntax error in HELLO option '", option.as_slice(), b"'"].concat())),
        }
    }
    if !server.session(id).authenticated {
        return Err(HELLO_NEEDS_AUTH.into());
    }
    let session = server.session(id);
    session.resp3 = resp3;
    if let Some(name) = name {
        session.name = name;
    }
    let role = if server.behaviour.read_only || server.replication.is_replica() { "replica" } else { "master" };
    let version = server.behaviour.version.clone();
    let pair = |key: &str, value: Response| (Response::text(key), value);
    Ok(Response::Map(vec![
        pair("server", Response::text("redis")),
        pair("version", Response::text(version)),
        pair("proto", Response::Integer(if resp3 { 3 } else { 2 })),
        pair("id", Response::Integer(i64::try_from(id).unwrap_or(i64::MAX))),
        pair("mode", Response::text(if server.cluster.is_some() { "cluster" } else { "standalone" })),
        pair("role", Response::text(role)),
        pair("modules", Response::Array(Vec::new())),
    ]))
}

pub(super) fn acl(server: &mut Server, id: ConnectionId, args: &[Bytes]) -> Answer {
    match upper(&args[1]).as_str() {
        "WHOAMI" => Ok(Response::text(server.session(id).user.clone())),
        "USERS" => {
            let mut names: Vec<_> = server.behaviour.users.keys().cloned().collect();
            if !names.iter().any(|name| name == "default") {
                names.push(String::from("default"));
            }
            names.sort();
            Ok(Response::bulks(names.into_iter().map(String::into_bytes)))
        }
        _ => Err(unknown_subcommand("ACL", &args[1])),
    }
}
