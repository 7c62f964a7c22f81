//! An aggregate that has begun and is not complete.

use redis::{PushKind, Value};

use super::protocol_error::ProtocolError;
use super::quick::quick_value;
use super::reply_type::AggregateType;

/// What has come of it, and how many values are missing, which is at least one.
#[derive(Debug)]
pub(super) enum UnfinishedAggregate {
    List { of: ListType, missing: usize, items: Vec<Value> },
    Pairs { of: PairsType, missing: usize, key: Option<Value>, pairs: Vec<(Value, Value)> },
    Push { missing: usize, kind: Option<PushKind>, data: Vec<Value> },
}

/// The aggregates that are a sequence of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ListType {
    Array,
    Set,
}

/// The aggregates that are pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PairsType {
    Map,
    /// One more value follows the pairs, which they are about.
    Attribute,
}

/// So many values will follow the header of an aggregate of this count. `None` if that is no number of ours.
pub(super) fn values_of(of: AggregateType, count: usize) -> Option<usize> {
    match of {
        AggregateType::Array | AggregateType::Set | AggregateType::Push => Some(count),
        AggregateType::Map => count.checked_mul(2),
        AggregateType::Attribute => count.checked_mul(2)?.checked_add(1),
    }
}

/// An aggregate without a value.
pub(super) fn empty(of: AggregateType) -> Value {
    match of {
        AggregateType::Array => Value::Array(Vec::new()),
        AggregateType::Set => Value::Set(Vec::new()),
        AggregateType::Map => Value::Map(Vec::new()),
        AggregateType::Attribute => Value::Attribute { data: Box::new(Value::Nil), attributes: Vec::new() },
        AggregateType::Push => Value::Push { kind: PushKind::Other(String::new()), data: Vec::new() },
    }
}

impl UnfinishedAggregate {
    /// One that so many values belong to, with memory for some of them.
    pub(super) fn new(of: AggregateType, values: usize, room: usize) -> Self {
        debug_assert!(values > 0, "Q4: an unfinished aggregate lacks a value");
        let room = room.min(values);
        match of {
            AggregateType::Array => Self::list(ListType::Array, values, room),
            AggregateType::Set => Self::list(ListType::Set, values, room),
            AggregateType::Map => Self::pairs(PairsType::Map, values, room),
            AggregateType::Attribute => Self::pairs(PairsType::Attribute, values, room),
            AggregateType::Push => Self::Push { missing: values, kind: None, data: Vec::with_capacity(room.min(values - 1)) },
        }
    }

    fn list(of: ListType, missing: usize, room: usize) -> Self {
        Self::List { of, missing, items: Vec::with_capacity(room) }
    }

    fn pairs(of: PairsType, missing: usize, room: usize) -> Self {
        Self::Pairs { of, missing, key: None, pairs: Vec::with_capacity(room / 2) }
    }

    /// Adds the next value, and says whether the aggregate is complete.
    #[inline]
    pub(super) fn add(&mut self, value: Value) -> Result<bool, ProtocolError> {
        let missing = match self {
            Self::List { missing, items, .. } => {
                push_within(items, value, *missing);
                missing
            }
            Self::Pairs { missing, key, pairs, .. } => {
                match key.take() {
                    Some(key) => push_within(pairs, (key, value), missing.div_ceil(2)),
                    None => *key = Some(value),
                }
                missing
            }
            Self::Push { missing, kind: kind @ None, .. } => {
                *kind = Some(push_kind(value)?);
                missing
            }
            Self::Push { missing, data, .. } => {
                push_within(data, value, *missing);
                missing
            }
        };
        *missing -= 1;
        Ok(*missing == 0)
    }

    /// Adds what can be read the short way, but for the last value, which completes it.
    #[inline]
    pub(super) fn fill_quickly(&mut self, input: &mut &[u8], room: &mut usize) {
        let Self::List { missing, items, .. } = self else {
            return;
        };
        while *missing > 1
            && let Some(value) = quick_value(input, room)
        {
            push_within(items, value, *missing);
            *missing -= 1;
        }
    }

    /// The value of a complete one.
    pub(super) fn finish(self) -> Value {
        debug_assert_eq!(self.missing(), 0, "an aggregate is finished when all of it has come");
        match self {
            Self::List { of: ListType::Array, items, .. } => Value::Array(items),
            Self::List { of: ListType::Set, items, .. } => Value::Set(items),
            Self::Pairs { of: PairsType::Map, pairs, .. } => Value::Map(pairs),
            // The number of its values is odd: the last one has no partner.
            Self::Pairs { of: PairsType::Attribute, key, pairs, .. } => {
                Value::Attribute { data: Box::new(key.unwrap_or_default()), attributes: pairs }
            }
            Self::Push { kind, data, .. } => Value::Push { kind: kind.unwrap_or(PushKind::Other(String::new())), data },
        }
    }

    /// Values that have not come.
    pub(super) fn missing(&self) -> usize {
        match self {
            Self::List { missing, .. } | Self::Pairs { missing, .. } | Self::Push { missing, .. } => *missing,
        }
    }

    /// Bytes that it holds for values that have not come.
    pub(super) fn spare(&self) -> usize {
        match self {
            Self::List { items, .. } => spare(items),
            Self::Pairs { pairs, .. } => spare(pairs),
            Self::Push { data, .. } => spare(data),
        }
    }
}

fn spare<T>(items: &Vec<T>) -> usize {
    (items.capacity() - items.len()) * size_of::<T>()
}

/// Grows to the double, but never beyond what is missing, so that a complete aggregate holds no more than its values.
#[inline]
fn push_within<T>(items: &mut Vec<T>, item: T, missing: usize) {
    if items.len() == items.capacity() {
        items.reserve_exact(items.len().max(4).min(missing));
    }
    items.push(item);
}

fn push_kind(value: Value) -> Result<PushKind, ProtocolError> {
    let kind = if let Value::BulkString(bytes) = value {
        String::from_utf8(bytes).map_err(|_| ProtocolError::NoPushKind)?
    } else if let Value::SimpleString(text) = value {
        text
    } else {
        return Err(ProtocolError::NoPushKind);
    };
    Ok(match kind.as_str() {
        "invalidate" => PushKind::Invalidate,
        "message" => PushKind::Message,
        "pmessage" => PushKind::PMessage,
        "smessage" => PushKind::SMessage,
        "unsubscribe" => PushKind::Unsubscribe,
        "punsubscribe" => PushKind::PUnsubscribe,
        "sunsubscribe" => PushKind::SUnsubscribe,
        "subscribe" => PushKind::Subscribe,
        "psubscribe" => PushKind::PSubscribe,
        "ssubscribe" => PushKind::SSubscribe,
        _ => PushKind::Other(kind),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complete_list_holds_no_more_than_its_values() {
        for (count, room) in [(1, 0), (5, 0), (9, 2), (100, 64), (4_097, 4_096), (10_000, 100_000)] {
            let mut list = UnfinishedAggregate::new(AggregateType::Array, count, room);
            for at in 1..=count {
                assert_eq!(list.add(Value::Nil), Ok(at == count));
            }
            assert_eq!(list.spare(), 0, "{count} values, room for {room}");
        }
    }

    #[test]
    fn a_complete_map_or_attribute_holds_no_more_than_its_pairs() {
        for (of, values) in [(AggregateType::Map, 10), (AggregateType::Attribute, 11), (AggregateType::Attribute, 1)] {
            let mut pairs = UnfinishedAggregate::new(of, values, 3);
            for at in 1..=values {
                assert_eq!(pairs.add(Value::Nil), Ok(at == values));
            }
            assert_eq!(pairs.spare(), 0, "{of:?}");
        }
    }

    #[test]
    fn memory_for_values_is_asked_for_as_they_come() {
        let mut list = UnfinishedAggregate::new(AggregateType::Array, 1_000_000, 16);
        for at in 0..10_000 {
            assert_eq!(list.add(Value::Int(at)), Ok(false));
            assert!(list.spare() <= 10_016 * size_of::<Value>());
        }
    }

    #[test]
    fn every_kind_of_push_that_the_redis_crate_names_is_that_kind() {
        let names = [
            "invalidate",
            "message",
            "pmessage",
            "smessage",
            "unsubscribe",
            "punsubscribe",
            "sunsubscribe",
            "subscribe",
            "psubscribe",
            "ssubscribe",
        ];
        for name in names {
            let kind = push_kind(Value::SimpleString(name.to_owned())).expect("a kind");
            assert!(!matches!(kind, PushKind::Other(_)), "{name}");
            assert_eq!(kind.to_string(), name);
        }
        assert_eq!(push_kind(Value::BulkString(b"news".to_vec())), Ok(PushKind::Other("news".to_owned())));
    }

    #[test]
    fn a_push_begins_with_a_string() {
        for first in [Value::Int(1), Value::Nil, Value::Okay, Value::Array(vec![]), Value::BulkString(vec![0xff])] {
            assert_eq!(push_kind(first), Err(ProtocolError::NoPushKind));
        }
    }
}
