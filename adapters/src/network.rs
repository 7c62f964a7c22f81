//! What a runtime must be able to do besides time and tasks: look up names and open streams.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use ::tokio::io::{AsyncRead, AsyncWrite};
use redis_manager_core::Runtime;
use socket2::{SockRef, TcpKeepalive};

use crate::redis_node::Keepalive;

/// A byte stream, as the redis crate wants it.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

/// A byte stream of whatever kind.
pub type BoxStream = Box<dyn Stream>;

/// An I/O operation under way.
pub type Reply<'a, T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'a>>;

/// A [`Runtime`] with a network. Each operation may take for ever: whoever asks bounds it, and drops it to cancel it.
pub trait Network: Runtime {
    /// The addresses of a host, in the order in which they are to be dialled; what is known from earlier dials goes before.
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Reply<'a, Vec<SocketAddr>>;

    /// Opens a TCP stream with these socket options.
    fn connect_tcp<'a>(&'a self, address: SocketAddr, options: &'a TcpOptions) -> Reply<'a, BoxStream>;

    /// Opens a stream to a unix socket.
    fn connect_unix<'a>(&'a self, path: &'a Path) -> Reply<'a, BoxStream>;
}

/// The options of a TCP socket; a part of [`PoolArgs`](crate::PoolArgs).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpOptions {
    pub(crate) nodelay: bool,
    pub(crate) keepalive: Option<Keepalive>,
    pub(crate) user_timeout: Option<Duration>,
}

impl TcpOptions {
    /// Sets the options on an open socket.
    ///
    /// # Errors
    ///
    /// What the operating system says of it.
    pub fn apply(&self, socket: &SockRef<'_>) -> io::Result<()> {
        socket.set_tcp_nodelay(self.nodelay)?;
        if let Some(Keepalive { idle, interval, retries }) = self.keepalive {
            let keepalive = TcpKeepalive::new().with_time(idle).with_interval(interval);
            #[cfg(not(windows))]
            let keepalive = keepalive.with_retries(retries);
            #[cfg(windows)]
            let _ = retries;
            socket.set_tcp_keepalive(&keepalive)?;
        }
        #[cfg(any(target_os = "android", target_os = "linux"))]
        if let Some(timeout) = self.user_timeout {
            socket.set_tcp_user_timeout(Some(timeout))?;
        }
        Ok(())
    }
}
