//! The commands on the entries of streams; reading with XREAD is in `stream_reads`, groups are in `consumer_groups`.

use super::keyspace::Call;
use super::reply::{Answer, Response};
use super::stream_log::{EntryId, StreamLog, unsigned};
use super::words::{Bytes, Failure, SYNTAX, integer, strict_integer, upper, wrong_arity};

pub(super) const BAD_ID: &str = "ERR Invalid stream ID specified as stream command argument";

pub(super) fn entry_id(word: &[u8], sequence: u64) -> Result<EntryId, Failure> {
    EntryId::parse(word, sequence).ok_or_else(|| BAD_ID.into())
}

pub(super) fn id_text(id: EntryId) -> Response {
    Response::text(id.to_string())
}

pub(super) fn entry(id: EntryId, fields: &[Bytes]) -> Response {
    Response::Array(vec![id_text(id), Response::bulks(fields.to_vec())])
}

/// What is cut off.
enum TrimRule {
    MaxLength(usize),
    MinId(EntryId),
}

struct TrimOptions {
    rule: TrimRule,
    approximately: bool,
    limit: Option<usize>,
}

impl TrimOptions {
    fn apply(&self, stream: &mut StreamLog) -> usize {
        // A real server cuts whole nodes of 100 entries only, if that is allowed.
        let mut removed = 0;
        let step = if self.approximately { 100 } else { 1 };
        let limit = self.limit.filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        loop {
            let excess = match &self.rule {
                TrimRule::MaxLength(most) => stream.entries.len().saturating_sub(*most),
                TrimRule::MinId(least) => stream.entries.range(..*least).count(),
            };
            if excess < step || removed + step > limit {
                return removed;
            }
            for _ in 0..step {
                stream.entries.pop_first();
            }
            removed += step;
        }
    }
}

struct AddArguments {
    trim: Option<TrimOptions>,
    makes_stream: bool,
    /// Where the id of XADD stands.
    at: usize,
}

/// The options of XADD and XTRIM, from the third word on.
fn parse_trim(args: &[Bytes], is_add: bool) -> Result<AddArguments, Failure> {
    let (mut rule, mut approximately, mut limit, mut makes_stream) = (None, false, None, true);
    let mut at = 2;
    while let Some(word) = args.get(at) {
        let more = args.len() - 1 - at;
        match upper(word).as_str() {
            "*" if is_add => break,
            name @ ("MAXLEN" | "MINID") if more > 0 => {
                if rule.is_some() {
                    return Err("ERR syntax error, MAXLEN and MINID options at the same time are not compatible".into());
                }
                at += 1;
                if more >= 2 && matches!(args[at].as_slice(), b"~" | b"=") {
                    approximately = args[at] == b"~";
                    at += 1;
                }
                rule = Some(if name == "MAXLEN" {
                    let most = integer(&args[at])?;
                    TrimRule::MaxLength(
                        usize::try_from(most).map_err(|_| Failure::from("ERR The MAXLEN argument must be >= 0."))?,
                    )
                } else {
                    TrimRule::MinId(entry_id(&args[at], 0)?)
                });
            }
            "LIMIT" if more > 0 => {
                at += 1;
                let number = integer(&args[at])?;
                limit = Some(usize::try_from(number).map_err(|_| Failure::from("ERR The LIMIT argument must be >= 0."))?);
            }
            "NOMKSTREAM" if is_add => makes_stream = false,
            _ if is_add => break,
            _ => return Err(SYNTAX.into()),
        }
        at += 1;
    }
    if limit.is_some() && rule.is_none() {
        return Err("ERR syntax error, LIMIT cannot be used without specifying a trimming strategy".into());
    }
    if limit.is_some() && !approximately {
        return Err("ERR syntax error, LIMIT cannot be used without the special ~ option".into());
    }
    let limit = limit.or(approximately.then_some(10_000));
    Ok(AddArguments { trim: rule.map(|rule| TrimOptions { rule, approximately, limit }), makes_stream, at })
}

const TOO_SMALL: &str = "ERR The ID specified in XADD is equal or smaller than the target stream top item";

/// The id that XADD is given: whole, `ms-*` or `*`.
enum NewId {
    Whole(EntryId),
    Sequence(u64),
    Automatic,
}

fn new_id(word: &[u8]) -> Result<NewId, Failure> {
    if word == b"*" {
        return Ok(NewId::Automatic);
    }
    if let Some(ms) = word.strip_suffix(b"-*") {
        let ms = std::str::from_utf8(ms).ok().and_then(unsigned).ok_or(BAD_ID)?;
        return Ok(NewId::Sequence(ms));
    }
    Ok(NewId::Whole(entry_id(word, 0)?))
}

pub(super) fn xadd(call: &mut Call<'_>) -> Answer {
    let options = parse_trim(call.args, true)?;
    let fields = call.args.get(options.at + 1..).unwrap_or_default();
    let id = call.args.get(options.at).map(|word| new_id(word)).transpose()?;
    if fields.len() < 2 || !fields.len().is_multiple_of(2) {
        return Err(wrong_arity("xadd"));
    }
    if matches!(id, Some(NewId::Whole(EntryId { ms: 0, sequence: 0 }))) {
        return Err("ERR The ID specified in XADD must be greater than 0-0".into());
    }
    let key = &call.args[1];
    let Some(stream) = call.db.read::<StreamLog>(key)? else {
        if !options.makes_stream {
            return Ok(Response::Null);
        }
        let id = next_id(&StreamLog::default(), id, call.now_ms)?;
        return Ok(add_entry(call, id, fields, &options));
    };
    let id = next_id(stream, id, call.now_ms)?;
    Ok(add_entry(call, id, fields, &options))
}

fn next_id(stream: &StreamLog, id: Option<NewId>, now_ms: i64) -> Result<EntryId, Failure> {
    let last = stream.last_id;
    let id = match id {
        Some(NewId::Whole(id)) => Some(id),
        Some(NewId::Sequence(ms)) if ms == last.ms => last.next().filter(|id| id.ms == ms),
        Some(NewId::Sequence(ms)) => Some(EntryId { ms, sequence: 0 }),
        Some(NewId::Automatic) | None => {
            let now = EntryId { ms: u64::try_from(now_ms).unwrap_or(0), sequence: 0 };
            if now > last { Some(now) } else { last.next() }
        }
    };
    id.filter(|id| *id > last).ok_or_else(|| TOO_SMALL.into())
}

fn add_entry(call: &mut Call<'_>, id: EntryId, fields: &[Bytes], options: &AddArguments) -> Response {
    let key = &call.args[1];
    let stream = call.db.create::<StreamLog>(key).unwrap_or_else(|_| unreachable!("its type was checked"));
    stream.entries.insert(id, fields.to_vec());
    stream.last_id = id;
    stream.entries_added += 1;
    if let Some(trim) = &options.trim {
        trim.apply(stream);
    }
    call.db.changed(key);
    id_text(id)
}

pub(super) fn xtrim(call: &mut Call<'_>) -> Answer {
    let options = parse_trim(call.args, false)?;
    let trim = options.trim.ok_or("ERR syntax error, XTRIM must be called with a trimming strategy")?;
    let Some(stream) = call.db.write::<StreamLog>(&call.args[1])? else { return Ok(Response::Integer(0)) };
    let removed = trim.apply(stream);
    if removed > 0 {
        call.db.changed(&call.args[1]);
    }
    Ok(Response::count(removed))
}

pub(super) fn xlen(call: &mut Call<'_>) -> Answer {
    Ok(Response::count(call.db.read::<StreamLog>(&call.args[1])?.map_or(0, |stream| stream.entries.len())))
}

pub(super) fn xdel(call: &mut Call<'_>) -> Answer {
    call.db.read::<StreamLog>(&call.args[1])?;
    let Some(stream) = call.db.write::<StreamLog>(&call.args[1])? else { return Ok(Response::Integer(0)) };
    let ids: Result<Vec<_>, _> = call.args[2..].iter().map(|word| entry_id(word, 0)).collect();
    let removed: Vec<_> = ids?.into_iter().filter(|id| stream.entries.remove(id).is_some()).collect();
    stream.max_deleted = removed.iter().copied().max().unwrap_or_default().max(stream.max_deleted);
    if !removed.is_empty() {
        call.db.changed(&call.args[1]);
    }
    Ok(Response::count(removed.len()))
}

/// A bound of a range: `-`, `+`, an id, or `(` and an id.
pub(super) fn range_bound(word: &[u8], is_start: bool) -> Result<EntryId, Failure> {
    let (digits, excludes) = word.strip_prefix(b"(").map_or((word, false), |rest| (rest, true));
    let id = match digits {
        b"-" if !excludes => EntryId::default(),
        b"+" if !excludes => EntryId::MAX,
        digits => entry_id(digits, if is_start { 0 } else { u64::MAX })?,
    };
    if !excludes {
        return Ok(id);
    }
    if is_start {
        id.next().ok_or_else(|| "ERR invalid start ID for the interval".into())
    } else {
        id.before().ok_or_else(|| "ERR invalid end ID for the interval".into())
    }
}

fn range(call: &Call<'_>, reversed: bool) -> Answer {
    let (low, high) = if reversed { (&call.args[3], &call.args[2]) } else { (&call.args[2], &call.args[3]) };
    let (low, high) = (range_bound(low, true)?, range_bound(high, false)?);
    let mut count = None;
    match &call.args[4..] {
        [] => {}
        [word, number] if upper(word) == "COUNT" => count = Some(usize::try_from(integer(number)?).unwrap_or(0)),
        [word, number, ..] if upper(word) == "COUNT" => {
            integer(number)?;
            return Err(SYNTAX.into());
        }
        _ => return Err(SYNTAX.into()),
    }
    let Some(stream) = call.db.read::<StreamLog>(&call.args[1])? else { return Ok(Response::Array(Vec::new())) };
    if count == Some(0) {
        return Ok(Response::NullArray);
    }
    if low > high {
        return Ok(Response::Array(Vec::new()));
    }
    let found = stream.entries.range(low..=high).map(|(id, fields)| entry(*id, fields));
    let most = count.unwrap_or(usize::MAX);
    let found = if reversed { found.rev().take(most).collect() } else { found.take(most).collect() };
    Ok(Response::Array(found))
}

pub(super) fn xrange(call: &mut Call<'_>) -> Answer {
    range(call, false)
}

pub(super) fn xrevrange(call: &mut Call<'_>) -> Answer {
    range(call, true)
}

pub(super) fn xsetid(call: &mut Call<'_>) -> Answer {
    let id = entry_id(&call.args[2], 0)?;
    let (mut added, mut deleted) = (None, None);
    let mut rest = call.args[3..].iter();
    while let Some(word) = rest.next() {
        let name = upper(word);
        let value = rest.next().ok_or(SYNTAX)?;
        match name.as_str() {
            "ENTRIESADDED" => {
                let number = integer(value)?;
                added = Some(u64::try_from(number).map_err(|_| Failure::from("ERR entries_added must be positive"))?);
            }
            "MAXDELETEDID" => deleted = Some(entry_id(value, 0)?),
            _ => return Err(SYNTAX.into()),
        }
    }
    let Some(stream) = call.db.write::<StreamLog>(&call.args[1])? else { return Err("ERR no such key".into()) };
    if stream.entries.last_key_value().is_some_and(|(last, _)| id < *last) {
        return Err("ERR The ID specified in XSETID is smaller than the target stream top item".into());
    }
    stream.last_id = id;
    stream.entries_added = added.unwrap_or(stream.entries_added);
    stream.max_deleted = deleted.unwrap_or(stream.max_deleted);
    call.db.changed(&call.args[1]);
    Ok(Response::OK)
}

/// COUNT as XREAD takes it: zero and below mean all.
pub(super) fn read_count(word: &[u8]) -> Result<Option<usize>, Failure> {
    let number = strict_integer(word).ok_or(super::words::NOT_INTEGER)?;
    Ok(usize::try_from(number).ok().filter(|number| *number > 0))
}
