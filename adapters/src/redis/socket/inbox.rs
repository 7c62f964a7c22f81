//! What the server has sent unasked: kept for a listener, within bounds.

use std::collections::VecDeque;
use std::task::{Poll, Waker};

use redis::PushInfo;

/// Messages that may wait for the listener, before the stream is read no further.
pub(super) const MOST_PUSHES: usize = 1_024;

/// What the server has sent unasked.
#[derive(Default)]
pub(super) struct Inbox {
    pushes: VecDeque<PushInfo>,
    /// A reply is waited for, which comes after whatever the server has sent before: everything is read.
    reads_on: bool,
    listener: Option<Waker>,
}

impl Inbox {
    /// Whether the stream is read no further.
    pub(super) fn is_full(&self) -> bool {
        self.pushes.len() >= MOST_PUSHES && !self.reads_on
    }

    /// Until it is set back everything is read, however much waits already.
    pub(super) fn set_reads_on(&mut self, reads_on: bool) {
        self.reads_on = reads_on;
    }

    /// Keeps a push; returns who waits for it.
    pub(super) fn push(&mut self, push: PushInfo) -> Option<Waker> {
        self.pushes.push_back(push);
        self.listener.take()
    }

    /// The push that came first, and whether the stream is to be read on because of that. Pending keeps the waker, unless
    /// nothing comes any more.
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
