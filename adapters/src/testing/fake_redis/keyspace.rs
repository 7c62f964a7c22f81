//! The keys of one database: values by type, when they expire, and which were touched; no command.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::reply::Answer;
use super::sorted_set::SortedSet;
use super::stream_log::StreamLog;
use super::words::{Bytes, Failure, WRONG_TYPE};

pub(super) type TextValue = Bytes;
pub(super) type ListValue = VecDeque<Bytes>;
pub(super) type HashValue = BTreeMap<Bytes, Bytes>;
pub(super) type SetValue = BTreeSet<Bytes>;

/// The value of a key.
#[derive(Clone, Debug)]
pub(super) enum KeyValue {
    Text(TextValue),
    List(ListValue),
    Hash(HashValue),
    Set(SetValue),
    Sorted(SortedSet),
    Stream(StreamLog),
}

impl KeyValue {
    /// What TYPE calls it.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Text(_) => "string",
            Self::List(_) => "list",
            Self::Hash(_) => "hash",
            Self::Set(_) => "set",
            Self::Sorted(_) => "zset",
            Self::Stream(_) => "stream",
        }
    }

    /// Whether the key goes with its last element.
    fn is_empty(&self) -> bool {
        match self {
            Self::Text(_) | Self::Stream(_) => false,
            Self::List(list) => list.is_empty(),
            Self::Hash(hash) => hash.is_empty(),
            Self::Set(set) => set.is_empty(),
            Self::Sorted(set) => set.is_empty(),
        }
    }
}

/// One of the types of values.
pub(super) trait KeyType: Default {
    fn of(value: &KeyValue) -> Option<&Self>;
    fn of_mut(value: &mut KeyValue) -> Option<&mut Self>;
    fn wrap(self) -> KeyValue;
}

macro_rules! key_type {
    ($type:ty, $variant:ident) => {
        impl KeyType for $type {
            fn of(value: &KeyValue) -> Option<&Self> {
                if let KeyValue::$variant(value) = value { Some(value) } else { None }
            }

            fn of_mut(value: &mut KeyValue) -> Option<&mut Self> {
                if let KeyValue::$variant(value) = value { Some(value) } else { None }
            }

            fn wrap(self) -> KeyValue {
                KeyValue::$variant(self)
            }
        }
    };
}

key_type!(TextValue, Text);
key_type!(ListValue, List);
key_type!(HashValue, Hash);
key_type!(SetValue, Set);
key_type!(SortedSet, Sorted);
key_type!(StreamLog, Stream);

#[derive(Clone, Debug)]
pub(super) struct KeyEntry {
    pub(super) value: KeyValue,
    /// In milliseconds of Unix time.
    pub(super) expires_at: Option<i64>,
}

/// One of the 16 databases. Expired keys are taken out before each command, so a look-up asks for no time.
#[derive(Clone, Debug, Default)]
pub struct FakeDatabase {
    entries: BTreeMap<Bytes, KeyEntry>,
    expiries: BTreeSet<(i64, Bytes)>,
    touched: Vec<Bytes>,
}

impl FakeDatabase {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn with_expiry(&self) -> usize {
        self.expiries.len()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &Bytes> {
        self.entries.keys()
    }

    pub(super) fn entry(&self, key: &[u8]) -> Option<&KeyEntry> {
        self.entries.get(key)
    }

    pub(super) fn contains(&self, key: &[u8]) -> bool {
        self.entries.contains_key(key)
    }

    /// The value, if it is there and of this type.
    pub(super) fn read<T: KeyType>(&self, key: &[u8]) -> Result<Option<&T>, Failure> {
        match self.entries.get(key) {
            Some(entry) => T::of(&entry.value).map(Some).ok_or_else(|| WRONG_TYPE.into()),
            None => Ok(None),
        }
    }

    /// As `read`, to be changed: say [`changed`](Self::changed) afterwards.
    pub(super) fn write<T: KeyType>(&mut self, key: &[u8]) -> Result<Option<&mut T>, Failure> {
        match self.entries.get_mut(key) {
            Some(entry) => T::of_mut(&mut entry.value).map(Some).ok_or_else(|| WRONG_TYPE.into()),
            None => Ok(None),
        }
    }

    /// As `write`; the key is made if it is not there.
    pub(super) fn create<T: KeyType>(&mut self, key: &[u8]) -> Result<&mut T, Failure> {
        let new = || KeyEntry { value: T::default().wrap(), expires_at: None };
        let entry = self.entries.entry(key.to_vec()).or_insert_with(new);
        T::of_mut(&mut entry.value).ok_or_else(|| WRONG_TYPE.into())
    }

    /// A value was changed: the key goes if nothing is left in it, and those who watch it or wait for it are to be told.
    pub(super) fn changed(&mut self, key: &[u8]) {
        if self.entries.get(key).is_some_and(|entry| entry.value.is_empty()) {
            self.remove(key);
        } else {
            self.touched.push(key.to_vec());
        }
    }

    /// Writes a value without an expiry, whatever was there.
    pub(super) fn put(&mut self, key: &[u8], value: KeyValue) {
        self.set_expiry(key, None);
        self.entries.insert(key.to_vec(), KeyEntry { value, expires_at: None });
        self.changed(key);
    }

    /// Takes a key out, with its expiry.
    pub(super) fn remove(&mut self, key: &[u8]) -> Option<KeyEntry> {
        let removed = self.entries.remove(key)?;
        if let Some(at) = removed.expires_at {
            self.expiries.remove(&(at, key.to_vec()));
        }
        self.touched.push(key.to_vec());
        Some(removed)
    }

    pub(super) fn clear(&mut self) {
        self.touched.extend(self.entries.keys().cloned());
        self.entries.clear();
        self.expiries.clear();
    }

    /// Sets or takes away when the key expires; nothing if it is not there.
    pub(super) fn set_expiry(&mut self, key: &[u8], expires_at: Option<i64>) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if let Some(old) = entry.expires_at.take() {
            self.expiries.remove(&(old, key.to_vec()));
        }
        entry.expires_at = expires_at;
        if let Some(at) = expires_at {
            self.expiries.insert((at, key.to_vec()));
        }
    }

    /// Takes out what has expired by now.
    pub(super) fn expire(&mut self, now_ms: i64) {
        while let Some((at, key)) = self.expiries.first().cloned() {
            if at > now_ms {
                break;
            }
            self.remove(&key);
        }
    }

    pub(super) fn next_expiry(&self) -> Option<i64> {
        self.expiries.first().map(|(at, _)| *at)
    }

    /// The keys that were changed since the last call, in order.
    pub(super) fn take_touched(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.touched)
    }
}

/// One command on the data: its words and the database, and nothing else.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) db: &'a mut FakeDatabase,
    pub(super) args: &'a [Bytes],
    pub(super) now_ms: i64,
    pub(super) resp3: bool,
    pub(super) draw: &'a mut Draw,
}

/// A command on the data.
pub(super) type DataCommand = fn(&mut Call<'_>) -> Answer;

/// Numbers from a seed, for SPOP and its kin.
#[derive(Debug)]
pub(super) struct Draw(u64);

impl Draw {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// One of `count` things; zero of none.
    pub(super) fn index(&mut self, count: usize) -> usize {
        // A linear congruence with a mix of its upper half: even enough to pick members.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mixed = (self.0 ^ (self.0 >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93) >> 32;
        usize::try_from(mixed).unwrap_or(0) % count.max(1)
    }
}
