//! What a server says before it hangs up on somebody who logs in is told, whatever else fails.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use redis_manager::PoolArgs;
use redis_manager::runtime::{BoxStream, Instant, Network, Reply, Runtime, Spawn, Stream, Task, TcpOptions, Timer};
use redis_manager_tests::on_every_runtime;
use redis_manager_tests::redis_server::RedisServer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::MS;
use crate::handshakes::{refusal, stranger};

on_every_runtime! {
    h17_the_last_words_of_a_full_server_are_read;
    h17_the_last_words_of_a_protected_server_are_read_and_told_at_once;
    h17_a_write_that_fails_hides_no_last_words;
}

/// Seen to bite: without `LastWords::note` (a port that wants TLS, in most attempts).
async fn h17_the_last_words_of_a_full_server_are_read(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    server.command(&["CONFIG", "SET", "maxclients", "1"]);
    for attempt in 0..10 {
        for suffix in ["", "?protocol=resp2"] {
            let (cause, waited) = refusal(&(server.url() + suffix), PoolArgs::default(), 100 * MS, &runtime).await;
            assert!(cause.contains("max number of clients reached"), "attempt {attempt}{suffix}: {cause}");
            assert!(waited >= 100 * MS, "places may come free: {waited:?}");
        }
    }
}

/// As a server in protected mode does with somebody from elsewhere. Seen to bite: as the one before.
async fn h17_the_last_words_of_a_protected_server_are_read_and_told_at_once(runtime: impl Network + Clone) {
    let port = stranger(|mut stream| {
        let _ = stream.write_all(b"-DENIED Redis is running in protected mode because protected mode is enabled\r\n");
    });
    for attempt in 0..10 {
        for suffix in ["", "?protocol=resp2"] {
            let url = format!("redis://127.0.0.1:{port}{suffix}");
            let (cause, waited) = refusal(&url, PoolArgs::default(), 30_000 * MS, &runtime).await;
            assert!(
                cause.contains("DENIED") && cause.contains("running in protected mode"),
                "attempt {attempt}{suffix}: {cause}"
            );
            assert!(waited < 5_000 * MS, "told at once: {waited:?}");
        }
    }
}

/// A network on which every server has hung up before we write, with words that may still be read.
#[derive(Clone)]
struct HungUp<R>(R);

/// What is left of such a connection.
struct Rest {
    unread: &'static [u8],
    /// The words are there when they are asked for again.
    asked: bool,
}

impl Stream for Rest {}

impl AsyncRead for Rest {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.asked, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        buffer.put_slice(std::mem::take(&mut self.unread));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rest {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl<R: Network> Timer for HungUp<R> {
    fn now(&self) -> Instant {
        self.0.now()
    }

    fn sleep_until(&self, deadline: Instant) -> Task {
        self.0.sleep_until(deadline)
    }
}

impl<R: Network> Spawn for HungUp<R> {
    fn spawn(&self, task: Task) {
        self.0.spawn(task);
    }
}

impl<R: Network> Runtime for HungUp<R> {}

impl<R: Network> Network for HungUp<R> {
    fn resolve<'a>(&'a self, _host: &'a str, port: u16) -> Reply<'a, Vec<SocketAddr>> {
        Box::pin(async move { Ok(vec![SocketAddr::from(([10, 0, 0, 1], port))]) })
    }

    fn connect_tcp<'a>(&'a self, _address: SocketAddr, _options: &'a TcpOptions) -> Reply<'a, BoxStream> {
        let unread = b"-DENIED Redis is running in protected mode\r\n";
        Box::pin(async { Ok(Box::new(Rest { unread, asked: false }) as BoxStream) })
    }

    fn connect_unix<'a>(&'a self, path: &'a Path) -> Reply<'a, BoxStream> {
        self.0.connect_unix(path)
    }
}

/// Seen to bite: without `LastWords::keep`.
async fn h17_a_write_that_fails_hides_no_last_words(runtime: impl Network + Clone) {
    for suffix in ["", "?protocol=resp2"] {
        let url = format!("redis://nobody{suffix}");
        let (cause, waited) = refusal(&url, PoolArgs::default(), 30_000 * MS, &HungUp(runtime.clone())).await;
        assert!(cause.contains("DENIED") && cause.contains("running in protected mode"), "{suffix}: {cause}");
        assert!(waited < 5_000 * MS, "told at once: {waited:?}");
    }
}
