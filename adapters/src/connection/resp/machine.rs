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
//! - M3 No request waits for room while there is room, unless enough others have just been given room.
//! - M4 No reply is taken before a part of its request was written.
//! - M5 After the end nothing is in flight, and nothing is to be written.

pub(crate) mod outputs;

use std::collections::VecDeque;

use redis::{PushInfo, PushKind, Value};

use super::answer::{RequestFate, RequestOutcome};
use super::entry::{RequestEntry, SentRequest};
use super::out_buffer::OutBuffer;
use super::parser::Parser;
use super::progress::{Progress, is_confirmation};
use super::received_mark::ReceivedMark;
use super::request::Outgoing;
use super::stream_fault::StreamFault;
use super::wire_limits::WireLimits;

/// Callers that may have room and have not sent yet, while others wait.
const MOST_ADMITTED: usize = 16;

/// What has become of a request that was to be sent.
#[derive(Debug)]
#[must_use = "a request that waits must be taken, or left"]
pub(crate) enum Sending {
    /// For its replies.
    Waits(RequestId),
    /// For room.
    InLine(RequestId),
    /// Its replies are waited for by no caller.
    Unanswered,
}

/// What a reply was to the first request in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReplyTaken {
    OneOfSeveral,
    Last,
    /// The last one; EXEC was refused, and the server may take what follows for a part of the transaction.
    LastOfOpenTransaction,
}

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
    /// Those that wait for room, by their arrival.
    line: VecDeque<(u64, u32)>,
    /// How many in the line have left.
    left_in_line: usize,
    arrivals: u64,
    admitted: usize,
    done: usize,
    /// Requests whose callers have something to do.
    ready: Vec<u32>,
    /// Pushes are kept.
    listens: bool,
    pushes: VecDeque<PushInfo>,
    /// Whatever comes is kept as it is: none of it is a reply to a request.
    streams: bool,
    values: VecDeque<Value>,
    /// Data may come without a request: pushes were asked for, or replies that nobody counts.
    open_ended: bool,
    received: ReceivedMark,
    /// Something was received since the last request was sent.
    heard: bool,
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
            left_in_line: 0,
            arrivals: 0,
            admitted: 0,
            done: 0,
            ready: Vec::new(),
            listens: false,
            pushes: VecDeque::new(),
            streams: false,
            values: VecDeque::new(),
            open_ended: false,
            received: ReceivedMark::default(),
            heard: false,
            ended: false,
        }
    }

    // Inputs.

    /// A caller wants to send. Unless it [is admitted](Self::is_admitted), it waits for [room](Self::poll_ready).
    pub(crate) fn begin(&mut self) -> RequestId {
        self.arrivals += 1;
        let arrival = self.arrivals;
        let entry = if self.ended {
            self.done += 1;
            RequestEntry::Done(RequestOutcome::Ended(RequestFate::Unsent))
        } else if self.line.is_empty() && self.has_room() {
            self.admitted += 1;
            RequestEntry::Admitted(arrival)
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
            self.line.push_back((arrival, index));
        }
        self.check();
        RequestId(index)
    }

    /// An admitted caller sends its request. If others have taken the room meanwhile, it waits again, in its place. After the
    /// end nothing is sent.
    pub(crate) fn send(&mut self, id: RequestId, request: Outgoing<'_>) -> Sending {
        let RequestEntry::Admitted(arrival) = self.entries[id.index()] else {
            debug_assert!(matches!(self.entries[id.index()], RequestEntry::Done(_)), "only admitted requests are sent");
            return Sending::Waits(id);
        };
        self.admitted -= 1;
        if self.out.unsent().len() >= self.limits.unsent {
            self.entries[id.index()] = RequestEntry::InLine;
            let place = self.line.partition_point(|(other, _)| *other < arrival);
            self.line.insert(place, (arrival, id.0));
            self.check();
            return Sending::InLine(id);
        }
        let (position, (executable, length)) = self.out.append(|out| request.encode(out));
        let sent = SentRequest {
            starts_at: position,
            executable_at: position + executable as u64,
            ends_at: position + length as u64,
            progress: Progress::of(request),
        };
        let waits = !request.is_unanswered();
        self.entries[id.index()] = if waits { RequestEntry::Sent(sent) } else { RequestEntry::Left(sent) };
        self.heard = false;
        self.in_flight.push_back(id.0);
        self.admit();
        self.check();
        if waits { Sending::Waits(id) } else { Sending::Unanswered }
    }

    /// A caller does not wait any more. What was sent is answered all the same, and the replies are dropped.
    pub(crate) fn leave(&mut self, id: RequestId) {
        let entry = &mut self.entries[id.index()];
        match std::mem::replace(entry, RequestEntry::Free) {
            RequestEntry::Sent(sent) => *entry = RequestEntry::Left(sent),
            RequestEntry::InLine => {
                *entry = RequestEntry::LeftInLine;
                self.left_in_line += 1;
                self.tidy_line();
            }
            RequestEntry::Admitted(_) => {
                self.admitted -= 1;
                self.free.push(id.0);
            }
            RequestEntry::Done(_) => {
                self.done -= 1;
                self.free.push(id.0);
            }
            RequestEntry::Free | RequestEntry::Left(_) | RequestEntry::LeftInLine => {
                unreachable!("an id exists only as long as its caller waits")
            }
        }
        self.admit();
        self.shrink();
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
        self.shrink();
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
                RequestEntry::Left(_) | RequestEntry::LeftInLine => {
                    *entry = RequestEntry::Free;
                    self.free.push(index);
                    continue;
                }
                RequestEntry::InLine | RequestEntry::Admitted(_) => RequestFate::Unsent,
                RequestEntry::Sent(sent) if written_to < sent.executable_at => RequestFate::Unsent,
                RequestEntry::Sent(_) => RequestFate::MaybeExecuted,
            };
            *entry = RequestEntry::Done(RequestOutcome::Ended(fate));
            self.done += 1;
            self.ready.push(index);
        }
        self.in_flight.clear();
        self.line.clear();
        self.left_in_line = 0;
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

    fn has_room(&self) -> bool {
        self.in_flight.len() + self.admitted < self.limits.in_flight && self.out.unsent().len() < self.limits.unsent
    }

    /// Gives room to those in line, a few at a time: how much they take is seen when they send.
    fn admit(&mut self) {
        while self.admitted < MOST_ADMITTED && self.has_room() {
            let Some((arrival, index)) = self.line.pop_front() else { break };
            let entry = &mut self.entries[index as usize];
            if matches!(entry, RequestEntry::LeftInLine) {
                *entry = RequestEntry::Free;
                self.left_in_line -= 1;
                self.free.push(index);
                continue;
            }
            *entry = RequestEntry::Admitted(arrival);
            self.admitted += 1;
            self.ready.push(index);
        }
    }

    /// Takes those that have left out of the line, once they are most of it.
    fn tidy_line(&mut self) {
        if self.left_in_line <= self.line.len() / 2 {
            return;
        }
        let (entries, free) = (&mut self.entries, &mut self.free);
        self.line.retain(|(_, index)| {
            let entry = &mut entries[*index as usize];
            let has_left = matches!(entry, RequestEntry::LeftInLine);
            if has_left {
                *entry = RequestEntry::Free;
                free.push(*index);
            }
            !has_left
        });
        self.left_in_line = 0;
    }

    fn take_values(&mut self, input: &mut &[u8]) -> Result<(), StreamFault> {
        while let Some(first) = input.first() {
            if self.in_flight.is_empty() && !self.open_ended {
                return Err(StreamFault::Unasked(*first));
            }
            match self.parser.parse(input)? {
                Some(value) if self.streams => self.values.push_back(value),
                Some(Value::Push { kind, data }) => self.take_push(kind, data),
                Some(value) => self.take_reply(value)?,
                None => break,
            }
        }
        Ok(())
    }

    fn take_push(&mut self, kind: PushKind, data: Vec<Value>) {
        self.received.pushes = self.received.pushes.wrapping_add(1);
        if is_confirmation(&kind) && self.in_flight.front().is_some_and(|index| self.entries[*index as usize].takes_pushes()) {
            self.take_for_first(Value::Push { kind, data });
            return;
        }
        if self.listens {
            self.pushes.push_back(PushInfo { kind, data });
        }
    }

    fn take_reply(&mut self, value: Value) -> Result<(), StreamFault> {
        // Where data may come without a request, it is none of ours.
        let Some(index) = self.in_flight.front() else { return Ok(()) };
        let written_to = self.out.written_to();
        let (starts_at, ends_at) = self.entries[*index as usize].span();
        if written_to <= starts_at {
            return Err(StreamFault::Early);
        }
        match self.take_for_first(value) {
            // The requests behind it would get the replies of a transaction that is not theirs.
            ReplyTaken::LastOfOpenTransaction => Err(StreamFault::OpenTransaction),
            // An error may come before the rest of a large request, and what follows is no more understood.
            ReplyTaken::Last if written_to < ends_at => Err(StreamFault::Early),
            ReplyTaken::Last | ReplyTaken::OneOfSeveral => Ok(()),
        }
    }

    /// Gives a reply to the first request in flight.
    fn take_for_first(&mut self, value: Value) -> ReplyTaken {
        let Some(&index) = self.in_flight.front() else { return ReplyTaken::OneOfSeveral };
        let entry = &mut self.entries[index as usize];
        let Some(answer) = entry.take(value) else { return ReplyTaken::OneOfSeveral };
        let taken = if answer.leaves_open() { ReplyTaken::LastOfOpenTransaction } else { ReplyTaken::Last };
        let waits = matches!(entry, RequestEntry::Sent(_));
        self.in_flight.pop_front();
        if waits {
            *entry = RequestEntry::Done(RequestOutcome::Answered(answer));
            self.done += 1;
            self.ready.push(index);
        } else {
            *entry = RequestEntry::Free;
            self.free.push(index);
        }
        taken
    }

    #[inline]
    fn check(&self) {
        let known = self.free.len() + self.in_flight.len() + self.line.len() + self.admitted + self.done;
        debug_assert_eq!(known, self.entries.len(), "M1: each request is in one state");
        let all_wait = self.line.len() == self.left_in_line || !self.has_room() || self.admitted >= MOST_ADMITTED;
        debug_assert!(all_wait, "M3: no request waits for room while there is room");
        let at_rest = self.in_flight.is_empty() && self.line.is_empty() && self.out.unsent().is_empty();
        debug_assert!(!self.ended || at_rest, "M5: after the end nothing is in flight, and nothing is to be written");
    }
}

#[cfg(all(test, feature = "testing"))]
mod exhaustive;
#[cfg(all(test, feature = "testing"))]
mod tests;
