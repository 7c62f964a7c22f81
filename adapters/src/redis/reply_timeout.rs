//! How long a reply may take, and where a command that blocks says how long it will.

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use redis::{Arg, Cmd};
use redis_manager_core::{Instant, Runtime, Task};

use crate::redis_node::socket::Socket;

/// How long a reply may take; none: without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReplyTimeout {
    Ordinary(Option<Duration>),
    /// The server may wait before it answers, and what it waits for may come when nobody listens any more.
    Blocking(Option<Duration>),
}

impl ReplyTimeout {
    pub(crate) fn limit(self) -> Option<Duration> {
        match self {
            Self::Ordinary(limit) | Self::Blocking(limit) => limit,
        }
    }

    pub(crate) fn is_blocking(self) -> bool {
        matches!(self, Self::Blocking(_))
    }

    /// For two replies, one after the other: an ordinary one beside others takes no time of its own.
    pub(crate) fn then(self, next: Self) -> Self {
        let sum = |one: Option<Duration>, other: Option<Duration>| one.zip(other).map(|(one, other)| one.saturating_add(other));
        match (self, next) {
            (Self::Blocking(one), Self::Blocking(other)) => Self::Blocking(sum(one, other)),
            (blocking @ Self::Blocking(_), Self::Ordinary(_)) | (Self::Ordinary(_), blocking @ Self::Blocking(_)) => blocking,
            (Self::Ordinary(one), Self::Ordinary(other)) => Self::Ordinary(one.zip(other).map(|(one, other)| one.max(other))),
        }
    }
}

/// The timer of whoever waits for one reply after the other. It is kept from one to the next: one that ends too early for
/// the present reply is followed by another, so that quick replies cost no timer at all.
#[derive(Default)]
pub(crate) struct ReusableSleep {
    /// When it ends. In a lock that nobody ever waits for, so that its owner can be shared.
    sleep: Mutex<Option<(Instant, Task)>>,
}

/// The first look at whether the redis driver is still there, of a request that waits so long for its reply.
const FIRST_LOOK: Duration = Duration::from_millis(100);

impl ReusableSleep {
    /// Waits for a reply, until `deadline` if there is one; none if it was too long, or if the runtime has ended.
    pub(crate) async fn by<T>(
        &mut self,
        runtime: &dyn Runtime,
        deadline: Option<Instant>,
        reply: impl Future<Output = T>,
    ) -> Option<T> {
        let sleep = self.sleep.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut reply = pin!(reply);
        poll_fn(|cx| {
            if let Poll::Ready(reply) = reply.as_mut().poll(cx) {
                return Poll::Ready(Some(reply));
            }
            let Some(deadline) = deadline else { return Poll::Pending };
            if runtime.has_ended() {
                // None of its timers is polled any more. What it was to answer has ended with it, perhaps just now.
                return match reply.as_mut().poll(cx) {
                    Poll::Ready(reply) => Poll::Ready(Some(reply)),
                    Poll::Pending => Poll::Ready(None),
                };
            }
            loop {
                let (end, task) = match sleep {
                    Some(kept) if kept.0 <= deadline => kept,
                    _ => sleep.insert((deadline, runtime.sleep_until(deadline))),
                };
                if task.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                let is_due = *end == deadline;
                *sleep = None;
                if is_due {
                    return Poll::Ready(None);
                }
            }
        })
        .await
    }
}

/// How a wait for a reply has ended.
pub(crate) enum Awaited<T> {
    Reply(T),
    TimedOut,
    /// The redis driver has ended, and this request was not among those that it has given an answer.
    Unanswered,
}

impl ReusableSleep {
    /// Waits for the reply to a request that was sent at `sent_at`, until `deadline` if there is one.
    ///
    /// A request that is handed to the redis driver in the very moment in which that ends is lost in its queue: it gets neither
    /// a reply nor an error, for as long as anything holds the connection. So the socket is looked at after a while, and again
    /// after twice as long.
    pub(crate) async fn reply<T>(
        &mut self,
        runtime: &dyn Runtime,
        sent_at: Instant,
        deadline: Option<Instant>,
        socket: &Socket,
        reply: impl Future<Output = T>,
    ) -> Awaited<T> {
        let mut reply = pin!(reply);
        let mut look_after = FIRST_LOOK;
        loop {
            let look_at = sent_at + look_after;
            let until = deadline.map_or(look_at, |deadline| deadline.min(look_at));
            if let Some(reply) = self.by(runtime, Some(until), reply.as_mut()).await {
                return Awaited::Reply(reply);
            }
            if socket.has_driver_ended() {
                // What it has answered before it ended is there.
                return self.by(runtime, Some(until), reply).await.map_or(Awaited::Unanswered, Awaited::Reply);
            }
            if runtime.has_ended() || deadline == Some(until) {
                return Awaited::TimedOut;
            }
            look_after = look_after.saturating_mul(2);
        }
    }
}

impl fmt::Debug for ReusableSleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReusableSleep").finish_non_exhaustive()
    }
}

/// Where a command carries its timeout.
#[derive(Clone, Copy, Debug)]
pub(crate) enum BlockTimeout {
    /// The last argument, in seconds.
    LastSeconds,
    /// The argument of this number, counted from the name, in seconds.
    Seconds(usize),
    /// The last argument, in milliseconds.
    LastMillis,
    /// The argument of this number, counted from the name, in milliseconds.
    Millis(usize),
    /// After the word BLOCK among the options, in milliseconds; without it the command does not block. The options come
    /// behind so many other words, in any order, and end with the word STREAMS; GROUP has two words of its own.
    AfterBlock(usize),
}

impl BlockTimeout {
    /// Whether the command has one in any case, be it in words that only the server can read.
    pub(crate) fn is_certain(self) -> bool {
        !matches!(self, Self::AfterBlock(_))
    }

    /// None if there is none, or if it is not a number.
    pub(crate) fn read(self, cmd: &Cmd) -> Option<Duration> {
        let mut args = cmd.args_iter().skip(1);
        let seconds = |arg: Option<Arg<&[u8]>>| number(arg).and_then(|number| Duration::try_from_secs_f64(number).ok());
        let millis = |arg: Option<Arg<&[u8]>>| seconds(arg).map(|length| length / 1_000);
        match self {
            Self::LastSeconds => seconds(args.last()),
            Self::Seconds(number) => seconds(args.nth(number - 1)),
            Self::LastMillis => millis(args.last()),
            Self::Millis(number) => millis(args.nth(number - 1)),
            Self::AfterBlock(others) => {
                let mut args = args.skip(others);
                let is = |arg: &Arg<&[u8]>, word: &[u8]| matches!(arg, Arg::Simple(text) if text.eq_ignore_ascii_case(word));
                while let Some(option) = args.next() {
                    if is(&option, b"BLOCK") {
                        return millis(args.next());
                    }
                    if is(&option, b"STREAMS") {
                        return None;
                    }
                    // Names, which may be any word.
                    if is(&option, b"GROUP") {
                        let _ = (args.next(), args.next());
                    }
                }
                None
            }
        }
    }
}

fn number(arg: Option<Arg<&[u8]>>) -> Option<f64> {
    let Arg::Simple(bytes) = arg? else { return None };
    std::str::from_utf8(bytes).ok()?.parse().ok()
}
