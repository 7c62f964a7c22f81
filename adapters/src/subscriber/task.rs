//! The task of a subscriber: it drives the machine with a connection, a clock and the calls of the handles.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use redis_manager_core::{Instant, Lease, Task};

use crate::connection::resp::received_mark::ReceivedMark;
use crate::error::GetClientError;
use crate::redis_node::{DirtyFlags, NodeCounters, PubSubEnd, RedisConnector, RegistryEntry, SocketEnd};
use crate::subscriber::event::{SubscriberEnd, SubscriptionEvent};
use crate::subscriber::lease_source::{LeaseSource, LendFuture};
use crate::subscriber::shared::{SubscriberShared, TaskInputs};
use crate::subscriber::state::frame::Frame;
use crate::subscriber::state::subscriber_io::{SubscriberInput, SubscriberOutput};
use crate::subscriber::state::subscriber_state::SubscriberState;

/// The pause after a call for a connection that has failed.
const BETWEEN_CALLS: Duration = Duration::from_millis(100);
/// Frames that are taken before other tasks run.
const FRAMES_A_TURN: usize = 256;

/// Ends with the last handle, with the pools, or with its runtime.
pub(super) struct SubscriberTask {
    shared: Arc<SubscriberShared>,
    source: LeaseSource,
    state: SubscriberState,
    link: TaskLink,
    timer: Option<(Instant, Task)>,
    is_stalled: bool,
    /// Of the node of the last connection.
    counters: Option<Arc<NodeCounters>>,
    has_ended: bool,
}

enum TaskLink {
    /// Only within a turn.
    None,
    Waiting(LendFuture),
    Paused(Task),
    Up(LeasedLink),
}

/// A connection that is a subscriber's.
struct LeasedLink {
    lease: Lease<RedisConnector>,
    /// Ends it when the pools close.
    _entry: Option<RegistryEntry>,
    received: ReceivedMark,
}

impl SubscriberTask {
    pub(super) fn new(shared: Arc<SubscriberShared>, source: LeaseSource, state: SubscriberState) -> Self {
        let (link, timer, counters) = (TaskLink::None, None, None);
        Self { shared, source, state, link, timer, is_stalled: false, counters, has_ended: false }
    }

    fn handle(&mut self, cx: &mut Context<'_>, input: SubscriberInput) {
        let now = self.shared.runtime.now();
        self.state.handle(now, input);
        self.carry_out(cx, now);
    }

    /// Does what the machine wants.
    fn carry_out(&mut self, cx: &mut Context<'_>, now: Instant) {
        while let Some(output) = self.state.poll_output() {
            match output {
                SubscriberOutput::Dial => self.link = TaskLink::Waiting(self.source.lend(self.shared.timeout)),
                SubscriberOutput::Close { is_silent } => self.give_up(is_silent),
                SubscriberOutput::Send { kind, verb, names } => {
                    let mut cmd = redis::cmd(kind.command(verb));
                    for name in &names {
                        cmd.arg(&**name);
                    }
                    self.feed(cx, &cmd);
                }
                SubscriberOutput::Ping => self.feed(cx, &redis::cmd("PING")),
                SubscriberOutput::Emit(event) => self.emit(now, event),
                SubscriberOutput::Answer { number, outcome } => self.shared.answer(number, outcome),
            }
        }
    }

    fn feed(&self, cx: &mut Context<'_>, cmd: &redis::Cmd) {
        if let TaskLink::Up(link) = &self.link {
            link.lease.socket().feed(cx, |out| cmd.write_packed_command(out));
        }
    }

    fn emit(&mut self, now: Instant, event: SubscriptionEvent) {
        if let Some(counters) = &self.counters {
            match &event {
                SubscriptionEvent::Message { .. } => counters.note_message(),
                SubscriptionEvent::Gap { lasted, .. } => counters.note_gap(*lasted),
                SubscriptionEvent::Subscribed { .. } | SubscriptionEvent::Unsubscribed { .. } => {}
            }
        }
        let (dropped, is_stalled) = self.shared.emit(now, event);
        if let Some(counters) = self.counters.as_ref().filter(|_| dropped > 0) {
            counters.note_dropped_messages(dropped);
        }
        if is_stalled && !self.is_stalled {
            self.is_stalled = true;
            self.state.handle(now, SubscriberInput::Stalled(true));
        }
    }

    /// The connection goes; one that did not answer makes its pool look at the others.
    fn give_up(&mut self, is_silent: bool) {
        if let TaskLink::Up(mut link) = std::mem::replace(&mut self.link, TaskLink::None) {
            if is_silent {
                link.lease.note_outstanding(true);
            }
            link.lease.socket().counters.end_subscription(Some(PubSubEnd::ConnectionLost));
        }
    }

    fn connect(&mut self, cx: &mut Context<'_>, mut lease: Lease<RedisConnector>) {
        lease.leave(DirtyFlags::LASTING);
        let entry = lease.listen();
        lease.socket().stream();
        let counters = Arc::clone(&lease.socket().counters);
        counters.begin_subscription();
        if self.counters.replace(Arc::clone(&counters)).is_some() {
            counters.note_resubscription();
        }
        let received = lease.socket().received();
        self.link = TaskLink::Up(LeasedLink { lease, _entry: entry, received });
        self.shared.note_error(None);
        self.handle(cx, SubscriberInput::Connected);
    }

    /// Goes on with the connection until there is nothing to be done. `true` once the subscriber has ended.
    fn poll_link(&mut self, cx: &mut Context<'_>) -> bool {
        loop {
            match &mut self.link {
                TaskLink::None => return false,
                TaskLink::Paused(pause) => match pause.as_mut().poll(cx) {
                    Poll::Pending => return false,
                    Poll::Ready(()) => self.link = TaskLink::Waiting(self.source.lend(self.shared.timeout)),
                },
                TaskLink::Waiting(lending) => match lending.as_mut().poll(cx) {
                    Poll::Pending => return false,
                    Poll::Ready(Ok(lease)) => self.connect(cx, lease),
                    Poll::Ready(Err(error)) => {
                        if let Some(end) = end_by(&error) {
                            self.shared.end(end);
                            return true;
                        }
                        self.shared.note_error(Some(error));
                        self.link = TaskLink::Paused(self.shared.runtime.sleep(BETWEEN_CALLS));
                    }
                },
                TaskLink::Up(_) => {
                    if !self.read(cx) {
                        return false;
                    }
                }
            }
        }
    }

    /// Reads for a while. `true` if the connection was lost.
    fn read(&mut self, cx: &mut Context<'_>) -> bool {
        for _ in 0..FRAMES_A_TURN {
            let TaskLink::Up(link) = &mut self.link else { return true };
            let socket = link.lease.socket();
            let value = if !self.is_stalled {
                socket.poll_value(cx)
            } else if socket.poll_open(cx) || socket.why_ended() == Some(SocketEnd::Lost) {
                // What it has sent before its end is read when there is room.
                return false;
            } else {
                Poll::Ready(None)
            };
            match value {
                Poll::Ready(Some(value)) => {
                    let frame = match Frame::of(value) {
                        Frame::Error { code, text } => Frame::Error { code, text: socket.without_secrets(&text) },
                        frame @ (Frame::Message(_) | Frame::Confirmed { .. } | Frame::Reply | Frame::Other) => frame,
                    };
                    link.received = socket.received();
                    self.handle(cx, SubscriberInput::Received(frame));
                }
                Poll::Ready(None) => {
                    self.give_up(false);
                    self.handle(cx, SubscriberInput::Lost);
                    return true;
                }
                Poll::Pending => {
                    let received = socket.received();
                    if received.is_beyond(link.received) {
                        link.received = received;
                        self.handle(cx, SubscriberInput::Heard);
                    }
                    return false;
                }
            }
        }
        cx.waker().wake_by_ref();
        false
    }

    /// Lets time pass for the machine. `true` if it has done something.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> bool {
        loop {
            let Some(deadline) = self.state.next_deadline() else {
                self.timer = None;
                return false;
            };
            if deadline <= self.shared.runtime.now() {
                self.handle(cx, SubscriberInput::Tick);
                return true;
            }
            // One that ends too early is followed by another one: most deadlines are put off before they come.
            let (end, sleep) = match &mut self.timer {
                Some(kept) if kept.0 <= deadline => kept,
                _ => self.timer.insert((deadline, self.shared.runtime.sleep_until(deadline))),
            };
            let end = *end;
            if sleep.as_mut().poll(cx).is_pending() {
                return false;
            }
            self.timer = None;
            if end == deadline {
                self.handle(cx, SubscriberInput::Tick);
                return true;
            }
        }
    }
}

/// Errors that are the end of a subscriber; after any other one it asks again.
fn end_by(error: &GetClientError) -> Option<SubscriberEnd> {
    match error {
        GetClientError::Closed { .. } | GetClientError::UnknownNode { .. } => Some(SubscriberEnd::Closed),
        GetClientError::RuntimeEnded { .. } => Some(SubscriberEnd::RuntimeEnded),
        GetClientError::NoHealthyPools { .. }
        | GetClientError::Timeout { .. }
        | GetClientError::Saturated { .. }
        | GetClientError::NoFloorLeft { .. }
        | GetClientError::NoOwner { .. } => None,
    }
}

impl Future for SubscriberTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let Some(TaskInputs { inputs, is_stalled }) = this.shared.take_inputs(cx.waker()) else {
            this.has_ended = true;
            if let TaskLink::Up(link) = std::mem::replace(&mut this.link, TaskLink::None) {
                link.lease.socket().counters.end_subscription(None);
            }
            return Poll::Ready(());
        };
        if std::mem::replace(&mut this.is_stalled, is_stalled) != is_stalled {
            this.handle(cx, SubscriberInput::Stalled(is_stalled));
        }
        // What it wants from the beginning.
        this.carry_out(cx, this.shared.runtime.now());
        for input in inputs {
            this.handle(cx, input);
        }
        loop {
            if this.poll_link(cx) {
                this.has_ended = true;
                return Poll::Ready(());
            }
            if !this.poll_timer(cx) {
                return Poll::Pending;
            }
        }
    }
}

impl Drop for SubscriberTask {
    fn drop(&mut self) {
        if !self.has_ended {
            self.shared.end(SubscriberEnd::RuntimeEnded);
        }
    }
}
