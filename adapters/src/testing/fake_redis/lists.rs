//! The commands on lists that do not wait.

use super::keyspace::{Call, FakeDatabase, ListValue};
use super::reply::{Answer, Response};
use super::words::{Bytes, Failure, NO_SUCH_KEY, SYNTAX, integer, positive, strict_integer, upper, wrong_arity};

/// One end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ListEnd {
    Left,
    Right,
}

impl ListEnd {
    pub(super) fn parse(word: &[u8]) -> Result<Self, Failure> {
        match upper(word).as_str() {
            "LEFT" => Ok(Self::Left),
            "RIGHT" => Ok(Self::Right),
            _ => Err(SYNTAX.into()),
        }
    }

    fn push(self, list: &mut ListValue, item: Bytes) {
        match self {
            Self::Left => list.push_front(item),
            Self::Right => list.push_back(item),
        }
    }

    fn pop(self, list: &mut ListValue) -> Option<Bytes> {
        match self {
            Self::Left => list.pop_front(),
            Self::Right => list.pop_back(),
        }
    }
}

fn push(call: &mut Call<'_>, end: ListEnd, must_exist: bool) -> Answer {
    let key = &call.args[1];
    let exists = call.db.read::<ListValue>(key)?.is_some();
    if must_exist && !exists {
        return Ok(Response::Integer(0));
    }
    let list = call.db.create::<ListValue>(key)?;
    call.args[2..].iter().for_each(|item| end.push(list, item.clone()));
    let length = list.len();
    call.db.changed(key);
    Ok(Response::count(length))
}

pub(super) fn lpush(call: &mut Call<'_>) -> Answer {
    push(call, ListEnd::Left, false)
}

pub(super) fn rpush(call: &mut Call<'_>) -> Answer {
    push(call, ListEnd::Right, false)
}

pub(super) fn lpushx(call: &mut Call<'_>) -> Answer {
    push(call, ListEnd::Left, true)
}

pub(super) fn rpushx(call: &mut Call<'_>) -> Answer {
    push(call, ListEnd::Right, true)
}

/// Pops up to `count`; None if there is no such list.
pub(super) fn pop_many(db: &mut FakeDatabase, key: &[u8], end: ListEnd, count: usize) -> Result<Option<Vec<Bytes>>, Failure> {
    let Some(list) = db.write::<ListValue>(key)? else { return Ok(None) };
    let popped: Vec<_> = (0..count.min(list.len())).filter_map(|_| end.pop(list)).collect();
    if !popped.is_empty() {
        db.changed(key);
    }
    Ok(Some(popped))
}

fn pop(call: &mut Call<'_>, end: ListEnd, name: &str) -> Answer {
    if call.args.len() > 3 {
        return Err(wrong_arity(name));
    }
    let key = &call.args[1];
    match call.args.get(2) {
        None => {
            let popped = pop_many(call.db, key, end, 1)?;
            Ok(Response::bulk_or_null(popped.and_then(|mut popped| popped.pop())))
        }
        Some(count) => {
            let count = positive(count)?;
            let popped = pop_many(call.db, key, end, count)?;
            Ok(popped.map_or(Response::NullArray, Response::bulks))
        }
    }
}

pub(super) fn lpop(call: &mut Call<'_>) -> Answer {
    pop(call, ListEnd::Left, "lpop")
}

pub(super) fn rpop(call: &mut Call<'_>) -> Answer {
    pop(call, ListEnd::Right, "rpop")
}

pub(super) fn llen(call: &mut Call<'_>) -> Answer {
    Ok(Response::count(call.db.read::<ListValue>(&call.args[1])?.map_or(0, ListValue::len)))
}

/// The indices of a range with negative ends counted from the back; None if it is empty.
pub(super) fn index_range(from: i64, to: i64, length: usize) -> Option<(usize, usize)> {
    let length = i64::try_from(length).ok()?;
    let from = if from < 0 { from.saturating_add(length).max(0) } else { from };
    let to = if to < 0 { to.saturating_add(length) } else { to }.min(length - 1);
    if from > to {
        return None;
    }
    Some((usize::try_from(from).ok()?, usize::try_from(to).ok()?))
}

pub(super) fn lrange(call: &mut Call<'_>) -> Answer {
    let (from, to) = (integer(&call.args[2])?, integer(&call.args[3])?);
    let Some(list) = call.db.read::<ListValue>(&call.args[1])? else { return Ok(Response::Array(Vec::new())) };
    let range = index_range(from, to, list.len());
    Ok(Response::bulks(range.map_or_else(Vec::new, |(from, to)| list.range(from..=to).cloned().collect())))
}

fn position(index: i64, length: usize) -> Option<usize> {
    let index = if index < 0 { index.checked_add(i64::try_from(length).ok()?)? } else { index };
    usize::try_from(index).ok().filter(|index| *index < length)
}

pub(super) fn lindex(call: &mut Call<'_>) -> Answer {
    let Some(list) = call.db.read::<ListValue>(&call.args[1])? else { return Ok(Response::Null) };
    let index = integer(&call.args[2])?;
    Ok(Response::bulk_or_null(position(index, list.len()).and_then(|index| list.get(index)).cloned()))
}

pub(super) fn lset(call: &mut Call<'_>) -> Answer {
    let key = &call.args[1];
    let Some(list) = call.db.write::<ListValue>(key)? else { return Err(NO_SUCH_KEY.into()) };
    let index = integer(&call.args[2])?;
    let index = position(index, list.len()).ok_or("ERR index out of range")?;
    list[index] = call.args[3].clone();
    call.db.changed(key);
    Ok(Response::OK)
}

pub(super) fn lrem(call: &mut Call<'_>) -> Answer {
    let (key, item) = (&call.args[1], &call.args[3]);
    let count = integer(&call.args[2])?;
    let Some(list) = call.db.write::<ListValue>(key)? else { return Ok(Response::Integer(0)) };
    let most = if count == 0 { usize::MAX } else { usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX) };
    let mut found: Vec<usize> = (0..list.len()).filter(|index| list[*index] == *item).collect();
    if count < 0 {
        found.reverse();
    }
    found.truncate(most);
    found.sort_unstable();
    found.iter().rev().for_each(|index| {
        list.remove(*index);
    });
    if !found.is_empty() {
        call.db.changed(key);
    }
    Ok(Response::count(found.len()))
}

pub(super) fn ltrim(call: &mut Call<'_>) -> Answer {
    let key = &call.args[1];
    let (from, to) = (integer(&call.args[2])?, integer(&call.args[3])?);
    let Some(list) = call.db.write::<ListValue>(key)? else { return Ok(Response::OK) };
    match index_range(from, to, list.len()) {
        Some((from, to)) => {
            list.truncate(to + 1);
            list.drain(..from);
        }
        None => list.clear(),
    }
    call.db.changed(key);
    Ok(Response::OK)
}

pub(super) fn linsert(call: &mut Call<'_>) -> Answer {
    let key = &call.args[1];
    let after = match upper(&call.args[2]).as_str() {
        "BEFORE" => 0,
        "AFTER" => 1,
        _ => return Err(SYNTAX.into()),
    };
    let Some(list) = call.db.write::<ListValue>(key)? else { return Ok(Response::Integer(0)) };
    let Some(pivot) = list.iter().position(|item| *item == call.args[3]) else { return Ok(Response::Integer(-1)) };
    list.insert(pivot + after, call.args[4].clone());
    let length = list.len();
    call.db.changed(key);
    Ok(Response::count(length))
}

/// Moves one element; None if there is none to move.
pub(super) fn move_one(
    db: &mut FakeDatabase,
    from: &[u8],
    to: &[u8],
    pop: ListEnd,
    push: ListEnd,
) -> Result<Option<Bytes>, Failure> {
    if db.read::<ListValue>(from)?.is_none() {
        return Ok(None);
    }
    db.read::<ListValue>(to)?;
    if from == to {
        // The key stays, with its expiry, also if it has one element only.
        let list = db.create::<ListValue>(to)?;
        let item = pop.pop(list);
        item.iter().for_each(|item| push.push(list, item.clone()));
        db.changed(to);
        return Ok(item);
    }
    let Some(item) = pop_many(db, from, pop, 1)?.and_then(|mut popped| popped.pop()) else { return Ok(None) };
    push.push(db.create::<ListValue>(to)?, item.clone());
    db.changed(to);
    Ok(Some(item))
}

pub(super) fn lmove(call: &mut Call<'_>) -> Answer {
    let (pop, push) = (ListEnd::parse(&call.args[3])?, ListEnd::parse(&call.args[4])?);
    Ok(Response::bulk_or_null(move_one(call.db, &call.args[1], &call.args[2], pop, push)?))
}

pub(super) fn rpoplpush(call: &mut Call<'_>) -> Answer {
    Ok(Response::bulk_or_null(move_one(call.db, &call.args[1], &call.args[2], ListEnd::Right, ListEnd::Left)?))
}

const BAD_RANK: &str = "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... \
                        or use negative to start from the end of the list";

pub(super) fn lpos(call: &mut Call<'_>) -> Answer {
    let (mut rank, mut count, mut most) = (1, None, 0);
    let mut rest = call.args[3..].iter();
    while let Some(word) = rest.next() {
        let name = upper(word);
        let value = rest.next().ok_or(SYNTAX)?;
        let not_negative = |why: &str| match strict_integer(value) {
            Some(number) => usize::try_from(number).map_err(|_| Failure::from(why)),
            None => Err(Failure::from(why)),
        };
        match name.as_str() {
            "RANK" => {
                rank = integer(value)?;
                if rank == 0 {
                    return Err(BAD_RANK.into());
                }
                if rank == i64::MIN {
                    return Err(
                        "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807".into()
                    );
                }
            }
            "COUNT" => count = Some(not_negative("ERR COUNT can't be negative")?),
            "MAXLEN" => most = not_negative("ERR MAXLEN can't be negative")?,
            _ => return Err(SYNTAX.into()),
        }
    }
    let Some(list) = call.db.read::<ListValue>(&call.args[1])? else {
        return Ok(if count.is_some() { Response::Array(Vec::new()) } else { Response::Null });
    };
    let most = if most == 0 { list.len() } else { most.min(list.len()) };
    let order: Vec<usize> = if rank > 0 { (0..list.len()).collect() } else { (0..list.len()).rev().collect() };
    let skipped = usize::try_from(rank.unsigned_abs() - 1).unwrap_or(usize::MAX);
    let found = order.into_iter().take(most).filter(|index| list[*index] == call.args[2]).skip(skipped);
    Ok(match count {
        None => found.take(1).next().map_or(Response::Null, Response::count),
        Some(0) => Response::Array(found.map(Response::count).collect()),
        Some(count) => Response::Array(found.take(count).map(Response::count).collect()),
    })
}
