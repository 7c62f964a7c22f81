//! The driver of a node: one task that sleeps from deadline to deadline and has actions performed.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use crate::alarm::Alarm;
use crate::connector::{CloseReason, Connector};
use crate::door::{Door, Next};
use crate::runtime::Task;
use crate::state::{Action, Checkup, Closing, ConnId, FailureKind, Finding, Ticket};
use crate::time::Instant;

/// Characters of an error's text that are kept.
const LONGEST_MESSAGE: usize = 500;

/// Holds the node weakly: it does not keep alive what it drives.
pub(crate) struct Driver<K: Connector> {
    door: Weak<Door<K>>,
    /// The sleep that is under way, and until when.
    sleep: Option<(Instant, Task)>,
}

impl<K: Connector> Driver<K> {
    pub(crate) fn new(door: &Arc<Door<K>>) -> Self {
        Self { door: Arc::downgrade(door), sleep: None }
    }
}

impl<K: Connector> Future for Driver<K> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(door) = self.door.upgrade() else { return Poll::Ready(()) };
            let turn = door.turn(cx.waker());
            for action in turn.actions {
                perform(&door, action);
            }
            let until = match turn.next {
                Next::End => {
                    self.door = Weak::new();
                    return Poll::Ready(());
                }
                Next::Sleep { until } => until,
            };
            match (until, &self.sleep) {
                (None, _) => self.sleep = None,
                // A sleep that ends too early does no harm: another follows.
                (Some(until), Some((planned, _))) if *planned <= until => {}
                (Some(until), _) => self.sleep = Some((until, door.runtime().sleep_until(until))),
            }
            drop(door);
            match &mut self.sleep {
                None => return Poll::Pending,
                Some((_, sleep)) => match sleep.as_mut().poll(cx) {
                    Poll::Ready(()) => self.sleep = None,
                    Poll::Pending => return Poll::Pending,
                },
            }
        }
    }
}

impl<K: Connector> Drop for Driver<K> {
    /// Dropped before its end: the runtime has ended. Whoever waits is told; nobody would come to tell them later.
    fn drop(&mut self) {
        if let Some(door) = self.door.upgrade() {
            door.lose_driver();
        }
    }
}

/// Starts what an action orders. A task that is never run, or is killed half-way, gives its token back.
fn perform<K: Connector>(door: &Arc<Door<K>>, action: Action<K::Connection>) {
    match action {
        Action::Connect(ticket) => {
            let held = HeldTicket { door: Arc::clone(door), ticket: Some(ticket) };
            door.runtime().spawn(Box::pin(connect(held)));
        }
        Action::Check(checkup) => {
            let held = HeldCheckup { door: Arc::clone(door), checkup: Some(checkup) };
            door.runtime().spawn(Box::pin(check(held)));
        }
        Action::Clean(checkup) => {
            let held = HeldCheckup { door: Arc::clone(door), checkup: Some(checkup) };
            door.runtime().spawn(Box::pin(clean(held)));
        }
        Action::Close(closing, conn, reason) => {
            let held = HeldClosing { door: Arc::clone(door), parts: Some((closing, conn, reason)) };
            // A task of its own, so that a close that hangs holds up nothing else.
            door.runtime().spawn(Box::pin(async move { drop(held) }));
        }
        Action::Kill(closing) => door.kill(closing),
    }
}

async fn connect<K: Connector>(mut held: HeldTicket<K>) {
    let Some(Ticket { id, deadline }) = &held.ticket else { return };
    let (id, deadline) = (*id, *deadline);
    let started_at = held.door.runtime().now();
    let ended = bounded(&held.door, id, deadline, || held.door.connector().connect()).await;
    let Some(ticket) = held.ticket.take() else { return };
    let door = &held.door;
    match ended {
        Ended::Value(Ok(mut conn)) => {
            let watched = catch_unwind(AssertUnwindSafe(|| {
                door.connector().watch(&mut conn, Alarm::new(door, id));
                door.connector().kill_switch(&mut conn)
            }));
            door.connected(ticket, conn, watched.unwrap_or(None));
        }
        Ended::Value(Err(error)) => {
            let judged = catch_unwind(AssertUnwindSafe(|| (describe(&error), door.connector().is_permanent(&error))));
            let (message, permanent) = judged.unwrap_or_else(|_| (String::from("a connect failed"), false));
            door.connect_failed(ticket, message, if permanent { FailureKind::Permanent } else { FailureKind::Passing });
        }
        Ended::TimedOut => {
            let waited = deadline.saturating_duration_since(started_at);
            let mut message = format!("a connect was not answered within {waited:?}");
            if let Ok(Some(what)) = catch_unwind(AssertUnwindSafe(|| door.connector().unanswered())) {
                message = format!("{message}: {what}");
            }
            door.connect_failed(ticket, message, FailureKind::TimedOut);
        }
        Ended::Panicked => door.connect_failed(ticket, String::from("a connect panicked"), FailureKind::Passing),
        Ended::Stopped => door.connect_failed(ticket, String::from("the pool was closed"), FailureKind::Passing),
    }
}

async fn check<K: Connector>(mut held: HeldCheckup<K>) {
    let door = Arc::clone(&held.door);
    let Some(checkup) = &mut held.checkup else { return };
    let (id, deadline) = (checkup.id, checkup.deadline);
    let ended = bounded(&door, id, deadline, || door.connector().check(&mut checkup.conn)).await;
    held.give_back(ended);
}

async fn clean<K: Connector>(mut held: HeldCheckup<K>) {
    let door = Arc::clone(&held.door);
    let Some(checkup) = &mut held.checkup else { return };
    let (id, deadline) = (checkup.id, checkup.deadline);
    let ended = bounded(&door, id, deadline, || door.connector().clean(&mut checkup.conn)).await;
    held.give_back(ended);
}

enum Ended<T> {
    Value(T),
    TimedOut,
    Panicked,
    /// The pool was closed meanwhile.
    Stopped,
}

/// Runs a user's future until it ends, its time is up, or the pool closes. It is dropped before this returns.
async fn bounded<K: Connector, F: Future>(
    door: &Arc<Door<K>>,
    id: ConnId,
    deadline: Instant,
    make: impl FnOnce() -> F,
) -> Ended<F::Output> {
    let Ok(future) = catch_unwind(AssertUnwindSafe(make)) else { return Ended::Panicked };
    let mut future = pin!(future);
    let mut sleep = door.runtime().sleep_until(deadline);
    poll_fn(|cx| {
        if !door.enlist_job(id, cx.waker()) {
            return Poll::Ready(Ended::Stopped);
        }
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(Poll::Ready(value)) => return Poll::Ready(Ended::Value(value)),
            Ok(Poll::Pending) => {}
            Err(_) => return Poll::Ready(Ended::Panicked),
        }
        sleep.as_mut().poll(cx).map(|()| Ended::TimedOut)
    })
    .await
}

/// An error with its causes, in one line.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    // It ends up in logs: one line, of a length that can be read.
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_MESSAGE).collect()
}

struct HeldTicket<K: Connector> {
    door: Arc<Door<K>>,
    ticket: Option<Ticket>,
}

impl<K: Connector> Drop for HeldTicket<K> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.door.connect_failed(ticket, String::from("the task of a connect was killed"), FailureKind::Passing);
        }
    }
}

struct HeldCheckup<K: Connector> {
    door: Arc<Door<K>>,
    checkup: Option<Checkup<K::Connection>>,
}

impl<K: Connector> HeldCheckup<K> {
    /// Says how the check or the cleaning went.
    fn give_back(mut self, ended: Ended<Result<(), K::Error>>) {
        let finding = match ended {
            // Its verdict does not matter: the pool is closed, and so will be the connection.
            Ended::Value(Ok(())) | Ended::Stopped => Finding::Sound,
            Ended::Value(Err(error)) => Finding::Failed(
                catch_unwind(AssertUnwindSafe(|| describe(&error))).unwrap_or_else(|_| String::from("a check failed")),
            ),
            Ended::TimedOut => Finding::Silent,
            Ended::Panicked => Finding::Failed(String::from("a check panicked")),
        };
        if let Some(checkup) = self.checkup.take() {
            self.door.checked(checkup, finding);
        }
    }
}

impl<K: Connector> Drop for HeldCheckup<K> {
    fn drop(&mut self) {
        if let Some(checkup) = self.checkup.take() {
            self.door.checked(checkup, Finding::Failed(String::from("the task of a check was killed")));
        }
    }
}

struct HeldClosing<K: Connector> {
    door: Arc<Door<K>>,
    parts: Option<(Closing, K::Connection, CloseReason)>,
}

impl<K: Connector> Drop for HeldClosing<K> {
    fn drop(&mut self) {
        if let Some((closing, conn, reason)) = self.parts.take() {
            self.door.close(closing, conn, reason);
        }
    }
}
