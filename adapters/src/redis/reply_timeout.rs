//! How long a reply may take, and where a blocking command names its timeout.

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use redis::{Arg, Cmd};
use redis_manager_core::{Instant, Runtime, Task};

/// How long a reply may take; `None` is without a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReplyTimeout {
    Ordinary(Option<Duration>),
    /// The server may wait before it replies, and its reply may come when no caller waits any more.
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

    /// For two replies in sequence: an ordinary one adds no time to others.
    pub(crate) fn then(self, next: Self) -> Self {
        let sum = |one: Option<Duration>, other: Option<Duration>| one.zip(other).map(|(one, other)| one.saturating_add(other));
        match (self, next) {
            (Self::Blocking(one), Self::Blocking(other)) => Self::Blocking(sum(one, other)),
            (blocking @ Self::Blocking(_), Self::Ordinary(_)) | (Self::Ordinary(_), blocking @ Self::Blocking(_)) => blocking,
            (Self::Ordinary(one), Self::Ordinary(other)) => Self::Ordinary(one.zip(other).map(|(one, other)| one.max(other))),
        }
    }
}

/// The timer of a task that waits for one reply after the other. It is kept for the next reply: if it ends too early, another
/// one follows. Quick replies therefore need no new timer.
#[derive(Default)]
pub(crate) struct ReusableSleep {
    /// The timer and when it ends. The lock is never contended; it makes the owner `Sync`.
    sleep: Mutex<Option<(Instant, Task)>>,
}

impl ReusableSleep {
    /// Waits for a reply, until `deadline` if there is one. `None` after a timeout, or if the runtime has ended.
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
                // Its timers are not polled any more. The reply may have arrived just before the end.
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

impl fmt::Debug for ReusableSleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReusableSleep").finish_non_exhaustive()
    }
}

/// Where a command has its timeout.
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
    /// After the word BLOCK among the options, in milliseconds; without it the command does not block. The options come after
    /// this many other words, in any order, and end with the word STREAMS. GROUP has two arguments.
    AfterBlock(usize),
}

impl BlockTimeout {
    /// Whether the command always has a timeout, even if only the server can parse it.
    pub(crate) fn is_certain(self) -> bool {
        !matches!(self, Self::AfterBlock(_))
    }

    /// `None` if there is none, or if it is not a number.
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
                    // Names, which may be any words.
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
