//! The task of a node that looks at its connections while no caller waits for replies on them: one for all of them.
//!
//! A connection whose borrower sends nothing has no task. Its stream wakes this one.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};

use redis_manager_core::Spawn;

use crate::sync::{AtomicBool, Mutex, MutexGuard, Ordering};

/// Connections that are looked at before other tasks run.
const LOOKS_A_TURN: usize = 16;

/// What is watched.
pub(crate) trait WatchTarget: Send + Sync {
    /// Its stream may have something to read, or may have ended.
    fn look(&self);
    /// The watcher's task was dropped before its end: the runtime has ended.
    fn runtime_ended(&self);
    /// A look at it has panicked: its stream, or what it wakes.
    fn give_up(&self);
}

/// The watcher of a node. Its task ends when this is dropped.
#[derive(Default)]
pub(crate) struct Watcher {
    queue: Arc<WatchQueue>,
}

impl Watcher {
    /// Spawns the task, once.
    pub(crate) fn start(&self, runtime: &(impl Spawn + ?Sized)) {
        if !std::mem::replace(&mut self.queue.state().is_started, true) {
            runtime.spawn(Box::pin(WatchTask { queue: Arc::clone(&self.queue) }));
        }
    }

    /// Watches `target` from now on, until the result is dropped.
    pub(crate) fn watch(&self, target: Weak<dyn WatchTarget>) -> WatchHandle {
        let mut state = self.queue.state();
        state.next_number += 1;
        let number = state.next_number;
        state.all.insert(number, Weak::clone(&target));
        drop(state);
        let alarm = Arc::new(Alarm {
            target,
            queue: Arc::clone(&self.queue),
            is_off: AtomicBool::new(false),
            is_due: AtomicBool::new(false),
        });
        WatchHandle { waker: Waker::from(Arc::clone(&alarm)), alarm, number }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let task = {
            let mut state = self.queue.state();
            state.is_closed = true;
            state.task.take()
        };
        task.into_iter().for_each(Waker::wake);
    }
}

/// The place of one connection with its watcher.
pub(crate) struct WatchHandle {
    alarm: Arc<Alarm>,
    waker: Waker,
    number: u64,
}

impl WatchHandle {
    /// Wakes the watcher for this connection.
    pub(crate) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// While it is off, the waker does nothing. Whoever switches it on again must poll the stream afterwards.
    pub(crate) fn set_off(&self, is_off: bool) {
        self.alarm.is_off.store(is_off, Ordering::SeqCst);
    }
}

impl Drop for WatchHandle {
    fn drop(&mut self) {
        let left = self.alarm.queue.state().all.remove(&self.number);
        drop(left);
    }
}

struct Alarm {
    target: Weak<dyn WatchTarget>,
    queue: Arc<WatchQueue>,
    is_off: AtomicBool,
    /// It is in the list already.
    is_due: AtomicBool,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        Self::wake_by_ref(&self);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.is_off.load(Ordering::SeqCst) || self.is_due.swap(true, Ordering::SeqCst) {
            return;
        }
        let task = {
            let mut state = self.queue.state();
            state.due.push(Arc::clone(self));
            state.task.take()
        };
        task.into_iter().for_each(Waker::wake);
    }
}

#[derive(Default)]
struct WatchQueue {
    state: Mutex<WatchState>,
}

#[derive(Default)]
struct WatchState {
    due: Vec<Arc<Alarm>>,
    /// The task, while it waits.
    task: Option<Waker>,
    all: BTreeMap<u64, Weak<dyn WatchTarget>>,
    next_number: u64,
    is_started: bool,
    is_closed: bool,
}

impl WatchQueue {
    fn state(&self) -> MutexGuard<'_, WatchState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct WatchTask {
    queue: Arc<WatchQueue>,
}

impl Future for WatchTask {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let (due, is_more) = {
            let mut state = self.queue.state();
            if state.is_closed {
                return Poll::Ready(());
            }
            let count = state.due.len().min(LOOKS_A_TURN);
            let due: Vec<_> = state.due.drain(..count).collect();
            state.task = Some(cx.waker().clone());
            (due, !state.due.is_empty())
        };
        for alarm in due {
            alarm.is_due.store(false, Ordering::SeqCst);
            if let Some(target) = alarm.target.upgrade() {
                // It costs this connection, and no other.
                let looked = catch_unwind(AssertUnwindSafe(|| target.look()));
                if looked.is_err() {
                    let _ = catch_unwind(AssertUnwindSafe(|| target.give_up()));
                }
            }
        }
        if is_more {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl Drop for WatchTask {
    fn drop(&mut self) {
        let all = {
            let mut state = self.queue.state();
            if state.is_closed {
                return;
            }
            std::mem::take(&mut state.all)
        };
        all.into_values().filter_map(|target| target.upgrade()).for_each(|target| target.runtime_ended());
    }
}
