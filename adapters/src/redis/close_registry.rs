//! What the pools of a node end at once when they close: subscriptions, and commands that block on the server.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis_manager_core::Runtime;

use crate::redis_node::socket::Socket;
use crate::redis_node::socket_end::SocketEnd;

/// How long the server has to let go of a command that blocks. It needs a round trip; one that is silent, or starved, gets no
/// more.
const LAST_REPLY: Duration = Duration::from_millis(500);

/// The connections of one node that wait for something at the server. Others pay nothing for it.
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
    /// For messages: nothing is lost with it that has not been published to others, too.
    Messages,
    /// For the reply of a command that blocks, which may be on its way, with an element that nobody else gets.
    Reply,
}

impl CloseRegistry {
    /// A wait begins, until the guard is dropped; none if the pools are closing: it must not begin.
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

    /// Ends all that waits, and all that would from now on.
    ///
    /// A command that blocks has its sending side shut: the server lets go of it, and a reply that it had sent before still
    /// arrives. What is left is one turn of the server's event loop: an element that is pushed in the same turn in which it
    /// reads the end goes to the blocked client, and Redis writes no reply to a client whose end it has read.
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
