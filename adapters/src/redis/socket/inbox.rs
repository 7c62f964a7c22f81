//! Pushes of the server: kept for a subscriber, up to a limit.

use std::collections::VecDeque;
use std::task::{Poll, Waker};

use redis::PushInfo;

/// Messages that may wait for the subscriber. Beyond that the stream is not read.
pub(super) const MOST_PUSHES: usize = 1_024;

/// The pushes of the server that were not taken yet.
#[derive(Default)]
pub(super) struct Inbox {
    pushes: VecDeque<PushInfo>,
    /// A reply is waited for: everything is read, since the reply comes after all earlier data.
    reads_on: bool,
    listener: Option<Waker>,
}

impl Inbox {
    /// Whether reading must pause.
    pub(super) fn is_full(&self) -> bool {
        self.pushes.len() >= MOST_PUSHES && !self.reads_on
    }

    /// While it is set, everything is read, regardless of the limit.
    pub(super) fn set_reads_on(&mut self, reads_on: bool) {
        self.reads_on = reads_on;
    }

    /// Keeps a push; returns the waker of the subscriber.
    pub(super) fn push(&mut self, push: PushInfo) -> Option<Waker> {
        self.pushes.push_back(push);
        self.listener.take()
    }

    /// The first push, and whether reading must continue after it was taken. `Pending` keeps the waker, unless the socket is
    /// closed.
    pub(super) fn poll(&mut self, closed: bool, waker: Waker) -> Poll<Option<(PushInfo, bool)>> {
        let Some(push) = self.pushes.pop_front() else {
            if closed {
                return Poll::Ready(None);
            }
            self.listener = Some(waker);
            return Poll::Pending;
        };
        Poll::Ready(Some((push, self.pushes.len() == MOST_PUSHES / 2)))
    }

    pub(super) fn take_listener(&mut self) -> Option<Waker> {
        self.listener.take()
    }
}
