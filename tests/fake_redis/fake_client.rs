//! A raw client on the fake network: bytes of commands out, whole replies in, in virtual time.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use redis_manager::runtime::Timer;
use redis_manager::testing::{FakeCluster, FakeNetwork, FakeStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::wire::{WireValue, encode};

/// How long a reply is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) struct FakeClient {
    network: FakeNetwork,
    stream: FakeStream,
    buffer: Vec<u8>,
}

impl FakeClient {
    /// Panics if nothing listens there.
    pub(crate) fn connect(network: &FakeNetwork, address: SocketAddr) -> Self {
        let stream = network.runtime().block_on(network.connect(address)).expect("a server listens");
        Self { network: network.clone(), stream, buffer: Vec::new() }
    }

    /// None if it is refused or not answered.
    pub(crate) fn try_connect(network: &FakeNetwork, address: SocketAddr) -> Option<Self> {
        let mut dial = pin!(network.connect(address));
        let mut sleep = pin!(network.sleep(Duration::from_millis(100)));
        let stream = network.runtime().block_on(poll_fn(|cx| match dial.as_mut().poll(cx) {
            Poll::Ready(stream) => Poll::Ready(stream.ok()),
            Poll::Pending => sleep.as_mut().poll(cx).map(|()| None),
        }))?;
        Some(Self { network: network.clone(), stream, buffer: Vec::new() })
    }

    /// To a node of a cluster, by its number.
    pub(crate) fn of(network: &FakeNetwork, cluster: &FakeCluster, number: usize) -> Self {
        Self::connect(network, cluster.node(number).address())
    }

    /// The reply to a command, its words with blanks between them; None if none comes in 5 s.
    pub(crate) fn try_ask(&mut self, command: &str) -> Option<WireValue> {
        self.send(command);
        self.read()
    }

    pub(crate) fn send(&mut self, command: &str) {
        let bytes = encode(&command.split(' ').map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>());
        let mut written = 0;
        let runtime = self.network.runtime().clone();
        // An error is seen by what reads.
        runtime.block_on(poll_fn(|cx| {
            while written < bytes.len() {
                match Pin::new(&mut self.stream).poll_write(cx, &bytes[written..]) {
                    Poll::Ready(Ok(count)) => written += count,
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                }
            }
            Poll::Ready(())
        }));
    }

    /// The next reply; None at the end, or if none comes in 5 s.
    pub(crate) fn read(&mut self) -> Option<WireValue> {
        self.read_within(PATIENCE)
    }

    fn read_within(&mut self, patience: Duration) -> Option<WireValue> {
        let runtime = self.network.runtime().clone();
        let mut sleep = pin!(self.network.sleep(patience));
        runtime.block_on(poll_fn(|cx| {
            loop {
                if let Some((value, length)) = WireValue::parse(&self.buffer) {
                    self.buffer.drain(..length);
                    return Poll::Ready(Some(value));
                }
                let mut space = [0; 65_536];
                let mut buffer = ReadBuf::new(&mut space);
                match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                    Poll::Ready(Ok(())) if !buffer.filled().is_empty() => self.buffer.extend_from_slice(buffer.filled()),
                    Poll::Ready(_) => return Poll::Ready(None),
                    Poll::Pending => return sleep.as_mut().poll(cx).map(|()| None),
                }
            }
        }))
    }

    /// As [`ask`](Self::ask), with another patience.
    pub(crate) fn ask_within(&mut self, command: &str, patience: Duration) -> Option<String> {
        self.send(command);
        self.read_within(patience).map(|value| plain(&value))
    }

    /// The reply as one line: texts as they are, arrays in brackets.
    pub(crate) fn ask(&mut self, command: &str) -> String {
        self.try_ask(command).map_or_else(|| String::from("no reply"), |value| plain(&value))
    }
}

/// A reply without its marks: `[a, 1]`, `-ERR why`, `nil`.
pub(crate) fn plain(value: &WireValue) -> String {
    match value.line.as_bytes()[0] {
        b'*' | b'~' | b'>' | b'%' if !value.line.ends_with("-1") => {
            format!("[{}]", value.items.iter().map(plain).collect::<Vec<_>>().join(", "))
        }
        b'$' | b'=' if !value.line.ends_with("-1") => String::from_utf8_lossy(&value.text).into_owned(),
        b'-' => value.line.clone(),
        b'+' | b':' => value.line[1..].to_owned(),
        _ => String::from("nil"),
    }
}
