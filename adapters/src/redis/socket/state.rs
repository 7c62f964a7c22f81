//! The state of a socket under its lock: the stream, the machine, and who reads and writes at present.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::fault::SocketFault;
use super::scratch::with_scratch;
use crate::connection::resp::machine::Machine;
use crate::connection::resp::machine::outputs::KEPT_ENTRIES;
use crate::redis_node::last_words::LastWords;
use crate::redis_node::socket_end::SocketEnd;
use crate::stream::{BoxStream, Peeked};

/// The first byte of a TLS alert, which a TLS server sends when it gets Redis commands. No Redis reply begins with it.
const TLS_ALERT: u8 = 0x15;

/// About how many bytes are read before other tasks run: parsing so many replies takes a fraction of a millisecond.
pub(super) const BYTES_A_TURN: usize = 64 * 1_024;

/// Pushes that may wait for the subscriber. Beyond that the stream is not read.
pub(super) const MOST_PUSHES: usize = 1_024;

/// Who reads and writes.
#[derive(Debug)]
pub(super) enum SocketDriver {
    /// The watcher of the node: no caller waits for a reply.
    Watcher,
    /// The one borrower, while it waits for a reply.
    Borrower,
    /// A task, for shared clients.
    Task(TaskDriver),
}

/// The task that reads and writes for shared clients.
#[derive(Debug)]
pub(super) struct TaskDriver {
    /// Another task with another number may follow.
    pub(super) number: u64,
    /// None before its first turn.
    pub(super) waker: Option<Waker>,
    /// It will have a turn in any case.
    pub(super) is_scheduled: bool,
}

/// The sending side of a socket.
///
/// ```text
///  Open --- finish ---> Finishing --- the end was sent ---> Finished
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SendingSide {
    Open,
    /// It is shut down at the next turn.
    Finishing,
    /// Also after a failed write.
    Finished,
}

/// The result of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing is to be had now; the waker is called when there is.
    Waits,
    /// There may be more, after other tasks have run.
    Yields,
    /// Nothing is in flight: the stream was not polled until it had nothing.
    Idle,
    /// The stream has ended.
    Ended,
}

pub(super) struct SocketState {
    pub(super) machine: Machine,
    /// `None` after it was closed.
    stream: Option<BoxStream>,
    pub(super) driver: SocketDriver,
    /// The callers that wait, by request, while a task reads for them.
    pub(super) wakers: Vec<Option<Waker>>,
    /// Of the borrower that reads itself, to be woken by a close.
    pub(super) reader: Option<Waker>,
    /// Of the subscriber.
    pub(super) listener: Option<Waker>,
    /// Reading was paused because too many pushes wait.
    pub(super) is_stalled: bool,
    sending: SendingSide,
    must_flush: bool,
    /// A write has failed. What the server has sent before is read first.
    write_fault: Option<io::Error>,
    /// The first reason for its end.
    pub(super) end: Option<SocketEnd>,
    pub(super) fault: Option<SocketFault>,
    /// Whether the server has ever sent anything.
    pub(super) is_greeted: bool,
    /// Whether the first data from the server was a TLS alert.
    pub(super) speaks_tls: bool,
    /// `None` after the login.
    pub(super) last_words: Option<LastWords>,
}

impl SocketState {
    pub(super) fn new(stream: BoxStream, machine: Machine) -> Self {
        Self {
            machine,
            stream: Some(stream),
            driver: SocketDriver::Watcher,
            wakers: Vec::new(),
            reader: None,
            listener: None,
            is_stalled: false,
            sending: SendingSide::Open,
            must_flush: false,
            write_fault: None,
            end: None,
            fault: None,
            is_greeted: false,
            speaks_tls: false,
            last_words: Some(LastWords::default()),
        }
    }

    pub(super) fn is_found_dead(&self) -> bool {
        match self.stream.as_ref().map(|stream| stream.peek()) {
            None | Some(Peeked::End) => true,
            Some(Peeked::Data(_)) => self.machine.in_flight() == 0 && !self.machine.is_open_ended(),
            Some(Peeked::Nothing) => false,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.stream.is_none()
    }

    /// Whether something is to be written, or to be flushed.
    pub(super) fn has_output(&self) -> bool {
        self.must_flush || !self.machine.unsent().is_empty()
    }

    /// Writes and reads for a while. With `until_idle` it does not read on once nothing is in flight.
    pub(super) fn turn(&mut self, cx: &mut Context<'_>, until_idle: bool) -> Turn {
        self.write(cx);
        if self.fault.is_some() {
            return Turn::Ended;
        }
        with_scratch(|scratch| self.read(cx, scratch, until_idle))
    }

    /// Writes what there is.
    pub(super) fn write(&mut self, cx: &mut Context<'_>) {
        let Some(stream) = &mut self.stream else { return };
        match self.sending {
            SendingSide::Open => {}
            SendingSide::Finishing => {
                // If it fails, the socket is broken, and the next read fails.
                if Pin::new(stream).poll_shutdown(cx).is_ready() {
                    self.sending = SendingSide::Finished;
                }
                return;
            }
            SendingSide::Finished => return,
        }
        let failed = loop {
            let bytes = self.machine.unsent();
            if bytes.is_empty() {
                break None;
            }
            match Pin::new(&mut *stream).poll_write(cx, bytes) {
                Poll::Ready(Ok(0)) => break Some(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(written)) => {
                    self.machine.wrote(written);
                    self.must_flush = true;
                }
                Poll::Ready(Err(error)) => break Some(error),
                Poll::Pending => return,
            }
        };
        let flushed = match failed {
            Some(error) => Err(error),
            None if !self.must_flush => Ok(()),
            None => match Pin::new(&mut *stream).poll_flush(cx) {
                Poll::Ready(Ok(())) => {
                    self.must_flush = false;
                    Ok(())
                }
                Poll::Ready(Err(error)) => Err(error),
                Poll::Pending => Ok(()),
            },
        };
        if let Err(error) = flushed {
            self.sending = SendingSide::Finished;
            match &mut self.last_words {
                // The server may have said why, and what it said may still be on its way.
                Some(words) => {
                    words.keep(self.stream.take());
                    self.fail(SocketFault::Io(error));
                }
                None => self.write_fault = Some(error),
            }
        }
    }

    fn read(&mut self, cx: &mut Context<'_>, scratch: &mut [u8], until_idle: bool) -> Turn {
        let mut left = BYTES_A_TURN;
        loop {
            if until_idle && self.machine.in_flight() == 0 && self.write_fault.is_none() {
                return Turn::Idle;
            }
            if self.machine.has_values() {
                return Turn::Idle;
            }
            if self.machine.kept_pushes() >= MOST_PUSHES && self.machine.in_flight() == 0 {
                self.is_stalled = true;
                return Turn::Waits;
            }
            let Some(stream) = &mut self.stream else { return Turn::Ended };
            let mut buffer = ReadBuf::new(scratch);
            let fault = match Pin::new(stream).poll_read(cx, &mut buffer) {
                Poll::Pending => match self.write_fault.take() {
                    None => return Turn::Waits,
                    Some(error) => SocketFault::Io(error),
                },
                Poll::Ready(Err(error)) => SocketFault::Io(error),
                Poll::Ready(Ok(())) => match buffer.filled() {
                    [] => SocketFault::Ended,
                    bytes => {
                        if !self.is_greeted {
                            self.is_greeted = true;
                            self.speaks_tls = bytes[0] == TLS_ALERT;
                        }
                        if let Some(words) = &mut self.last_words {
                            words.note(bytes);
                        }
                        left = left.saturating_sub(bytes.len());
                        match self.machine.receive(bytes) {
                            Ok(()) if left == 0 => return Turn::Yields,
                            Ok(()) => continue,
                            Err(fault) => SocketFault::Stream(fault),
                        }
                    }
                },
            };
            self.fail(fault);
            return Turn::Ended;
        }
    }

    /// The stream cannot be used any more.
    fn fail(&mut self, fault: SocketFault) {
        self.end.get_or_insert(SocketEnd::Lost);
        self.fault.get_or_insert(fault);
        self.machine.end();
    }

    /// Ends it. The result is the stream, to be dropped outside of the lock.
    pub(super) fn close(&mut self, why: SocketEnd) -> Option<BoxStream> {
        self.end.get_or_insert(why);
        self.machine.end();
        self.stream.take()
    }

    /// Shuts the sending side down, at the next turn.
    pub(super) fn finish(&mut self, why: SocketEnd) {
        self.end.get_or_insert(why);
        if self.sending == SendingSide::Open {
            self.sending = SendingSide::Finishing;
        }
    }

    /// Keeps the waker of a caller whose request is not answered yet. The result is the one before, to be dropped outside of the
    /// lock: what it wakes may be dropped with it.
    pub(super) fn wait(&mut self, index: usize, waker: &Waker) -> Option<Waker> {
        if self.wakers.len() <= index {
            self.wakers.resize(index + 1, None);
        }
        replace_waker(&mut self.wakers[index], waker)
    }

    /// The waker of a caller that has left.
    pub(super) fn forget_waker(&mut self, index: usize) -> Option<Waker> {
        self.wakers.get_mut(index).and_then(Option::take)
    }

    /// The waker of the task, if there is something to be written, and it has no turn coming.
    pub(super) fn task_to_prompt(&self) -> Option<Waker> {
        match &self.driver {
            SocketDriver::Task(task) if self.has_output() && !task.is_scheduled => task.waker.clone(),
            SocketDriver::Task(_) | SocketDriver::Watcher | SocketDriver::Borrower => None,
        }
    }

    /// Moves the wakers of those that have something to do now to `woken`.
    pub(super) fn collect_ready(&mut self, woken: &mut Vec<Waker>) {
        while let Some(index) = self.machine.poll_ready() {
            if let Some(waker) = self.wakers.get_mut(index).and_then(Option::take) {
                woken.push(waker);
            }
        }
        if self.wakers.len() > KEPT_ENTRIES && self.machine.is_vacant() {
            // A crowd has gone. What is left in its places was woken for another reason, and is dropped outside of the lock.
            woken.extend(std::mem::take(&mut self.wakers).into_iter().flatten());
        }
        if self.machine.kept_pushes() > 0 || self.end.is_some() {
            woken.extend(self.listener.take());
        }
    }
}

/// Replaces a waker by one that wakes another task. The result is the one before, to be dropped outside of the lock.
pub(super) fn replace_waker(place: &mut Option<Waker>, waker: &Waker) -> Option<Waker> {
    match place {
        Some(kept) if kept.will_wake(waker) => None,
        Some(_) | None => place.replace(waker.clone()),
    }
}
