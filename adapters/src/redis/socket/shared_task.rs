//! The task that reads and writes for shared clients.

use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use redis_manager_core::Spawn;

use super::Socket;
use super::state::{SocketDriver, TaskDriver, Turn, replace_waker};
use crate::redis_node::socket_end::SocketEnd;

impl Socket {
    /// From now on many tasks send on it, and a task of its own reads and writes for them.
    pub(crate) fn share(self: &Arc<Self>, runtime: &(impl Spawn + ?Sized)) {
        let number = {
            let mut state = self.state();
            let number = self.next_task();
            self.watch.set_off(true);
            state.driver = SocketDriver::Task(TaskDriver { number, waker: None, is_scheduled: true });
            number
        };
        let task = SharedTask { socket: Arc::downgrade(self), number, woken: Vec::new(), has_ended: false };
        runtime.spawn(Box::pin(task));
    }

    /// From now on one borrower sends on it.
    pub(crate) fn unshare(&self) {
        let task = {
            let mut state = self.state();
            let task = match &mut state.driver {
                SocketDriver::Task(task) => task.waker.take(),
                SocketDriver::Watcher | SocketDriver::Borrower => None,
            };
            self.rest_with(state);
            task
        };
        task.into_iter().for_each(Waker::wake);
    }
}

/// Ends when the connection is not shared any more.
struct SharedTask {
    socket: Weak<Socket>,
    number: u64,
    /// Empty between the turns; kept for its memory.
    woken: Vec<Waker>,
    has_ended: bool,
}

impl Future for SharedTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let Some(socket) = this.socket.upgrade() else {
            this.has_ended = true;
            return Poll::Ready(());
        };
        let turn = {
            let mut state = socket.state();
            match &mut state.driver {
                SocketDriver::Task(task) if task.number == this.number => {
                    task.is_scheduled = true;
                    // Its own: there is none to be dropped.
                    let _ = replace_waker(&mut task.waker, cx.waker());
                }
                SocketDriver::Task(_) | SocketDriver::Watcher | SocketDriver::Borrower => {
                    this.has_ended = true;
                    return Poll::Ready(());
                }
            }
            let turn = state.turn(cx, false);
            state.collect_ready(&mut this.woken);
            // Many callers that were woken send their next commands: once they all have run, one write carries these.
            let is_again = turn == Turn::Yields || (turn != Turn::Ended && this.woken.len() > 1);
            if let SocketDriver::Task(task) = &mut state.driver {
                task.is_scheduled = is_again;
            }
            if is_again { Turn::Yields } else { turn }
        };
        this.woken.drain(..).for_each(Waker::wake);
        match turn {
            Turn::Waits | Turn::Idle => Poll::Pending,
            Turn::Yields => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Turn::Ended => {
                this.has_ended = true;
                socket.end(SocketEnd::Lost);
                Poll::Ready(())
            }
        }
    }
}

impl Drop for SharedTask {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        // A panic is not the end of the runtime.
        let why = if std::thread::panicking() { SocketEnd::Lost } else { SocketEnd::RuntimeEnded };
        self.socket.upgrade().iter().for_each(|socket| socket.end(why));
    }
}
