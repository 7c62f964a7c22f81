//! Ranges of sorted sets by index, score and member.

use super::keyspace::Call;
use super::lists::index_range;
use super::reply::{Answer, Response};
use super::sorted_set::SortedSet;
use super::words::{Bytes, Failure, SYNTAX, integer, loose_float, upper};

/// What a range goes by.
#[derive(Clone, Copy, Debug, PartialEq)]
enum RangeBy {
    Index,
    Score,
    Member,
}

/// One end of a range of members.
#[derive(Clone, Debug)]
enum MemberBound {
    Lowest,
    Highest,
    At(Bytes),
    Beyond(Bytes),
}

impl MemberBound {
    fn is_below(&self, member: &Bytes) -> bool {
        match self {
            Self::Lowest => true,
            Self::Highest => false,
            Self::At(bound) => member >= bound,
            Self::Beyond(bound) => member > bound,
        }
    }

    fn is_above(&self, member: &Bytes) -> bool {
        match self {
            Self::Lowest => false,
            Self::Highest => true,
            Self::At(bound) => member <= bound,
            Self::Beyond(bound) => member < bound,
        }
    }
}

enum Bounds {
    Index(i64, i64),
    Score((f64, bool), (f64, bool)),
    Member(MemberBound, MemberBound),
}

fn score_bound(word: &[u8]) -> Result<(f64, bool), Failure> {
    let (digits, excludes) = word.strip_prefix(b"(").map_or((word, false), |rest| (rest, true));
    if digits.is_empty() {
        return Ok((0.0, excludes));
    }
    Ok((loose_float(digits).ok_or("ERR min or max is not a float")?, excludes))
}

fn member_bound(word: &[u8]) -> Result<MemberBound, Failure> {
    match word {
        b"-" => Ok(MemberBound::Lowest),
        b"+" => Ok(MemberBound::Highest),
        [b'[', rest @ ..] => Ok(MemberBound::At(rest.to_vec())),
        [b'(', rest @ ..] => Ok(MemberBound::Beyond(rest.to_vec())),
        _ => Err("ERR min or max not valid string range item".into()),
    }
}

impl Bounds {
    /// From two words, the lower one first.
    fn parse(by: RangeBy, low: &[u8], high: &[u8]) -> Result<Self, Failure> {
        Ok(match by {
            RangeBy::Index => Self::Index(integer(low)?, integer(high)?),
            RangeBy::Score => Self::Score(score_bound(low)?, score_bound(high)?),
            RangeBy::Member => Self::Member(member_bound(low)?, member_bound(high)?),
        })
    }

    /// What lies within, in the order that is asked for; indices count in that order, too.
    fn select(&self, set: &SortedSet, reversed: bool) -> Vec<(Bytes, f64)> {
        let own = |(member, score): (&Bytes, f64)| (member.clone(), score);
        let mut all: Vec<_> = if reversed { set.iter().rev().map(own).collect() } else { set.iter().map(own).collect() };
        match self {
            Self::Index(from, to) => {
                let range = index_range(*from, *to, all.len());
                range.map_or_else(Vec::new, |(from, to)| all[from..=to].to_vec())
            }
            Self::Score((low, not_low), (high, not_high)) => {
                all.retain(|(_, score)| {
                    let above = if *not_low { score > low } else { score >= low };
                    above && if *not_high { score < high } else { score <= high }
                });
                all
            }
            Self::Member(low, high) => {
                // With different scores the order is not that of members: a range ends where Redis's walk ends.
                if !set.iter().next_back().is_some_and(|(member, _)| low.is_below(member))
                    || !set.iter().next().is_some_and(|(member, _)| high.is_above(member))
                {
                    return Vec::new();
                }
                let is_started = |member: &Bytes| if reversed { high.is_above(member) } else { low.is_below(member) };
                let goes_on = |member: &Bytes| if reversed { low.is_below(member) } else { high.is_above(member) };
                all.into_iter().skip_while(|(member, _)| !is_started(member)).take_while(|(member, _)| goes_on(member)).collect()
            }
        }
    }
}

/// How a command names its range before its options say otherwise.
struct RangeForm {
    by: RangeBy,
    reversed: bool,
    /// ZRANGE and ZRANGESTORE: BYSCORE, BYLEX and REV are options.
    is_general: bool,
}

struct RangeQuery {
    bounds: Bounds,
    reversed: bool,
    with_scores: bool,
    limit: Option<(i64, i64)>,
}

impl RangeQuery {
    /// From the two bounds and the options behind them.
    fn parse(words: &[Bytes], form: RangeForm, may_have_scores: bool) -> Result<Self, Failure> {
        let RangeForm { mut by, mut reversed, is_general } = form;
        let (mut with_scores, mut limit) = (false, None);
        let mut rest = words[2..].iter();
        while let Some(word) = rest.next() {
            match upper(word).as_str() {
                "WITHSCORES" if may_have_scores => with_scores = true,
                "LIMIT" if rest.len() >= 2 => {
                    let mut number = || rest.next().map_or(Err(SYNTAX.into()), |word| integer(word));
                    limit = Some((number()?, number()?));
                }
                "BYSCORE" if is_general && by == RangeBy::Index => by = RangeBy::Score,
                "BYLEX" if is_general && by == RangeBy::Index => by = RangeBy::Member,
                "REV" if is_general && !reversed => reversed = true,
                _ => return Err(SYNTAX.into()),
            }
        }
        if limit.is_some_and(|(_, count)| count != -1) && by == RangeBy::Index {
            return Err("ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX".into());
        }
        if with_scores && by == RangeBy::Member {
            return Err("ERR syntax error, WITHSCORES not supported in combination with BYLEX".into());
        }
        let is_swapped = reversed && by != RangeBy::Index;
        let (low, high) = if is_swapped { (&words[1], &words[0]) } else { (&words[0], &words[1]) };
        Ok(Self { bounds: Bounds::parse(by, low, high)?, reversed, with_scores, limit })
    }

    fn select(&self, set: Option<&SortedSet>) -> Vec<(Bytes, f64)> {
        let found = set.map_or_else(Vec::new, |set| self.bounds.select(set, self.reversed));
        let is_by_index = matches!(self.bounds, Bounds::Index(..));
        let Some((offset, count)) = self.limit.filter(|_| !is_by_index) else { return found };
        let Ok(offset) = usize::try_from(offset) else { return Vec::new() };
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        found.into_iter().skip(offset).take(count).collect()
    }
}

fn range(call: &Call<'_>, form: RangeForm) -> Answer {
    let may_have_scores = form.by != RangeBy::Member;
    let query = RangeQuery::parse(&call.args[2..], form, may_have_scores)?;
    let found = query.select(call.db.read::<SortedSet>(&call.args[1])?);
    let item = |(member, score)| match (query.with_scores, call.resp3) {
        (false, _) => vec![Response::Bulk(member)],
        (true, false) => vec![Response::Bulk(member), Response::Double(score)],
        (true, true) => vec![Response::Array(vec![Response::Bulk(member), Response::Double(score)])],
    };
    Ok(Response::Array(found.into_iter().flat_map(item).collect()))
}

pub(super) fn zrange(call: &mut Call<'_>) -> Answer {
    range(call, RangeForm { by: RangeBy::Index, reversed: false, is_general: true })
}

pub(super) fn zrevrange(call: &mut Call<'_>) -> Answer {
    range(call, RangeForm { by: RangeBy::Index, reversed: true, is_general: false })
}

pub(super) fn zrangebyscore(call: &mut Call<'_>) -> Answer {
    range(call, RangeForm { by: RangeBy::Score, reversed: false, is_general: false })
}

pub(super) fn zrevrangebyscore(call: &mut Call<'_>) -> Answer {
    range(call, RangeForm { by: RangeBy::Score, reversed: true, is_general: false })
}

pub(super) fn zrangebylex(call: &mut Call<'_>) -> Answer {
    range(call, RangeForm { by: RangeBy::Member, reversed: false, is_general: false })
}

pub(super) fn zrevrangebylex(call: &mut Call<'_>) -> Answer {
    range(call, RangeForm { by: RangeBy::Member, reversed: true, is_general: false })
}

fn count(call: &Call<'_>, by: RangeBy) -> Answer {
    let bounds = Bounds::parse(by, &call.args[2], &call.args[3])?;
    let set = call.db.read::<SortedSet>(&call.args[1])?;
    Ok(Response::count(set.map_or(0, |set| bounds.select(set, false).len())))
}

pub(super) fn zcount(call: &mut Call<'_>) -> Answer {
    count(call, RangeBy::Score)
}

pub(super) fn zlexcount(call: &mut Call<'_>) -> Answer {
    count(call, RangeBy::Member)
}

fn remove(call: &mut Call<'_>, by: RangeBy) -> Answer {
    let bounds = Bounds::parse(by, &call.args[2], &call.args[3])?;
    let Some(set) = call.db.write::<SortedSet>(&call.args[1])? else { return Ok(Response::Integer(0)) };
    let found = bounds.select(set, false);
    found.iter().for_each(|(member, _)| {
        set.remove(member);
    });
    if !found.is_empty() {
        call.db.changed(&call.args[1]);
    }
    Ok(Response::count(found.len()))
}

pub(super) fn zremrangebyrank(call: &mut Call<'_>) -> Answer {
    remove(call, RangeBy::Index)
}

pub(super) fn zremrangebyscore(call: &mut Call<'_>) -> Answer {
    remove(call, RangeBy::Score)
}

pub(super) fn zremrangebylex(call: &mut Call<'_>) -> Answer {
    remove(call, RangeBy::Member)
}
