//! The stream of a connection. Every holder of the socket can close it at once, from any thread.

mod inbox;
mod pushes;
pub(crate) mod socket_io;

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use redis_manager_core::{ConnectionMonitor, Instant, Task};
use tokio::io::AsyncWrite;

use crate::redis_node::buffers::Buffers;
use crate::redis_node::last_words::LastWords;
use crate::redis_node::metrics::node_counters::NodeCounters;
use crate::redis_node::outstanding::Outstanding;
use crate::redis_node::padded::Padded;
use crate::redis_node::received::{Received, ReceivedMark};
use crate::redis_node::reply_class::ReplyClass;
use crate::redis_node::roles::{Role, Roles};
use crate::redis_node::secrets::Secrets;
use crate::redis_node::socket_end::SocketEnd;
use crate::stream::BoxStream;

use self::inbox::Inbox;

/// The first byte of a TLS alert, which a TLS server sends when it gets Redis commands. No Redis reply begins with it.
const TLS_ALERT: u8 = 0x15;

/// The one owner of a socket: dead as soon as the server, the redis driver or this crate has ended it.
pub(crate) struct Socket {
    dead: Padded<AtomicBool>,
    /// The redis driver has ended: requests without an answer will not get one.
    driver_ended: AtomicBool,
    /// Whether many tasks send on it at the same time.
    shared: AtomicBool,
    pub(crate) received: Received,
    pub(crate) outstanding: Outstanding,
    /// Whether the first data from the server was a TLS alert, on a stream without TLS.
    speaks_tls: AtomicBool,
    /// The secrets that were sent on it; no text may show them.
    secrets: Arc<Secrets>,
    /// The name of its node in errors.
    node: Arc<str>,
    /// Of its node.
    pub(crate) counters: Arc<NodeCounters>,
    /// The role of the server when the connection was made, and the roles of the node's other connections; empty before the
    /// login.
    role: OnceLock<(Role, Arc<Roles>)>,
    buffers: Buffers,
    socket: Mutex<SocketState>,
    monitor: Mutex<Option<ConnectionMonitor>>,
    /// Called when the socket has died.
    at_end: Mutex<Option<AtEnd>>,
}

type AtEnd = Box<dyn FnOnce() + Send>;

/// The sending side of a socket.
///
/// ```text
///  Open --- finish ---> Finishing --- the end was sent ---> Finished
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SendingSide {
    Open,
    /// It is shut down at the next read.
    Finishing,
    Finished,
}

struct SocketState {
    /// Number of requests of shared clients in flight; `None` while there are no such clients.
    in_flight: Option<Arc<InFlight>>,
    /// `None` after it was closed.
    stream: Option<BoxStream>,
    sending: SendingSide,
    /// The first reason for its end.
    end: Option<SocketEnd>,
    /// The task that reads, to be woken at the end.
    reader: Option<Waker>,
    /// `None` without a subscriber.
    inbox: Option<Inbox>,
    /// `None` after the login.
    last_words: Option<LastWords>,
}

impl SocketState {
    /// A failed write loses its data. During the login the stream is kept for data that can still be read.
    fn note_written<T>(&mut self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let (Poll::Ready(Err(_)), Some(words)) = (&polled, &mut self.last_words) {
            words.keep(self.stream.take());
        }
        polled
    }

    fn has_in_flight(&self) -> bool {
        self.in_flight.as_ref().is_some_and(|in_flight| in_flight.0.load(Ordering::SeqCst) > 0)
    }

    fn finish_sending(&mut self, cx: &mut Context<'_>) {
        let Some(stream) = &mut self.stream else { return };
        // If it fails, the socket is broken, and the next read fails.
        if Pin::new(stream).poll_shutdown(cx).is_ready() {
            self.sending = SendingSide::Finished;
        }
    }
}

/// Requests that wait for their replies.
pub(crate) type InFlight = Padded<AtomicUsize>;

impl Socket {
    pub(crate) fn new(stream: BoxStream, secrets: Arc<Secrets>, node: Arc<str>, counters: Arc<NodeCounters>) -> Arc<Self> {
        let socket = Mutex::new(SocketState {
            in_flight: None,
            stream: Some(stream),
            sending: SendingSide::Open,
            end: None,
            reader: None,
            inbox: None,
            last_words: Some(LastWords::default()),
        });
        Arc::new(Self {
            dead: Padded(AtomicBool::new(false)),
            driver_ended: AtomicBool::new(false),
            shared: AtomicBool::new(false),
            received: Received::new(),
            outstanding: Outstanding::new(),
            speaks_tls: AtomicBool::new(false),
            buffers: Buffers::new(),
            secrets,
            node,
            counters,
            role: OnceLock::new(),
            socket,
            monitor: Mutex::new(None),
            at_end: Mutex::new(None),
        })
    }

    /// Accurate to a fraction of a millisecond after the server's close; no I/O.
    pub(crate) fn is_dead(&self) -> bool {
        self.dead.0.load(Ordering::Acquire)
    }

    /// The redis driver has ended.
    pub(crate) fn driver_ended(&self, why: SocketEnd) {
        self.driver_ended.store(true, Ordering::Release);
        self.died(why);
    }

    pub(crate) fn has_driver_ended(&self) -> bool {
        self.driver_ended.load(Ordering::Acquire)
    }

    /// From now on many tasks send on it, and count their requests here.
    pub(crate) fn share(&self, in_flight: Arc<InFlight>) {
        self.socket().in_flight = Some(in_flight);
        self.shared.store(true, Ordering::Relaxed);
    }

    /// From now on one task sends on it. `outstanding`: replies to earlier requests may still arrive.
    pub(crate) fn unshare(&self, outstanding: bool) {
        self.outstanding.take_over(outstanding);
        self.shared.store(false, Ordering::Relaxed);
        self.socket().in_flight = None;
    }

    /// The buffers of the redis crate.
    pub(crate) fn buffers(&self) -> &Buffers {
        &self.buffers
    }

    /// Whether the server has ever sent anything.
    pub(crate) fn has_received(&self) -> bool {
        self.received.mark() != ReceivedMark::default()
    }

    /// Whether the server sent a TLS alert on a stream without TLS.
    pub(crate) fn speaks_tls(&self) -> bool {
        self.speaks_tls.load(Ordering::Relaxed)
    }

    /// The error that the server sent last in a failed login, if there was one; read for at most `reply_timeout`.
    pub(crate) async fn last_words(&self, reply_timeout: Task) -> Option<String> {
        let words = self.socket().last_words.take();
        words?.tell(reply_timeout).await
    }

    /// The login has succeeded: the last data is not kept any more.
    pub(crate) fn logged_in(&self) {
        let words = self.socket().last_words.take();
        drop(words);
    }

    /// Notifies the monitor when the socket dies by itself; at once if it has died.
    pub(crate) fn watch(&self, monitor: ConnectionMonitor) {
        *self.monitor() = Some(monitor);
        if self.is_dead() {
            self.died(SocketEnd::Lost);
        }
    }

    /// The server or the redis driver has ended the socket, or the driver was aborted.
    pub(crate) fn died(&self, why: SocketEnd) {
        // In this order: a monitor that is set afterwards finds the socket dead.
        self.end(why);
        let monitor = self.monitor().take();
        if let Some(monitor) = monitor {
            monitor.closed();
        }
        let at_end = self.at_end().take();
        if let Some(at_end) = at_end {
            at_end();
        }
    }

    /// Calls `at_end` when the socket has died; at once if it has died. Replaces the previous one.
    pub(crate) fn at_end_run(&self, at_end: impl FnOnce() + Send + 'static) {
        let previous = self.at_end().replace(Box::new(at_end));
        drop(previous);
        if self.is_dead() {
            let at_end = self.at_end().take();
            if let Some(at_end) = at_end {
                at_end();
            }
        }
    }

    /// Closes the socket at once: commands in flight are lost.
    pub(crate) fn close(&self) {
        self.end(SocketEnd::Lost);
    }

    /// The same, with a reason, unless there is one already.
    pub(crate) fn end(&self, why: SocketEnd) {
        self.dead.0.store(true, Ordering::Release);
        let (stream, reader, listener) = {
            let mut socket = self.socket();
            socket.end.get_or_insert(why);
            let listener = socket.inbox.as_mut().and_then(Inbox::take_listener);
            (socket.stream.take(), socket.reader.take(), listener)
        };
        drop(stream);
        reader.into_iter().chain(listener).for_each(Waker::wake);
    }

    /// Shuts down the sending side, which the server notices. Data that it has sent by then is still read, until it closes its
    /// side.
    pub(crate) fn finish(&self, why: SocketEnd) {
        self.dead.0.store(true, Ordering::Release);
        let reader = {
            let mut socket = self.socket();
            socket.end.get_or_insert(why);
            if socket.sending == SendingSide::Open {
                socket.sending = SendingSide::Finishing;
            }
            socket.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Why the socket has ended; `None` while it is usable.
    pub(crate) fn why_ended(&self) -> Option<SocketEnd> {
        if self.is_dead() { Some(self.socket().end.unwrap_or(SocketEnd::Lost)) } else { None }
    }

    pub(crate) fn node(&self) -> &str {
        &self.node
    }

    pub(crate) fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Notes the role of the server, and the roles of the node's other connections.
    pub(crate) fn note_role(&self, role: Role, roles: &Arc<Roles>) {
        roles.note(role);
        let _ = self.role.set((role, Arc::clone(roles)));
    }

    /// Passes the meaning of a reply on to the pool. Returns whether it says something about the node.
    pub(crate) fn tell(&self, news: &ReplyClass, now: Instant) -> bool {
        match news {
            ReplyClass::AllWell | ReplyClass::Refused => false,
            ReplyClass::NotReady(words) => {
                let monitor = self.monitor().clone();
                monitor.iter().for_each(|monitor| monitor.suspect(&self.secrets.clean(words)));
                true
            }
            ReplyClass::Replica(words) => {
                if self.role.get().is_some_and(|(role, roles)| !roles.is_evidence(*role, now)) {
                    return false;
                }
                let monitor = self.monitor().clone();
                monitor.iter().for_each(|monitor| monitor.failed_over(&self.secrets.clean(words)));
                true
            }
        }
    }

    fn socket(&self) -> MutexGuard<'_, SocketState> {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn at_end(&self) -> MutexGuard<'_, Option<AtEnd>> {
        self.at_end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn monitor(&self) -> MutexGuard<'_, Option<ConnectionMonitor>> {
        self.monitor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("dead", &self.is_dead()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
