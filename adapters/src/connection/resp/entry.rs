//! One request within the machine.

use super::answer::RequestOutcome;
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
    Admitted,
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
    pub(super) progress: Progress,
}
