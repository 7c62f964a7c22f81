//! Puts replies of several nodes together, each way for replies of one form.

use std::collections::HashMap;

use redis::Value;

/// Numbers, or arrays of numbers place by place. `None` if the replies have other forms, or not the same one.
pub(super) fn fold(replies: impl IntoIterator<Item = Value>, with: fn(i64, i64) -> i64) -> Option<Value> {
    let mut replies = replies.into_iter();
    let first = replies.next().filter(is_numeric)?;
    replies.try_fold(first, |so_far, next| fold_two(so_far, next, with))
}

fn is_numeric(reply: &Value) -> bool {
    let items = if let Value::Array(items) = reply { items } else { std::slice::from_ref(reply) };
    items.iter().all(|item| matches!(item, Value::Int(_)))
}

fn fold_two(one: Value, other: Value, with: fn(i64, i64) -> i64) -> Option<Value> {
    match (one, other) {
        (Value::Int(one), Value::Int(other)) => Some(Value::Int(with(one, other))),
        (Value::Array(ones), Value::Array(others)) if ones.len() == others.len() => {
            let pairs = ones.into_iter().zip(others);
            pairs.map(|(one, other)| fold_two(one, other, with)).collect::<Option<_>>().map(Value::Array)
        }
        _ => None,
    }
}

/// All items in one array, or in one set if the replies are sets.
pub(super) fn concatenate(replies: impl IntoIterator<Item = Value>) -> Option<Value> {
    let mut all: Option<Value> = None;
    for reply in replies {
        match (&mut all, reply) {
            (None, reply @ (Value::Array(_) | Value::Set(_))) => all = Some(reply),
            (Some(Value::Array(all) | Value::Set(all)), Value::Array(items) | Value::Set(items)) => all.extend(items),
            _ => return None,
        }
    }
    all
}

/// Names, each followed by a number: the numbers of a name are added. In the form of the first reply, an array or a map.
pub(super) fn sum_pairs(replies: impl IntoIterator<Item = Value>) -> Option<Value> {
    let mut sums: Vec<(Value, i64)> = Vec::new();
    // Where the sum of a name is.
    let mut places: HashMap<Vec<u8>, usize> = HashMap::new();
    let mut is_map = None;
    for reply in replies {
        is_map.get_or_insert(matches!(reply, Value::Map(_)));
        for (name, number) in pairs_of(reply)? {
            let (Value::BulkString(text), Value::Int(number)) = (&name, number) else { return None };
            let place = *places.entry(text.clone()).or_insert(sums.len());
            match sums.get_mut(place) {
                Some((_, sum)) => *sum = sum.saturating_add(number),
                None => sums.push((name, number)),
            }
        }
    }
    let pairs = sums.into_iter().map(|(name, sum)| (name, Value::Int(sum)));
    match is_map? {
        true => Some(Value::Map(pairs.collect())),
        false => Some(Value::Array(pairs.flat_map(|(name, sum)| [name, sum]).collect())),
    }
}

fn pairs_of(reply: Value) -> Option<Vec<(Value, Value)>> {
    if let Value::Map(pairs) = reply {
        return Some(pairs);
    }
    let Value::Array(items) = reply else { return None };
    let mut items = items.into_iter();
    let mut pairs = Vec::with_capacity(items.len() / 2);
    while let Some(name) = items.next() {
        pairs.push((name, items.next()?));
    }
    Some(pairs)
}

#[cfg(test)]
mod tests {
    use redis::Value;

    use super::{concatenate, fold, sum_pairs};

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn array(items: impl IntoIterator<Item = Value>) -> Value {
        Value::Array(items.into_iter().collect())
    }

    fn ints(items: &[i64]) -> Value {
        array(items.iter().copied().map(Value::Int))
    }

    /// Seen to bite: with arrays of which the shorter one decides, and with a first reply of any form.
    #[test]
    fn numbers_are_folded_place_by_place() {
        assert_eq!(fold([Value::Int(3), Value::Int(2)], i64::min), Some(Value::Int(2)));
        assert_eq!(fold([ints(&[1, 5]), ints(&[4, 2])], i64::min), Some(ints(&[1, 2])));
        assert_eq!(fold([ints(&[1, 5]), ints(&[4])], i64::min), None);
        assert_eq!(fold([ints(&[1]), Value::Int(1)], i64::min), None);
        assert_eq!(fold([Value::Okay], i64::min), None);
        assert_eq!(fold([], i64::min), None);
    }

    /// Seen to bite: with a map of the last reply's numbers.
    #[test]
    fn pairs_are_added_by_name_whatever_their_order() {
        let one = array([text("a"), Value::Int(1), text("b"), Value::Int(2)]);
        let other = array([text("b"), Value::Int(10), text("c"), Value::Int(7)]);
        let sums = array([text("a"), Value::Int(1), text("b"), Value::Int(12), text("c"), Value::Int(7)]);
        assert_eq!(sum_pairs([one.clone(), other]), Some(sums));
        let map = Value::Map(vec![(text("a"), Value::Int(4))]);
        assert_eq!(sum_pairs([map.clone(), map]), Some(Value::Map(vec![(text("a"), Value::Int(8))])));
        assert_eq!(sum_pairs([one, array([text("a")])]), None, "a name without a number");
    }

    #[test]
    fn arrays_and_sets_become_one() {
        assert_eq!(concatenate([ints(&[1]), ints(&[]), ints(&[1, 2])]), Some(ints(&[1, 1, 2])));
        let set = Value::Set(vec![Value::Int(1)]);
        assert_eq!(concatenate([set, ints(&[2])]), Some(Value::Set(vec![Value::Int(1), Value::Int(2)])));
        assert_eq!(concatenate([ints(&[1]), Value::Int(1)]), None);
    }
}
