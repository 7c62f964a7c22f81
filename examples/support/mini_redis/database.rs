//! One numbered database of the mini Redis: keys with strings, lists and expiry; it has nothing to do with connections.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::MiniReply;
use super::commands::CommandResult;

pub(super) const SYNTAX_ERROR: &str = "ERR syntax error";
const NOT_AN_INTEGER: &str = "ERR value is not an integer or out of range";
const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";

type StoredList = VecDeque<Vec<u8>>;

#[derive(Default)]
pub(super) struct Database {
    entries: HashMap<Vec<u8>, DatabaseEntry>,
}

struct DatabaseEntry {
    value: StoredValue,
    expires_at: Option<Instant>,
}

enum StoredValue {
    Text(Vec<u8>),
    List(StoredList),
}

impl Database {
    /// Runs a command on keys, whose arguments have been counted; None if it is not one.
    pub(super) fn run(&mut self, name: &str, args: &[Vec<u8>]) -> Option<CommandResult> {
        let outcome = match name {
            "DBSIZE" => Ok(MiniReply::count(self.size())),
            "DEL" => Ok(MiniReply::count(args[1..].iter().filter(|key| self.delete(key)).count())),
            "EXISTS" => Ok(MiniReply::count(args[1..].iter().filter(|key| self.live(key).is_some()).count())),
            "GET" => self.text(&args[1]).map(|text| text.map_or(MiniReply::Null, MiniReply::Bulk)),
            "INCR" => self.increment(&args[1], 1),
            "INCRBY" => integer(&args[2]).and_then(|by| self.increment(&args[1], by)),
            "LLEN" => self.list(&args[1]).map(|list| MiniReply::count(list.map_or(0, |list| list.len()))),
            "LPOP" => self.pop(&args[1]),
            "LPUSH" => self.push(args, StoredList::push_front),
            "RPUSH" => self.push(args, StoredList::push_back),
            "SET" => self.set(args),
            _ => return None,
        };
        Some(outcome)
    }

    fn size(&mut self) -> usize {
        let now = Instant::now();
        self.entries.retain(|_, entry| entry.is_live(now));
        self.entries.len()
    }

    fn delete(&mut self, key: &[u8]) -> bool {
        self.live(key).is_some() && self.entries.remove(key).is_some()
    }

    /// Every look-up comes through here, so that an expired key is never seen.
    fn live(&mut self, key: &[u8]) -> Option<&mut DatabaseEntry> {
        if !self.entries.get(key)?.is_live(Instant::now()) {
            self.entries.remove(key);
        }
        self.entries.get_mut(key)
    }

    fn text(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        match self.live(key).map(|entry| &entry.value) {
            Some(StoredValue::Text(text)) => Ok(Some(text.clone())),
            Some(StoredValue::List(_)) => Err(WRONG_TYPE.into()),
            None => Ok(None),
        }
    }

    fn list(&mut self, key: &[u8]) -> Result<Option<&mut StoredList>, String> {
        match self.live(key).map(|entry| &mut entry.value) {
            Some(StoredValue::List(list)) => Ok(Some(list)),
            Some(StoredValue::Text(_)) => Err(WRONG_TYPE.into()),
            None => Ok(None),
        }
    }

    fn increment(&mut self, key: &[u8], by: i64) -> CommandResult {
        let old = self.text(key)?.map_or(Ok(0), |text| integer(&text))?;
        let new = old.checked_add(by).ok_or("ERR increment or decrement would overflow")?;
        let value = StoredValue::Text(new.to_string().into());
        match self.live(key) {
            Some(entry) => entry.value = value,
            None => self.put(key, value, None),
        }
        Ok(MiniReply::Integer(new))
    }

    fn push(&mut self, args: &[Vec<u8>], push: fn(&mut StoredList, Vec<u8>)) -> CommandResult {
        let key = &args[1];
        if self.list(key)?.is_none() {
            self.put(key, StoredValue::List(StoredList::new()), None);
        }
        let length = self.list(key)?.map_or(0, |list| {
            args[2..].iter().for_each(|item| push(list, item.clone()));
            list.len()
        });
        Ok(MiniReply::count(length))
    }

    fn pop(&mut self, key: &[u8]) -> CommandResult {
        let Some(list) = self.list(key)? else {
            return Ok(MiniReply::Null);
        };
        let item = list.pop_front();
        if list.is_empty() {
            self.entries.remove(key);
        }
        Ok(item.map_or(MiniReply::Null, MiniReply::Bulk))
    }

    /// `SET key value [NX|XX] [GET] [EX seconds|PX milliseconds]`
    fn set(&mut self, args: &[Vec<u8>]) -> CommandResult {
        let (key, value) = (&args[1], &args[2]);
        // NX: the key must not exist; XX: it must; without either it may.
        let (mut must_exist, mut get, mut expires_at) = (None, false, None);
        let mut options = args[3..].iter();
        while let Some(option) = options.next() {
            match option.to_ascii_uppercase().as_slice() {
                b"NX" if must_exist != Some(true) => must_exist = Some(false),
                b"XX" if must_exist != Some(false) => must_exist = Some(true),
                b"GET" => get = true,
                b"EX" if expires_at.is_none() => {
                    expires_at = Some(expiry(options.next(), Duration::from_secs)?);
                }
                b"PX" if expires_at.is_none() => {
                    expires_at = Some(expiry(options.next(), Duration::from_millis)?);
                }
                _ => return Err(SYNTAX_ERROR.into()),
            }
        }
        let old = if get { self.text(key)? } else { None };
        let written = must_exist.is_none_or(|must_exist| must_exist == self.live(key).is_some());
        if written {
            self.put(key, StoredValue::Text(value.clone()), expires_at);
        }
        match old {
            Some(old) => Ok(MiniReply::Bulk(old)),
            None if written && !get => Ok(MiniReply::Simple("OK")),
            None => Ok(MiniReply::Null),
        }
    }

    fn put(&mut self, key: &[u8], value: StoredValue, expires_at: Option<Instant>) {
        self.entries.insert(key.to_vec(), DatabaseEntry { value, expires_at });
    }
}

impl DatabaseEntry {
    fn is_live(&self, now: Instant) -> bool {
        self.expires_at.is_none_or(|at| now < at)
    }
}

pub(super) fn integer(bytes: &[u8]) -> Result<i64, String> {
    let number = std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| NOT_AN_INTEGER.into())
}

fn expiry(count: Option<&Vec<u8>>, unit: fn(u64) -> Duration) -> Result<Instant, String> {
    let count = integer(count.ok_or(SYNTAX_ERROR)?)?;
    let count = u64::try_from(count).ok().filter(|count| *count > 0);
    let at = count.and_then(|count| Instant::now().checked_add(unit(count)));
    at.ok_or_else(|| "ERR invalid expire time in 'set' command".into())
}
