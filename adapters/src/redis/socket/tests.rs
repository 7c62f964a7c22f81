//! The stream of a connection, driven by hand: turns, data without a request, and the limit of the inbox.

use std::sync::atomic::AtomicUsize;
use std::task::Wake;

use redis::{PushInfo, PushKind};

use tokio::io::{AsyncRead, ReadBuf};

use super::inbox::MOST_PUSHES;
use super::socket_io::SocketIo;
use super::*;
use crate::redis_node::received::BYTES_A_TURN;
use crate::smol::SmolRuntime;

/// A stream that always has something to read.
struct Endless;

impl AsyncRead for Endless {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        buffer.put_slice(&b"+OK\r\n".repeat(1_000)[..buffer.remaining().min(5_000)]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Endless {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Wakes {
    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// A socket, and what reads from it; what is woken counts.
fn reading() -> (Arc<Socket>, SocketIo, Arc<Wakes>) {
    let counters = Arc::new(NodeCounters::new(Arc::new(SmolRuntime::new()), 0, 0));
    let socket = Socket::new(Box::new(Endless), Arc::default(), Arc::from("redis://node"), counters);
    (Arc::clone(&socket), SocketIo::new(socket), Arc::new(Wakes::default()))
}

/// How many bytes one read brings; none if there is nothing to be had now.
fn read(stream: &mut SocketIo, wakes: &Arc<Wakes>) -> Option<usize> {
    let waker = Waker::from(Arc::clone(wakes));
    let mut bytes = [0; 8_192];
    let mut buffer = ReadBuf::new(&mut bytes);
    match Pin::new(stream).poll_read(&mut Context::from_waker(&waker), &mut buffer) {
        Poll::Ready(read) => {
            read.expect("no error");
            Some(buffer.filled().len())
        }
        Poll::Pending => None,
    }
}

/// Lets what reads have one turn; returns how many bytes it gets.
fn turn(socket: &Arc<Socket>, stream: &mut SocketIo, wakes: &Arc<Wakes>) -> usize {
    let mut sum = 0;
    {
        let turn = std::future::poll_fn(|_| {
            while let Some(bytes) = read(stream, wakes) {
                sum += bytes;
            }
            Poll::Ready(())
        });
        let mut turn = std::pin::pin!(socket.received.in_turns(turn));
        assert!(turn.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
    }
    sum
}

fn message() -> PushInfo {
    PushInfo { kind: PushKind::Message, data: Vec::new() }
}

#[test]
fn a_turn_reads_so_much_and_asks_for_the_next_one() {
    let (socket, mut stream, wakes) = reading();
    for round in 1..4 {
        let bytes = turn(&socket, &mut stream, &wakes);
        assert!((BYTES_A_TURN..BYTES_A_TURN + 8_192).contains(&bytes), "{bytes} bytes");
        assert_eq!(wakes.count(), round, "one more turn is asked for");
    }
}

/// What is done to a socket before bytes come.
type SocketSetup = fn(&Socket);

#[test]
fn bytes_end_a_link_unless_a_reply_may_come() {
    let may_come: [(&str, SocketSetup); 5] = [
        ("hello is said", |_| {}),
        ("one borrower has asked", |socket| socket.outstanding.set_asked(true)),
        ("pushes were asked for", |socket| {
            socket.outstanding.set_asked(false);
            socket.outstanding.set_open_ended(true);
        }),
        ("shared clients have asked", |socket| {
            socket.outstanding.set_asked(false);
            socket.share(Arc::new(Padded(AtomicUsize::new(1))));
        }),
        ("a shared client has left its request", |socket| {
            socket.outstanding.set_asked(false);
            socket.share(Arc::new(Padded(AtomicUsize::new(0))));
            socket.outstanding.leave(redis_manager_core::Instant::from_nanos(7));
        }),
    ];
    for (why, prepare) in may_come {
        let (socket, mut stream, wakes) = reading();
        prepare(&socket);
        assert!(read(&mut stream, &wakes) > Some(0) && !socket.is_dead(), "{why}");
    }
    let none: [(&str, SocketSetup); 4] = [
        ("nothing was asked", |socket| socket.outstanding.set_asked(false)),
        ("the shared clients have their replies", |socket| {
            socket.outstanding.set_asked(false);
            socket.share(Arc::new(Padded(AtomicUsize::new(0))));
        }),
        ("a later request than the one that was left has its reply", |socket| {
            socket.outstanding.set_asked(false);
            socket.outstanding.leave(redis_manager_core::Instant::from_nanos(7));
            socket.outstanding.answered(redis_manager_core::Instant::from_nanos(8));
        }),
        ("the shared clients are gone, and owe nothing", |socket| {
            socket.share(Arc::new(Padded(AtomicUsize::new(1))));
            socket.unshare(false);
        }),
    ];
    for (why, prepare) in none {
        let (socket, mut stream, wakes) = reading();
        prepare(&socket);
        assert_eq!(read(&mut stream, &wakes), Some(0), "the end of the stream: {why}");
        assert!(socket.is_dead(), "{why}");
    }
    let (socket, mut stream, wakes) = reading();
    socket.outstanding.leave(redis_manager_core::Instant::from_nanos(7));
    socket.outstanding.answered(redis_manager_core::Instant::from_nanos(7));
    socket.unshare(true);
    assert!(read(&mut stream, &wakes) > Some(0), "what shared clients have left is still to come");
}

#[test]
fn the_inbox_of_a_listener_has_a_bound() {
    let (socket, mut stream, wakes) = reading();
    socket.listen();
    for _ in 0..MOST_PUSHES - 1 {
        socket.push(message());
    }
    assert!(read(&mut stream, &wakes) > Some(0), "there is room for one");
    socket.push(message());
    assert_eq!(read(&mut stream, &wakes), None, "it is full");
    let everything = socket.read_on();
    assert_eq!(wakes.count(), 1, "a reply is waited for");
    assert!(read(&mut stream, &wakes) > Some(0));
    drop(everything);
    assert_eq!(read(&mut stream, &wakes), None);
    let mut cx = Context::from_waker(Waker::noop());
    for left in (0..MOST_PUSHES).rev() {
        assert_eq!(wakes.count(), if left < MOST_PUSHES / 2 { 2 } else { 1 }, "{left} left");
        assert!(matches!(socket.poll_push(&mut cx), Poll::Ready(Some(_))));
    }
    assert!(socket.poll_push(&mut cx).is_pending());
    assert!(read(&mut stream, &wakes) > Some(0));
}

#[test]
fn pushes_are_told_from_replies() {
    let (socket, mut stream, wakes) = reading();
    let start = socket.received.mark();
    assert!(!socket.has_received());
    let _ = read(&mut stream, &wakes);
    let replied = socket.received.mark();
    assert!(socket.has_received() && replied.is_beyond(start) && replied.has_reply_since(start));
    let _ = read(&mut stream, &wakes);
    socket.push(message());
    let pushed = socket.received.mark();
    assert!(pushed.is_beyond(replied) && !pushed.has_reply_since(replied));
    assert!(!pushed.is_beyond(pushed));
}
