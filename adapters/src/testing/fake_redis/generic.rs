//! The commands on keys of any type within one database; not those on their expiry.

use super::keyspace::{Call, KeyEntry};
use super::reply::{Answer, Response};
use super::words::{Bytes, NO_SUCH_KEY, SYNTAX, matches_glob, upper};

pub(super) fn del(call: &mut Call<'_>) -> Answer {
    let removed = call.args[1..].iter().filter(|key| call.db.remove(key).is_some()).count();
    Ok(Response::count(removed))
}

pub(super) fn exists(call: &mut Call<'_>) -> Answer {
    Ok(Response::count(call.args[1..].iter().filter(|key| call.db.contains(key)).count()))
}

pub(super) fn type_of(call: &mut Call<'_>) -> Answer {
    Ok(Response::Simple(call.db.entry(&call.args[1]).map_or("none", |entry| entry.value.type_name())))
}

/// Puts a key with its expiry in the place of whatever was there.
pub(super) fn put_entry(db: &mut super::keyspace::FakeDatabase, key: &[u8], entry: KeyEntry) {
    db.put(key, entry.value);
    db.set_expiry(key, entry.expires_at);
}

pub(super) fn rename(call: &mut Call<'_>) -> Answer {
    let (from, to) = (&call.args[1], &call.args[2]);
    if !call.db.contains(from) {
        return Err(NO_SUCH_KEY.into());
    }
    if from != to
        && let Some(entry) = call.db.remove(from)
    {
        call.db.remove(to);
        put_entry(call.db, to, entry);
    }
    Ok(Response::OK)
}

pub(super) fn renamenx(call: &mut Call<'_>) -> Answer {
    if !call.db.contains(&call.args[1]) {
        return Err(NO_SUCH_KEY.into());
    }
    if call.db.contains(&call.args[2]) {
        return Ok(Response::Integer(0));
    }
    rename(call)?;
    Ok(Response::Integer(1))
}

pub(super) fn keys(call: &mut Call<'_>) -> Answer {
    let found = call.db.keys().filter(|key| matches_glob(&call.args[1], key)).cloned();
    Ok(Response::bulks(found))
}

pub(super) fn randomkey(call: &mut Call<'_>) -> Answer {
    let index = call.draw.index(call.db.len());
    Ok(Response::bulk_or_null(call.db.keys().nth(index).cloned()))
}

pub(super) fn dbsize(call: &mut Call<'_>) -> Answer {
    Ok(Response::count(call.db.len()))
}

/// Whether the words after FLUSHDB and FLUSHALL are right.
pub(super) fn check_flush(args: &[Bytes]) -> Answer {
    match args {
        [_] => Ok(Response::OK),
        [_, how] if matches!(upper(how).as_str(), "ASYNC" | "SYNC") => Ok(Response::OK),
        _ => Err(SYNTAX.into()),
    }
}

pub(super) fn flushdb(call: &mut Call<'_>) -> Answer {
    let answer = check_flush(call.args)?;
    call.db.clear();
    Ok(answer)
}
