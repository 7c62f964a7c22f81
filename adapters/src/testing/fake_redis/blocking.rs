//! The commands on lists and sorted sets that may wait for a key; who waits and in which order is kept by the server.

use super::keyspace::{Call, ListValue};
use super::lists::{ListEnd, move_one, pop_many};
use super::reply::{Answer, KeyWait, Response};
use super::sorted_set::SortedSet;
use super::words::{Bytes, Failure, SYNTAX, integer, loose_float, upper};

/// Seconds, in fractions, as milliseconds; None: for ever.
fn timeout_ms(call: &Call<'_>, word: &[u8]) -> Result<Option<i64>, Failure> {
    let seconds = loose_float(word).ok_or("ERR timeout is not a float or out of range")?;
    let ms = (seconds * 1_000.0).ceil();
    // What does not fit counts as negative, as with Redis's own conversion.
    if seconds < 0.0 || ms >= i64::MAX as f64 {
        return Err("ERR timeout is negative".into());
    }
    let ms = ms as i64;
    if ms > i64::MAX - call.now_ms {
        return Err("ERR timeout is out of range".into());
    }
    Ok((ms > 0).then_some(ms))
}

fn wait(
    call: &Call<'_>,
    keys: &[Bytes],
    awaited: &'static str,
    timeout_ms: Option<i64>,
    for_key: fn(&[Bytes], &Bytes) -> Vec<Bytes>,
) -> KeyWait {
    let at_once = Box::new(Response::NullArray);
    KeyWait { keys: keys.to_vec(), awaited, timeout_ms, args: call.args.to_vec(), for_key, at_once }
}

fn waits(wait: KeyWait) -> Answer {
    Ok(Response::Wait(Box::new(wait)))
}

/// `BLPOP key... timeout` for one key.
fn first_and_key(args: &[Bytes], key: &Bytes) -> Vec<Bytes> {
    vec![args[0].clone(), key.clone(), b"0".to_vec()]
}

/// `BLMOVE` and the like have only one key to wait for.
fn as_it_is(args: &[Bytes], _key: &Bytes) -> Vec<Bytes> {
    args.to_vec()
}

/// `BLMPOP timeout numkeys key... LEFT` for one key.
fn one_of_many(args: &[Bytes], key: &Bytes) -> Vec<Bytes> {
    let count = integer(&args[2]).ok().and_then(|count| usize::try_from(count).ok()).unwrap_or(1);
    let rest = args.get(3 + count..).unwrap_or_default();
    [&[args[0].clone(), b"0".to_vec(), b"1".to_vec(), key.clone()], rest].concat()
}

fn pop_from_lists(call: &mut Call<'_>, end: ListEnd) -> Answer {
    let last = call.args.len() - 1;
    let timeout = timeout_ms(call, &call.args[last])?;
    let keys = &call.args[1..last];
    for key in keys {
        if let Some(popped) = pop_many(call.db, key, end, 1)? {
            return Ok(Response::bulks([vec![key.clone()], popped].concat()));
        }
    }
    waits(wait(call, keys, "list", timeout, first_and_key))
}

pub(super) fn blpop(call: &mut Call<'_>) -> Answer {
    pop_from_lists(call, ListEnd::Left)
}

pub(super) fn brpop(call: &mut Call<'_>) -> Answer {
    pop_from_lists(call, ListEnd::Right)
}

fn move_or_wait(call: &mut Call<'_>, pop: ListEnd, push: ListEnd, timeout: &[u8]) -> Answer {
    let timeout = timeout_ms(call, timeout)?;
    let (from, to) = (&call.args[1], &call.args[2]);
    call.db.read::<ListValue>(from)?;
    match move_one(call.db, from, to, pop, push)? {
        Some(item) => Ok(Response::Bulk(item)),
        None => {
            let at_once = Box::new(Response::Null);
            waits(KeyWait { at_once, ..wait(call, std::slice::from_ref(from), "list", timeout, as_it_is) })
        }
    }
}

pub(super) fn blmove(call: &mut Call<'_>) -> Answer {
    let (pop, push) = (ListEnd::parse(&call.args[3])?, ListEnd::parse(&call.args[4])?);
    move_or_wait(call, pop, push, &call.args[5])
}

pub(super) fn brpoplpush(call: &mut Call<'_>) -> Answer {
    move_or_wait(call, ListEnd::Right, ListEnd::Left, &call.args[3])
}

/// `numkeys key [key ...] <where> [COUNT count]`: the keys, the word, the count.
fn many_keys(args: &[Bytes]) -> Result<(&[Bytes], &Bytes, usize), Failure> {
    let at_least_one = |word: &[u8], why: &str| {
        let number = integer(word).ok().filter(|number| *number > 0).and_then(|number| usize::try_from(number).ok());
        number.ok_or_else(|| Failure::from(why))
    };
    let keys = at_least_one(&args[0], "ERR numkeys should be greater than 0")?;
    let word = args.get(1_usize.saturating_add(keys)).ok_or(SYNTAX)?;
    if !matches!(upper(word).as_str(), "LEFT" | "RIGHT" | "MIN" | "MAX") {
        return Err(SYNTAX.into());
    }
    let mut count = None;
    let mut rest = args[2 + keys..].iter();
    while let Some(option) = rest.next() {
        if upper(option) != "COUNT" || count.is_some() {
            return Err(SYNTAX.into());
        }
        count = Some(at_least_one(rest.next().ok_or(SYNTAX)?, "ERR count should be greater than 0")?);
    }
    Ok((&args[1..=keys], word, count.unwrap_or(1)))
}

/// The reply, or the keys that hold nothing.
fn pop_from_one_of_lists(call: &mut Call<'_>, args: &[Bytes]) -> Result<Option<Response>, Failure> {
    let (keys, word, count) = many_keys(args)?;
    let end = ListEnd::parse(word)?;
    for key in keys {
        if let Some(popped) = pop_many(call.db, key, end, count)? {
            return Ok(Some(Response::Array(vec![Response::Bulk(key.clone()), Response::bulks(popped)])));
        }
    }
    Ok(None)
}

pub(super) fn lmpop(call: &mut Call<'_>) -> Answer {
    Ok(pop_from_one_of_lists(call, &call.args[1..])?.unwrap_or(Response::NullArray))
}

pub(super) fn blmpop(call: &mut Call<'_>) -> Answer {
    ListEnd::parse(many_keys(&call.args[2..])?.1)?;
    let timeout = timeout_ms(call, &call.args[1])?;
    match pop_from_one_of_lists(call, &call.args[2..])? {
        Some(reply) => Ok(reply),
        None => waits(wait(call, many_keys(&call.args[2..])?.0, "list", timeout, one_of_many)),
    }
}

fn pop_scores(call: &mut Call<'_>, key: &[u8], highest: bool, count: usize) -> Result<Option<Vec<(Bytes, f64)>>, Failure> {
    let Some(set) = call.db.write::<SortedSet>(key)? else { return Ok(None) };
    let popped: Vec<_> = (0..count.min(set.len())).map_while(|_| set.pop(highest)).collect();
    call.db.changed(key);
    Ok(Some(popped))
}

fn pop_from_sets(call: &mut Call<'_>, highest: bool) -> Answer {
    let last = call.args.len() - 1;
    let timeout = timeout_ms(call, &call.args[last])?;
    let keys = &call.args[1..last];
    for key in keys {
        if let Some((member, score)) = pop_scores(call, key, highest, 1)?.and_then(|mut popped| popped.pop()) {
            return Ok(Response::Array(vec![Response::Bulk(key.clone()), Response::Bulk(member), Response::Double(score)]));
        }
    }
    waits(wait(call, keys, "zset", timeout, first_and_key))
}

pub(super) fn bzpopmin(call: &mut Call<'_>) -> Answer {
    pop_from_sets(call, false)
}

pub(super) fn bzpopmax(call: &mut Call<'_>) -> Answer {
    pop_from_sets(call, true)
}

fn is_highest(word: &[u8]) -> Result<bool, Failure> {
    match upper(word).as_str() {
        "MIN" => Ok(false),
        "MAX" => Ok(true),
        _ => Err(SYNTAX.into()),
    }
}

fn pop_from_one_of_sets(call: &mut Call<'_>, args: &[Bytes]) -> Result<Option<Response>, Failure> {
    let (keys, word, count) = many_keys(args)?;
    let highest = is_highest(word)?;
    for key in keys {
        if let Some(popped) = pop_scores(call, key, highest, count)? {
            let pair = |(member, score)| Response::Array(vec![Response::Bulk(member), Response::Double(score)]);
            let popped = Response::Array(popped.into_iter().map(pair).collect());
            return Ok(Some(Response::Array(vec![Response::Bulk(key.clone()), popped])));
        }
    }
    Ok(None)
}

pub(super) fn zmpop(call: &mut Call<'_>) -> Answer {
    Ok(pop_from_one_of_sets(call, &call.args[1..])?.unwrap_or(Response::NullArray))
}

pub(super) fn bzmpop(call: &mut Call<'_>) -> Answer {
    is_highest(many_keys(&call.args[2..])?.1)?;
    let timeout = timeout_ms(call, &call.args[1])?;
    match pop_from_one_of_sets(call, &call.args[2..])? {
        Some(reply) => Ok(reply),
        None => waits(wait(call, many_keys(&call.args[2..])?.0, "zset", timeout, one_of_many)),
    }
}
