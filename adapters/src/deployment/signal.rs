//! A version that grows, and tasks that wait for it to grow.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Starts at version 0.
#[derive(Default)]
pub(crate) struct Signal {
    state: Mutex<SignalPhase>,
    /// The same as in the state; read before every command.
    version: AtomicU64,
}

#[derive(Default)]
struct SignalPhase {
    version: u64,
    next_ticket: u64,
    /// By ticket: they are woken in the order in which they began to wait.
    waiting: BTreeMap<u64, Waker>,
}

impl Signal {
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::SeqCst)
    }

    /// The next version; wakes all waiting tasks.
    pub(crate) fn raise(&self) {
        let woken = {
            let mut state = self.state();
            state.version += 1;
            self.version.store(state.version, Ordering::SeqCst);
            std::mem::take(&mut state.waiting)
        };
        woken.into_values().for_each(Waker::wake);
    }

    /// Waits for a version beyond `seen`.
    pub(crate) fn beyond(&self, seen: u64) -> Beyond<'_> {
        Beyond { signal: self, seen, ticket: None }
    }

    fn state(&self) -> MutexGuard<'_, SignalPhase> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Made by [`Signal::beyond`].
pub(crate) struct Beyond<'a> {
    signal: &'a Signal,
    seen: u64,
    ticket: Option<u64>,
}

impl Future for Beyond<'_> {
    type Output = u64;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<u64> {
        let mut state = self.signal.state();
        if state.version > self.seen {
            return Poll::Ready(state.version);
        }
        let ticket = self.ticket.unwrap_or_else(|| {
            state.next_ticket += 1;
            state.next_ticket
        });
        let replaced = state.waiting.insert(ticket, cx.waker().clone());
        drop(state);
        drop(replaced);
        self.ticket = Some(ticket);
        Poll::Pending
    }
}

impl Drop for Beyond<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            let waker = self.signal.state().waiting.remove(&ticket);
            drop(waker);
        }
    }
}
