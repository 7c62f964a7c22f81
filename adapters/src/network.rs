//! What Redis needs of a runtime besides time and tasks: look up names and open streams.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;

use redis_manager_core::Runtime;

use crate::stream::BoxStream;
use crate::tcp_options::TcpOptions;

/// An I/O operation in progress.
pub type Reply<'a, T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'a>>;

/// A [`Runtime`] with a network. Operations need no timeout of their own: the caller limits each one, and drops the future to
/// cancel it.
pub trait Network: Runtime {
    /// The addresses of a host, in order of preference. Addresses that worked in earlier dials are dialled first.
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Reply<'a, Vec<SocketAddr>>;

    /// Opens a TCP stream with these socket options.
    fn connect_tcp<'a>(&'a self, address: SocketAddr, options: &'a TcpOptions) -> Reply<'a, BoxStream>;

    /// Opens a stream to a unix socket.
    fn connect_unix<'a>(&'a self, path: &'a Path) -> Reply<'a, BoxStream>;
}
