//! The socket of a subscriber, which reads and writes itself: all that comes is a stream of values.

use std::task::{Context, Poll};

use redis::Value;

use super::Socket;
use super::state::{SocketDriver, Turn, replace_waker};
use crate::redis_node::socket_end::SocketEnd;

impl Socket {
    /// From now on one task reads and writes, by the methods below. Nothing may be in flight.
    pub(crate) fn stream(&self) {
        let mut state = self.state();
        state.driver = SocketDriver::Borrower;
        self.watch.set_off(true);
        state.machine.stream();
    }

    /// Writes what there is, after `write` has added to it.
    pub(crate) fn feed(&self, cx: &mut Context<'_>, write: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        state.machine.feed(write);
        state.write(cx);
    }

    /// The next value; `None` after the end. No more is read before all that was read is taken.
    pub(crate) fn poll_value(&self, cx: &mut Context<'_>) -> Poll<Option<Value>> {
        let mut state = self.state();
        loop {
            if let Some(value) = state.machine.poll_value() {
                return Poll::Ready(Some(value));
            }
            if state.is_closed() {
                return Poll::Ready(None);
            }
            match state.turn(cx, false) {
                Turn::Idle => {}
                Turn::Ended => {
                    drop(state);
                    self.end(SocketEnd::Lost);
                    state = self.state();
                }
                Turn::Yields if state.machine.has_values() => {}
                turn @ (Turn::Yields | Turn::Waits) => {
                    let replaced = replace_waker(&mut state.reader, cx.waker());
                    drop(state);
                    drop(replaced);
                    if turn == Turn::Yields {
                        cx.waker().wake_by_ref();
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// Writes what there is, without reading. Whether it is still open; the task is woken when it is not.
    pub(crate) fn poll_open(&self, cx: &mut Context<'_>) -> bool {
        let mut state = self.state();
        state.write(cx);
        let replaced = replace_waker(&mut state.reader, cx.waker());
        let is_open = !state.is_closed();
        drop(state);
        drop(replaced);
        is_open
    }
}
