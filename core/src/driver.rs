//! The driver of a node: one task that sleeps from deadline to deadline and has actions performed.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use crate::close_reason::CloseReason;
use crate::connection_monitor::ConnectionMonitor;
use crate::connector::Connector;
use crate::guard::guarded;
use crate::node::{DriverNext, Node};
use crate::runtime::Task;
use crate::state::{Action, CheckResult, Checkup, Closing, ConnId, DialFailure, DialFailureKind, Ticket};
use crate::time::Instant;

/// Characters of an error's text that are kept.
const LONGEST_MESSAGE: usize = 500;

/// Holds the node weakly: it does not keep alive what it drives.
pub(crate) struct Driver<K: Connector> {
    node: Weak<Node<K>>,
    /// The sleep that is under way, and until when.
    sleep: Option<(Instant, Task)>,
}

impl<K: Connector> Driver<K> {
    pub(crate) fn new(node: &Arc<Node<K>>) -> Self {
        Self { node: Arc::downgrade(node), sleep: None }
    }
}

impl<K: Connector> Future for Driver<K> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(node) = self.node.upgrade() else { return Poll::Ready(()) };
            let next_step = node.next_step(cx.waker());
            for action in next_step.actions {
                perform(&node, action);
            }
            let until = match next_step.next {
                DriverNext::End => {
                    self.node = Weak::new();
                    return Poll::Ready(());
                }
                DriverNext::Sleep { until } => until,
            };
            match (until, &self.sleep) {
                (None, _) => self.sleep = None,
                // A sleep that ends too early does no harm: another follows.
                (Some(until), Some((planned, _))) if *planned <= until => {}
                (Some(until), _) => self.sleep = Some((until, node.runtime().sleep_until(until))),
            }
            drop(node);
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
    /// Dropped before its end: the runtime has ended. Callers in the queue get their errors now, for no other call would come.
    fn drop(&mut self) {
        if let Some(node) = self.node.upgrade() {
            node.lose_driver();
        }
    }
}

/// Starts what an action orders. A task that is never run, or is killed half-way, gives its token back.
fn perform<K: Connector>(node: &Arc<Node<K>>, action: Action<K::Connection>) {
    match action {
        Action::Connect(ticket) => {
            let held = HeldTicket { node: Arc::clone(node), ticket: Some(ticket) };
            node.runtime().spawn(Box::pin(connect(held)));
        }
        Action::Check(checkup) => {
            let held = HeldCheckup { node: Arc::clone(node), checkup: Some(checkup) };
            node.runtime().spawn(Box::pin(check(held)));
        }
        Action::Clean(checkup) => {
            let held = HeldCheckup { node: Arc::clone(node), checkup: Some(checkup) };
            node.runtime().spawn(Box::pin(clean(held)));
        }
        Action::Close(closing, conn, reason) => {
            let held = HeldClosing { node: Arc::clone(node), parts: Some((closing, conn, reason)) };
            // A task of its own, so that a close that hangs holds up nothing else.
            node.runtime().spawn(Box::pin(async move { drop(held) }));
        }
        Action::Kill(closing) => node.kill(closing),
    }
}

async fn connect<K: Connector>(mut held: HeldTicket<K>) {
    let Some(Ticket { id, deadline }) = &held.ticket else { return };
    let (id, deadline) = (*id, *deadline);
    let started_at = held.node.runtime().now();
    let ended = bounded(&held.node, id, deadline, || held.node.connector().connect()).await;
    let Some(ticket) = held.ticket.take() else { return };
    let node = &held.node;
    match ended {
        Ended::Value(Ok(mut conn)) => {
            let target: Weak<Node<K>> = Arc::downgrade(node);
            let abort_handle = guarded(|| {
                node.connector().watch(&mut conn, ConnectionMonitor::new(target, id));
                node.connector().abort_handle(&mut conn)
            });
            node.connected(ticket, conn, abort_handle.flatten());
        }
        Ended::Value(Err(error)) => {
            let judged = guarded(|| (describe(&error), node.connector().is_permanent(&error)));
            let (message, permanent) = judged.unwrap_or_else(|| (String::from("a connect failed"), false));
            let kind = if permanent { DialFailureKind::Permanent } else { DialFailureKind::Passing };
            node.connect_refused(ticket, DialFailure::new(message, kind), Arc::new(error));
        }
        Ended::TimedOut => {
            let waited = deadline.saturating_duration_since(started_at);
            let mut message = format!("a connect was not answered within {waited:?}");
            if let Some(what) = guarded(|| node.connector().unanswered()).flatten() {
                message = format!("{message}: {what}");
            }
            node.connect_failed(ticket, message, DialFailureKind::TimedOut);
        }
        Ended::Panicked => node.connect_failed(ticket, String::from("a connect panicked"), DialFailureKind::Passing),
        Ended::Stopped => node.connect_failed(ticket, String::from("the pool was closed"), DialFailureKind::Passing),
    }
}

async fn check<K: Connector>(mut held: HeldCheckup<K>) {
    let node = Arc::clone(&held.node);
    let Some(checkup) = &mut held.checkup else { return };
    let (id, deadline) = (checkup.id, checkup.deadline);
    let ended = bounded(&node, id, deadline, || node.connector().check(&mut checkup.conn)).await;
    held.give_back(ended);
}

async fn clean<K: Connector>(mut held: HeldCheckup<K>) {
    let node = Arc::clone(&held.node);
    let Some(checkup) = &mut held.checkup else { return };
    let (id, deadline) = (checkup.id, checkup.deadline);
    let ended = bounded(&node, id, deadline, || node.connector().clean(&mut checkup.conn)).await;
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
    node: &Arc<Node<K>>,
    id: ConnId,
    deadline: Instant,
    make: impl FnOnce() -> F,
) -> Ended<F::Output> {
    let Some(future) = guarded(make) else { return Ended::Panicked };
    let mut future = pin!(future);
    let mut sleep = node.runtime().sleep_until(deadline);
    poll_fn(|cx| {
        if !node.enlist_job(id, cx.waker()) {
            return Poll::Ready(Ended::Stopped);
        }
        match guarded(|| future.as_mut().poll(cx)) {
            Some(Poll::Ready(value)) => return Poll::Ready(Ended::Value(value)),
            Some(Poll::Pending) => {}
            None => return Poll::Ready(Ended::Panicked),
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
    node: Arc<Node<K>>,
    ticket: Option<Ticket>,
}

impl<K: Connector> Drop for HeldTicket<K> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.node.connect_failed(ticket, String::from("the task of a connect was killed"), DialFailureKind::Passing);
        }
    }
}

struct HeldCheckup<K: Connector> {
    node: Arc<Node<K>>,
    checkup: Option<Checkup<K::Connection>>,
}

impl<K: Connector> HeldCheckup<K> {
    /// Says how the check or the cleaning went.
    fn give_back(mut self, ended: Ended<Result<(), K::Error>>) {
        let result = match ended {
            // Its result does not matter: the pool is closed, and so will be the connection.
            Ended::Value(Ok(())) | Ended::Stopped => CheckResult::Sound,
            Ended::Value(Err(error)) => {
                CheckResult::Failed(guarded(|| describe(&error)).unwrap_or_else(|| String::from("a check failed")))
            }
            Ended::TimedOut => CheckResult::Silent,
            Ended::Panicked => CheckResult::Failed(String::from("a check panicked")),
        };
        if let Some(checkup) = self.checkup.take() {
            self.node.checked(checkup, result);
        }
    }
}

impl<K: Connector> Drop for HeldCheckup<K> {
    fn drop(&mut self) {
        if let Some(checkup) = self.checkup.take() {
            self.node.checked(checkup, CheckResult::Failed(String::from("the task of a check was killed")));
        }
    }
}

struct HeldClosing<K: Connector> {
    node: Arc<Node<K>>,
    parts: Option<(Closing, K::Connection, CloseReason)>,
}

impl<K: Connector> Drop for HeldClosing<K> {
    fn drop(&mut self) {
        if let Some((closing, conn, reason)) = self.parts.take() {
            self.node.close(closing, conn, reason);
        }
    }
}
