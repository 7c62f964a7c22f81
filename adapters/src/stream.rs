//! A byte stream of any runtime. Opening it is the task of `Network`.

use ::tokio::io::{AsyncRead, AsyncWrite};
use socket2::SockRef;

/// What the kernel has for the reader of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peeked {
    /// Nothing, or it is not known.
    Nothing,
    /// As many bytes, counted up to 64.
    Data(usize),
    /// The end of the stream, or an error.
    End,
}

/// A byte stream with tokio's traits. No tokio runtime is needed for them.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// What could be read now; nothing is taken. It must not wait. Called before a connection that was idle for a millisecond is
    /// lent, so that one that the kernel knows to be dead is not, even if its runtime has not noticed it yet. By default
    /// [`Nothing`](Peeked::Nothing).
    fn peek(&self) -> Peeked {
        Peeked::Nothing
    }
}

/// A boxed byte stream.
pub type BoxStream = Box<dyn Stream>;

/// Peeks at a socket that does not block: one system call.
#[cfg(unix)]
pub(crate) fn peek(socket: &SockRef<'_>) -> Peeked {
    match socket.peek(&mut [std::mem::MaybeUninit::uninit(); 64]) {
        Ok(0) => Peeked::End,
        Ok(bytes) => Peeked::Data(bytes),
        Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::Interrupted) => Peeked::Nothing,
        Err(_) => Peeked::End,
    }
}

/// Not known: the sockets of other systems may block.
#[cfg(not(unix))]
pub(crate) fn peek(_socket: &SockRef<'_>) -> Peeked {
    Peeked::Nothing
}
