//! What goes into the machine of a subscriber, and what comes out.

use std::sync::Arc;
use std::time::Duration;

use super::frame::Frame;
use crate::subscriber::event::SubscriptionEvent;
use crate::subscriber::topic::{Topic, TopicKind, TopicVerb};

/// One call of `subscribe` or `unsubscribe`, by its number.
pub(crate) type CallNumber = u64;

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
    Connected,
    /// The connection is gone, and is none of those that were [closed](SubscriberOutput::Close).
    Lost,
    /// Bytes have come, whether they are a whole frame or not.
    Heard,
    Received(Frame),
    /// The connection is not read any more, because of a full buffer; or it is read again.
    Stalled(bool),
    Tick,
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum SubscriberOutput {
    /// Get a connection, however long that takes.
    Dial,
    /// Give the connection up.
    Close {
        is_silent: bool,
    },
    Send {
        kind: TopicKind,
        verb: TopicVerb,
        names: Vec<Arc<[u8]>>,
    },
    Ping,
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
