//! The commands on sets; SSCAN is in `scan`.

use super::keyspace::{Call, KeyValue, SetValue};
use super::picks::pick_many;
use super::reply::{Answer, Response};
use super::words::{Bytes, Failure, NOT_POSITIVE, SYNTAX, positive, strict_integer, upper};

fn members(call: &Call<'_>, key: &[u8]) -> Result<SetValue, Failure> {
    Ok(call.db.read::<SetValue>(key)?.cloned().unwrap_or_default())
}

fn in_set(all: impl IntoIterator<Item = Bytes>) -> Response {
    Response::Set(all.into_iter().map(Response::Bulk).collect())
}

pub(super) fn sadd(call: &mut Call<'_>) -> Answer {
    let set = call.db.create::<SetValue>(&call.args[1])?;
    let added = call.args[2..].iter().filter(|member| set.insert((*member).clone())).count();
    if added > 0 {
        call.db.changed(&call.args[1]);
    }
    Ok(Response::count(added))
}

pub(super) fn srem(call: &mut Call<'_>) -> Answer {
    let Some(set) = call.db.write::<SetValue>(&call.args[1])? else { return Ok(Response::Integer(0)) };
    let removed = call.args[2..].iter().filter(|member| set.remove(*member)).count();
    if removed > 0 {
        call.db.changed(&call.args[1]);
    }
    Ok(Response::count(removed))
}

pub(super) fn scard(call: &mut Call<'_>) -> Answer {
    Ok(Response::count(call.db.read::<SetValue>(&call.args[1])?.map_or(0, SetValue::len)))
}

pub(super) fn sismember(call: &mut Call<'_>) -> Answer {
    Ok(Response::flag(members(call, &call.args[1])?.contains(&call.args[2])))
}

pub(super) fn smismember(call: &mut Call<'_>) -> Answer {
    let set = members(call, &call.args[1])?;
    Ok(Response::Array(call.args[2..].iter().map(|member| Response::flag(set.contains(member))).collect()))
}

pub(super) fn smembers(call: &mut Call<'_>) -> Answer {
    Ok(in_set(members(call, &call.args[1])?))
}

pub(super) fn smove(call: &mut Call<'_>) -> Answer {
    let (from, to, member) = (&call.args[1], &call.args[2], &call.args[3]);
    if call.db.read::<SetValue>(from)?.is_none() {
        return Ok(Response::Integer(0));
    }
    call.db.read::<SetValue>(to)?;
    if from == to {
        return Ok(Response::flag(members(call, from)?.contains(member)));
    }
    if !call.db.create::<SetValue>(from)?.remove(member) {
        return Ok(Response::Integer(0));
    }
    call.db.changed(from);
    call.db.create::<SetValue>(to)?.insert(member.clone());
    call.db.changed(to);
    Ok(Response::Integer(1))
}

pub(super) fn spop(call: &mut Call<'_>) -> Answer {
    let key = &call.args[1];
    let count = match &call.args[2..] {
        [] => None,
        [count] => Some(positive(count)?),
        _ => return Err(SYNTAX.into()),
    };
    let all: Vec<_> = members(call, key)?.into_iter().collect();
    let wanted = i64::try_from(count.unwrap_or(1)).unwrap_or(i64::MAX);
    let mut picked = pick_many(call.draw, &all, wanted);
    if let Some(set) = call.db.write::<SetValue>(key)?.filter(|_| !picked.is_empty()) {
        picked.iter().for_each(|member| {
            set.remove(member);
        });
        call.db.changed(key);
    }
    Ok(if count.is_some() { in_set(picked) } else { Response::bulk_or_null(picked.pop()) })
}

pub(super) fn srandmember(call: &mut Call<'_>) -> Answer {
    let count = match &call.args[2..] {
        [] => None,
        [count] => Some(strict_integer(count).filter(|count| *count > -i64::MAX).ok_or(super::words::NOT_INTEGER)?),
        _ => return Err(SYNTAX.into()),
    };
    let all: Vec<_> = members(call, &call.args[1])?.into_iter().collect();
    let mut picked = pick_many(call.draw, &all, count.unwrap_or(1));
    Ok(if count.is_some() { Response::bulks(picked) } else { Response::bulk_or_null(picked.pop()) })
}

#[derive(Clone, Copy)]
enum Combination {
    Intersection,
    Union,
    Difference,
}

fn combine(call: &Call<'_>, keys: &[Bytes], how: Combination) -> Result<SetValue, Failure> {
    let mut sets = keys.iter().map(|key| members(call, key)).collect::<Result<Vec<_>, _>>()?.into_iter();
    let first = sets.next().unwrap_or_default();
    Ok(sets.fold(first, |all, set| match how {
        Combination::Intersection => &all & &set,
        Combination::Union => &all | &set,
        Combination::Difference => &all - &set,
    }))
}

fn store(call: &mut Call<'_>, how: Combination) -> Answer {
    let result = combine(call, &call.args[2..], how)?;
    let count = result.len();
    if count == 0 {
        call.db.remove(&call.args[1]);
    } else {
        call.db.put(&call.args[1], KeyValue::Set(result));
    }
    Ok(Response::count(count))
}

pub(super) fn sinter(call: &mut Call<'_>) -> Answer {
    combine(call, &call.args[1..], Combination::Intersection).map(in_set)
}

pub(super) fn sunion(call: &mut Call<'_>) -> Answer {
    combine(call, &call.args[1..], Combination::Union).map(in_set)
}

pub(super) fn sdiff(call: &mut Call<'_>) -> Answer {
    combine(call, &call.args[1..], Combination::Difference).map(in_set)
}

pub(super) fn sinterstore(call: &mut Call<'_>) -> Answer {
    store(call, Combination::Intersection)
}

pub(super) fn sunionstore(call: &mut Call<'_>) -> Answer {
    store(call, Combination::Union)
}

pub(super) fn sdiffstore(call: &mut Call<'_>) -> Answer {
    store(call, Combination::Difference)
}

pub(super) fn sintercard(call: &mut Call<'_>) -> Answer {
    let count = strict_integer(&call.args[1]).filter(|count| *count > 0).ok_or("ERR numkeys should be greater than 0")?;
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    if count > call.args.len() - 2 {
        return Err("ERR Number of keys can't be greater than number of args".into());
    }
    let mut limit = 0;
    let mut rest = call.args[2 + count..].iter();
    while let Some(word) = rest.next() {
        if upper(word) != "LIMIT" {
            return Err(SYNTAX.into());
        }
        let number = rest.next().ok_or(SYNTAX)?;
        limit = positive(number).map_err(|failure| match failure {
            Failure(text) if text == NOT_POSITIVE.as_bytes() => Failure::from("ERR LIMIT can't be negative"),
            other => other,
        })?;
    }
    let found = combine(call, &call.args[2..2 + count], Combination::Intersection)?.len();
    Ok(Response::count(if limit == 0 { found } else { found.min(limit) }))
}
