//! A socket on a stream that is moved by hand: turns, the watcher, the limit of the inbox, and what a close leaves.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::AtomicUsize;
use std::task::{Poll, Wake};

use redis::Value;
use redis_manager_core::Spawn;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::state::{BYTES_A_TURN, MOST_PUSHES};
use super::*;
use crate::connection::resp::answer::{Replies, RequestFate, RequestOutcome};
use crate::connection::resp::parser::ReplyLimits;
use crate::connection::resp::request::Outgoing;
use crate::smol::SmolRuntime;

const LIMITS: WireLimits = WireLimits {
    reply: ReplyLimits { max_bytes: 1 << 20, max_depth: 10 },
    in_flight: 100,
    unsent: 1 << 20,
    kept_buffer: 1 << 16,
};

/// What the server has sent, and what it has got.
#[derive(Default)]
struct WireState {
    incoming: VecDeque<u8>,
    has_ended: bool,
    /// Every read brings something.
    is_endless: bool,
    read: usize,
    outgoing: Vec<u8>,
    writes: usize,
    /// Bytes that may still be written; the rest waits.
    window: Option<usize>,
    reader: Option<Waker>,
}

#[derive(Clone, Default)]
struct FakeWire(Arc<Mutex<WireState>>);

impl FakeWire {
    fn lock(&self) -> MutexGuard<'_, WireState> {
        self.0.lock().expect("not poisoned")
    }

    /// The server sends something, or ends the stream.
    fn say(&self, bytes: Option<&[u8]>) {
        let reader = {
            let mut wire = self.lock();
            match bytes {
                Some(bytes) => wire.incoming.extend(bytes),
                None => wire.has_ended = true,
            }
            wire.reader.take()
        };
        reader.into_iter().for_each(Waker::wake);
    }
}

impl crate::runtime::Stream for FakeWire {}

impl AsyncRead for FakeWire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut wire = self.lock();
        if wire.is_endless {
            let bytes = b"+OK\r\n".repeat(1_000);
            let count = bytes.len().min(buffer.remaining());
            wire.read += count;
            buffer.put_slice(&bytes[..count]);
            return Poll::Ready(Ok(()));
        }
        if wire.incoming.is_empty() && !wire.has_ended {
            // As smol's streams do, it wakes the one that waited before.
            let replaced = wire.reader.replace(cx.waker().clone()).filter(|before| !before.will_wake(cx.waker()));
            drop(wire);
            replaced.into_iter().for_each(Waker::wake);
            return Poll::Pending;
        }
        let count = wire.incoming.len().min(buffer.remaining());
        let bytes: Vec<u8> = wire.incoming.drain(..count).collect();
        wire.read += count;
        buffer.put_slice(&bytes);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for FakeWire {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut wire = self.lock();
        let count = wire.window.map_or(bytes.len(), |window| window.min(bytes.len()));
        if count == 0 {
            return Poll::Pending;
        }
        wire.window = wire.window.map(|window| window - count);
        wire.writes += 1;
        wire.outgoing.extend_from_slice(&bytes[..count]);
        Poll::Ready(Ok(count))
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

/// Keeps the tasks that are spawned, to be polled by hand.
#[derive(Default)]
struct HeldTasks {
    tasks: Mutex<Vec<Task>>,
    wakes: Arc<Wakes>,
}

impl Spawn for HeldTasks {
    fn spawn(&self, task: Task) {
        self.tasks.lock().expect("not poisoned").push(task);
    }
}

impl HeldTasks {
    /// Gives each task a turn.
    fn poll(&self) {
        let waker = Waker::from(Arc::clone(&self.wakes));
        let mut cx = Context::from_waker(&waker);
        self.tasks.lock().expect("not poisoned").retain_mut(|task| task.as_mut().poll(&mut cx).is_pending());
    }
}

struct Rig {
    socket: Arc<Socket>,
    wire: FakeWire,
    tasks: HeldTasks,
    watcher: Watcher,
}

fn rig() -> Rig {
    let (wire, tasks, watcher) = (FakeWire::default(), HeldTasks::default(), Watcher::default());
    watcher.start(&tasks);
    let counters = Arc::new(NodeCounters::new(Arc::new(SmolRuntime::new()), 0, 0));
    let stream = Box::new(wire.clone());
    let socket = Socket::new(stream, LIMITS, &watcher, Arc::default(), Arc::from("redis://node"), counters);
    socket.rest();
    tasks.poll();
    Rig { socket, wire, tasks, watcher }
}

fn poll<F: Future + Unpin>(future: &mut F, wakes: &Arc<Wakes>) -> Poll<F::Output> {
    let waker = Waker::from(Arc::clone(wakes));
    Pin::new(future).poll(&mut Context::from_waker(&waker))
}

fn answered(text: &str) -> Poll<RequestOutcome> {
    Poll::Ready(RequestOutcome::Answered(Replies::One(Value::SimpleString(String::from(text)))))
}

/// Guards against: a reader that goes on for as long as there is something.
#[test]
fn a_turn_reads_so_much_and_asks_for_the_next_one() {
    let rig = rig();
    rig.socket.set_open_ended(true);
    rig.wire.say(Some(b"+OK\r\n"));
    rig.wire.lock().is_endless = true;
    for round in 1..4 {
        rig.tasks.poll();
        let read = rig.wire.lock().read;
        assert!((round * BYTES_A_TURN..round * (BYTES_A_TURN + 33_000)).contains(&read), "{read} bytes after {round}");
    }
    assert!(!rig.socket.is_dead());
}

/// Guards against: a stream that is not watched after its first command; a watcher that is woken while the borrower reads.
#[test]
fn the_end_of_an_idle_connection_is_noticed_by_the_watcher_and_its_replies_by_the_borrower() {
    let rig = rig();
    let (ping, wakes) = (redis::cmd("PING"), Arc::new(Wakes::default()));
    let before = rig.tasks.wakes.count();
    for _ in 0..3 {
        let mut asking = rig.socket.ask(Outgoing::Command(&ping));
        assert!(poll(&mut asking, &wakes).is_pending());
        let woken = wakes.count();
        rig.wire.say(Some(b"+PONG\r\n"));
        assert_eq!(wakes.count(), woken + 1, "the borrower reads itself");
        assert_eq!(poll(&mut asking, &wakes), answered("PONG"));
    }
    assert_eq!(rig.tasks.wakes.count(), before, "the watcher is left alone");
    let before = rig.tasks.wakes.count();
    rig.wire.say(None);
    assert_eq!(rig.tasks.wakes.count(), before + 1, "the watcher is woken");
    rig.tasks.poll();
    assert!(rig.socket.is_dead());
    assert_eq!(
        poll(&mut rig.socket.ask(Outgoing::Command(&ping)), &wakes),
        Poll::Ready(RequestOutcome::Ended(RequestFate::Unsent))
    );
}

/// Guards against: a reply that is left, and is not read before the next command.
#[test]
fn what_a_borrower_has_left_is_read_by_the_watcher() {
    let rig = rig();
    let (ping, wakes) = (redis::cmd("PING"), Arc::new(Wakes::default()));
    let mut asking = rig.socket.ask(Outgoing::Command(&ping));
    assert!(poll(&mut asking, &wakes).is_pending());
    drop(asking);
    assert!(rig.socket.has_in_flight());
    rig.wire.say(Some(b"+PONG\r\n"));
    rig.tasks.poll();
    assert!(!rig.socket.has_in_flight() && !rig.socket.is_dead());
    rig.wire.say(Some(b"+PONG\r\n"));
    rig.tasks.poll();
    assert!(rig.socket.is_dead(), "one reply too many");
}

/// Guards against: no limit, and a reader that is not resumed.
#[test]
fn the_inbox_of_a_listener_has_a_bound() {
    let rig = rig();
    rig.socket.listen();
    let push = b">3\r\n+message\r\n+a\r\n+b\r\n";
    for _ in 0..MOST_PUSHES + 500 {
        rig.wire.say(Some(push));
        rig.tasks.poll();
    }
    assert_eq!(rig.socket.state().machine.kept_pushes(), MOST_PUSHES);
    let mut cx = Context::from_waker(Waker::noop());
    for taken in 1..=MOST_PUSHES / 2 {
        assert!(matches!(rig.socket.poll_push(&mut cx), Poll::Ready(Some(_))));
        let is_resumed = rig.socket.state().machine.kept_pushes() > MOST_PUSHES - taken;
        assert_eq!(is_resumed, taken == MOST_PUSHES / 2, "{taken} taken");
    }
    let left = std::iter::from_fn(|| match rig.socket.poll_push(&mut cx) {
        Poll::Ready(push) => push,
        Poll::Pending => None,
    });
    assert_eq!(left.count(), MOST_PUSHES / 2 + 500, "none is lost");
}

/// Guards against: a write for each command; a task that is not woken for what the callers add.
#[test]
fn the_commands_of_many_callers_are_written_together() {
    let rig = rig();
    rig.socket.share(&rig.tasks);
    rig.tasks.poll();
    let (ping, wakes) = (redis::cmd("PING"), Arc::new(Wakes::default()));
    let mut askings: Vec<_> = (0..10).map(|_| rig.socket.ask(Outgoing::Command(&ping))).collect();
    askings.iter_mut().for_each(|asking| assert!(poll(asking, &wakes).is_pending()));
    assert_eq!(rig.wire.lock().writes, 1, "the first one at once");
    rig.tasks.poll();
    assert_eq!(rig.wire.lock().writes, 2, "the others by the task");
    rig.wire.say(Some(&b"+PONG\r\n".repeat(10)));
    rig.tasks.poll();
    assert_eq!(wakes.count(), 10);
    askings.iter_mut().for_each(|asking| assert_eq!(poll(asking, &wakes), answered("PONG")));
    // The task has a turn in any case after so many replies: it is not prompted, and writes all of it.
    let mut askings: Vec<_> = (0..10).map(|_| rig.socket.ask(Outgoing::Command(&ping))).collect();
    askings.iter_mut().for_each(|asking| assert!(poll(asking, &wakes).is_pending()));
    assert_eq!(rig.wire.lock().writes, 2);
    rig.tasks.poll();
    assert_eq!(rig.wire.lock().writes, 3);
}

/// Guards against: places for wakers that stay after the largest crowd.
#[test]
fn a_crowd_that_has_gone_leaves_no_wakers_behind() {
    let rig = rig();
    rig.socket.share(&rig.tasks);
    let (ping, wakes) = (redis::cmd("PING"), Arc::new(Wakes::default()));
    let mut crowd: Vec<_> = (0..3_000).map(|_| rig.socket.ask(Outgoing::Command(&ping))).collect();
    crowd.iter_mut().for_each(|asking| assert!(poll(asking, &wakes).is_pending()));
    assert_eq!(rig.socket.state().wakers.len(), 3_000);
    drop(crowd);
    rig.tasks.poll();
    rig.wire.say(Some(&b"+PONG\r\n".repeat(3_000)));
    rig.tasks.poll();
    assert_eq!(rig.socket.state().wakers.capacity(), 0);
}

/// Guards against: a fate by what was put into the buffer.
#[test]
fn the_end_says_of_each_caller_whether_its_command_was_written() {
    let rig = rig();
    rig.socket.share(&rig.tasks);
    rig.tasks.poll();
    rig.wire.lock().window = Some(14 + 13);
    let (ping, wakes) = (redis::cmd("PING"), Arc::new(Wakes::default()));
    let mut askings: Vec<_> = (0..3).map(|_| rig.socket.ask(Outgoing::Command(&ping))).collect();
    askings.iter_mut().for_each(|asking| assert!(poll(asking, &wakes).is_pending()));
    rig.tasks.poll();
    rig.socket.close();
    let fates: Vec<_> = askings.iter_mut().map(|asking| poll(asking, &wakes)).collect();
    let ended = |fate| Poll::Ready(RequestOutcome::Ended(fate));
    assert_eq!(fates, [ended(RequestFate::MaybeExecuted), ended(RequestFate::Unsent), ended(RequestFate::Unsent)]);
    assert_eq!(wakes.count(), 3, "each is woken");
}

/// Guards against: the end of the runtime taken for a lost connection.
#[test]
fn the_end_of_the_watchers_task_is_the_end_of_the_runtime() {
    let rig = rig();
    rig.tasks.tasks.lock().expect("not poisoned").clear();
    assert_eq!(rig.socket.why_ended(), Some(SocketEnd::RuntimeEnded));
}

fn large_request() -> redis::Cmd {
    let mut set = redis::cmd("SET");
    set.arg("key").arg(vec![0_u8; 2 * LIMITS.unsent]);
    set
}

/// Guards against: a connection that is lent with the rest of a request still to be written.
#[test]
fn a_connection_ends_with_an_error_that_comes_before_its_request_is_written() {
    let (rig, wakes, set) = (rig(), Arc::new(Wakes::default()), large_request());
    rig.wire.lock().window = Some(100);
    let mut asking = rig.socket.ask(Outgoing::Command(&set));
    assert!(poll(&mut asking, &wakes).is_pending());
    rig.wire.say(Some(b"-ERR Protocol error: invalid bulk length\r\n"));
    let Poll::Ready(RequestOutcome::Answered(_)) = poll(&mut asking, &wakes) else { panic!("the error is its answer") };
    assert!(rig.socket.is_dead());
    let ping = redis::cmd("PING");
    let next = poll(&mut rig.socket.ask(Outgoing::Command(&ping)), &wakes);
    assert_eq!(next, Poll::Ready(RequestOutcome::Ended(RequestFate::Unsent)));
}

/// Guards against: room that is given by one caller's write, and of which the next one in line is not told.
#[test]
fn a_caller_that_gets_room_by_the_write_of_another_one_is_woken() {
    let (rig, set, ping) = (rig(), large_request(), redis::cmd("PING"));
    rig.socket.share(&rig.tasks);
    rig.tasks.poll();
    rig.wire.lock().window = Some(100);
    let [first, second] = [(); 2].map(|()| Arc::new(Wakes::default()));
    let mut large = rig.socket.ask(Outgoing::Command(&set));
    assert!(poll(&mut large, &first).is_pending());
    rig.tasks.poll();
    let mut behind = rig.socket.ask(Outgoing::Command(&ping));
    assert!(poll(&mut behind, &second).is_pending());
    rig.tasks.poll();
    rig.wire.lock().window = None;
    // It is polled again for another reason.
    assert!(poll(&mut large, &first).is_pending());
    assert!(rig.socket.state().machine.unsent().is_empty() && second.count() == 1);
}

/// Guards against: a panic that ends the watcher's task.
#[test]
fn a_stream_that_panics_costs_its_own_connection() {
    struct PanickingTarget(AtomicUsize);

    impl WatchTarget for PanickingTarget {
        fn look(&self) {
            panic!("as the stream of a program's own network may");
        }

        fn runtime_ended(&self) {}

        fn give_up(&self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    let (rig, bomb) = (rig(), Arc::new(PanickingTarget(AtomicUsize::new(0))));
    let handle = rig.watcher.watch(Arc::downgrade(&bomb) as Weak<dyn WatchTarget>);
    handle.waker().wake_by_ref();
    rig.tasks.poll();
    assert_eq!(bomb.0.load(Ordering::SeqCst), 1);
    rig.wire.say(None);
    rig.tasks.poll();
    assert!(rig.socket.is_dead(), "the others are watched");
}
