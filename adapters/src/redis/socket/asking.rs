//! One request on a socket, from its beginning to its outcome. Dropped before, it is left: its replies are dropped, too.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use redis::Value;

use super::Socket;
use super::state::{SocketDriver, SocketState, Turn};
use crate::connection::resp::answer::{Replies, RequestOutcome};
use crate::connection::resp::machine::RequestId;
use crate::connection::resp::received_mark::ReceivedMark;
use crate::connection::resp::request::Outgoing;

/// A request that is sent as soon as there is room, and waits for its replies.
#[must_use = "a request does nothing until it is polled"]
pub(crate) struct Asking<'a> {
    socket: &'a Socket,
    request: Outgoing<'a>,
    stage: AskingStage,
    /// What was received when it was sent.
    received: ReceivedMark,
}

enum AskingStage {
    New,
    InLine(RequestId),
    Sent(RequestId),
    Ended,
}

impl Socket {
    pub(crate) fn ask<'a>(&'a self, request: Outgoing<'a>) -> Asking<'a> {
        Asking { socket: self, request, stage: AskingStage::New, received: ReceivedMark::default() }
    }
}

impl Asking<'_> {
    /// Whether data that is no push has been received since it was sent.
    pub(crate) fn has_heard(&self) -> bool {
        self.socket.received().has_reply_since(self.received)
    }
}

impl Future for Asking<'_> {
    type Output = RequestOutcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<RequestOutcome> {
        let this = &mut *self;
        let socket = this.socket;
        let mut state = socket.state();
        if matches!(state.driver, SocketDriver::Watcher) {
            state.driver = SocketDriver::Borrower;
            socket.watch.set_off(true);
        }
        let is_borrowed = matches!(state.driver, SocketDriver::Borrower);
        let mut has_turned = false;
        let outcome = loop {
            let id = match std::mem::replace(&mut this.stage, AskingStage::Ended) {
                AskingStage::New => {
                    let id = state.machine.begin();
                    this.stage = AskingStage::InLine(id);
                    continue;
                }
                AskingStage::InLine(id) if state.machine.is_admitted(&id) => {
                    this.received = state.machine.received();
                    let Some(id) = state.machine.send(id, this.request) else {
                        // Nothing is waited for, but it is to be written.
                        if is_borrowed {
                            let _ = state.turn(cx, true);
                        } else {
                            let woken = prompt(&mut state);
                            drop(state);
                            woken.into_iter().for_each(Waker::wake);
                            return Poll::Ready(RequestOutcome::Answered(Replies::One(Value::Nil)));
                        }
                        break RequestOutcome::Answered(Replies::One(Value::Nil));
                    };
                    this.stage = AskingStage::Sent(id);
                    continue;
                }
                AskingStage::InLine(id) => match state.machine.take_outcome(id) {
                    Ok(outcome) => break outcome,
                    Err(id) => {
                        this.stage = AskingStage::InLine(id);
                        this.stage.id()
                    }
                },
                AskingStage::Sent(id) => match state.machine.take_outcome(id) {
                    Ok(outcome) => break outcome,
                    Err(id) => {
                        this.stage = AskingStage::Sent(id);
                        this.stage.id()
                    }
                },
                AskingStage::Ended => unreachable!("it is polled no more after its outcome"),
            };
            if !is_borrowed {
                state.wait(id, cx.waker());
                let woken = prompt(&mut state);
                drop(state);
                woken.into_iter().for_each(Waker::wake);
                return Poll::Pending;
            }
            if has_turned {
                // It has read all there is.
                keep(&mut state.reader, cx.waker());
                return Poll::Pending;
            }
            match state.turn(cx, true) {
                Turn::Waits => has_turned = true,
                Turn::Yields => {
                    cx.waker().wake_by_ref();
                    has_turned = true;
                }
                Turn::Idle | Turn::Ended => {}
            }
        };
        if is_borrowed {
            socket.rest_with(state);
        }
        Poll::Ready(outcome)
    }
}

impl AskingStage {
    /// The place of its waker.
    fn id(&self) -> usize {
        match self {
            Self::InLine(id) | Self::Sent(id) => id.index(),
            Self::New | Self::Ended => unreachable!("it has begun, and has not ended"),
        }
    }
}

/// A request of a shared client was sent. If it is the only one, it is written here and now; the task that reads is waiting for
/// the reply already. Otherwise the task writes it together with others. The result is the task's waker, if it must be woken.
fn prompt(state: &mut SocketState) -> Option<Waker> {
    if !state.has_output() {
        return None;
    }
    let SocketDriver::Task(task) = &mut state.driver else { return None };
    if task.is_scheduled {
        return None;
    }
    let waker = task.waker.clone()?;
    if state.machine.in_flight() == 1 {
        state.write(&mut Context::from_waker(&waker));
        if !state.has_output() {
            return None;
        }
    }
    if let SocketDriver::Task(task) = &mut state.driver {
        task.is_scheduled = true;
    }
    Some(waker)
}

fn keep(place: &mut Option<Waker>, waker: &Waker) {
    match place {
        Some(kept) => kept.clone_from(waker),
        None => *place = Some(waker.clone()),
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let (AskingStage::InLine(id) | AskingStage::Sent(id)) = std::mem::replace(&mut self.stage, AskingStage::Ended) else {
            return;
        };
        let mut woken = Vec::new();
        let is_borrowed = {
            let mut state = self.socket.state();
            state.machine.leave(id);
            state.collect_ready(&mut woken);
            matches!(state.driver, SocketDriver::Borrower)
        };
        woken.into_iter().for_each(Waker::wake);
        if is_borrowed {
            self.socket.rest();
        }
    }
}
