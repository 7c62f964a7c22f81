//! SCAN, HSCAN, SSCAN and ZSCAN: in the order of a hash, so that what stays is seen whatever comes and goes.

use super::keyspace::{Call, HashValue, SetValue};
use super::reply::{Answer, Response};
use super::sorted_set::SortedSet;
use super::words::{Bytes, Failure, SYNTAX, double_text, integer, matches_glob, upper};

struct ScanRequest {
    cursor: u64,
    count: usize,
    pattern: Option<Bytes>,
    type_name: Option<String>,
}

impl ScanRequest {
    fn cursor(word: &[u8]) -> Result<u64, Failure> {
        let text = std::str::from_utf8(word).ok();
        let digits = text.map(|text| text.strip_prefix('-').unwrap_or(text));
        let number = digits.and_then(|digits| if digits.is_empty() { Some(0) } else { digits.parse::<u64>().ok() });
        // No cursor that was given out is longer.
        number.map(|number| number & ((1 << 53) - 1)).ok_or_else(|| "ERR invalid cursor".into())
    }

    fn parse(cursor: u64, words: &[Bytes], of_keys: bool) -> Result<Self, Failure> {
        let mut options = Self { cursor, count: 10, pattern: None, type_name: None };
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            let name = upper(word);
            let value = rest.next().ok_or(SYNTAX)?;
            match name.as_str() {
                "COUNT" => {
                    let count = integer(value)?;
                    options.count = usize::try_from(count).ok().filter(|count| *count > 0).ok_or(SYNTAX)?;
                }
                "MATCH" => options.pattern = Some(value.clone()),
                "TYPE" if of_keys => options.type_name = Some(upper(value).to_ascii_lowercase()),
                _ => return Err(SYNTAX.into()),
            }
        }
        Ok(options)
    }

    /// One step: the cursor of the next, and what it found.
    fn step<T>(&self, all: impl Iterator<Item = (Bytes, T)>) -> (u64, Vec<(Bytes, T)>) {
        let mut hashed: Vec<_> =
            all.map(|(name, more)| (hash(&name), name, more)).filter(|(at, ..)| *at >= self.cursor).collect();
        hashed.sort_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)));
        let mut end = self.count.min(hashed.len());
        // Those of one hash come together.
        while end > 0 && end < hashed.len() && hashed[end].0 == hashed[end - 1].0 {
            end += 1;
        }
        let next = hashed.get(end).map_or(0, |(at, ..)| *at);
        hashed.truncate(end);
        let is_asked = |name: &Bytes| self.pattern.as_ref().is_none_or(|pattern| matches_glob(pattern, name));
        let found = hashed.into_iter().filter(|(_, name, _)| is_asked(name)).map(|(_, name, more)| (name, more));
        (next, found.collect())
    }
}

/// From 1 up, within 53 bits, so that a cursor survives as a double.
fn hash(name: &[u8]) -> u64 {
    let mix = |all: u64, byte: &u8| (all ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
    (name.iter().fold(0xCBF2_9CE4_8422_2325, mix) >> 11) + 1
}

fn reply(next: u64, items: impl IntoIterator<Item = Bytes>) -> Answer {
    Ok(Response::Array(vec![Response::text(next.to_string()), Response::bulks(items)]))
}

pub(super) fn scan(call: &mut Call<'_>) -> Answer {
    let cursor = ScanRequest::cursor(&call.args[1])?;
    let options = ScanRequest::parse(cursor, &call.args[2..], true)?;
    let (next, found) = options.step(call.db.keys().map(|key| (key.clone(), ())));
    let type_of = |key: &Bytes| call.db.entry(key).map(|entry| entry.value.type_name());
    let is_asked = |key: &Bytes| options.type_name.as_deref().is_none_or(|name| type_of(key) == Some(name));
    reply(next, found.into_iter().map(|(key, ())| key).filter(is_asked))
}

pub(super) fn sscan(call: &mut Call<'_>) -> Answer {
    let cursor = ScanRequest::cursor(&call.args[2])?;
    let Some(set) = call.db.read::<SetValue>(&call.args[1])? else { return reply(0, []) };
    let options = ScanRequest::parse(cursor, &call.args[3..], false)?;
    let (next, found) = options.step(set.iter().map(|member| (member.clone(), ())));
    reply(next, found.into_iter().map(|(member, ())| member))
}

pub(super) fn hscan(call: &mut Call<'_>) -> Answer {
    let cursor = ScanRequest::cursor(&call.args[2])?;
    let Some(hash) = call.db.read::<HashValue>(&call.args[1])? else { return reply(0, []) };
    let options = ScanRequest::parse(cursor, &call.args[3..], false)?;
    let (next, found) = options.step(hash.iter().map(|(field, value)| (field.clone(), value.clone())));
    reply(next, found.into_iter().flat_map(|(field, value)| [field, value]))
}

pub(super) fn zscan(call: &mut Call<'_>) -> Answer {
    let cursor = ScanRequest::cursor(&call.args[2])?;
    let Some(set) = call.db.read::<SortedSet>(&call.args[1])? else { return reply(0, []) };
    let options = ScanRequest::parse(cursor, &call.args[3..], false)?;
    let (next, found) = options.step(set.iter().map(|(member, score)| (member.clone(), score)));
    reply(next, found.into_iter().flat_map(|(member, score)| [member, double_text(score).into_bytes()]))
}
