//! The connections that are ended at once when the pools of a node close: subscriptions, and commands that block on the server.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis_manager_core::Runtime;

use crate::redis_node::socket::Socket;
use crate::redis_node::socket_end::SocketEnd;

/// Time for the server to release a blocked command, which needs one round trip. A silent or overloaded server gets no more
/// time.
const LAST_REPLY: Duration = Duration::from_millis(500);

/// The connections of one node that wait on the server. Other connections have no cost.
#[derive(Default)]
pub(crate) struct CloseRegistry {
    state: Mutex<RegistryState>,
}

#[derive(Default)]
struct RegistryState {
    closed: bool,
    next_number: u64,
    waiting: BTreeMap<u64, (Arc<Socket>, WaitsFor)>,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitsFor {
    /// For messages: they are also published to other subscribers, so nothing else is lost.
    Messages,
    /// For the reply of a command that blocks. It may be on its way, with an element that was popped for this caller only.
    Reply,
}

impl CloseRegistry {
    /// Begins a wait, until the guard is dropped. `None` if the pools are closing: the wait must not begin.
    pub(crate) fn enter(self: &Arc<Self>, socket: &Arc<Socket>, waits_for: WaitsFor) -> Option<RegistryEntry> {
        let mut state = self.state();
        if state.closed {
            return None;
        }
        state.next_number += 1;
        let number = state.next_number;
        state.waiting.insert(number, (Arc::clone(socket), waits_for));
        Some(RegistryEntry { registry: Arc::clone(self), number })
    }

    /// Ends all waits, and those that would begin from now on.
    ///
    /// A command that blocks has its sending side shut down: the server then releases it, and a reply that was sent before
    /// still arrives. One gap remains, a single turn of the server's event loop: if an element is pushed in the turn in which
    /// the server reads the end of the stream, it is popped for the blocked client, and Redis writes no reply to it.
    pub(crate) fn close(&self, runtime: &dyn Runtime) {
        let waiting = {
            let mut state = self.state();
            state.closed = true;
            std::mem::take(&mut state.waiting)
        };
        let mut replying = Vec::new();
        for (socket, waits_for) in waiting.into_values() {
            match waits_for {
                WaitsFor::Messages => socket.end(SocketEnd::PoolsClosed),
                WaitsFor::Reply => {
                    socket.finish(SocketEnd::PoolsClosed);
                    replying.push(socket);
                }
            }
        }
        if !replying.is_empty() {
            let sleep = runtime.sleep(LAST_REPLY);
            runtime.spawn(Box::pin(async move {
                sleep.await;
                replying.iter().for_each(|socket| socket.end(SocketEnd::PoolsClosed));
            }));
        }
    }

    fn state(&self) -> MutexGuard<'_, RegistryState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for CloseRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("CloseRegistry").field("closed", &state.closed).field("waiting", &state.waiting.len()).finish()
    }
}

/// One wait; see [`CloseRegistry::enter`].
pub(crate) struct RegistryEntry {
    registry: Arc<CloseRegistry>,
    number: u64,
}

impl Drop for RegistryEntry {
    fn drop(&mut self) {
        let left = self.registry.state().waiting.remove(&self.number);
        drop(left);
    }
}
