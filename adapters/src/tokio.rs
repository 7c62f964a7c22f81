//! tokio as a runtime of the manager: tasks, clock, sockets. No logic of its own.

use std::fmt;
use std::future::{pending, poll_fn};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use ::tokio::net::{TcpStream, lookup_host};
use ::tokio::runtime::{Handle, TryCurrentError};
use ::tokio::task::AbortHandle;
use ::tokio::time;
use redis_manager_core::{Instant, Runtime, Spawn, Task, Timer};
use socket2::SockRef;

use crate::network::{Network, Reply};
use crate::stream::{BoxStream, Peeked, Stream, peek};
use crate::tcp_options::TcpOptions;

/// A tokio runtime, by its handle: a client may be dropped on any thread. Cheap to clone.
///
/// Works on both flavours. The runtime must have its I/O and time drivers enabled (`enable_all`, as `#[tokio::main]` does).
/// Time is tokio's own: a paused clock works for everything on the runtime's own thread. Other threads use the real time.
#[derive(Clone)]
pub struct TokioRuntime {
    handle: Handle,
    epoch: time::Instant,
    life: Arc<RuntimeSentinel>,
}

/// Whether a runtime has ended, found by the end of an idle task on it: tokio ends tasks before the clock.
struct RuntimeSentinel {
    ended: Arc<AtomicBool>,
    sentinel: AbortHandle,
}

impl RuntimeSentinel {
    fn of(runtime: &Handle) -> Self {
        let ended = Arc::default();
        let end = SentinelGuard(Arc::clone(&ended));
        let sentinel = runtime.spawn(async move {
            let _end = end;
            pending::<()>().await;
        });
        Self { ended, sentinel: sentinel.abort_handle() }
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }
}

impl Drop for RuntimeSentinel {
    fn drop(&mut self) {
        self.sentinel.abort();
    }
}

struct SentinelGuard(Arc<AtomicBool>);

impl Drop for SentinelGuard {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

impl TokioRuntime {
    /// The current tokio runtime.
    ///
    /// # Errors
    ///
    /// [`TryCurrentError`] if it is called outside of a tokio runtime.
    pub fn current() -> Result<Self, TryCurrentError> {
        Handle::try_current().map(Self::new)
    }

    /// The runtime of `handle`. It must be kept running: connections live on it. Callers may wait for clients on any executor.
    #[must_use]
    pub fn new(handle: Handle) -> Self {
        let life = Arc::new(RuntimeSentinel::of(&handle));
        Self { handle, epoch: time::Instant::now(), life }
    }
}

impl Timer for TokioRuntime {
    fn now(&self) -> Instant {
        Instant::ZERO + time::Instant::now().saturating_duration_since(self.epoch)
    }

    fn sleep_until(&self, deadline: Instant) -> Task {
        let since_epoch = Duration::from_nanos(deadline.as_nanos());
        let _context = self.handle.enter();
        let Some(at) = self.epoch.checked_add(since_epoch) else { return Box::pin(pending()) };
        let (sleep, life) = (time::sleep_until(at), Arc::clone(&self.life));
        // A caller on another executor may poll it after the end of this runtime; tokio's own sleep panics then.
        Box::pin(async move {
            let mut sleep = pin!(sleep);
            poll_fn(|cx| {
                if life.has_ended() {
                    return Poll::Pending;
                }
                // The runtime may end between the check and the poll.
                catch_unwind(AssertUnwindSafe(|| sleep.as_mut().poll(cx))).unwrap_or_else(|_| {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                })
            })
            .await;
        })
    }
}

impl Spawn for TokioRuntime {
    fn spawn(&self, task: Task) {
        self.handle.spawn(task);
    }

    fn has_ended(&self) -> bool {
        self.life.has_ended()
    }
}

impl Runtime for TokioRuntime {}

impl Network for TokioRuntime {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Reply<'a, Vec<SocketAddr>> {
        Box::pin(async move { Ok(lookup_host((host, port)).await?.collect()) })
    }

    fn connect_tcp<'a>(&'a self, address: SocketAddr, options: &'a TcpOptions) -> Reply<'a, BoxStream> {
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            options.apply(&SockRef::from(&stream))?;
            Ok(Box::new(stream) as BoxStream)
        })
    }

    #[cfg(unix)]
    fn connect_unix<'a>(&'a self, path: &'a Path) -> Reply<'a, BoxStream> {
        Box::pin(async move { Ok(Box::new(::tokio::net::UnixStream::connect(path).await?) as BoxStream) })
    }

    #[cfg(not(unix))]
    fn connect_unix<'a>(&'a self, _path: &'a Path) -> Reply<'a, BoxStream> {
        Box::pin(async { Err(std::io::ErrorKind::Unsupported.into()) })
    }
}

impl Stream for TcpStream {
    fn peek(&self) -> Peeked {
        peek(&SockRef::from(self))
    }
}

#[cfg(unix)]
impl Stream for ::tokio::net::UnixStream {
    fn peek(&self) -> Peeked {
        peek(&SockRef::from(self))
    }
}

impl fmt::Debug for TokioRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokioRuntime").field("id", &self.handle.id()).finish_non_exhaustive()
    }
}
