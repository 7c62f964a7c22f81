//! The inputs and outputs of the state of a sentinel deployment.

use crate::deployment::host_port::HostPort;
use crate::deployment::sentinel::state::answer::{SentinelAnswer, SentinelFault};

/// A fact.
#[derive(Debug)]
pub(crate) enum SentinelInput {
    /// Time has passed.
    Tick,
    /// The primary may be another one: a dial has failed, or takes long.
    Wanted,
    /// A sentinel has announced a change.
    Hinted { from: HostPort },
    /// The primary says that it is a replica of another server.
    Redirected { from: HostPort, to: HostPort },
    /// The server at this place says that it is no primary.
    Refuted { place: HostPort },
    /// The answer to `Ask`; each of them gets one.
    Answered { from: HostPort, answer: Result<SentinelAnswer, SentinelFault> },
}

/// Something that is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SentinelOutput {
    /// Ask this sentinel who the primary is.
    Ask(HostPort),
    /// Subscribe to the announcements of this sentinel.
    Listen(HostPort),
    /// This sentinel is gone: the subscription ends.
    Forget(HostPort),
    /// From now on this is the primary.
    Publish { place: HostPort, before: Option<HostPort> },
    /// All sentinels that were asked have answered, or failed.
    RoundEnded,
}
