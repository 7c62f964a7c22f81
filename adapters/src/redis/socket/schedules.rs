//! Random schedules of the threads around a socket: callers, the task that reads for them, the watcher, and a server.
//!
//! `RUSTFLAGS="--cfg shuttle" cargo test --release --target-dir target/shuttle -p redis-manager --lib --features smol,testing schedules`
//!
//! SHUTTLE_SCHEDULES sets how many schedules each scenario gets. A wake-up that is lost is a deadlock, which ends the test. A
//! failure prints its schedule, for `shuttle::replay`.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::Poll;

use redis::Value;
use redis_manager_core::Spawn;
use shuttle::future::block_on;
use shuttle::rand::{Rng, thread_rng};
use shuttle::thread::{self, JoinHandle};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::*;
use crate::connection::resp::answer::{Replies, RequestOutcome};
use crate::connection::resp::parser::ReplyLimits;
use crate::connection::resp::request::Outgoing;
use crate::smol::SmolRuntime;

const SCHEDULES: usize = 20_000;
const CALLERS: u8 = 2;
const ROUNDS: u8 = 2;

/// Two requests are in flight at most, so that a third one waits for room.
const LIMITS: WireLimits =
    WireLimits { reply: ReplyLimits { max_bytes: 1 << 20, max_depth: 10 }, in_flight: 2, unsent: 1 << 20, kept_buffer: 1 << 16 };

fn check(scenario: impl Fn() + Send + Sync + 'static) {
    let schedules = std::env::var("SHUTTLE_SCHEDULES").map_or(SCHEDULES, |count| count.parse().expect("a count"));
    shuttle::check_random(scenario, schedules);
}

/// Both directions of a stream, and who waits for them.
#[derive(Default)]
struct PipeState {
    incoming: VecDeque<u8>,
    has_ended: bool,
    outgoing: VecDeque<u8>,
    reader: Option<Waker>,
    server: Option<Waker>,
    is_served: bool,
}

#[derive(Clone, Default)]
struct ScheduledPipe(Arc<Mutex<PipeState>>);

impl ScheduledPipe {
    fn lock(&self) -> MutexGuard<'_, PipeState> {
        self.0.lock().expect("not poisoned")
    }

    /// The server sends something, or ends the stream.
    fn say(&self, bytes: Option<&[u8]>) {
        let reader = {
            let mut pipe = self.lock();
            match bytes {
                Some(bytes) => pipe.incoming.extend(bytes),
                None => pipe.has_ended = true,
            }
            pipe.reader.take()
        };
        reader.into_iter().for_each(Waker::wake);
    }

    /// Answers each ECHO of one digit, whose bytes end in that digit and a line's end, now and then in two pieces.
    fn serve(&self) {
        loop {
            let command = block_on(poll_fn(|cx| {
                let mut pipe = self.lock();
                if pipe.outgoing.len() < ECHO_BYTES {
                    pipe.server = Some(cx.waker().clone());
                    return if pipe.is_served { Poll::Ready(None) } else { Poll::Pending };
                }
                Poll::Ready(Some(pipe.outgoing.drain(..ECHO_BYTES).collect::<Vec<_>>()))
            }));
            let Some(command) = command else { return };
            let reply = [b'$', b'1', b'\r', b'\n', command[ECHO_BYTES - 3], b'\r', b'\n'];
            let (first, second) = reply.split_at(thread_rng().gen_range(0..reply.len()));
            self.say(Some(first));
            self.say(Some(second));
        }
    }

    /// No more commands come.
    fn end_service(&self) {
        let server = {
            let mut pipe = self.lock();
            pipe.is_served = true;
            pipe.server.take()
        };
        server.into_iter().for_each(Waker::wake);
    }
}

impl crate::runtime::Stream for ScheduledPipe {}

impl AsyncRead for ScheduledPipe {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut pipe = self.lock();
        if pipe.incoming.is_empty() && !pipe.has_ended {
            pipe.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = pipe.incoming.len().min(buffer.remaining());
        buffer.put_slice(&pipe.incoming.drain(..count).collect::<Vec<_>>());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ScheduledPipe {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let server = {
            let mut pipe = self.lock();
            pipe.outgoing.extend(bytes);
            pipe.server.take()
        };
        server.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The tasks, to be waited for at the end.
#[derive(Clone, Default)]
struct ScheduledTasks(Arc<Mutex<Vec<shuttle::future::JoinHandle<()>>>>);

impl Spawn for ScheduledTasks {
    fn spawn(&self, task: Task) {
        let task = shuttle::future::spawn(task);
        self.0.lock().expect("not poisoned").push(task);
    }
}

const ECHO_BYTES: usize = b"*2\r\n$4\r\nECHO\r\n$1\r\n0\r\n".len();

struct ScheduledRig {
    socket: Arc<Socket>,
    pipe: ScheduledPipe,
    server: JoinHandle<()>,
    watcher: Watcher,
    tasks: ScheduledTasks,
}

impl ScheduledRig {
    fn start() -> Self {
        let (pipe, watcher, tasks) = (ScheduledPipe::default(), Watcher::default(), ScheduledTasks::default());
        watcher.start(&tasks);
        let counters = Arc::new(NodeCounters::new(Arc::new(SmolRuntime::new()), 0, 0));
        let stream = Box::new(pipe.clone());
        let socket = Socket::new(stream, LIMITS, &watcher, Arc::default(), Arc::from("redis://node"), counters);
        socket.rest();
        let serving = pipe.clone();
        Self { socket, pipe, server: thread::spawn(move || serving.serve()), watcher, tasks }
    }

    /// Callers in threads of their own; each sends digits of its own, and leaves some of them before their replies.
    fn call(&self) -> Vec<JoinHandle<()>> {
        let threads = (0..CALLERS).map(|caller| {
            let socket = Arc::clone(&self.socket);
            thread::spawn(move || {
                for round in 0..ROUNDS {
                    if thread_rng().gen_bool(0.3) {
                        leave(&socket, 9);
                    }
                    ask(&socket, caller * ROUNDS + round);
                }
            })
        });
        threads.collect()
    }

    /// The socket notices its end.
    fn end(self) {
        let (ended, noticed) = (Arc::new(Mutex::new((false, None::<Waker>))), self.socket);
        let at_end = Arc::clone(&ended);
        noticed.at_end_run(move || {
            let waker = {
                let mut ended = at_end.lock().expect("not poisoned");
                ended.0 = true;
                ended.1.take()
            };
            waker.into_iter().for_each(Waker::wake);
        });
        block_on(poll_fn(|cx| {
            let mut ended = ended.lock().expect("not poisoned");
            ended.1 = Some(cx.waker().clone());
            if ended.0 { Poll::Ready(()) } else { Poll::Pending }
        }));
        assert!(noticed.is_dead());
        self.pipe.end_service();
        self.server.join().expect("the server does not panic");
        drop(self.watcher);
        let tasks = std::mem::take(&mut *self.tasks.0.lock().expect("not poisoned"));
        tasks.into_iter().for_each(|task| block_on(task).expect("no task panics"));
    }
}

fn echo(digit: u8) -> redis::Cmd {
    redis::cmd("ECHO").arg(digit).to_owned()
}

/// Whether it was answered, with its own digit; if not, its connection has ended.
fn ask(socket: &Socket, digit: u8) -> bool {
    match block_on(socket.ask(Outgoing::Command(&echo(digit)))) {
        RequestOutcome::Answered(answer) => {
            assert_eq!(answer, Replies::One(Value::BulkString(vec![b'0' + digit])), "its own reply");
            true
        }
        RequestOutcome::Ended(_) => {
            assert!(socket.is_dead());
            false
        }
    }
}

/// Sends, unless it must wait, and leaves.
fn leave(socket: &Socket, digit: u8) {
    let cmd = echo(digit);
    let mut asking = pin!(socket.ask(Outgoing::Command(&cmd)));
    block_on(poll_fn(|cx| {
        let _left = asking.as_mut().poll(cx);
        Poll::Ready(())
    }));
}

/// Guards against: a task that counts as scheduled and is not; a watcher that is switched on after the last look at the stream.
#[test]
fn n1_in_any_schedule_each_caller_gets_its_own_reply_and_the_end_is_noticed() {
    check(|| {
        let rig = ScheduledRig::start();
        rig.socket.share(&rig.tasks);
        rig.call().into_iter().for_each(|caller| caller.join().expect("no caller panics"));
        // From the task to a borrower, and from that to the watcher.
        rig.socket.unshare();
        assert!(ask(&rig.socket, 7), "the connection is sound");
        let pipe = rig.pipe.clone();
        let ender = thread::spawn(move || pipe.say(None));
        let _perhaps = ask(&rig.socket, 8);
        rig.end();
        ender.join().expect("the server does not panic");
    });
}

/// Guards against: a close that wakes no caller.
#[test]
fn n2_in_any_schedule_a_close_ends_every_request() {
    check(|| {
        let rig = ScheduledRig::start();
        rig.socket.share(&rig.tasks);
        let callers = rig.call();
        let closing = Arc::clone(&rig.socket);
        let closer = thread::spawn(move || closing.end(SocketEnd::PoolsClosed));
        callers.into_iter().for_each(|caller| caller.join().expect("no caller panics"));
        closer.join().expect("a close does not panic");
        rig.end();
    });
}
