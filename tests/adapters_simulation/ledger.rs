//! What the borrowers were told, to be compared with what the servers have.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis_manager::redis::RedisError;
use redis_manager::runtime::Instant;
use redis_manager::{RedisErrorExt, Sent};

use crate::traces::Traces;

/// What became of a command that may be carried out once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Under way, or cancelled: it may have been carried out.
    Unknown,
    /// Carried out.
    Acknowledged,
    /// The server has not got it, or has refused it: it must not have been carried out.
    NotCarriedOut,
}

impl Fate {
    pub(crate) fn of(error: &RedisError) -> Self {
        if error.was_sent() == Sent::Unknown { Self::Unknown } else { Self::NotCarriedOut }
    }
}

#[derive(Default)]
pub(crate) struct Records {
    next_token: u64,
    /// By token: on which node.
    pub(crate) once: BTreeMap<u64, (usize, Fate)>,
    /// By node: increments of a counter by transactions.
    pub(crate) sold: BTreeMap<usize, (u64, u64)>,
    /// By node: elements pushed for certain, perhaps; popped for certain, perhaps.
    pub(crate) queued: BTreeMap<usize, Queued>,
    pub(crate) traces: Traces,
    /// By node.
    pub(crate) calm: BTreeMap<usize, CalmPicture>,
    pub(crate) breaches: Vec<String>,
    pub(crate) operations: u64,
    pub(crate) failures: u64,
    pub(crate) cancels: u64,
}

/// What a node was like before anything went wrong with it.
#[derive(Clone, Debug, Default)]
pub(crate) struct CalmPicture {
    pub(crate) until: Instant,
    /// The connections that its server had then.
    pub(crate) open: Vec<u64>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Queued {
    pub(crate) pushed: u64,
    pub(crate) perhaps_pushed: u64,
    pub(crate) popped: u64,
    pub(crate) perhaps_popped: u64,
}

#[derive(Default)]
pub(crate) struct Ledger(Mutex<Records>);

impl Ledger {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Records> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number that was never used before.
    pub(crate) fn token(&self) -> u64 {
        let mut records = self.lock();
        records.next_token += 1;
        records.next_token
    }

    /// A command that may be carried out once begins. What it becomes is unknown until it is told.
    pub(crate) fn begin_once(&self, node: usize) -> u64 {
        let token = self.token();
        self.lock().once.insert(token, (node, Fate::Unknown));
        token
    }

    /// The result of `INCR` of a key of its own.
    pub(crate) fn end_once(&self, token: u64, result: &Result<i64, RedisError>) {
        let fate = match result {
            Ok(1) => Fate::Acknowledged,
            Ok(other) => {
                self.breach(format!("the first INCR of once:{token} got {other}"));
                Fate::Acknowledged
            }
            Err(error) => Fate::of(error),
        };
        if let Some(entry) = self.lock().once.get_mut(&token) {
            entry.1 = fate;
        }
    }

    /// An operation has ended: well, with an error, or cancelled.
    pub(crate) fn count(&self, ended: Option<bool>) {
        let mut records = self.lock();
        records.operations += 1;
        records.failures += u64::from(ended == Some(false));
        records.cancels += u64::from(ended.is_none());
    }

    pub(crate) fn breach(&self, what: String) {
        self.lock().breaches.push(what);
    }

    pub(crate) fn expect(&self, is_kept: bool, what: impl FnOnce() -> String) {
        if !is_kept {
            self.breach(what());
        }
    }

    pub(crate) fn expect_in_time(&self, what: &str, took: Duration, limit: Duration) {
        self.expect(took <= limit, || format!("{what} took {took:?} of {limit:?}"));
    }
}
