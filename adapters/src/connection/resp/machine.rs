//! One connection as a machine: requests go in and bytes come out, bytes go in and replies come out, in order.
//!
//! Inputs are [`begin`](Machine::begin), [`send`](Machine::send), [`leave`](Machine::leave), [`wrote`](Machine::wrote),
//! [`receive`](Machine::receive) and [`end`](Machine::end); outputs are [`unsent`](Machine::unsent),
//! [`poll_ready`](Machine::poll_ready), [`take_outcome`](Machine::take_outcome) and [`poll_push`](Machine::poll_push). There is
//! no I/O, clock, lock or waker inside.
//!
//! Invariants, checked after every input in debug builds:
//!
//! - M1 A request that has begun has one outcome, or its caller has left.
//! - M2 Replies belong to requests in the order in which these were sent.
//! - M3 No request waits for room while there is room.
//! - M4 No reply is taken before a part of its request was written.
//! - M5 After the end nothing is in flight, and nothing is to be written.

use std::collections::VecDeque;

use redis::{PushInfo, PushKind, Value};

use super::answer::{Replies, RequestFate, RequestOutcome};
use super::entry::{RequestEntry, SentRequest};
use super::out_buffer::OutBuffer;
use super::parser::Parser;
use super::progress::{Progress, is_confirmation};
use super::received_mark::ReceivedMark;
use super::request::Outgoing;
use super::stream_fault::StreamFault;
use super::wire_limits::WireLimits;

/// A request from its beginning until its outcome is taken or its caller leaves.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "its outcome must be taken, or it must be left"]
pub(crate) struct RequestId(u32);

impl RequestId {
    /// Unique among the requests that have not ended; small.
    pub(crate) fn index(&self) -> usize {
        self.0 as usize
    }
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Machine {
    limits: WireLimits,
    parser: Parser,
    out: OutBuffer,
    entries: Vec<RequestEntry>,
    free: Vec<u32>,
    /// Sent, and not answered.
    in_flight: VecDeque<u32>,
    line: VecDeque<u32>,
    admitted: usize,
    done: usize,
    /// Requests whose callers have something to do.
    ready: Vec<u32>,
    /// Pushes are kept.
    listens: bool,
    pushes: VecDeque<PushInfo>,
    /// Data may come without a request: pushes were asked for, or replies that nobody counts.
    open_ended: bool,
    received: ReceivedMark,
    /// Something was received since the last request was sent.
    heard: bool,
    sent: u64,
    ended: bool,
}

impl Machine {
    pub(crate) fn new(limits: WireLimits) -> Self {
        Self {
            limits,
            parser: Parser::new(limits.reply),
            out: OutBuffer::new(limits.kept_buffer),
            entries: Vec::new(),
            free: Vec::new(),
            in_flight: VecDeque::new(),
            line: VecDeque::new(),
            admitted: 0,
            done: 0,
            ready: Vec::new(),
            listens: false,
            pushes: VecDeque::new(),
            open_ended: false,
            received: ReceivedMark::default(),
            heard: false,
            sent: 0,
            ended: false,
        }
    }

    // Inputs.

    /// A caller wants to send. Unless it [is admitted](Self::is_admitted), it waits for [room](Self::poll_ready).
    pub(crate) fn begin(&mut self) -> RequestId {
        let entry = if self.ended {
            self.done += 1;
            RequestEntry::Done(RequestOutcome::Ended(RequestFate::Unsent))
        } else if self.line.is_empty() && self.has_room() {
            self.admitted += 1;
            RequestEntry::Admitted
        } else {
            RequestEntry::InLine
        };
        let waits = matches!(entry, RequestEntry::InLine);
        let index = match self.free.pop() {
            Some(index) => {
                self.entries[index as usize] = entry;
                index
            }
            None => {
                self.entries.push(entry);
                u32::try_from(self.entries.len() - 1).expect("memory ends long before")
            }
        };
        if waits {
            self.line.push_back(index);
        }
        self.check();
        RequestId(index)
    }

    /// An admitted caller sends its request. None comes back if it waits for no reply. After the end nothing is sent.
    pub(crate) fn send(&mut self, id: RequestId, request: Outgoing<'_>) -> Option<RequestId> {
        if !self.is_admitted(&id) {
            debug_assert!(matches!(self.entries[id.index()], RequestEntry::Done(_)), "only admitted requests are sent");
            return Some(id);
        }
        let (position, length) = self.out.append(|out| request.encode(out));
        let sent = SentRequest { starts_at: position, executable_at: position + length as u64, progress: Progress::of(request) };
        let waits = !request.is_unanswered();
        self.entries[id.index()] = if waits { RequestEntry::Sent(sent) } else { RequestEntry::Left(sent) };
        self.admitted -= 1;
        self.heard = false;
        self.sent += 1;
        self.in_flight.push_back(id.0);
        self.check();
        waits.then_some(id)
    }

    /// A caller does not wait any more. What was sent is answered all the same, and the replies are dropped.
    pub(crate) fn leave(&mut self, id: RequestId) {
        let entry = &mut self.entries[id.index()];
        match std::mem::replace(entry, RequestEntry::Free) {
            RequestEntry::Sent(sent) => *entry = RequestEntry::Left(sent),
            RequestEntry::InLine => {
                self.line.retain(|waiting| *waiting != id.0);
                self.free.push(id.0);
            }
            RequestEntry::Admitted => {
                self.admitted -= 1;
                self.free.push(id.0);
            }
            RequestEntry::Done(_) => {
                self.done -= 1;
                self.free.push(id.0);
            }
            RequestEntry::Free | RequestEntry::Left(_) => unreachable!("an id exists only as long as its caller waits"),
        }
        self.admit();
        self.check();
    }

    /// The stream has taken so many of the [unsent](Self::unsent) bytes.
    pub(crate) fn wrote(&mut self, count: usize) {
        self.out.wrote(count);
        self.admit();
        self.check();
    }

    /// Bytes have come. After a fault the connection must be [ended](Self::end); the replies before it count.
    pub(crate) fn receive(&mut self, bytes: &[u8]) -> Result<(), StreamFault> {
        self.received.reads = self.received.reads.wrapping_add(1);
        self.heard = true;
        let mut input = bytes;
        let result = self.take_values(&mut input);
        self.admit();
        self.check();
        result
    }

    /// The stream has ended, or was given up.
    pub(crate) fn end(&mut self) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let written_to = self.out.written_to();
        for (index, entry) in self.entries.iter_mut().enumerate() {
            let index = u32::try_from(index).expect("there are no more entries");
            let fate = match entry {
                RequestEntry::Free | RequestEntry::Done(_) => continue,
                RequestEntry::Left(_) => {
                    *entry = RequestEntry::Free;
                    self.free.push(index);
                    continue;
                }
                RequestEntry::InLine | RequestEntry::Admitted => RequestFate::Unsent,
                RequestEntry::Sent(sent) if written_to < sent.executable_at => RequestFate::Unsent,
                RequestEntry::Sent(_) => RequestFate::MaybeExecuted,
            };
            *entry = RequestEntry::Done(RequestOutcome::Ended(fate));
            self.done += 1;
            self.ready.push(index);
        }
        self.in_flight.clear();
        self.line.clear();
        self.admitted = 0;
        self.out.clear();
        self.parser = Parser::new(self.limits.reply);
        self.check();
    }

    /// From now on pushes are kept.
    pub(crate) fn listen(&mut self) {
        self.listens = true;
        self.open_ended = true;
    }

    /// Whether data may come without a request.
    pub(crate) fn set_open_ended(&mut self, open_ended: bool) {
        self.open_ended = open_ended;
    }

    pub(crate) fn is_open_ended(&self) -> bool {
        self.open_ended
    }

    // Outputs.

    pub(crate) fn unsent(&self) -> &[u8] {
        self.out.unsent()
    }

    /// A request whose caller has something to do: it was admitted, or has an outcome. Each change is reported once.
    pub(crate) fn poll_ready(&mut self) -> Option<usize> {
        self.ready.pop().map(|index| index as usize)
    }

    pub(crate) fn is_admitted(&self, id: &RequestId) -> bool {
        matches!(self.entries[id.index()], RequestEntry::Admitted)
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
        Ok(outcome)
    }

    pub(crate) fn poll_push(&mut self) -> Option<PushInfo> {
        self.pushes.pop_front()
    }

    // Getters.

    /// Requests that are sent and not answered, whether their callers wait or not.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Requests that were sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
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

    fn has_room(&self) -> bool {
        self.in_flight.len() + self.admitted < self.limits.in_flight && self.out.unsent().len() < self.limits.unsent
    }

    fn admit(&mut self) {
        while !self.line.is_empty() && self.has_room() {
            let Some(index) = self.line.pop_front() else { break };
            self.entries[index as usize] = RequestEntry::Admitted;
            self.admitted += 1;
            self.ready.push(index);
        }
    }

    fn take_values(&mut self, input: &mut &[u8]) -> Result<(), StreamFault> {
        while let Some(first) = input.first() {
            if self.in_flight.is_empty() && !self.open_ended {
                return Err(StreamFault::Unasked(*first));
            }
            match self.parser.parse(input)? {
                Some(Value::Push { kind, data }) => self.take_push(kind, data),
                Some(value) => self.take_reply(value)?,
                None => break,
            }
        }
        Ok(())
    }

    fn take_push(&mut self, kind: PushKind, data: Vec<Value>) {
        self.received.pushes = self.received.pushes.wrapping_add(1);
        if is_confirmation(&kind) {
            let awaited = self.in_flight.front().is_some_and(|index| match &self.entries[*index as usize] {
                RequestEntry::Sent(sent) | RequestEntry::Left(sent) => sent.progress.takes_pushes(),
                RequestEntry::Free | RequestEntry::InLine | RequestEntry::Admitted | RequestEntry::Done(_) => false,
            });
            if awaited {
                self.take_for_first(Value::Push { kind, data });
                return;
            }
        }
        if self.listens {
            self.pushes.push_back(PushInfo { kind, data });
        }
    }

    fn take_reply(&mut self, value: Value) -> Result<(), StreamFault> {
        // Where data may come without a request, it is none of ours.
        let Some(index) = self.in_flight.front() else { return Ok(()) };
        let written_to = self.out.written_to();
        match &self.entries[*index as usize] {
            RequestEntry::Sent(sent) | RequestEntry::Left(sent) if written_to <= sent.starts_at => {
                return Err(StreamFault::Early);
            }
            RequestEntry::Sent(_)
            | RequestEntry::Left(_)
            | RequestEntry::Free
            | RequestEntry::InLine
            | RequestEntry::Admitted
            | RequestEntry::Done(_) => {}
        }
        self.take_for_first(value);
        Ok(())
    }

    /// Gives a reply to the first request in flight.
    fn take_for_first(&mut self, value: Value) {
        let Some(&index) = self.in_flight.front() else { return };
        let entry = &mut self.entries[index as usize];
        let (answer, waits): (Option<Replies>, bool) = match entry {
            RequestEntry::Sent(sent) => (sent.progress.take(value), true),
            RequestEntry::Left(sent) => (sent.progress.take(value), false),
            RequestEntry::Free | RequestEntry::InLine | RequestEntry::Admitted | RequestEntry::Done(_) => {
                unreachable!("what is in flight was sent")
            }
        };
        let Some(answer) = answer else { return };
        self.in_flight.pop_front();
        if waits {
            *entry = RequestEntry::Done(RequestOutcome::Answered(answer));
            self.done += 1;
            self.ready.push(index);
        } else {
            *entry = RequestEntry::Free;
            self.free.push(index);
        }
    }

    #[inline]
    fn check(&self) {
        let known = self.free.len() + self.in_flight.len() + self.line.len() + self.admitted + self.done;
        debug_assert_eq!(known, self.entries.len(), "M1: each request is in one state");
        debug_assert!(self.line.is_empty() || !self.has_room(), "M3: no request waits for room while there is room");
        let at_rest = self.in_flight.is_empty() && self.line.is_empty() && self.out.unsent().is_empty();
        debug_assert!(!self.ended || at_rest, "M5: after the end nothing is in flight, and nothing is to be written");
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests;
