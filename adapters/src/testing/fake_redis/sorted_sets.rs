//! The commands that change sorted sets or look up members; ranges are in `score_ranges`, ZSCAN is in `scan`.

use super::keyspace::{Call, KeyValue};
use super::reply::{Answer, Response};
use super::sorted_set::SortedSet;
use super::words::{Bytes, Failure, SYNTAX, float, loose_float, positive, strict_integer, upper};

const NAN: &str = "ERR resulting score is not a number (NaN)";

#[derive(Default)]
struct AddOptions {
    if_none: bool,
    if_some: bool,
    if_greater: bool,
    if_less: bool,
    counts_changes: bool,
    adds_up: bool,
}

impl AddOptions {
    /// The options, and where the pairs begin.
    fn parse(args: &[Bytes], adds_up: bool) -> (Self, usize) {
        let mut options = Self { adds_up, ..Self::default() };
        let mut at = 2;
        while let Some(word) = args.get(at) {
            match upper(word).as_str() {
                "NX" => options.if_none = true,
                "XX" => options.if_some = true,
                "GT" => options.if_greater = true,
                "LT" => options.if_less = true,
                "CH" => options.counts_changes = true,
                "INCR" => options.adds_up = true,
                _ => break,
            }
            at += 1;
        }
        (options, at)
    }

    fn check(&self, words: usize) -> Result<(), Failure> {
        if words == 0 || !words.is_multiple_of(2) {
            return Err(SYNTAX.into());
        }
        if self.if_none && self.if_some {
            return Err("ERR XX and NX options at the same time are not compatible".into());
        }
        if usize::from(self.if_greater) + usize::from(self.if_less) + usize::from(self.if_none) > 1 {
            return Err("ERR GT, LT, and/or NX options at the same time are not compatible".into());
        }
        if self.adds_up && words > 2 {
            return Err("ERR INCR option supports a single increment-element pair".into());
        }
        Ok(())
    }

    /// The new score; None: it stays as it is.
    fn new_score(&self, old: Option<f64>, given: f64) -> Result<Option<f64>, Failure> {
        let new = if self.adds_up { old.unwrap_or(0.0) + given } else { given };
        if new.is_nan() {
            return Err(NAN.into());
        }
        let is_refused = match old {
            None => self.if_some,
            Some(old) => self.if_none || self.if_greater && new <= old || self.if_less && new >= old,
        };
        Ok((!is_refused).then_some(new))
    }
}

pub(super) fn zadd(call: &mut Call<'_>) -> Answer {
    let (options, start) = AddOptions::parse(call.args, false);
    add(call, &options, start)
}

pub(super) fn zincrby(call: &mut Call<'_>) -> Answer {
    let options = AddOptions { adds_up: true, ..AddOptions::default() };
    add(call, &options, 2)
}

fn add(call: &mut Call<'_>, options: &AddOptions, start: usize) -> Answer {
    let pairs = &call.args[start..];
    options.check(pairs.len())?;
    let scores: Result<Vec<f64>, Failure> = pairs.chunks_exact(2).map(|pair| float(&pair[0])).collect();
    let scores = scores?;
    let key = &call.args[1];
    if options.if_some && call.db.read::<SortedSet>(key)?.is_none() {
        return Ok(if options.adds_up { Response::Null } else { Response::Integer(0) });
    }
    let set = call.db.create::<SortedSet>(key)?;
    let (mut added, mut updated, mut last) = (0, 0, None);
    let mut failure = None;
    for (pair, given) in pairs.chunks_exact(2).zip(scores) {
        let old = set.score(&pair[1]);
        match options.new_score(old, given) {
            Err(why) => failure = Some(why),
            Ok(None) => last = None,
            Ok(Some(new)) => {
                added += usize::from(old.is_none());
                updated += usize::from(old.is_some_and(|old| old != new));
                set.insert(&pair[1], new);
                last = Some(new);
            }
        }
    }
    // An empty set goes also when nothing was added.
    if added + updated > 0 || set.is_empty() {
        call.db.changed(key);
    }
    if let Some(failure) = failure {
        return Err(failure);
    }
    Ok(match options.adds_up {
        true => last.map_or(Response::Null, Response::Double),
        false => Response::count(if options.counts_changes { added + updated } else { added }),
    })
}

pub(super) fn zrem(call: &mut Call<'_>) -> Answer {
    let Some(set) = call.db.write::<SortedSet>(&call.args[1])? else { return Ok(Response::Integer(0)) };
    let removed = call.args[2..].iter().filter(|member| set.remove(member)).count();
    if removed > 0 {
        call.db.changed(&call.args[1]);
    }
    Ok(Response::count(removed))
}

fn score(set: Option<&SortedSet>, member: &[u8]) -> Response {
    set.and_then(|set| set.score(member)).map_or(Response::Null, Response::Double)
}

pub(super) fn zscore(call: &mut Call<'_>) -> Answer {
    Ok(score(call.db.read::<SortedSet>(&call.args[1])?, &call.args[2]))
}

pub(super) fn zmscore(call: &mut Call<'_>) -> Answer {
    let set = call.db.read::<SortedSet>(&call.args[1])?;
    Ok(Response::Array(call.args[2..].iter().map(|member| score(set, member)).collect()))
}

pub(super) fn zcard(call: &mut Call<'_>) -> Answer {
    Ok(Response::count(call.db.read::<SortedSet>(&call.args[1])?.map_or(0, SortedSet::len)))
}

fn rank(call: &Call<'_>, from_highest: bool) -> Answer {
    let Some(set) = call.db.read::<SortedSet>(&call.args[1])? else { return Ok(Response::Null) };
    let rank = set.iter().position(|(member, _)| *member == call.args[2]);
    let rank = rank.map(|rank| if from_highest { set.len() - 1 - rank } else { rank });
    Ok(rank.map_or(Response::Null, Response::count))
}

pub(super) fn zrank(call: &mut Call<'_>) -> Answer {
    rank(call, false)
}

pub(super) fn zrevrank(call: &mut Call<'_>) -> Answer {
    rank(call, true)
}

fn pop(call: &mut Call<'_>, highest: bool) -> Answer {
    if call.args.len() > 3 {
        return Err(SYNTAX.into());
    }
    let count = call.args.get(2).map(|word| positive(word)).transpose()?;
    let Some(set) = call.db.write::<SortedSet>(&call.args[1])? else { return Ok(Response::Array(Vec::new())) };
    let popped: Vec<_> = (0..count.unwrap_or(1).min(set.len())).map_while(|_| set.pop(highest)).collect();
    if !popped.is_empty() {
        call.db.changed(&call.args[1]);
    }
    let nested = call.resp3 && count.is_some();
    let item = |(member, score)| {
        let pair = vec![Response::Bulk(member), Response::Double(score)];
        if nested { vec![Response::Array(pair)] } else { pair }
    };
    Ok(Response::Array(popped.into_iter().flat_map(item).collect()))
}

pub(super) fn zpopmin(call: &mut Call<'_>) -> Answer {
    pop(call, false)
}

pub(super) fn zpopmax(call: &mut Call<'_>) -> Answer {
    pop(call, true)
}

#[derive(Clone, Copy, PartialEq)]
enum SetStore {
    Union,
    Intersection,
}

/// `ZUNIONSTORE to numkeys key... [WEIGHTS w...] [AGGREGATE SUM|MIN|MAX]`
fn combine_into(call: &mut Call<'_>, how: SetStore, name: &str) -> Answer {
    let count = strict_integer(&call.args[2]).ok_or(super::words::NOT_INTEGER)?;
    if count < 1 {
        return Err(format!("ERR at least 1 input key is needed for '{name}' command").into());
    }
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    if count > call.args.len() - 3 {
        return Err(SYNTAX.into());
    }
    let keys = &call.args[3..3 + count];
    let mut sets = Vec::new();
    for key in keys {
        sets.push(source(call, key)?);
    }
    let (mut weights, mut aggregate) = (vec![1.0; count], "SUM");
    let mut rest = &call.args[3 + count..];
    while let Some(word) = rest.first() {
        match upper(word).as_str() {
            "WEIGHTS" if rest.len() > count => {
                for (weight, word) in weights.iter_mut().zip(&rest[1..]) {
                    *weight = loose_float(word).ok_or("ERR weight value is not a float")?;
                }
                rest = &rest[1 + count..];
            }
            "AGGREGATE" if rest.len() > 1 => {
                aggregate = match upper(&rest[1]).as_str() {
                    "SUM" => "SUM",
                    "MIN" => "MIN",
                    "MAX" => "MAX",
                    _ => return Err(SYNTAX.into()),
                };
                rest = &rest[2..];
            }
            _ => return Err(SYNTAX.into()),
        }
    }
    let mut result = SortedSet::default();
    for (set, weight) in sets.iter().zip(&weights) {
        for (member, score) in set.iter() {
            if how == SetStore::Intersection && !sets.iter().all(|set| set.score(member).is_some()) {
                continue;
            }
            let weighted = number(score * weight);
            let new = match (result.score(member), aggregate) {
                (None, _) => weighted,
                (Some(old), "MIN") => old.min(weighted),
                (Some(old), "MAX") => old.max(weighted),
                (Some(old), _) => number(old + weighted),
            };
            result.insert(member, new);
        }
    }
    let length = result.len();
    if length == 0 {
        call.db.remove(&call.args[1]);
    } else {
        call.db.put(&call.args[1], KeyValue::Sorted(result));
    }
    Ok(Response::count(length))
}

/// Infinity times zero and the like are zero here.
fn number(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// A set counts as a sorted one with scores of one.
fn source(call: &Call<'_>, key: &[u8]) -> Result<SortedSet, Failure> {
    if let Ok(Some(set)) = call.db.read::<super::keyspace::SetValue>(key) {
        let mut sorted = SortedSet::default();
        set.iter().for_each(|member| sorted.insert(member, 1.0));
        return Ok(sorted);
    }
    Ok(call.db.read::<SortedSet>(key)?.cloned().unwrap_or_default())
}

pub(super) fn zunionstore(call: &mut Call<'_>) -> Answer {
    combine_into(call, SetStore::Union, "zunionstore")
}

pub(super) fn zinterstore(call: &mut Call<'_>) -> Answer {
    combine_into(call, SetStore::Intersection, "zinterstore")
}
