//! MULTI, EXEC, DISCARD, WATCH and UNWATCH.

use super::reply::{Answer, Response};
use super::server::{ConnectionId, Server};
use super::session::QueuedCommands;
use super::words::Bytes;

pub(super) fn multi(server: &mut Server, id: ConnectionId, _args: &[Bytes]) -> Answer {
    let session = server.session(id);
    if session.multi.is_some() {
        return Err("ERR MULTI calls can not be nested".into());
    }
    session.multi = Some(QueuedCommands::default());
    Ok(Response::OK)
}

pub(super) fn discard(server: &mut Server, id: ConnectionId, _args: &[Bytes]) -> Answer {
    let session = server.session(id);
    if session.multi.is_none() {
        return Err("ERR DISCARD without MULTI".into());
    }
    session.end_transaction();
    Ok(Response::OK)
}

pub(super) fn exec(server: &mut Server, id: ConnectionId, _args: &[Bytes]) -> Answer {
    let session = server.session(id);
    let Some(queued) = session.multi.take() else { return Err("ERR EXEC without MULTI".into()) };
    let is_dirty = session.dirty;
    server.check_queue(id, &queued.commands).inspect_err(|_| server.session(id).end_transaction())?;
    server.session(id).end_transaction();
    if queued.refused {
        return Err("EXECABORT Transaction discarded because of previous errors.".into());
    }
    if is_dirty {
        return Ok(Response::NullArray);
    }
    let replies = queued.commands.iter().map(|args| server.run_queued(id, args)).collect();
    Ok(Response::Array(replies))
}

pub(super) fn watch(server: &mut Server, id: ConnectionId, args: &[Bytes]) -> Answer {
    let session = server.session(id);
    if session.multi.is_some() {
        return Err("ERR WATCH inside MULTI is not allowed".into());
    }
    let database = session.database;
    session.watched.extend(args[1..].iter().map(|key| (database, key.clone())));
    Ok(Response::OK)
}

pub(super) fn unwatch(server: &mut Server, id: ConnectionId, _args: &[Bytes]) -> Answer {
    let session = server.session(id);
    session.watched.clear();
    session.dirty = false;
    Ok(Response::OK)
}
