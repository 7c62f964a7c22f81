//! The encrypted stream. It keeps the error that ended it: the server judges our certificate after the handshake.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use rustls::Error;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;

use crate::redis_node::tls::error::{TlsError, refusal};
use crate::stream::{BoxStream, Peeked, Stream};

/// The TLS error that ended an encrypted stream, if there was one. In TLS 1.3 the client is done before the server has checked
/// its certificate: a rejection arrives as the answer to the first command.
#[derive(Clone)]
pub(crate) struct TlsVerdict {
    name: ServerName<'static>,
    error: Arc<OnceLock<Error>>,
}

impl TlsVerdict {
    pub(super) fn new(name: &ServerName<'static>) -> Self {
        Self { name: name.clone(), error: Arc::default() }
    }

    pub(crate) fn reached(&self) -> Option<TlsError> {
        let name = self.name.to_str().into_owned();
        self.error.get().map(|source| TlsError::Refused { name, source: source.clone() })
    }

    /// All TLS errors arrive by reading.
    fn note(&self, polled: Poll<io::Result<()>>) -> Poll<io::Result<()>> {
        if let Poll::Ready(Err(error)) = &polled
            && let Some(refusal) = refusal(error)
        {
            let _ = self.error.set(refusal.clone());
        }
        polled
    }
}

/// Bytes of an alert on the wire: the head of a record (5), the nonce that AES-GCM has in TLS 1.2 (8), the alert (2), and the
/// tag (16).
const LONGEST_ALERT: usize = 31;

/// See [`TlsVerdict`].
pub(super) struct WatchedStream {
    stream: TlsStream<BoxStream>,
    verdict: TlsVerdict,
}

impl WatchedStream {
    pub(super) fn new(stream: TlsStream<BoxStream>, verdict: TlsVerdict) -> Self {
        Self { stream, verdict }
    }
}

impl Stream for WatchedStream {
    /// What has come may be no more than a session ticket. An orderly end begins with an alert, which is shorter than that.
    fn peek(&self) -> Peeked {
        match self.stream.get_ref().0.peek() {
            Peeked::Data(bytes) if bytes > LONGEST_ALERT => Peeked::Nothing,
            peeked @ (Peeked::Data(_) | Peeked::Nothing | Peeked::End) => peeked,
        }
    }
}

impl AsyncRead for WatchedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.verdict.note(polled)
    }
}

impl AsyncWrite for WatchedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
