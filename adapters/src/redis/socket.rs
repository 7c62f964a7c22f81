//! The stream of a connection and the machine that speaks on it. Every holder can close it at once, from any thread.
//!
//! A borrower that waits for a reply reads and writes itself. While none waits, the [watcher](Watcher) of the node notices
//! what the server sends, or that it is gone. For shared clients a task reads and writes.

mod asking;
mod fault;
mod pushes;
mod scratch;
mod shared_task;
mod state;
mod streaming;

use std::fmt;
use std::sync::{Arc, OnceLock, PoisonError, Weak};
use std::task::{Context, Waker};

use redis_manager_core::{ConnectionMonitor, Instant, Task};

use crate::connection::resp::machine::Machine;
use crate::connection::resp::received_mark::ReceivedMark;
use crate::connection::resp::wire_limits::WireLimits;
use crate::redis_node::dial_target::DialledPlace;
use crate::redis_node::metrics::node_counters::NodeCounters;
use crate::redis_node::padded::Padded;
use crate::redis_node::reply_class::ReplyClass;
use crate::redis_node::roles::{Role, Roles};
use crate::redis_node::secrets::Secrets;
use crate::redis_node::socket_end::SocketEnd;
use crate::redis_node::watcher::{WatchHandle, WatchTarget, Watcher};
use crate::stream::BoxStream;
use crate::sync::{AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering};

use self::fault::SocketFault;
use self::state::{SocketDriver, SocketState, Turn};

/// The one owner of a stream.
pub(crate) struct Socket {
    dead: Padded<AtomicBool>,
    state: Mutex<SocketState>,
    watch: WatchHandle,
    /// The number of the last task that was spawned for it.
    tasks: AtomicU64,
    /// The secrets that were sent on it; no text may show them.
    secrets: Arc<Secrets>,
    /// The name of its node in errors.
    node: Arc<str>,
    /// Of its node.
    pub(crate) counters: Arc<NodeCounters>,
    /// The role of the server when the connection was made, and the roles of the node's other connections; empty before the
    /// login.
    role: OnceLock<(Role, Arc<Roles>)>,
    /// Of a node whose place changes.
    place: OnceLock<DialledPlace>,
    monitor: Mutex<Option<ConnectionMonitor>>,
    /// Called when the socket has died.
    at_end: Mutex<Option<AtEnd>>,
}

type AtEnd = Box<dyn FnOnce() + Send>;

impl Socket {
    pub(crate) fn new(
        stream: BoxStream,
        limits: WireLimits,
        watcher: &Watcher,
        secrets: Arc<Secrets>,
        node: Arc<str>,
        counters: Arc<NodeCounters>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|this: &Weak<Self>| Self {
            dead: Padded(AtomicBool::new(false)),
            state: Mutex::new(SocketState::new(stream, Machine::new(limits))),
            watch: watcher.watch(Weak::clone(this) as Weak<dyn WatchTarget>),
            tasks: AtomicU64::new(0),
            secrets,
            node,
            counters,
            role: OnceLock::new(),
            place: OnceLock::new(),
            monitor: Mutex::new(None),
            at_end: Mutex::new(None),
        })
    }

    /// Accurate to a fraction of a millisecond after the server's close; no I/O.
    pub(crate) fn is_dead(&self) -> bool {
        self.dead.0.load(Ordering::Acquire)
    }

    /// Peeks at the stream: whether it has ended, or has data that no request has asked for, though its runtime has not noticed
    /// it. It is dead from then on.
    pub(crate) fn is_found_dead(&self) -> bool {
        let is_dead = self.state().is_found_dead();
        if is_dead {
            self.end(SocketEnd::Lost);
        }
        is_dead
    }

    /// Whether replies are outstanding.
    pub(crate) fn has_in_flight(&self) -> bool {
        self.state().machine.in_flight() > 0
    }

    /// What was received so far.
    pub(crate) fn received(&self) -> ReceivedMark {
        self.state().machine.received()
    }

    /// Whether anything has been received since the last request was sent.
    pub(crate) fn has_heard(&self) -> bool {
        self.state().machine.has_heard()
    }

    /// From now on, until something is received, nothing has been.
    pub(crate) fn forget_heard(&self) {
        self.state().machine.forget_heard();
    }

    /// Whether data may come without a request.
    pub(crate) fn set_open_ended(&self, open_ended: bool) {
        self.state().machine.set_open_ended(open_ended);
    }

    /// Whether the server has ever sent anything.
    pub(crate) fn has_received(&self) -> bool {
        self.state().is_greeted
    }

    /// Whether the server sent a TLS alert on a stream without TLS.
    pub(crate) fn speaks_tls(&self) -> bool {
        self.state().speaks_tls
    }

    /// Why the stream was lost, without secrets.
    pub(crate) fn fault(&self) -> String {
        let text = self.state().fault.as_ref().map(ToString::to_string);
        text.map_or_else(|| String::from("the connection was closed"), |text| self.secrets.clean(&text))
    }

    /// A text of the server without secrets.
    pub(crate) fn without_secrets(&self, text: &str) -> String {
        self.secrets.clean(text)
    }

    /// What was wrong with the data of the server, if that is why the stream was lost.
    pub(crate) fn protocol_fault(&self) -> Option<String> {
        match &self.state().fault {
            Some(SocketFault::Stream(fault)) => Some(fault.to_string()),
            Some(SocketFault::Io(_) | SocketFault::Ended) | None => None,
        }
    }

    /// The error that the server sent last in a failed login, if there was one; read for at most `reply_timeout`.
    pub(crate) async fn last_words(&self, reply_timeout: Task) -> Option<String> {
        let words = self.state().last_words.take();
        words?.tell(reply_timeout).await
    }

    /// The login has succeeded: the last data is not kept any more.
    pub(crate) fn logged_in(&self) {
        let words = self.state().last_words.take();
        drop(words);
    }

    /// No caller waits for replies on it any more: from now on the watcher notices what happens to it.
    fn rest(&self) {
        self.rest_with(self.state());
    }

    fn rest_with(&self, mut state: MutexGuard<'_, SocketState>) {
        let waker = self.watch.waker();
        state.driver = SocketDriver::Watcher;
        self.watch.set_off(false);
        let reader = state.reader.take();
        let turn = state.turn(&mut Context::from_waker(waker), false);
        self.conclude(state, turn);
        drop(reader);
    }

    /// The same, but the watcher does all of it.
    fn rest_later(&self) {
        self.state().driver = SocketDriver::Watcher;
        self.watch.set_off(false);
        self.watch.waker().wake_by_ref();
    }

    /// After a turn for the watcher.
    fn conclude(&self, mut state: MutexGuard<'_, SocketState>, turn: Turn) {
        let mut woken = Vec::new();
        state.collect_ready(&mut woken);
        drop(state);
        woken.into_iter().for_each(Waker::wake);
        match turn {
            Turn::Waits | Turn::Idle => {}
            Turn::Yields => self.watch.waker().wake_by_ref(),
            Turn::Ended => self.end(SocketEnd::Lost),
        }
    }

    fn next_task(&self) -> u64 {
        self.tasks.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Notifies the monitor when the socket dies by itself; at once if it has died.
    pub(crate) fn watch(&self, monitor: ConnectionMonitor) {
        *self.monitor() = Some(monitor);
        if self.is_dead() {
            self.end(SocketEnd::Lost);
        }
    }

    /// Closes the socket at once, with a reason unless there is one already, and tells the pool.
    pub(crate) fn end(&self, why: SocketEnd) {
        // In this order: a monitor that is set afterwards finds the socket dead.
        self.shut(why);
        let monitor = self.monitor().take();
        if let Some(monitor) = monitor {
            match self.protocol_fault() {
                None => monitor.closed(),
                Some(fault) => monitor.closed_because(&fault),
            }
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

    /// Closes the socket at once: commands in flight are lost. The pool is not told.
    pub(crate) fn close(&self) {
        self.shut(SocketEnd::Lost);
    }

    fn shut(&self, why: SocketEnd) {
        self.dead.0.store(true, Ordering::Release);
        let mut woken = Vec::new();
        let stream = {
            let mut state = self.state();
            let stream = state.close(why);
            state.collect_ready(&mut woken);
            woken.extend(state.reader.take());
            if let SocketDriver::Task(task) = &mut state.driver {
                woken.extend(task.waker.clone());
            }
            stream
        };
        drop(stream);
        woken.into_iter().for_each(Waker::wake);
    }

    /// Shuts down the sending side, which the server notices. Data that it has sent by then is still read, until it closes its
    /// side.
    pub(crate) fn finish(&self, why: SocketEnd) {
        self.dead.0.store(true, Ordering::Release);
        let reader = {
            let mut state = self.state();
            state.finish(why);
            state.reader.take()
        };
        reader.into_iter().for_each(Waker::wake);
    }

    /// Why the socket has ended; `None` while it is usable.
    pub(crate) fn why_ended(&self) -> Option<SocketEnd> {
        if self.is_dead() { Some(self.state().end.unwrap_or(SocketEnd::Lost)) } else { None }
    }

    pub(crate) fn node(&self) -> &str {
        &self.node
    }

    /// Notes the role of the server, and the roles of the node's other connections.
    pub(crate) fn note_role(&self, role: Role, roles: &Arc<Roles>) {
        roles.note(role);
        let _ = self.role.set((role, Arc::clone(roles)));
    }

    /// Notes which of the places of its node it leads to.
    pub(crate) fn note_place(&self, place: DialledPlace) {
        let _ = self.place.set(place);
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
            ReplyClass::Redirected { to, .. } if self.place.get().is_some() => {
                if let Some((target, version)) = self.place.get().and_then(|place| Some((place.target.upgrade()?, place.version)))
                {
                    target.redirected(version, to);
                }
                true
            }
            ReplyClass::Replica(words) | ReplyClass::Redirected { words, .. } => {
                if self.role.get().is_some_and(|(role, roles)| !roles.is_evidence(*role, now)) {
                    return false;
                }
                let monitor = self.monitor().clone();
                monitor.iter().for_each(|monitor| monitor.failed_over(&self.secrets.clean(words)));
                true
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, SocketState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn at_end(&self) -> MutexGuard<'_, Option<AtEnd>> {
        self.at_end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn monitor(&self) -> MutexGuard<'_, Option<ConnectionMonitor>> {
        self.monitor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WatchTarget for Socket {
    fn look(&self) {
        let mut state = self.state();
        if !matches!(state.driver, SocketDriver::Watcher) || self.is_dead() {
            return;
        }
        let turn = state.turn(&mut Context::from_waker(self.watch.waker()), false);
        self.conclude(state, turn);
    }

    fn runtime_ended(&self) {
        self.end(SocketEnd::RuntimeEnded);
    }

    fn give_up(&self) {
        self.end(SocketEnd::Lost);
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("dead", &self.is_dead()).finish_non_exhaustive()
    }
}

#[cfg(all(test, shuttle, feature = "smol"))]
mod schedules;
#[cfg(all(test, not(shuttle), feature = "smol"))]
mod tests;
