//! Commands that can be found in the journals of the servers, each by a number of its own, with how they ended for their callers.

use std::collections::BTreeMap;

use redis_manager::redis::RedisResult;
use redis_manager::runtime::{Instant, Timer};
use redis_manager::testing::FakeNetwork;
use redis_manager::{RedisErrorExt, Sent};

use crate::ledger::Ledger;

/// How a command ended for its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CommandEnd {
    UnderWay,
    /// With the server's reply.
    Answered,
    /// Its future was dropped.
    Cancelled(Instant),
    TimedOut(Instant),
    /// With its connection.
    Lost(Instant),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct TracedCommand {
    /// The lease that it was sent on; none: a shared client's.
    pub(crate) lease: Option<u64>,
    pub(crate) begun_at: Instant,
    pub(crate) end: CommandEnd,
}

/// By number.
pub(crate) type Traces = BTreeMap<u64, TracedCommand>;

/// One request under way. Dropped before its [`end`](Self::end) it is cancelled.
pub(crate) struct CommandTrace<'a> {
    ledger: &'a Ledger,
    network: &'a FakeNetwork,
    tokens: &'a [u64],
    is_over: bool,
}

impl<'a> CommandTrace<'a> {
    pub(crate) fn begin(ledger: &'a Ledger, network: &'a FakeNetwork, lease: Option<u64>, tokens: &'a [u64]) -> Self {
        let begun = TracedCommand { lease, begun_at: network.now(), end: CommandEnd::UnderWay };
        ledger.lock().traces.extend(tokens.iter().map(|token| (*token, begun)));
        Self { ledger, network, tokens, is_over: false }
    }

    pub(crate) fn end<T>(mut self, result: &RedisResult<T>) {
        let now = self.network.now();
        self.note(match result {
            Ok(_) => CommandEnd::Answered,
            Err(error) if error.was_sent() == Sent::Sent => CommandEnd::Answered,
            Err(error) if error.is_timeout() => CommandEnd::TimedOut(now),
            Err(_) => CommandEnd::Lost(now),
        });
        self.is_over = true;
    }

    fn note(&self, end: CommandEnd) {
        let mut records = self.ledger.lock();
        for token in self.tokens {
            if let Some(traced) = records.traces.get_mut(token) {
                traced.end = end;
            }
        }
    }
}

impl Drop for CommandTrace<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.note(CommandEnd::Cancelled(self.network.now()));
        }
    }
}
