//! XREAD and XREADGROUP: new entries for readers and for consumers, at once or when they come.

use super::keyspace::Call;
use super::reply::{Answer, KeyWait, Response};
use super::stream_log::{EntryId, PendingEntry, StreamLog};
use super::streams::{entry, entry_id, id_text, read_count};
use super::words::{Bytes, Failure, SYNTAX, strict_integer, upper};

struct ReadArguments {
    count: Option<usize>,
    /// Some(None): for ever.
    block_ms: Option<Option<i64>>,
    group: Option<(Bytes, Bytes)>,
    acknowledges: bool,
    /// Keys and ids.
    streams: Vec<(Bytes, Bytes)>,
}

impl ReadArguments {
    fn parse(call: &Call<'_>, is_group: bool) -> Result<Self, Failure> {
        let args = call.args;
        let mut parsed = Self { count: None, block_ms: None, group: None, acknowledges: false, streams: Vec::new() };
        let mut at = 1;
        let mut found = false;
        while at < args.len() {
            let more = args.len() - 1 - at;
            match upper(&args[at]).as_str() {
                "BLOCK" if more > 0 => {
                    at += 1;
                    let ms = strict_integer(&args[at]).ok_or("ERR timeout is not an integer or out of range")?;
                    if ms < 0 {
                        return Err("ERR timeout is negative".into());
                    }
                    if ms > i64::MAX - call.now_ms {
                        return Err("ERR timeout is out of range".into());
                    }
                    parsed.block_ms = Some((ms > 0).then_some(ms));
                }
                "COUNT" if more > 0 => {
                    at += 1;
                    parsed.count = read_count(&args[at])?;
                }
                "STREAMS" if more > 0 => {
                    found = true;
                    at += 1;
                    break;
                }
                "GROUP" if more >= 2 => {
                    if !is_group {
                        return Err("ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.".into());
                    }
                    parsed.group = Some((args[at + 1].clone(), args[at + 2].clone()));
                    at += 2;
                }
                "NOACK" => {
                    if !is_group {
                        return Err("ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.".into());
                    }
                    parsed.acknowledges = true;
                }
                _ => return Err(SYNTAX.into()),
            }
            at += 1;
        }
        if !found {
            return Err(SYNTAX.into());
        }
        let rest = &args[at..];
        if !rest.len().is_multiple_of(2) {
            return Err("ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified.".into());
        }
        if is_group && parsed.group.is_none() {
            return Err("ERR Missing GROUP option for XREADGROUP".into());
        }
        let (keys, ids) = rest.split_at(rest.len() / 2);
        parsed.streams = keys.iter().cloned().zip(ids.iter().cloned()).collect();
        Ok(parsed)
    }
}

/// `XREAD [GROUP g c] [NOACK] COUNT n STREAMS key id` for one key of those that wait.
fn one_stream(args: &[Bytes], key: &Bytes) -> Vec<Bytes> {
    let start = args.iter().position(|word| upper(word) == "STREAMS").map_or(args.len(), |at| at + 1);
    let (keys, ids) = args[start..].split_at((args.len() - start) / 2);
    let at = keys.iter().position(|other| other == key).unwrap_or(0);
    [&args[..start], &keys[at..=at], &ids[at..=at]].concat()
}

/// The keys with what was read from them; a map in RESP3.
fn by_stream(call: &Call<'_>, found: Vec<(Bytes, Response)>) -> Response {
    if call.resp3 {
        return Response::Map(found.into_iter().map(|(key, entries)| (Response::Bulk(key), entries)).collect());
    }
    Response::Array(found.into_iter().map(|(key, entries)| Response::Array(vec![Response::Bulk(key), entries])).collect())
}

fn wait(call: &Call<'_>, parsed: &ReadArguments, ids: &[Bytes]) -> Answer {
    let Some(timeout_ms) = parsed.block_ms else { return Ok(Response::NullArray) };
    let start = call.args.iter().position(|word| upper(word) == "STREAMS").map_or(0, |at| at + 1);
    let keys: Vec<_> = parsed.streams.iter().map(|(key, _)| key.clone()).collect();
    let args = [&call.args[..start], &keys, ids].concat();
    let at_once = Box::new(Response::NullArray);
    Ok(Response::Wait(Box::new(KeyWait { keys, awaited: "stream", timeout_ms, args, for_key: one_stream, at_once })))
}

pub(super) fn xread(call: &mut Call<'_>) -> Answer {
    let parsed = ReadArguments::parse(call, false)?;
    let mut after = Vec::new();
    for (key, word) in &parsed.streams {
        let last = call.db.read::<StreamLog>(key)?.map_or_else(EntryId::default, |stream| stream.last_id);
        after.push(match word.as_slice() {
            b"$" => last,
            b">" => {
                return Err(
                    "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option."
                        .into(),
                );
            }
            word => entry_id(word, 0)?,
        });
    }
    let mut found = Vec::new();
    for ((key, _), after) in parsed.streams.iter().zip(&after) {
        let Some(stream) = call.db.read::<StreamLog>(key)? else { continue };
        let Some(first) = after.next() else { continue };
        let entries = stream.entries.range(first..).take(parsed.count.unwrap_or(usize::MAX));
        let entries: Vec<_> = entries.map(|(id, fields)| entry(*id, fields)).collect();
        if !entries.is_empty() {
            found.push((key.clone(), Response::Array(entries)));
        }
    }
    if found.is_empty() {
        let ids: Vec<_> = after.iter().map(|id| id.to_string().into_bytes()).collect();
        return wait(call, &parsed, &ids);
    }
    Ok(by_stream(call, found))
}

pub(super) fn xreadgroup(call: &mut Call<'_>) -> Answer {
    let parsed = ReadArguments::parse(call, true)?;
    let (group, consumer) = parsed.group.clone().expect("it was asked for");
    let mut from = Vec::new();
    for (key, word) in &parsed.streams {
        let has_group = call.db.read::<StreamLog>(key)?.is_some_and(|stream| stream.groups.contains_key(&group));
        if !has_group {
            let (key, group) = (String::from_utf8_lossy(key), String::from_utf8_lossy(&group));
            return Err(format!("NOGROUP No such key '{key}' or consumer group '{group}' in XREADGROUP with GROUP option").into());
        }
        from.push(match word.as_slice() {
            b">" => None,
            b"$" => {
                return Err("ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this \
                            consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just return \
                            an empty result set."
                    .into());
            }
            word => Some(entry_id(word, 0)?),
        });
    }
    let mut found = Vec::new();
    for ((key, _), from) in parsed.streams.iter().zip(from) {
        let entries = match from {
            Some(after) => Some(history(call, key, &group, &consumer, after, parsed.count)?),
            None => deliver(call, key, &group, &consumer, &parsed)?,
        };
        found.extend(entries.map(|entries| (key.clone(), Response::Array(entries))));
    }
    if found.is_empty() {
        let ids: Vec<_> = parsed.streams.iter().map(|(_, id)| id.clone()).collect();
        return wait(call, &parsed, &ids);
    }
    Ok(by_stream(call, found))
}

/// What this consumer has got and not acknowledged.
fn history(
    call: &mut Call<'_>,
    key: &[u8],
    group: &[u8],
    consumer: &[u8],
    after: EntryId,
    count: Option<usize>,
) -> Result<Vec<Response>, Failure> {
    let now_ms = call.now_ms;
    let stream = call.db.create::<StreamLog>(key)?;
    let StreamLog { entries, groups, .. } = stream;
    let group = groups.get_mut(group).ok_or(SYNTAX)?;
    group.see_consumer(consumer, now_ms);
    let Some(first) = after.next() else { return Ok(Vec::new()) };
    let own = group.pending.range_mut(first..).filter(|(_, pending)| pending.consumer == consumer);
    let shown = own.take(count.unwrap_or(usize::MAX)).map(|(id, pending)| match entries.get(id) {
        Some(fields) => {
            pending.delivered_at = now_ms;
            pending.deliveries += 1;
            entry(*id, fields)
        }
        // It was deleted in the meantime.
        None => Response::Array(vec![id_text(*id), Response::NullArray]),
    });
    Ok(shown.collect())
}

/// Gives new entries to a consumer; None if there are none.
fn deliver(
    call: &mut Call<'_>,
    key: &[u8],
    group: &[u8],
    consumer: &[u8],
    parsed: &ReadArguments,
) -> Result<Option<Vec<Response>>, Failure> {
    let now_ms = call.now_ms;
    let stream = call.db.create::<StreamLog>(key)?;
    let (first_id, added, deleted) = (stream.entries.keys().next().copied(), stream.entries_added, stream.max_deleted);
    let StreamLog { entries, groups, .. } = stream;
    let group = groups.get_mut(group).ok_or(SYNTAX)?;
    group.see_consumer(consumer, now_ms);
    let Some(first) = group.last_delivered.next() else { return Ok(None) };
    let new: Vec<_> = entries.range(first..).take(parsed.count.unwrap_or(usize::MAX)).collect();
    let Some((last, _)) = new.last() else { return Ok(None) };
    // Known as long as no entry in between was deleted.
    if group.last_delivered == EntryId::default() && first_id.is_none_or(|id| deleted < id) {
        group.entries_read = Some(added - u64::try_from(entries.len()).unwrap_or(0));
    }
    group.entries_read = group.entries_read.map(|read| read + u64::try_from(new.len()).unwrap_or(0));
    group.last_delivered = **last;
    if !parsed.acknowledges {
        for (id, _) in &new {
            let pending = PendingEntry { consumer: consumer.to_vec(), delivered_at: now_ms, deliveries: 1 };
            group.pending.insert(**id, pending);
        }
    }
    Ok(Some(new.into_iter().map(|(id, fields)| entry(*id, fields)).collect()))
}
