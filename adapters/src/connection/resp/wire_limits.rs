//! The bounds of one connection.

use super::parser::ReplyLimits;

/// What a connection takes at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WireLimits {
    pub(crate) reply: ReplyLimits,
    /// Requests that are sent and not answered. Beyond them callers wait in order.
    pub(crate) in_flight: usize,
    /// Bytes that are not written. Beyond them callers wait in order. One request may be larger.
    pub(crate) unsent: usize,
    /// An empty buffer for requests above this is given back.
    pub(crate) kept_buffer: usize,
}
