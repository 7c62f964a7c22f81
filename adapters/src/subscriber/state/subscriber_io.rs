//! What goes into the machine of a subscriber, and what comes out.

use std::sync::Arc;
use std::time::Duration;

use super::frame::Frame;
use crate::subscriber::event::SubscriptionEvent;
use crate::subscriber::topic::{Topic, TopicKind, TopicVerb};

/// One call of `subscribe` or `unsubscribe`, by its number.
pub(crate) type CallNumber = u64;

/// One of a subscriber's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LinkPlace {
    /// For channels and patterns, and for sharded channels where these have no slots. Always there, or dialled.
    Home,
    /// At the owner of slots, by its number: for sharded channels, while there are any for it.
    Owner(u32),
}

/// Why a connection is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkClose {
    /// It does not answer.
    Silent,
    /// It has sent a reply that nothing waits for.
    OutOfStep,
    /// It is at a server that is not the right one any more.
    Elsewhere,
    /// No channel is left for it.
    Unneeded,
}

/// What has happened.
#[derive(Clone, Debug)]
pub(crate) enum SubscriberInput {
    /// A call begins. To unsubscribe from no name is to unsubscribe from all of the kind.
    Call {
        number: CallNumber,
        kind: TopicKind,
        verb: TopicVerb,
        names: Vec<Arc<[u8]>>,
    },
    /// Its caller does not wait any more.
    Left {
        number: CallNumber,
    },
    /// The connection that was dialled is there.
    Connected(LinkPlace),
    /// The connection is gone, and is none of those that were [closed](SubscriberOutput::Close).
    Lost(LinkPlace),
    /// Bytes have come, whether they are a whole frame or not.
    Heard(LinkPlace),
    Received(LinkPlace, Frame),
    /// The owners of slots, changed or not; `None`: the slot has none.
    Owners(Vec<(u16, Option<u32>)>),
    /// The connection at home is at a server that is not the right one any more.
    HomeMoved,
    /// No connection is read any more, because of a full buffer; or they are read again.
    Stalled(bool),
    Tick,
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum SubscriberOutput {
    /// Get a connection, however long that takes.
    Dial(LinkPlace),
    /// Give the connection up, or do not dial it any more.
    Close {
        place: LinkPlace,
        why: LinkClose,
    },
    Send {
        place: LinkPlace,
        kind: TopicKind,
        verb: TopicVerb,
        names: Vec<Arc<[u8]>>,
    },
    Ping(LinkPlace),
    Emit(SubscriptionEvent),
    /// The end of a call.
    Answer {
        number: CallNumber,
        outcome: CallOutcome,
    },
}

/// How a call has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CallOutcome {
    /// What the server has refused, with its words.
    pub(crate) refused: Vec<(Topic, String)>,
    /// Another call has unsubscribed meanwhile.
    pub(crate) is_withdrawn: bool,
}

/// The lengths of time that the machine is given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SubscriberTiming {
    pub(crate) ping_interval: Duration,
    /// The longest silence while a reply is outstanding.
    pub(crate) reply_timeout: Duration,
}
