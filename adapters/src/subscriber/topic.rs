//! What can be subscribed to: a channel, a pattern or a sharded channel, by its name.

use std::fmt;
use std::sync::Arc;

/// The kind of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TopicKind {
    /// A channel: `SUBSCRIBE`, `PUBLISH`.
    Channel,
    /// All channels whose names match a glob pattern: `PSUBSCRIBE`, `PUBLISH`.
    Pattern,
    /// A sharded channel: `SSUBSCRIBE`, `SPUBLISH`. From Redis 7.0 on.
    Sharded,
}

impl TopicKind {
    /// The name of the command.
    pub(crate) fn command(self, verb: TopicVerb) -> &'static str {
        match (self, verb) {
            (Self::Channel, TopicVerb::Subscribe) => "SUBSCRIBE",
            (Self::Channel, TopicVerb::Unsubscribe) => "UNSUBSCRIBE",
            (Self::Pattern, TopicVerb::Subscribe) => "PSUBSCRIBE",
            (Self::Pattern, TopicVerb::Unsubscribe) => "PUNSUBSCRIBE",
            (Self::Sharded, TopicVerb::Subscribe) => "SSUBSCRIBE",
            (Self::Sharded, TopicVerb::Unsubscribe) => "SUNSUBSCRIBE",
        }
    }
}

/// What is asked of the server for a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TopicVerb {
    Subscribe,
    Unsubscribe,
}

/// A channel, a pattern or a sharded channel.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Topic {
    /// Which of the three it is.
    pub kind: TopicKind,
    /// Its name, or the pattern: any bytes.
    pub name: Arc<[u8]>,
}

impl Topic {
    /// The topic of this kind and name.
    pub fn new(kind: TopicKind, name: impl AsRef<[u8]>) -> Self {
        Self { kind, name: Arc::from(name.as_ref()) }
    }
}

/// The kind and the name; bytes that are no UTF-8 are replaced.
impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            TopicKind::Channel => "channel",
            TopicKind::Pattern => "pattern",
            TopicKind::Sharded => "sharded channel",
        };
        write!(f, "{kind} {:?}", String::from_utf8_lossy(&self.name))
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
