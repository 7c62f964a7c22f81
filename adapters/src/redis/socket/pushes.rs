//! How a socket's inbox is filled and read.

use std::sync::Arc;
use std::task::{Context, Poll};

use redis::PushInfo;

use super::Socket;

impl Socket {
    /// From now on pushes of the server are kept.
    pub(crate) fn listen(&self) {
        self.socket().inbox.get_or_insert_default();
    }

    /// Until the guard is dropped everything is read, regardless of the limit.
    pub(crate) fn read_on(self: &Arc<Self>) -> ReadOn {
        self.set_reads_on(true);
        ReadOn(Arc::clone(self))
    }

    fn set_reads_on(&self, reads_on: bool) {
        let reader = {
            let mut socket = self.socket();
            if let Some(inbox) = &mut socket.inbox {
                inbox.set_reads_on(reads_on);
            }
            socket.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// The server has sent a push.
    pub(crate) fn push(&self, push: PushInfo) {
        self.received.note_push();
        let listener = {
            let mut socket = self.socket();
            let Some(inbox) = &mut socket.inbox else { return };
            inbox.push(push)
        };
        if let Some(listener) = listener {
            listener.wake();
        }
    }

    /// The next push; `None` if no more will arrive.
    pub(crate) fn poll_push(&self, cx: &mut Context<'_>) -> Poll<Option<PushInfo>> {
        let waker = cx.waker().clone();
        let (push, reader) = {
            let mut socket = self.socket();
            let closed = socket.stream.is_none();
            let Some(inbox) = &mut socket.inbox else { return Poll::Ready(None) };
            match inbox.poll(closed, waker) {
                Poll::Ready(Some((push, reads_on))) => (push, if reads_on { socket.reader.take() } else { None }),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        };
        if let Some(reader) = reader {
            reader.wake();
        }
        Poll::Ready(Some(push))
    }
}

/// See [`Socket::read_on`].
pub(crate) struct ReadOn(Arc<Socket>);

impl Drop for ReadOn {
    fn drop(&mut self) {
        self.0.set_reads_on(false);
    }
}
