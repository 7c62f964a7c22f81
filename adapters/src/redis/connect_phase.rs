//! The phase that a connect has reached, for the error of one that times out, and for how long each phase takes.

use std::sync::atomic::{AtomicU8, Ordering};

use redis_manager_core::Instant;

use crate::redis_node::metrics::node_counters::NodeCounters;

/// What a connect waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum ConnectPhase {
    Resolve,
    Dial,
    Tls,
    Login,
    AfterConnect,
}

impl ConnectPhase {
    /// The phase of the connect that ended last.
    pub(crate) fn of_last(ended_at: &AtomicU8) -> Self {
        let stage = ended_at.load(Ordering::Relaxed);
        [Self::Tls, Self::Login, Self::AfterConnect].into_iter().find(|known| *known as u8 == stage).unwrap_or(Self::Dial)
    }

    /// The error text if there was no answer in this phase.
    pub(crate) fn unanswered(self) -> &'static str {
        match self {
            Self::Resolve | Self::Dial => "the name look-up or the dial did not finish",
            // A Redis port without TLS waits for the end of the line.
            Self::Tls => "the TLS handshake got no answer; does this port use TLS? a port without TLS needs redis://",
            Self::Login => "the server did not answer the first commands",
            Self::AfterConnect => "the hook after_connect did not end",
        }
    }
}

/// The phase of one connect. Noted when it ends, also when it is dropped.
pub(crate) struct ConnectTrace<'a> {
    stage: ConnectPhase,
    since: Instant,
    ended_at: &'a AtomicU8,
    counters: &'a NodeCounters,
}

impl<'a> ConnectTrace<'a> {
    /// Begins with the first phase.
    pub(crate) fn new(stage: ConnectPhase, ended_at: &'a AtomicU8, counters: &'a NodeCounters) -> Self {
        Self { stage, since: counters.now(), ended_at, counters }
    }

    /// The phase has ended well, and the next one begins.
    pub(crate) fn reach(&mut self, stage: ConnectPhase) {
        self.since = self.counters.end_phase(self.stage as usize, self.since);
        self.stage = stage;
    }

    /// The last phase has ended well.
    pub(crate) fn succeed(self) {
        self.counters.end_phase(self.stage as usize, self.since);
    }
}

impl Drop for ConnectTrace<'_> {
    fn drop(&mut self) {
        self.ended_at.store(self.stage as u8, Ordering::Relaxed);
    }
}
