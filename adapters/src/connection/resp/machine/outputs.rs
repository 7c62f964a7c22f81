//! What is to be had of a machine: bytes to write, outcomes, pushes, and what is known of it.

use std::collections::VecDeque;

use redis::{PushInfo, Value};

use super::{Machine, RequestId};
use crate::connection::resp::answer::RequestOutcome;
use crate::connection::resp::entry::RequestEntry;
use crate::connection::resp::received_mark::ReceivedMark;

/// Tables for so many requests stay with a connection.
pub(crate) const KEPT_ENTRIES: usize = 1_024;

impl Machine {
    pub(crate) fn unsent(&self) -> &[u8] {
        self.out.unsent()
    }

    /// A request whose caller has something to do: it was admitted, or has an outcome. Each change is reported once.
    pub(crate) fn poll_ready(&mut self) -> Option<usize> {
        self.ready.pop().map(|index| index as usize)
    }

    pub(crate) fn is_admitted(&self, id: &RequestId) -> bool {
        matches!(self.entries[id.index()], RequestEntry::Admitted(_))
    }

    /// The outcome, once there is one; the request has ended then.
    pub(crate) fn take_outcome(&mut self, id: RequestId) -> Result<RequestOutcome, RequestId> {
        let entry = &mut self.entries[id.index()];
        if !matches!(entry, RequestEntry::Done(_)) {
            return Err(id);
        }
        let RequestEntry::Done(outcome) = std::mem::replace(entry, RequestEntry::Free) else { unreachable!("it was one") };
        self.done -= 1;
        self.free.push(id.0);
        self.shrink();
        Ok(outcome)
    }

    /// Whether there is no request at all.
    pub(crate) fn is_vacant(&self) -> bool {
        self.free.len() == self.entries.len()
    }

    /// Gives the tables back that a crowd has made, once it has gone.
    #[inline]
    pub(super) fn shrink(&mut self) {
        if self.entries.len() > KEPT_ENTRIES && self.is_vacant() {
            self.entries = Vec::new();
            self.free = Vec::new();
            self.in_flight = VecDeque::new();
            self.line = VecDeque::new();
            self.ready = Vec::new();
        }
    }

    pub(crate) fn poll_push(&mut self) -> Option<PushInfo> {
        self.pushes.pop_front()
    }

    /// From now on whatever comes is kept for [`poll_value`](Self::poll_value), and what is sent is
    /// [fed](Self::feed). Nothing may be in flight.
    pub(crate) fn stream(&mut self) {
        debug_assert!(self.in_flight.is_empty(), "replies have an owner");
        self.streams = true;
    }

    /// Bytes to be written that no request waits for.
    pub(crate) fn feed(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if !self.ended {
            self.out.append(write);
        }
    }

    pub(crate) fn poll_value(&mut self) -> Option<Value> {
        self.values.pop_front()
    }

    pub(crate) fn has_values(&self) -> bool {
        !self.values.is_empty()
    }

    /// Requests that are sent and not answered, whether their callers wait or not.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Pushes that were not taken yet.
    pub(crate) fn kept_pushes(&self) -> usize {
        self.pushes.len()
    }

    pub(crate) fn listens(&self) -> bool {
        self.listens
    }

    /// Whether anything has been received since the last request was sent.
    pub(crate) fn has_heard(&self) -> bool {
        self.heard
    }

    pub(crate) fn forget_heard(&mut self) {
        self.heard = false;
    }

    pub(crate) fn received(&self) -> ReceivedMark {
        self.received
    }
}
