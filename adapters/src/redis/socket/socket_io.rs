//! The stream that the redis driver reads from and writes to.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::inbox::Inbox;
use super::{SendingSide, Socket, TLS_ALERT};

/// The stream that the redis driver reads from and writes to.
pub(crate) struct SocketIo {
    socket: Arc<Socket>,
    /// Whether the server has ever sent anything.
    is_greeted: bool,
    /// Whether other tasks had the time to add their commands to the pending write.
    has_yielded: bool,
}

impl SocketIo {
    pub(crate) fn new(socket: Arc<Socket>) -> Self {
        Self { socket, is_greeted: false, has_yielded: false }
    }
}

impl AsyncRead for SocketIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.socket.received.is_turn_over() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        this.socket.buffers.note(buffer.capacity());
        let mut socket = this.socket.socket();
        let full = socket.inbox.as_ref().is_some_and(Inbox::is_full);
        if socket.sending == SendingSide::Finishing {
            socket.finish_sending(cx);
        }
        let polled = match &mut socket.stream {
            // The end of the stream.
            None => return Poll::Ready(Ok(())),
            Some(_) if full => Poll::Pending,
            Some(stream) => Pin::new(stream).poll_read(cx, buffer),
        };
        if let Some(first) = buffer.filled().get(before) {
            if let Some(words) = &mut socket.last_words {
                words.note(&buffer.filled()[before..]);
            }
            if !socket.has_in_flight() && !this.socket.outstanding.is_any() {
                drop(socket);
                // Data without a request is no reply, and the next request would take it for one. It ends the driver.
                this.socket.close();
                buffer.set_filled(before);
                return Poll::Ready(Ok(()));
            }
            let read = buffer.filled().len() - before;
            this.socket.received.note_read(read);
            if !this.is_greeted {
                this.is_greeted = true;
                this.socket.speaks_tls.store(*first == TLS_ALERT, Ordering::Relaxed);
            }
        }
        if polled.is_pending() && !socket.reader.as_ref().is_some_and(|reader| reader.will_wake(cx.waker())) {
            socket.reader = Some(cx.waker().clone());
        }
        polled
    }
}

impl AsyncWrite for SocketIo {
    /// A read with many replies wakes many tasks, and each of them sends its next command. Once all ready tasks have run, one
    /// write carries all commands.
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if !self.has_yielded && self.socket.shared.load(Ordering::Relaxed) {
            self.has_yielded = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.socket.buffers.note(bytes.len());
        let mut socket = self.socket.socket();
        let sends = socket.sending == SendingSide::Open;
        match &mut socket.stream {
            Some(stream) if sends => {
                let polled = Pin::new(stream).poll_write(cx, bytes);
                socket.note_written(polled)
            }
            Some(_) | None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.has_yielded = false;
        let mut socket = self.socket.socket();
        match &mut socket.stream {
            Some(stream) => {
                let polled = Pin::new(stream).poll_flush(cx);
                socket.note_written(polled)
            }
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket.socket().stream {
            Some(stream) => Pin::new(stream).poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}
