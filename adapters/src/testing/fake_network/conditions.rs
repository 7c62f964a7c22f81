//! How bytes travel between the clients and one host.

use std::time::Duration;

use crate::setters::{option_setters, setters};

/// How bytes travel between the clients and one host, in each direction.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkConditions {
    /// How long a byte travels. 100 µs by default.
    pub latency: Duration,
    /// The most that is added to the latency of each segment, drawn from the seed. Bytes never overtake each other. 0 by default.
    pub jitter: Duration,
    /// Bytes a second, at least 1. Without a limit by default.
    pub bandwidth: Option<u64>,
    /// The most bytes that arrive together, at least 1: each write becomes segments of 1 to so many bytes, drawn from the seed.
    /// Without a limit by default, so that what is written together arrives together.
    pub max_segment: Option<usize>,
    /// Bytes under way and not yet read, at which a writer waits; at least 1. 256 KiB by default.
    pub window: usize,
}

impl LinkConditions {
    setters! {
        latency: Duration,
        jitter: Duration,
        window: usize,
    }

    option_setters! {
        bandwidth: u64,
        max_segment: usize,
    }
}

impl Default for LinkConditions {
    fn default() -> Self {
        Self {
            latency: Duration::from_micros(100),
            jitter: Duration::ZERO,
            bandwidth: None,
            max_segment: None,
            window: 256 << 10,
        }
    }
}

/// One direction of a link, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the clients to the server.
    ToServer,
    /// From the server to the clients.
    ToClient,
    /// Both.
    Both,
}

impl Direction {
    pub(super) fn is_to_server(self) -> bool {
        matches!(self, Self::ToServer | Self::Both)
    }

    pub(super) fn is_to_client(self) -> bool {
        matches!(self, Self::ToClient | Self::Both)
    }
}

/// How a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The other side reads the end of the stream, as after an orderly close.
    End,
    /// The other side gets `ConnectionReset`.
    Reset,
}
