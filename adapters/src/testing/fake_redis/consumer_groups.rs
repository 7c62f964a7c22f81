//! The commands on consumer groups and what they have delivered, and XINFO; reading is in `stream_reads`.

use super::keyspace::Call;
use super::reply::{Answer, Response};
use super::stream_log::{ConsumerGroup, EntryId, PendingEntry, StreamLog};
use super::streams::{entry, entry_id, id_text, range_bound};
use super::words::{Bytes, Failure, NO_SUCH_KEY, SYNTAX, integer, strict_integer, upper};

const NO_STREAM: &str = "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the \
                         MKSTREAM option to create an empty stream automatically.";

fn no_group(key: &[u8], group: &[u8]) -> Failure {
    let (key, group) = (String::from_utf8_lossy(key), String::from_utf8_lossy(group));
    format!("NOGROUP No such key '{key}' or consumer group '{group}'").into()
}

fn no_such_group(key: &[u8], group: &[u8]) -> Failure {
    let (key, group) = (String::from_utf8_lossy(key), String::from_utf8_lossy(group));
    format!("NOGROUP No such consumer group '{group}' for key name '{key}'").into()
}

/// `MKSTREAM` and `ENTRIESREAD n`.
fn group_options(given: &Bytes, words: &[Bytes], may_make: bool) -> Result<(bool, Option<u64>), Failure> {
    let (mut makes_stream, mut entries_read) = (false, None);
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        match upper(word).as_str() {
            "MKSTREAM" if may_make => makes_stream = true,
            "ENTRIESREAD" if rest.len() > 0 => {
                let number = integer(rest.next().ok_or(SYNTAX)?)?;
                if number < -1 {
                    return Err("ERR value for ENTRIESREAD must be positive or -1".into());
                }
                entries_read = u64::try_from(number).ok();
            }
            _ => {
                let why = b"ERR unknown subcommand or wrong number of arguments for '";
                return Err(Failure([why, given.as_slice(), b"'. Try XGROUP HELP."].concat()));
            }
        }
    }
    Ok((makes_stream, entries_read))
}

fn start_id(stream: Option<&StreamLog>, word: &[u8]) -> Result<EntryId, Failure> {
    if word == b"$" { Ok(stream.map_or_else(EntryId::default, |stream| stream.last_id)) } else { entry_id(word, 0) }
}

/// SETID takes `-` and `+`, too.
fn moved_id(stream: Option<&StreamLog>, word: &[u8]) -> Result<EntryId, Failure> {
    match word {
        b"-" => Ok(EntryId::default()),
        b"+" => Ok(EntryId::MAX),
        word => start_id(stream, word),
    }
}

pub(super) fn xgroup(call: &mut Call<'_>) -> Answer {
    let args = call.args;
    let word = upper(&args[1]);
    let (key, name) = (&args[2], &args[3]);
    let is_create = word == "CREATE";
    let (makes_stream, entries_read) = match word.as_str() {
        "CREATE" | "SETID" => group_options(&args[1], &args[5..], is_create)?,
        _ => (false, None),
    };
    let now_ms = call.now_ms;
    let stream = call.db.read::<StreamLog>(key)?;
    if stream.is_none() && !makes_stream {
        return Err(NO_STREAM.into());
    }
    let has_group = stream.is_some_and(|stream| stream.groups.contains_key(name));
    if !has_group && !matches!(word.as_str(), "CREATE" | "DESTROY") {
        return Err(no_such_group(key, name));
    }
    let id = match word.as_str() {
        "CREATE" => start_id(stream, &args[4])?,
        "SETID" => moved_id(stream, &args[4])?,
        _ => EntryId::default(),
    };
    if is_create && has_group {
        return Err("BUSYGROUP Consumer Group name already exists".into());
    }
    let stream = call.db.create::<StreamLog>(key)?;
    let reply = match word.as_str() {
        "CREATE" => {
            stream.groups.insert(name.clone(), ConsumerGroup { last_delivered: id, entries_read, ..ConsumerGroup::default() });
            Response::OK
        }
        "DESTROY" => Response::flag(stream.groups.remove(name).is_some()),
        word => {
            let group = stream.groups.get_mut(name).expect("it was found");
            match word {
                "SETID" => {
                    group.last_delivered = id;
                    group.entries_read = entries_read;
                    Response::OK
                }
                "CREATECONSUMER" if group.consumers.contains_key(&args[4]) => Response::Integer(0),
                "CREATECONSUMER" => Response::flag(group.see_consumer(&args[4], now_ms)),
                _ => {
                    let before = group.pending.len();
                    group.pending.retain(|_, pending| pending.consumer != args[4]);
                    group.consumers.remove(&args[4]);
                    Response::count(before - group.pending.len())
                }
            }
        }
    };
    call.db.changed(key);
    Ok(reply)
}

/// The stream with its entries and one of its groups.
fn with_group<'a>(
    call: &'a mut Call<'_>,
    key: &[u8],
    name: &[u8],
) -> Result<Option<(&'a mut StreamLog, ConsumerGroup)>, Failure> {
    let Some(stream) = call.db.write::<StreamLog>(key)? else { return Ok(None) };
    let Some(group) = stream.groups.get(name).cloned() else { return Ok(None) };
    Ok(Some((stream, group)))
}

pub(super) fn xack(call: &mut Call<'_>) -> Answer {
    let args = call.args;
    let Some((stream, mut group)) = with_group(call, &args[1], &args[2])? else { return Ok(Response::Integer(0)) };
    let ids: Result<Vec<_>, _> = args[3..].iter().map(|word| entry_id(word, 0)).collect();
    let acknowledged = ids?.iter().filter(|id| group.pending.remove(*id).is_some()).count();
    stream.groups.insert(args[2].clone(), group);
    Ok(Response::count(acknowledged))
}

pub(super) fn xpending(call: &mut Call<'_>) -> Answer {
    let args = call.args;
    let now_ms = call.now_ms;
    if args.len() == 3 {
        let (_, group) = with_group(call, &args[1], &args[2])?.ok_or_else(|| no_group(&args[1], &args[2]))?;
        return Ok(summary(&group));
    }
    let (min_idle, rest) = match &args[3..] {
        [word, ms, rest @ ..] if upper(word) == "IDLE" => (integer(ms)?, rest),
        rest => (0, rest),
    };
    let (bounds, consumer) = match rest {
        [low, high, count] => ((low, high, count), None),
        [low, high, count, consumer, ..] => ((low, high, count), Some(consumer)),
        _ => return Err(SYNTAX.into()),
    };
    let count = usize::try_from(integer(bounds.2)?).unwrap_or(0);
    let (low, high) = (range_bound(bounds.0, true)?, range_bound(bounds.1, false)?);
    let (_, group) = with_group(call, &args[1], &args[2])?.ok_or_else(|| no_group(&args[1], &args[2]))?;
    let is_asked = |(id, pending): &(&EntryId, &PendingEntry)| {
        (low..=high).contains(*id)
            && consumer.is_none_or(|consumer| pending.consumer == *consumer)
            && now_ms - pending.delivered_at >= min_idle
    };
    let item = |(id, pending): (&EntryId, &PendingEntry)| {
        let idle = (now_ms - pending.delivered_at).max(0);
        let consumer = Response::Bulk(pending.consumer.clone());
        Response::Array(vec![id_text(*id), consumer, Response::Integer(idle), Response::Integer(pending.deliveries)])
    };
    Ok(Response::Array(group.pending.iter().filter(is_asked).take(count).map(item).collect()))
}

fn summary(group: &ConsumerGroup) -> Response {
    let (Some((first, _)), Some((last, _))) = (group.pending.first_key_value(), group.pending.last_key_value()) else {
        return Response::Array(vec![Response::Integer(0), Response::Null, Response::Null, Response::NullArray]);
    };
    let count_of = |name: &Bytes| group.pending.values().filter(|pending| pending.consumer == *name).count();
    let counts = group.consumers.keys().map(|name| (name, count_of(name))).filter(|(_, count)| *count > 0);
    let pairs = counts.map(|(name, count)| Response::bulks([name.clone(), count.to_string().into_bytes()]));
    let total = Response::count(group.pending.len());
    Response::Array(vec![total, id_text(*first), id_text(*last), Response::Array(pairs.collect())])
}

#[derive(Default)]
struct ClaimOptions {
    delivered_at: Option<i64>,
    deliveries: Option<i64>,
    forces: bool,
    only_ids: bool,
    last_id: Option<EntryId>,
}

impl ClaimOptions {
    fn parse(words: &[Bytes], now_ms: i64) -> Result<Self, Failure> {
        let mut options = Self::default();
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            let has_more = rest.len() > 0;
            let mut number = |what: &str| {
                let word = rest.next().ok_or(SYNTAX)?;
                strict_integer(word).ok_or_else(|| Failure::from(format!("ERR Invalid {what} option argument for XCLAIM")))
            };
            match upper(word).as_str() {
                "FORCE" => options.forces = true,
                "JUSTID" => options.only_ids = true,
                "IDLE" if has_more => options.delivered_at = Some(now_ms.saturating_sub(number("IDLE")?)),
                "TIME" if has_more => options.delivered_at = Some(number("TIME")?),
                "RETRYCOUNT" if has_more => options.deliveries = Some(number("RETRYCOUNT")?),
                "LASTID" if has_more => options.last_id = Some(entry_id(rest.next().ok_or(SYNTAX)?, 0)?),
                _ => return Err(Failure([b"ERR Unrecognized XCLAIM option '", word.as_slice(), b"'"].concat())),
            }
        }
        options.delivered_at = options.delivered_at.map(|at| if (0..=now_ms).contains(&at) { at } else { now_ms });
        Ok(options)
    }
}

pub(super) fn xclaim(call: &mut Call<'_>) -> Answer {
    let args = call.args;
    let now_ms = call.now_ms;
    let (key, name, consumer) = (&args[1], &args[2], &args[3]);
    let (stream, mut group) = with_group(call, key, name)?.ok_or_else(|| no_group(key, name))?;
    let min_idle = strict_integer(&args[4]).ok_or("ERR Invalid min-idle-time argument for XCLAIM")?.max(0);
    let ids: Vec<_> = args[5..].iter().map_while(|word| EntryId::parse(word, 0)).collect();
    let options = ClaimOptions::parse(&args[5 + ids.len()..], now_ms)?;
    group.last_delivered = group.last_delivered.max(options.last_id.unwrap_or_default());
    let mut claimed = Vec::new();
    group.see_consumer(consumer, now_ms);
    for id in ids {
        let Some(fields) = stream.entries.get(&id) else {
            group.pending.remove(&id);
            continue;
        };
        if options.forces {
            let pending = PendingEntry { consumer: Bytes::new(), delivered_at: 0, deliveries: 0 };
            group.pending.entry(id).or_insert(pending);
        }
        let Some(pending) = group.pending.get_mut(&id) else { continue };
        if !pending.consumer.is_empty() && now_ms - pending.delivered_at < min_idle {
            continue;
        }
        pending.consumer = consumer.clone();
        pending.delivered_at = options.delivered_at.unwrap_or(now_ms);
        pending.deliveries = options.deliveries.unwrap_or(pending.deliveries + i64::from(!options.only_ids));
        claimed.push(if options.only_ids { id_text(id) } else { entry(id, fields) });
    }
    stream.groups.insert(name.clone(), group);
    Ok(Response::Array(claimed))
}

pub(super) fn xautoclaim(call: &mut Call<'_>) -> Answer {
    let args = call.args;
    let now_ms = call.now_ms;
    let (key, name, consumer) = (&args[1], &args[2], &args[3]);
    let min_idle = strict_integer(&args[4]).ok_or("ERR Invalid min-idle-time argument for XAUTOCLAIM")?.max(0);
    let start = range_bound(&args[5], true)?;
    let (mut count, mut only_ids) = (100, false);
    let mut rest = args[6..].iter();
    while let Some(word) = rest.next() {
        match upper(word).as_str() {
            "COUNT" if rest.len() > 0 => {
                let number = strict_integer(rest.next().ok_or(SYNTAX)?).and_then(|number| usize::try_from(number).ok());
                count = number.filter(|number| *number > 0).ok_or("ERR COUNT must be > 0")?;
            }
            "JUSTID" => only_ids = true,
            _ => return Err(SYNTAX.into()),
        }
    }
    let (stream, mut group) = with_group(call, key, name)?.ok_or_else(|| no_group(key, name))?;
    group.see_consumer(consumer, now_ms);
    let (mut claimed, mut deleted) = (Vec::new(), Vec::new());
    let (mut attempts, mut next) = (count.saturating_mul(10), EntryId::default());
    for id in group.pending.range(start..).map(|(id, _)| *id).collect::<Vec<_>>() {
        if attempts == 0 || count == 0 {
            next = id;
            break;
        }
        attempts -= 1;
        let Some(fields) = stream.entries.get(&id) else {
            group.pending.remove(&id);
            deleted.push(id_text(id));
            count -= 1;
            continue;
        };
        let pending = group.pending.get_mut(&id).expect("it was just seen");
        if now_ms - pending.delivered_at < min_idle {
            continue;
        }
        pending.consumer = consumer.clone();
        pending.delivered_at = now_ms;
        pending.deliveries += i64::from(!only_ids);
        claimed.push(if only_ids { id_text(id) } else { entry(id, fields) });
        count -= 1;
    }
    stream.groups.insert(name.clone(), group);
    Ok(Response::Array(vec![id_text(next), Response::Array(claimed), Response::Array(deleted)]))
}

/// XINFO with what is known without a radix tree.
pub(super) fn xinfo(call: &mut Call<'_>) -> Answer {
    let args = call.args;
    let now_ms = call.now_ms;
    let Some(stream) = call.db.read::<StreamLog>(&args[2])? else { return Err(NO_SUCH_KEY.into()) };
    let pair = |name: &str, value: Response| (Response::text(name), value);
    let edge = |found: Option<(&EntryId, &Vec<Bytes>)>| found.map_or(Response::Null, |(id, fields)| entry(*id, fields));
    match upper(&args[1]).as_str() {
        "STREAM" if args.len() == 3 => Ok(Response::Map(vec![
            pair("length", Response::count(stream.entries.len())),
            pair("last-generated-id", id_text(stream.last_id)),
            pair("max-deleted-entry-id", id_text(stream.max_deleted)),
            pair("entries-added", Response::Integer(i64::try_from(stream.entries_added).unwrap_or(i64::MAX))),
            pair("groups", Response::count(stream.groups.len())),
            pair("first-entry", edge(stream.entries.first_key_value())),
            pair("last-entry", edge(stream.entries.last_key_value())),
        ])),
        "GROUPS" => {
            let group = |(name, group): (&Bytes, &ConsumerGroup)| {
                Response::Map(vec![
                    pair("name", Response::Bulk(name.clone())),
                    pair("consumers", Response::count(group.consumers.len())),
                    pair("pending", Response::count(group.pending.len())),
                    pair("last-delivered-id", id_text(group.last_delivered)),
                ])
            };
            Ok(Response::Array(stream.groups.iter().map(group).collect()))
        }
        "CONSUMERS" => {
            let group = stream.groups.get(&args[3]).ok_or_else(|| no_such_group(&args[2], &args[3]))?;
            let count_of = |name: &Bytes| group.pending.values().filter(|pending| pending.consumer == *name).count();
            let consumers = group.consumers.iter().map(|(name, consumer)| {
                Response::Map(vec![
                    pair("name", Response::Bulk(name.clone())),
                    pair("pending", Response::count(count_of(name))),
                    pair("idle", Response::Integer((now_ms - consumer.seen_at).max(0))),
                ])
            });
            Ok(Response::Array(consumers.collect()))
        }
        _ => Err(SYNTAX.into()),
    }
}
