//! smol as a runtime of the manager, also for async-std: tasks, timers, sockets. No logic of its own.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ::smol::net::TcpStream;
use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use redis_manager_core::{Instant, Runtime, Spawn, Task, Timer};
use socket2::SockRef;

use crate::network::{Network, Reply};
use crate::stream::{BoxStream, Peeked, Stream, peek};
use crate::tcp_options::TcpOptions;

/// smol's global executor, or your own. Cheap to clone.
///
/// For async-std use the global one. Both are built on the same reactor, and clients can be used on any executor.
#[derive(Clone)]
pub struct SmolRuntime {
    executor: ExecutorKind,
    epoch: std::time::Instant,
}

#[derive(Clone)]
enum ExecutorKind {
    Global,
    /// A weak reference: the tasks on the executor hold the runtime, and dropping the executor must end them.
    Given(Weak<::smol::Executor<'static>>),
}

impl SmolRuntime {
    /// smol's global executor. It runs on its own threads; `SMOL_THREADS` sets their number, 1 by default.
    #[must_use]
    pub fn new() -> Self {
        Self { executor: ExecutorKind::Global, epoch: std::time::Instant::now() }
    }

    /// Your own executor. It must be kept and run for as long as the manager is used.
    #[must_use]
    pub fn with_executor(executor: &Arc<::smol::Executor<'static>>) -> Self {
        Self { executor: ExecutorKind::Given(Arc::downgrade(executor)), ..Self::new() }
    }
}

impl Default for SmolRuntime {
    fn default() -> Self {
        Self::new()
    }
}

impl Timer for SmolRuntime {
    fn now(&self) -> Instant {
        Instant::ZERO + self.epoch.elapsed()
    }

    fn sleep_until(&self, deadline: Instant) -> Task {
        let at = self.epoch.checked_add(Duration::from_nanos(deadline.as_nanos()));
        Box::pin(async move {
            match at {
                Some(at) => drop(::smol::Timer::at(at).await),
                None => std::future::pending().await,
            }
        })
    }
}

impl Spawn for SmolRuntime {
    fn spawn(&self, task: Task) {
        match &self.executor {
            ExecutorKind::Global => ::smol::spawn(task).detach(),
            ExecutorKind::Given(executor) => match executor.upgrade() {
                Some(executor) => executor.spawn(task).detach(),
                None => drop(task),
            },
        }
    }

    fn has_ended(&self) -> bool {
        match &self.executor {
            ExecutorKind::Global => false,
            ExecutorKind::Given(executor) => executor.strong_count() == 0,
        }
    }
}

impl Runtime for SmolRuntime {}

impl Network for SmolRuntime {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Reply<'a, Vec<SocketAddr>> {
        Box::pin(::smol::net::resolve((host, port)))
    }

    fn connect_tcp<'a>(&'a self, address: SocketAddr, options: &'a TcpOptions) -> Reply<'a, BoxStream> {
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            options.apply(&SockRef::from(&stream))?;
            Ok(Box::new(TokioTraits(stream)) as BoxStream)
        })
    }

    #[cfg(unix)]
    fn connect_unix<'a>(&'a self, path: &'a Path) -> Reply<'a, BoxStream> {
        use ::smol::net::unix::UnixStream;
        Box::pin(async move { Ok(Box::new(TokioTraits(UnixStream::connect(path).await?)) as BoxStream) })
    }

    #[cfg(not(unix))]
    fn connect_unix<'a>(&'a self, _path: &'a Path) -> Reply<'a, BoxStream> {
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }
}

impl fmt::Debug for SmolRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmolRuntime").finish_non_exhaustive()
    }
}

/// A stream of smol with tokio's traits. No tokio runtime is involved.
struct TokioTraits<S>(S);

impl Stream for TokioTraits<TcpStream> {
    fn peek(&self) -> Peeked {
        peek(&SockRef::from(&self.0))
    }
}

#[cfg(unix)]
impl Stream for TokioTraits<::smol::net::unix::UnixStream> {
    fn peek(&self) -> Peeked {
        peek(&SockRef::from(&self.0))
    }
}

impl<S: ::smol::io::AsyncRead + Unpin> AsyncRead for TokioTraits<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut self.0).poll_read(cx, buffer.initialize_unfilled()))?;
        buffer.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl<S: ::smol::io::AsyncWrite + Unpin> AsyncWrite for TokioTraits<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}
