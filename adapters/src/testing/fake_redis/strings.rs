//! The commands on strings; reads and writes of one or more keys, no numbers (see `counters`).

use super::expiry::expiry_at;
use super::keyspace::{Call, KeyValue, TextValue};
use super::reply::{Answer, Response};
use super::words::{Bytes, Failure, SYNTAX, integer, upper, wrong_arity};

const TOO_LONG: &str = "ERR string exceeds maximum allowed size (proto-max-bulk-len)";
const MAX_TEXT: usize = 512 << 20;

fn text(call: &Call<'_>, key: &[u8]) -> Result<Option<Bytes>, Failure> {
    Ok(call.db.read::<TextValue>(key)?.cloned())
}

fn put(call: &mut Call<'_>, key: &[u8], text: Bytes) {
    call.db.put(key, KeyValue::Text(text));
}

pub(super) fn get(call: &mut Call<'_>) -> Answer {
    Ok(Response::bulk_or_null(text(call, &call.args[1])?))
}

#[derive(Default)]
struct SetOptions {
    /// Some(true): XX; Some(false): NX.
    must_exist: Option<bool>,
    get: bool,
    keep_ttl: bool,
    persist: bool,
    /// The unit and the number as it came.
    expiry: Option<(String, Bytes)>,
}

impl SetOptions {
    fn parse(args: &[Bytes], is_set: bool) -> Result<Self, Failure> {
        let mut options = Self::default();
        let mut rest = args.iter();
        while let Some(word) = rest.next() {
            let is_bare = options.expiry.is_none() && !options.keep_ttl && !options.persist;
            match upper(word).as_str() {
                "NX" if is_set && options.must_exist != Some(true) => options.must_exist = Some(false),
                "XX" if is_set && options.must_exist != Some(false) => options.must_exist = Some(true),
                "GET" if is_set => options.get = true,
                "KEEPTTL" if is_set && options.expiry.is_none() && !options.persist => options.keep_ttl = true,
                "PERSIST" if !is_set && options.expiry.is_none() && !options.keep_ttl => options.persist = true,
                unit @ ("EX" | "PX" | "EXAT" | "PXAT") if is_bare => {
                    options.expiry = Some((unit.to_owned(), rest.next().ok_or(SYNTAX)?.clone()));
                }
                _ => return Err(SYNTAX.into()),
            }
        }
        Ok(options)
    }

    fn expires_at(&self, call: &Call<'_>, name: &str) -> Result<Option<i64>, Failure> {
        let Some((unit, number)) = &self.expiry else { return Ok(None) };
        expiry_at(number, unit.starts_with('E'), !unit.ends_with("AT"), call.now_ms, name).map(Some)
    }
}

pub(super) fn set(call: &mut Call<'_>) -> Answer {
    let (key, value) = (&call.args[1], &call.args[2]);
    let options = SetOptions::parse(&call.args[3..], true)?;
    let expires_at = options.expires_at(call, "set")?;
    let old = if options.get { text(call, key)? } else { None };
    let is_done = options.must_exist.is_none_or(|must| must == call.db.contains(key));
    if is_done {
        let kept = call.db.entry(key).and_then(|entry| entry.expires_at).filter(|_| options.keep_ttl);
        put(call, key, value.clone());
        call.db.set_expiry(key, expires_at.or(kept));
    }
    Ok(match old {
        Some(old) => Response::Bulk(old),
        None if is_done && !options.get => Response::OK,
        None => Response::Null,
    })
}

pub(super) fn setnx(call: &mut Call<'_>) -> Answer {
    let is_new = !call.db.contains(&call.args[1]);
    if is_new {
        put(call, &call.args[1], call.args[2].clone());
    }
    Ok(Response::flag(is_new))
}

fn set_for(call: &mut Call<'_>, in_seconds: bool, name: &str) -> Answer {
    let key = &call.args[1];
    let at = expiry_at(&call.args[2], in_seconds, true, call.now_ms, name)?;
    put(call, key, call.args[3].clone());
    call.db.set_expiry(key, Some(at));
    Ok(Response::OK)
}

pub(super) fn setex(call: &mut Call<'_>) -> Answer {
    set_for(call, true, "setex")
}

pub(super) fn psetex(call: &mut Call<'_>) -> Answer {
    set_for(call, false, "psetex")
}

pub(super) fn getset(call: &mut Call<'_>) -> Answer {
    let old = text(call, &call.args[1])?;
    put(call, &call.args[1], call.args[2].clone());
    Ok(Response::bulk_or_null(old))
}

pub(super) fn getdel(call: &mut Call<'_>) -> Answer {
    let old = text(call, &call.args[1])?;
    call.db.remove(&call.args[1]);
    Ok(Response::bulk_or_null(old))
}

pub(super) fn getex(call: &mut Call<'_>) -> Answer {
    let key = &call.args[1];
    let options = SetOptions::parse(&call.args[2..], false)?;
    let Some(old) = text(call, key)? else { return Ok(Response::Null) };
    let expires_at = options.expires_at(call, "getex")?;
    if expires_at.is_some() || options.persist {
        call.db.set_expiry(key, expires_at);
        call.db.changed(key);
    }
    Ok(Response::Bulk(old))
}

pub(super) fn mget(call: &mut Call<'_>) -> Answer {
    // A key of another type counts as none.
    let values = call.args[1..].iter().map(|key| Response::bulk_or_null(text(call, key).unwrap_or(None)));
    Ok(Response::Array(values.collect()))
}

fn pairs<'a>(call: &Call<'a>, name: &str) -> Result<Vec<(&'a Bytes, &'a Bytes)>, Failure> {
    if call.args.len().is_multiple_of(2) {
        return Err(wrong_arity(name));
    }
    Ok(call.args[1..].chunks_exact(2).map(|pair| (&pair[0], &pair[1])).collect())
}

pub(super) fn mset(call: &mut Call<'_>) -> Answer {
    for (key, value) in pairs(call, "mset")? {
        put(call, key, value.clone());
    }
    Ok(Response::OK)
}

pub(super) fn msetnx(call: &mut Call<'_>) -> Answer {
    let pairs = pairs(call, "msetnx")?;
    if pairs.iter().any(|(key, _)| call.db.contains(key)) {
        return Ok(Response::Integer(0));
    }
    for (key, value) in pairs {
        put(call, key, value.clone());
    }
    Ok(Response::Integer(1))
}

pub(super) fn append(call: &mut Call<'_>) -> Answer {
    let (key, more) = (&call.args[1], &call.args[2]);
    let length = call.db.read::<TextValue>(key)?.map_or(0, Vec::len) + more.len();
    if length > MAX_TEXT {
        return Err(TOO_LONG.into());
    }
    call.db.create::<TextValue>(key)?.extend_from_slice(more);
    call.db.changed(key);
    Ok(Response::count(length))
}

pub(super) fn strlen(call: &mut Call<'_>) -> Answer {
    Ok(Response::count(call.db.read::<TextValue>(&call.args[1])?.map_or(0, Vec::len)))
}

pub(super) fn getrange(call: &mut Call<'_>) -> Answer {
    let (from, to) = (integer(&call.args[2])?, integer(&call.args[3])?);
    let text = text(call, &call.args[1])?.unwrap_or_default();
    let length = i64::try_from(text.len()).unwrap_or(i64::MAX);
    if from < 0 && to < 0 && from > to {
        return Ok(Response::Bulk(Vec::new()));
    }
    let from = if from < 0 { (length + from).max(0) } else { from };
    let to = if to < 0 { (length + to).max(0) } else { to }.min(length - 1);
    if from > to || length == 0 {
        return Ok(Response::Bulk(Vec::new()));
    }
    let range = usize::try_from(from).unwrap_or(0)..=usize::try_from(to).unwrap_or(0);
    Ok(Response::Bulk(text[range].to_vec()))
}

pub(super) fn setrange(call: &mut Call<'_>) -> Answer {
    let (key, piece) = (&call.args[1], &call.args[3]);
    let offset = integer(&call.args[2])?;
    let offset = usize::try_from(offset).map_err(|_| Failure::from("ERR offset is out of range"))?;
    let length = call.db.read::<TextValue>(key)?.map_or(0, Vec::len);
    if piece.is_empty() {
        return Ok(Response::count(length));
    }
    let end = offset.checked_add(piece.len()).filter(|end| *end <= MAX_TEXT).ok_or(TOO_LONG)?;
    let text = call.db.create::<TextValue>(key)?;
    text.resize(length.max(end), 0);
    text[offset..end].copy_from_slice(piece);
    let length = text.len();
    call.db.changed(key);
    Ok(Response::count(length))
}
