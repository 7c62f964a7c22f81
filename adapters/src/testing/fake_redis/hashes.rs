//! The commands on hashes; HSCAN is in `scan`.

use super::keyspace::{Call, HashValue};
use super::picks::pick_many;
use super::reply::{Answer, Response};
use super::words::{
    Bytes, Failure, NOT_INTEGER, SYNTAX, decimal_sum, float, integer, loose_float, strict_integer, upper, wrong_arity,
};

fn hash<'a>(call: &'a Call<'_>) -> Result<Option<&'a HashValue>, Failure> {
    call.db.read::<HashValue>(&call.args[1])
}

fn set_pairs(call: &mut Call<'_>, name: &str) -> Result<usize, Failure> {
    if !call.args.len().is_multiple_of(2) {
        return Err(wrong_arity(name));
    }
    let hash = call.db.create::<HashValue>(&call.args[1])?;
    let is_new = |pair: &[Bytes], hash: &mut HashValue| hash.insert(pair[0].clone(), pair[1].clone()).is_none();
    let added = call.args[2..].chunks_exact(2).filter(|pair| is_new(pair, hash)).count();
    call.db.changed(&call.args[1]);
    Ok(added)
}

pub(super) fn hset(call: &mut Call<'_>) -> Answer {
    set_pairs(call, "hset").map(Response::count)
}

pub(super) fn hmset(call: &mut Call<'_>) -> Answer {
    set_pairs(call, "hmset").map(|_| Response::OK)
}

pub(super) fn hsetnx(call: &mut Call<'_>) -> Answer {
    if hash(call)?.is_some_and(|hash| hash.contains_key(&call.args[2])) {
        return Ok(Response::Integer(0));
    }
    call.db.create::<HashValue>(&call.args[1])?.insert(call.args[2].clone(), call.args[3].clone());
    call.db.changed(&call.args[1]);
    Ok(Response::Integer(1))
}

pub(super) fn hget(call: &mut Call<'_>) -> Answer {
    Ok(Response::bulk_or_null(hash(call)?.and_then(|hash| hash.get(&call.args[2])).cloned()))
}

pub(super) fn hmget(call: &mut Call<'_>) -> Answer {
    let hash = hash(call)?;
    let value = |field: &Bytes| Response::bulk_or_null(hash.and_then(|hash| hash.get(field)).cloned());
    Ok(Response::Array(call.args[2..].iter().map(value).collect()))
}

pub(super) fn hdel(call: &mut Call<'_>) -> Answer {
    let Some(hash) = call.db.write::<HashValue>(&call.args[1])? else { return Ok(Response::Integer(0)) };
    let removed = call.args[2..].iter().filter(|field| hash.remove(*field).is_some()).count();
    if removed > 0 {
        call.db.changed(&call.args[1]);
    }
    Ok(Response::count(removed))
}

pub(super) fn hexists(call: &mut Call<'_>) -> Answer {
    Ok(Response::flag(hash(call)?.is_some_and(|hash| hash.contains_key(&call.args[2]))))
}

pub(super) fn hlen(call: &mut Call<'_>) -> Answer {
    Ok(Response::count(hash(call)?.map_or(0, HashValue::len)))
}

pub(super) fn hstrlen(call: &mut Call<'_>) -> Answer {
    Ok(Response::count(hash(call)?.and_then(|hash| hash.get(&call.args[2])).map_or(0, Vec::len)))
}

pub(super) fn hkeys(call: &mut Call<'_>) -> Answer {
    Ok(Response::bulks(hash(call)?.into_iter().flat_map(HashValue::keys).cloned()))
}

pub(super) fn hvals(call: &mut Call<'_>) -> Answer {
    Ok(Response::bulks(hash(call)?.into_iter().flat_map(HashValue::values).cloned()))
}

pub(super) fn hgetall(call: &mut Call<'_>) -> Answer {
    let pair = |(field, value): (&Bytes, &Bytes)| (Response::Bulk(field.clone()), Response::Bulk(value.clone()));
    Ok(Response::Map(hash(call)?.into_iter().flatten().map(pair).collect()))
}

pub(super) fn hincrby(call: &mut Call<'_>) -> Answer {
    let by = integer(&call.args[3])?;
    let old = hash(call)?.and_then(|hash| hash.get(&call.args[2])).map_or(Some(0), |text| strict_integer(text));
    let old = old.ok_or("ERR hash value is not an integer")?;
    let new = old.checked_add(by).ok_or("ERR increment or decrement would overflow")?;
    call.db.create::<HashValue>(&call.args[1])?.insert(call.args[2].clone(), new.to_string().into_bytes());
    call.db.changed(&call.args[1]);
    Ok(Response::Integer(new))
}

pub(super) fn hincrbyfloat(call: &mut Call<'_>) -> Answer {
    let by = &call.args[3];
    if float(by)?.is_infinite() {
        return Err("ERR value is NaN or Infinity".into());
    }
    let old = hash(call)?.and_then(|hash| hash.get(&call.args[2])).cloned().unwrap_or_else(|| b"0".to_vec());
    loose_float(&old).ok_or("ERR hash value is not a float")?;
    let new = decimal_sum(&old, by).ok_or("ERR increment would produce NaN or Infinity")?;
    call.db.create::<HashValue>(&call.args[1])?.insert(call.args[2].clone(), new.clone().into_bytes());
    call.db.changed(&call.args[1]);
    Ok(Response::text(new))
}

pub(super) fn hrandfield(call: &mut Call<'_>) -> Answer {
    let Some(word) = call.args.get(2) else {
        let fields: Vec<_> = hash(call)?.into_iter().flat_map(HashValue::keys).cloned().collect();
        return Ok(Response::bulk_or_null(pick_many(call.draw, &fields, -1).pop()));
    };
    let count = integer(word)?;
    let with_values = match &call.args[3..] {
        [] => false,
        [word] if upper(word) == "WITHVALUES" => true,
        _ => return Err(SYNTAX.into()),
    };
    if !(-i64::MAX / 2..=i64::MAX / 2).contains(&count) {
        return Err(if with_values { "ERR value is out of range".into() } else { Failure::from(NOT_INTEGER) });
    }
    let pairs: Vec<_> = hash(call)?.into_iter().flatten().map(|(field, value)| (field.clone(), value.clone())).collect();
    let picked = pick_many(call.draw, &pairs, count);
    let item = |(field, value): (Bytes, Bytes)| match (with_values, call.resp3) {
        (false, _) => vec![Response::Bulk(field)],
        (true, false) => vec![Response::Bulk(field), Response::Bulk(value)],
        (true, true) => vec![Response::bulks([field, value])],
    };
    Ok(Response::Array(picked.into_iter().flat_map(item).collect()))
}
