//! One request within the machine.

use redis::Value;

use super::answer::{Replies, RequestOutcome};
use super::progress::Progress;

/// The state of one request.
///
/// ```text
///  InLine --- room ---> Admitted --- send ---> Sent --- its last reply, or the end ---> Done
///    |                     |                    |                                         |
///    '------ leave --------'                    '--- leave ---> Left --- last reply       '--- taken, or left
/// ```
#[derive(Debug)]
pub(super) enum RequestEntry {
    Free,
    InLine,
    /// Its caller has left, and its place is still there.
    LeftInLine,
    /// With its arrival.
    Admitted(u64),
    Sent(SentRequest),
    /// Nobody waits for its replies.
    Left(SentRequest),
    Done(RequestOutcome),
}

#[derive(Debug)]
pub(super) struct SentRequest {
    /// The position of its first byte.
    pub(super) starts_at: u64,
    /// Once so much is written, the server may have carried out a part of it.
    pub(super) executable_at: u64,
    /// The position after its last byte.
    pub(super) ends_at: u64,
    pub(super) progress: Progress,
}

impl RequestEntry {
    fn sent(&self) -> Option<&SentRequest> {
        match self {
            Self::Sent(sent) | Self::Left(sent) => Some(sent),
            Self::Free | Self::InLine | Self::LeftInLine | Self::Admitted(_) | Self::Done(_) => None,
        }
    }

    /// Where its bytes are, if it was sent.
    pub(super) fn span(&self) -> (u64, u64) {
        self.sent().map_or((0, 0), |sent| (sent.starts_at, sent.ends_at))
    }

    /// Whether it is confirmed by pushes.
    pub(super) fn takes_pushes(&self) -> bool {
        self.sent().is_some_and(|sent| sent.progress.takes_pushes())
    }

    /// Takes the next reply; the answer, if that was the last one.
    pub(super) fn take(&mut self, value: Value) -> Option<Replies> {
        match self {
            Self::Sent(sent) | Self::Left(sent) => sent.progress.take(value),
            Self::Free | Self::InLine | Self::LeftInLine | Self::Admitted(_) | Self::Done(_) => None,
        }
    }
}
