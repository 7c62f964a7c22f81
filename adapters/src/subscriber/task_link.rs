//! One connection of a subscriber's task: on its way, or there, or paused before the next try.

use std::task::{Context, Poll};

use redis_manager_core::{Lease, Task};

use crate::connection::resp::received_mark::ReceivedMark;
use crate::deployment::PlaceLease;
use crate::redis_node::{DirtyFlags, PubSubEnd, RedisConnector, RegistryEntry, SocketEnd};
use crate::subscriber::state::frame::Frame;
use crate::subscriber::state::subscriber_io::LinkClose;

pub(super) enum TaskLink {
    Waiting(PlaceLease),
    Paused(Task),
    Up(LeasedLink),
}

/// A connection that is a subscriber's.
pub(super) struct LeasedLink {
    lease: Lease<RedisConnector>,
    /// Ends it when the pools close.
    _entry: Option<RegistryEntry>,
    received: ReceivedMark,
}

/// What a connection has to say.
pub(super) enum LinkNews {
    Frame(Frame),
    /// Bytes, but no whole frame.
    Bytes,
    Lost,
}

impl LeasedLink {
    pub(super) fn new(mut lease: Lease<RedisConnector>) -> Self {
        lease.leave(DirtyFlags::LASTING);
        let entry = lease.listen();
        lease.socket().stream();
        lease.socket().counters.begin_subscription();
        let received = lease.socket().received();
        Self { lease, _entry: entry, received }
    }

    pub(super) fn lease(&self) -> &Lease<RedisConnector> {
        &self.lease
    }

    pub(super) fn feed(&self, cx: &mut Context<'_>, cmd: &redis::Cmd) {
        self.lease.socket().feed(cx, |out| cmd.write_packed_command(out));
    }

    /// With `is_stalled`, messages are left where they are.
    pub(super) fn poll_news(&mut self, cx: &mut Context<'_>, is_stalled: bool) -> Poll<LinkNews> {
        let socket = self.lease.socket();
        let value = if !is_stalled {
            socket.poll_value(cx)
        } else if socket.poll_open(cx) || socket.why_ended() == Some(SocketEnd::Lost) {
            // What it has sent before its end is read when there is room.
            return Poll::Pending;
        } else {
            Poll::Ready(None)
        };
        match value {
            Poll::Ready(Some(value)) => {
                let frame = match Frame::of(value) {
                    Frame::Error { code, text } => Frame::Error { code, text: socket.without_secrets(&text) },
                    frame @ (Frame::Message(_) | Frame::Confirmed { .. } | Frame::Reply | Frame::Other) => frame,
                };
                self.received = socket.received();
                Poll::Ready(LinkNews::Frame(frame))
            }
            Poll::Ready(None) => Poll::Ready(LinkNews::Lost),
            Poll::Pending => {
                let received = socket.received();
                if !received.is_beyond(self.received) {
                    return Poll::Pending;
                }
                self.received = received;
                Poll::Ready(LinkNews::Bytes)
            }
        }
    }

    /// The connection goes; one that did not answer makes its pool look at the others.
    pub(super) fn end(mut self, why: Option<LinkClose>) {
        let end = match why {
            Some(LinkClose::Silent) => {
                self.lease.note_outstanding(true);
                Some(PubSubEnd::ConnectionLost)
            }
            Some(LinkClose::OutOfStep | LinkClose::Elsewhere) | None => Some(PubSubEnd::ConnectionLost),
            Some(LinkClose::Unneeded) => None,
        };
        self.lease.socket().counters.end_subscription(end);
    }
}
