//! How far a connect has come, so that one that takes too long can be told of: what it was waiting for.

use std::sync::atomic::{AtomicU8, Ordering};

/// What a connect waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum ConnectPhase {
    Dial,
    Tls,
    Login,
    AfterConnect,
}

impl ConnectPhase {
    /// Of the connect that has ended last.
    pub(crate) fn of_last(ended_at: &AtomicU8) -> Self {
        let stage = ended_at.load(Ordering::Relaxed);
        [Self::Tls, Self::Login, Self::AfterConnect].into_iter().find(|known| *known as u8 == stage).unwrap_or(Self::Dial)
    }

    /// What it means if nothing has come of it.
    pub(crate) fn unanswered(self) -> &'static str {
        match self {
            Self::Dial => "it was still looking up the name, or dialling",
            // Redis without TLS waits for the end of the line.
            Self::Tls => "nothing came of the TLS handshake; does this port speak TLS? one without it wants redis://",
            Self::Login => "the server did not answer the first commands",
            Self::AfterConnect => "the hook after_connect did not end",
        }
    }
}

/// The stage of one connect; noted where it ends, also by being dropped.
pub(crate) struct ConnectTrace<'a> {
    stage: ConnectPhase,
    ended_at: &'a AtomicU8,
}

impl<'a> ConnectTrace<'a> {
    pub(crate) fn new(ended_at: &'a AtomicU8) -> Self {
        Self { stage: ConnectPhase::Dial, ended_at }
    }

    pub(crate) fn reach(&mut self, stage: ConnectPhase) {
        self.stage = stage;
    }
}

impl Drop for ConnectTrace<'_> {
    fn drop(&mut self) {
        self.ended_at.store(self.stage as u8, Ordering::Relaxed);
    }
}
