//! The commands on when a key expires, in milliseconds of Unix time; the keyspace takes out what has.

use super::keyspace::Call;
use super::reply::{Answer, Response};
use super::words::{Failure, integer, upper};

fn invalid(name: &str) -> Failure {
    format!("ERR invalid expire time in '{name}' command").into()
}

/// When a value expires that is given with a positive number of seconds or milliseconds, from now or from 1970.
pub(super) fn expiry_at(number: &[u8], in_seconds: bool, from_now: bool, now_ms: i64, name: &str) -> Result<i64, Failure> {
    let number = integer(number)?;
    if number <= 0 {
        return Err(invalid(name));
    }
    absolute(number, in_seconds, from_now, now_ms).ok_or_else(|| invalid(name))
}

fn absolute(number: i64, in_seconds: bool, from_now: bool, now_ms: i64) -> Option<i64> {
    let ms = if in_seconds { number.checked_mul(1_000)? } else { number };
    if from_now { ms.checked_add(now_ms) } else { Some(ms) }
}

#[derive(Default)]
struct ExpireConditions {
    if_none: bool,
    if_some: bool,
    if_later: bool,
    if_earlier: bool,
}

impl ExpireConditions {
    fn parse(words: &[Vec<u8>]) -> Result<Self, Failure> {
        let mut conditions = Self::default();
        for word in words {
            match upper(word).as_str() {
                "NX" => conditions.if_none = true,
                "XX" => conditions.if_some = true,
                "GT" => conditions.if_later = true,
                "LT" => conditions.if_earlier = true,
                _ => return Err(Failure([b"ERR Unsupported option ", word.as_slice()].concat())),
            }
        }
        if conditions.if_none && (conditions.if_some || conditions.if_later || conditions.if_earlier) {
            return Err("ERR NX and XX, GT or LT options at the same time are not compatible".into());
        }
        if conditions.if_later && conditions.if_earlier {
            return Err("ERR GT and LT options at the same time are not compatible".into());
        }
        Ok(conditions)
    }

    fn allow(&self, old: Option<i64>, new: i64) -> bool {
        !(self.if_none && old.is_some()
            || self.if_some && old.is_none()
            || self.if_later && old.is_none_or(|old| new <= old)
            || self.if_earlier && old.is_some_and(|old| new >= old))
    }
}

fn expire_with(call: &mut Call<'_>, in_seconds: bool, from_now: bool, name: &str) -> Answer {
    let key = &call.args[1];
    let conditions = ExpireConditions::parse(&call.args[3..])?;
    let number = integer(&call.args[2])?;
    let at = absolute(number, in_seconds, from_now, call.now_ms).ok_or_else(|| invalid(name))?;
    let Some(entry) = call.db.entry(key) else { return Ok(Response::Integer(0)) };
    if !conditions.allow(entry.expires_at, at) {
        return Ok(Response::Integer(0));
    }
    if at <= call.now_ms {
        call.db.remove(key);
    } else {
        call.db.set_expiry(key, Some(at));
        call.db.changed(key);
    }
    Ok(Response::Integer(1))
}

pub(super) fn expire(call: &mut Call<'_>) -> Answer {
    expire_with(call, true, true, "expire")
}

pub(super) fn pexpire(call: &mut Call<'_>) -> Answer {
    expire_with(call, false, true, "pexpire")
}

pub(super) fn expireat(call: &mut Call<'_>) -> Answer {
    expire_with(call, true, false, "expireat")
}

pub(super) fn pexpireat(call: &mut Call<'_>) -> Answer {
    expire_with(call, false, false, "pexpireat")
}

fn remaining(call: &Call<'_>, from_now: bool, in_seconds: bool) -> Answer {
    Ok(Response::Integer(match call.db.entry(&call.args[1]).map(|entry| entry.expires_at) {
        None => -2,
        Some(None) => -1,
        Some(Some(at)) => {
            let ms = if from_now { (at - call.now_ms).max(0) } else { at };
            if in_seconds { ms.saturating_add(500) / 1_000 } else { ms }
        }
    }))
}

pub(super) fn ttl(call: &mut Call<'_>) -> Answer {
    remaining(call, true, true)
}

pub(super) fn pttl(call: &mut Call<'_>) -> Answer {
    remaining(call, true, false)
}

pub(super) fn expiretime(call: &mut Call<'_>) -> Answer {
    remaining(call, false, true)
}

pub(super) fn pexpiretime(call: &mut Call<'_>) -> Answer {
    remaining(call, false, false)
}

pub(super) fn persist(call: &mut Call<'_>) -> Answer {
    let key = &call.args[1];
    let had_expiry = call.db.entry(key).is_some_and(|entry| entry.expires_at.is_some());
    if had_expiry {
        call.db.set_expiry(key, None);
        call.db.changed(key);
    }
    Ok(Response::flag(had_expiry))
}
