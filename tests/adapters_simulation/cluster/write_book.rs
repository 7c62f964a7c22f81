//! What the callers of a cluster were told of their writes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use redis_manager::redis::{RedisError, RedisResult};
use redis_manager::{RedisErrorExt, Sent};

/// What the callers were told.
#[derive(Debug, Default)]
pub(crate) struct ToldWrites {
    /// Keys of writes that were acknowledged. Each is written once.
    pub(crate) acknowledged: BTreeSet<String>,
    /// Keys of writes that were not carried out, as was told.
    pub(crate) refused: BTreeMap<String, String>,
    /// Keys that are there from the beginning, and were not found.
    pub(crate) absent: BTreeSet<String>,
    pub(crate) breaches: Vec<String>,
    pub(crate) operations: u64,
    pub(crate) failures: u64,
    pub(crate) cancels: u64,
    next: u64,
}

#[derive(Debug, Default)]
pub(crate) struct WriteBook(Mutex<ToldWrites>);

impl WriteBook {
    pub(crate) fn lock(&self) -> MutexGuard<'_, ToldWrites> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keys that were never used.
    pub(crate) fn keys(&self, count: usize, tag: Option<usize>) -> Vec<String> {
        let mut told = self.lock();
        told.next += u64::try_from(count).expect("few");
        let last = told.next;
        let name = |number: u64| tag.map_or(format!("once:{number}"), |tag| format!("once:{{{tag}}}:{number}"));
        (last - u64::try_from(count).expect("few")..last).map(name).collect()
    }

    /// A request that writes them has ended.
    pub(crate) fn end<T>(&self, keys: &[String], result: &RedisResult<T>) {
        let mut told = self.lock();
        match result {
            Ok(_) => told.acknowledged.extend(keys.iter().cloned()),
            Err(error) if keys.len() == 1 && was_not_carried_out(error) => {
                told.refused.insert(keys[0].clone(), error.to_string());
            }
            Err(_) => {}
        }
    }

    /// An operation has ended; with nothing, because its caller has left.
    pub(crate) fn count(&self, ended: Option<RedisResult<()>>) {
        let mut told = self.lock();
        told.operations += 1;
        match ended {
            Some(Ok(())) => {}
            Some(Err(_)) => told.failures += 1,
            None => told.cancels += 1,
        }
    }

    pub(crate) fn expect(&self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.lock().breaches.push(what());
        }
    }
}

fn was_not_carried_out(error: &RedisError) -> bool {
    error.was_sent() == Sent::NotSent || (error.was_sent() == Sent::Sent && error.code().is_some())
}
