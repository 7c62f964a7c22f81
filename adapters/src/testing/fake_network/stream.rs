//! The two ends of a connection, and where a server takes its own.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use redis_manager_core::{Instant, Task, Timer};

use crate::testing::fake_network::SharedNetwork;
use crate::testing::fake_network::address::HostAddress;
use crate::testing::fake_network::conditions::Cut;
use crate::testing::fake_network::links::Side;
use crate::testing::fake_network::pipe::Readable;

/// One end of a connection in a [`FakeNetwork`](super::FakeNetwork), with tokio's traits. Dropping it closes the connection.
pub struct FakeStream {
    network: Arc<SharedNetwork>,
    link: u64,
    side: Side,
    /// Until something arrives.
    sleep: Option<(Instant, Task)>,
}

impl FakeStream {
    pub(super) fn new(network: Arc<SharedNetwork>, link: u64, side: Side) -> Self {
        Self { network, link, side, sleep: None }
    }

    pub(crate) fn sender(&self) -> FakeSender {
        FakeSender { network: Arc::clone(&self.network), link: self.link, side: self.side }
    }

    /// The number of the connection, from 1 on.
    pub(crate) fn number(&self) -> u64 {
        self.link
    }

    /// Sends all of it at once, whatever the window is: for servers that keep in memory what a client does not read.
    ///
    /// # Errors
    ///
    /// `BrokenPipe` after the end of the connection.
    pub fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let now = self.network.runtime.now();
        self.network.change(|links| links.write(now, self.link, self.side, bytes, None)).map(drop)
    }
}

/// Writes to a connection that another task reads, and closes it.
#[derive(Clone)]
pub(crate) struct FakeSender {
    network: Arc<SharedNetwork>,
    link: u64,
    side: Side,
}

impl FakeSender {
    /// What does not arrive any more is lost.
    pub(crate) fn send(&self, bytes: &[u8]) {
        let now = self.network.runtime.now();
        let _ = self.network.change(|links| links.write(now, self.link, self.side, bytes, None));
    }

    pub(crate) fn close(&self) {
        let now = self.network.runtime.now();
        self.network.change(|links| links.close(now, self.link, self.side));
    }
}

impl crate::runtime::Stream for FakeStream {}

impl AsyncRead for FakeStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            let now = this.network.runtime.now();
            let target = buffer.initialize_unfilled();
            if target.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let (link, side) = (this.link, this.side);
            match this.network.change(|links| links.read(now, link, side, target, cx.waker())) {
                Readable::Bytes(count) => {
                    this.sleep = None;
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Readable::Cut(Cut::End) => return Poll::Ready(Ok(())),
                Readable::Cut(Cut::Reset) => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                Readable::Nothing => {
                    this.sleep = None;
                    return Poll::Pending;
                }
                Readable::At(at) => {
                    let runtime = &this.network.runtime;
                    let sleep = this.sleep.take().filter(|(until, _)| *until == at);
                    let (_, sleep) = this.sleep.insert(sleep.unwrap_or_else(|| (at, runtime.sleep_until(at))));
                    if sleep.as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    this.sleep = None;
                }
            }
        }
    }
}

impl AsyncWrite for FakeStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let now = self.network.runtime.now();
        match self.network.change(|links| links.write(now, self.link, self.side, bytes, Some(cx.waker()))) {
            Ok(0) if !bytes.is_empty() => Poll::Pending,
            taken => Poll::Ready(taken),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let now = self.network.runtime.now();
        self.network.change(|links| links.end_writing(now, self.link, self.side));
        Poll::Ready(Ok(()))
    }
}

impl Drop for FakeStream {
    fn drop(&mut self) {
        let now = self.network.runtime.now();
        self.network.change(|links| links.close(now, self.link, self.side));
    }
}

impl fmt::Debug for FakeStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeStream").field("connection", &self.link).field("side", &self.side).finish_non_exhaustive()
    }
}

/// Where a server of your own takes its connections. Dropping it closes the port; connections that were accepted stay open.
pub struct FakeListener {
    network: Arc<SharedNetwork>,
    place: HostAddress,
    number: u64,
}

impl FakeListener {
    pub(super) fn new(network: Arc<SharedNetwork>, place: HostAddress, number: u64) -> Self {
        Self { network, place, number }
    }

    /// The next connection. May be dropped at any time; no connection is lost by it.
    pub async fn accept(&self) -> FakeStream {
        std::future::poll_fn(|cx| self.poll_accept(cx)).await
    }

    pub(crate) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<FakeStream> {
        match self.network.change(|links| links.accept(&self.place, cx.waker())) {
            Some(link) => Poll::Ready(FakeStream::new(Arc::clone(&self.network), link, Side::Server)),
            None => Poll::Pending,
        }
    }
}

impl Drop for FakeListener {
    fn drop(&mut self) {
        let now = self.network.runtime.now();
        self.network.change(|links| {
            // Another one may listen there by now.
            if links.host(&self.place).listener != Some(self.number) {
                return;
            }
            for link in links.stop_listening(&self.place) {
                links.close(now, link, Side::Server);
            }
        });
    }
}

impl fmt::Debug for FakeListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeListener").field("address", &self.place.to_string()).finish_non_exhaustive()
    }
}
