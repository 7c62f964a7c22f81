//! One request on a socket, from its beginning to its outcome. Dropped before, it is left: its replies are dropped, too.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use redis::Value;

use super::Socket;
use super::state::{SocketDriver, SocketState, Turn, replace_waker};
use crate::connection::resp::answer::{Replies, RequestOutcome};
use crate::connection::resp::machine::{RequestId, Sending};
use crate::connection::resp::received_mark::ReceivedMark;
use crate::connection::resp::request::Outgoing;
use crate::sync::MutexGuard;

/// A request that is sent as soon as there is room, and waits for its replies.
#[must_use = "a request does nothing until it is polled"]
pub(crate) struct Asking<'a> {
    socket: &'a Socket,
    request: Outgoing<'a>,
    stage: AskingStage,
    /// What had been received when it began to wait for room, or for its replies.
    received: ReceivedMark,
}

enum AskingStage {
    New,
    InLine(RequestId),
    Sent(RequestId),
    /// Sent, and its replies are not waited for.
    Unanswered,
    Ended,
}

impl Socket {
    pub(crate) fn ask<'a>(&'a self, request: Outgoing<'a>) -> Asking<'a> {
        Asking { socket: self, request, stage: AskingStage::New, received: ReceivedMark::default() }
    }
}

impl Asking<'_> {
    /// Whether a part of it may have been written.
    pub(crate) fn was_sent(&self) -> bool {
        matches!(self.stage, AskingStage::Sent(_))
    }

    /// Whether data that is no push has been received since it began to wait.
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
        loop {
            if let Some(outcome) = this.step(&mut state) {
                if is_borrowed {
                    if matches!(this.stage, AskingStage::Unanswered) {
                        // It is to be written.
                        let _ = state.turn(cx, false);
                    }
                    this.stage = AskingStage::Ended;
                    socket.rest_with(state);
                } else {
                    this.stage = AskingStage::Ended;
                    prompt(state);
                }
                return Poll::Ready(outcome);
            }
            if !is_borrowed {
                let replaced = state.wait(this.stage.id(), cx.waker());
                prompt(state);
                drop(replaced);
                return Poll::Pending;
            }
            if has_turned {
                // It has read all there is.
                let replaced = replace_waker(&mut state.reader, cx.waker());
                drop(state);
                drop(replaced);
                return Poll::Pending;
            }
            // While it waits for room, it reads on.
            let is_sent = matches!(this.stage, AskingStage::Sent(_));
            match state.turn(cx, is_sent) {
                Turn::Waits => has_turned = true,
                Turn::Yields => {
                    cx.waker().wake_by_ref();
                    has_turned = true;
                }
                Turn::Idle | Turn::Ended => {}
            }
        }
    }
}

impl Asking<'_> {
    /// Begins, sends, or takes the outcome, as far as it can.
    fn step(&mut self, state: &mut SocketState) -> Option<RequestOutcome> {
        loop {
            self.stage = match std::mem::replace(&mut self.stage, AskingStage::Ended) {
                AskingStage::New => {
                    self.received = state.machine.received();
                    AskingStage::InLine(state.machine.begin())
                }
                AskingStage::InLine(id) if state.machine.is_admitted(&id) => {
                    self.received = state.machine.received();
                    match state.machine.send(id, self.request) {
                        Sending::Waits(id) => AskingStage::Sent(id),
                        Sending::InLine(id) => {
                            self.stage = AskingStage::InLine(id);
                            return None;
                        }
                        Sending::Unanswered => {
                            self.stage = AskingStage::Unanswered;
                            return Some(RequestOutcome::Answered(Replies::One(Value::Nil)));
                        }
                    }
                }
                AskingStage::InLine(id) => match state.machine.take_outcome(id) {
                    Ok(outcome) => return Some(outcome),
                    Err(id) => {
                        self.stage = AskingStage::InLine(id);
                        return None;
                    }
                },
                AskingStage::Sent(id) => match state.machine.take_outcome(id) {
                    Ok(outcome) => return Some(outcome),
                    Err(id) => {
                        self.stage = AskingStage::Sent(id);
                        return None;
                    }
                },
                AskingStage::Unanswered | AskingStage::Ended => unreachable!("it is polled no more after its outcome"),
            };
        }
    }
}

impl AskingStage {
    /// The place of its waker.
    fn id(&self) -> usize {
        match self {
            Self::InLine(id) | Self::Sent(id) => id.index(),
            Self::New | Self::Unanswered | Self::Ended => unreachable!("it has begun, and has not ended"),
        }
    }
}

/// After a step of a shared client's request. If its bytes are the only ones, they are written here and now: the task that reads
/// is waiting for the reply already. Otherwise the task is woken, and writes them together with others.
fn prompt(mut state: MutexGuard<'_, SocketState>) {
    let mut woken = Vec::new();
    if let Some(waker) = state.task_to_prompt() {
        if state.machine.in_flight() == 1 {
            state.write(&mut Context::from_waker(&waker));
        }
        if state.has_output()
            && let SocketDriver::Task(task) = &mut state.driver
        {
            task.is_scheduled = true;
            woken.push(waker);
        }
    }
    // Those who have got room.
    state.collect_ready(&mut woken);
    drop(state);
    woken.into_iter().for_each(Waker::wake);
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let stage = std::mem::replace(&mut self.stage, AskingStage::Ended);
        let (AskingStage::InLine(id) | AskingStage::Sent(id)) = stage else { return };
        let index = id.index();
        let mut woken = Vec::new();
        let (own, is_borrowed) = {
            let mut state = self.socket.state();
            state.machine.leave(id);
            state.collect_ready(&mut woken);
            (state.forget_waker(index), matches!(state.driver, SocketDriver::Borrower))
        };
        drop(own);
        woken.into_iter().for_each(Waker::wake);
        if is_borrowed && std::thread::panicking() {
            // The stream may be what has panicked.
            self.socket.rest_later();
        } else if is_borrowed {
            self.socket.rest();
        }
    }
}
