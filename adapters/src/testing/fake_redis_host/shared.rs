//! What the handle of a fake Redis shares with its tasks: the machine, where it is, and the way back to its clients.

use std::any::Any;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::time::Duration;

use redis_manager_core::{Instant, Spawn, Task, Timer};

use crate::testing::fake_network::{FakeNetwork, FakeSender};
use crate::testing::fake_redis::{ConnectionId, Output, Server};

/// Wakes the task of a cluster, and says why.
#[derive(Default)]
pub(in crate::testing) struct ClusterBell {
    is_rung: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl ClusterBell {
    pub(in crate::testing) fn ring(&self) {
        self.is_rung.store(true, Ordering::SeqCst);
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        waker.into_iter().for_each(Waker::wake);
    }

    /// Whether it was rung since the last call; if not, it wakes when it is.
    pub(in crate::testing) fn take(&self, waker: &Waker) -> bool {
        *self.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker.clone());
        self.is_rung.swap(false, Ordering::SeqCst)
    }
}

pub(in crate::testing) struct SharedServer {
    pub(super) network: FakeNetwork,
    pub(super) name: String,
    state: Mutex<HostState>,
    me: Weak<SharedServer>,
    /// Makes the task that follows a primary.
    follow: fn(Weak<SharedServer>, u64) -> Task,
}

pub(super) struct HostState {
    pub(super) server: Server,
    pub(super) address: SocketAddr,
    pub(super) senders: BTreeMap<ConnectionId, FakeSender>,
    /// Counts the starts: tasks of a former start end.
    pub(super) start: u64,
    pub(super) is_up: bool,
    pub(super) is_frozen: bool,
    pub(super) delay: Duration,
    /// How long a write is under way to a replica.
    pub(super) replication_delay: Duration,
    /// For how long it loads its data after a start.
    pub(super) loading_time: Duration,
    /// When a slow server has done what it was asked for.
    pub(super) busy_until: Instant,
    /// Of the task that ticks.
    pub(super) ticker: Option<Waker>,
    /// Of the task that follows a primary.
    pub(super) follower: Option<Waker>,
    /// The start that has such a task.
    followed_since: Option<u64>,
    /// Its replicas: they wait for its writes.
    watchers: Vec<Waker>,
    /// Of its cluster.
    bell: Option<Arc<ClusterBell>>,
}

impl HostState {
    pub(super) fn new(server: Server, address: SocketAddr) -> Self {
        Self {
            server,
            address,
            senders: BTreeMap::new(),
            start: 0,
            is_up: false,
            is_frozen: false,
            delay: Duration::ZERO,
            replication_delay: Duration::from_millis(1),
            loading_time: Duration::ZERO,
            busy_until: Instant::ZERO,
            ticker: None,
            follower: None,
            followed_since: None,
            watchers: Vec::new(),
            bell: None,
        }
    }

    pub(super) fn take_watchers(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.watchers)
    }
}

impl SharedServer {
    pub(super) fn create(
        network: FakeNetwork,
        name: String,
        state: HostState,
        follow: fn(Weak<SharedServer>, u64) -> Task,
    ) -> Arc<Self> {
        Arc::new_cyclic(|me| Self { network, name, state: Mutex::new(state), me: Weak::clone(me), follow })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, HostState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::testing) fn address(&self) -> SocketAddr {
        self.lock().address
    }

    /// Gives the machine an input, and sends what it puts out.
    pub(in crate::testing) fn act<R>(&self, input: impl FnOnce(&mut Server, Instant) -> R) -> R {
        let now = self.network.now();
        let mut state = self.lock();
        let result = input(&mut state.server, now);
        let mut outputs = Vec::new();
        while let Some(output) = state.server.poll_output() {
            match output {
                Output::Send(id, bytes) => outputs.extend(state.senders.get(&id).map(|sender| (sender.clone(), Some(bytes)))),
                Output::Close(id) => outputs.extend(state.senders.remove(&id).map(|sender| (sender, None))),
            }
        }
        let mut woken: Vec<Waker> = state.ticker.take().into_iter().collect();
        let mut follower = None;
        if state.server.take_news() {
            let start = Some(state.start);
            if state.is_up && state.server.primary().is_some() && state.followed_since != start {
                state.followed_since = start;
                follower = Some((self.follow)(Weak::clone(&self.me), state.start));
            }
            woken.extend(state.follower.take());
            woken.append(&mut state.watchers);
        }
        let bell = if state.server.take_cluster_news() { state.bell.clone() } else { None };
        drop(state);
        for (sender, bytes) in outputs {
            match bytes {
                Some(bytes) => sender.send(&bytes),
                None => sender.close(),
            }
        }
        woken.into_iter().for_each(Waker::wake);
        if let Some(follower) = follower {
            self.network.spawn(follower);
        }
        if let Some(bell) = bell {
            bell.ring();
        }
        result
    }

    /// Rings when the other nodes of its cluster are to look at it.
    pub(in crate::testing) fn set_bell(&self, bell: Arc<ClusterBell>) {
        self.lock().bell = Some(bell);
    }

    /// Wakes the task when this server has news, or has ended or begun.
    pub(in crate::testing) fn watch(&self, waker: &Waker) {
        let mut state = self.lock();
        if !state.watchers.iter().any(|known| known.will_wake(waker)) {
            state.watchers.push(waker.clone());
        }
    }

    /// Whether its process runs: neither ended nor stopped.
    pub(in crate::testing) fn is_running(&self) -> bool {
        let state = self.lock();
        state.is_up && !state.is_frozen
    }

    /// Whether what it sends to other servers arrives, and what they send to it: no black hole is before it, in any direction.
    pub(in crate::testing) fn is_reachable(&self) -> bool {
        self.network.host(self.address()).passes()
    }

    /// When the work on what was read now is done; an error is when the server may be free.
    pub(super) fn work(&self) -> Result<Instant, Instant> {
        let now = self.network.now();
        let mut state = self.lock();
        if state.busy_until > now {
            return Err(state.busy_until);
        }
        state.busy_until = now + state.delay;
        Ok(state.busy_until)
    }
}

/// The fake Redis at an address, if one was started there.
pub(super) fn server_at(network: &FakeNetwork, address: SocketAddr) -> Option<Arc<SharedServer>> {
    let owner: Arc<dyn Any + Send + Sync> = network.owner_of(address)?;
    owner.downcast().ok()
}

/// The server of this start, while it lives.
pub(super) fn of_start(shared: &Weak<SharedServer>, start: u64) -> Option<Arc<SharedServer>> {
    let shared = shared.upgrade()?;
    let is_current = shared.lock().start == start;
    is_current.then_some(shared)
}
