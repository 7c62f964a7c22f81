//! How pushes of the server reach the subscriber.

use std::task::{Context, Poll};

use redis::PushInfo;

use super::Socket;
use super::state::{MOST_PUSHES, replace_waker};

impl Socket {
    /// From now on pushes of the server are kept.
    pub(crate) fn listen(&self) {
        self.state().machine.listen();
    }

    /// The next push; `None` if no more will arrive. The watcher reads them.
    pub(crate) fn poll_push(&self, cx: &mut Context<'_>) -> Poll<Option<PushInfo>> {
        let push = {
            let mut state = self.state();
            let Some(push) = state.machine.poll_push() else {
                if state.is_closed() || !state.machine.listens() {
                    return Poll::Ready(None);
                }
                let replaced = replace_waker(&mut state.listener, cx.waker());
                drop(state);
                drop(replaced);
                return Poll::Pending;
            };
            if !state.is_stalled || state.machine.kept_pushes() > MOST_PUSHES / 2 {
                return Poll::Ready(Some(push));
            }
            state.is_stalled = false;
            push
        };
        self.rest();
        Poll::Ready(Some(push))
    }
}
