//! Some nodes under one limit, each with a server of its own, watched at every step.

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis_manager_core::testing::{FakeConnector, FakeRuntime, FakeServer};
use redis_manager_core::{
    AcquireError, CloseReason, Instant, Lease, Manager, NodeConfig, NodeConfigBuilder, Runtime, Spawn, Task, Timer,
    TotalConnections, TotalLimit, WaitPhase,
};

use crate::support::SECOND;

/// A runtime that looks after every poll of every task. It ends the process's silence about tasks that panic: whatever a
/// task says of a broken rule is kept for the test to see.
pub(super) struct Watched {
    runtime: FakeRuntime,
    look: Arc<dyn Fn() + Send + Sync>,
    broken: Arc<Mutex<Vec<String>>>,
}

fn words_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied());
    String::from(text.unwrap_or("a panic without words"))
}

impl Timer for Watched {
    fn now(&self) -> Instant {
        self.runtime.now()
    }

    fn sleep_until(&self, deadline: Instant) -> Task {
        self.runtime.sleep_until(deadline)
    }
}

impl Spawn for Watched {
    fn spawn(&self, mut task: Task) {
        let (look, broken) = (Arc::clone(&self.look), Arc::clone(&self.broken));
        self.runtime.spawn(Box::pin(poll_fn(move |cx| {
            let polled = catch_unwind(AssertUnwindSafe(|| {
                let polled = task.as_mut().poll(cx);
                look();
                polled
            }));
            polled.unwrap_or_else(|payload| {
                broken.lock().expect("nothing panics under it").push(words_of(&*payload));
                resume_unwind(payload);
            })
        })));
    }
}

impl Runtime for Watched {
    fn seed(&self) -> u64 {
        self.runtime.seed()
    }
}

/// Some nodes, each with a server of its own, under one limit; watched at every step.
pub(super) struct LimitedNodes {
    pub(super) seed: u64,
    pub(super) runtime: FakeRuntime,
    pub(super) watched: Arc<Watched>,
    pub(super) servers: Vec<FakeServer>,
    pub(super) manager: Manager<FakeConnector>,
}

/// What all nodes together have is looked at after every step: by the manager, and by the servers.
type Looked = Arc<Mutex<Option<(Manager<FakeConnector>, Vec<FakeServer>)>>>;

fn look(seed: u64, looked: &Looked) {
    // Cloned, so that nothing panics under the lock.
    let Some((manager, servers)) = looked.lock().expect("nothing panics under it").clone() else { return };
    let TotalConnections { taken, limit, .. } = manager.total_connections().expect("there is a limit");
    let seen: usize = servers.iter().map(FakeServer::connections).sum();
    assert!(seen <= taken && taken <= limit, "seed {seed}: the servers see {seen}, the manager says {taken} of {limit}");
}

pub(super) fn names(count: usize) -> Vec<String> {
    (0..count).map(|node| format!("node-{node}")).collect()
}

/// Nodes that are not there yet; nothing is kept warm.
pub(super) fn fleet(seed: u64, nodes: usize, total: usize, settings: NodeConfigBuilder) -> LimitedNodes {
    let runtime = FakeRuntime::new(seed);
    let servers: Vec<_> = (0..nodes).map(|_| FakeServer::new(&runtime)).collect();
    let looked = Looked::default();
    let inside = Arc::clone(&looked);
    let look = Arc::new(move || look(seed, &inside));
    let watched = Arc::new(Watched { runtime: runtime.clone(), look, broken: Arc::default() });
    let config = settings.build().expect("the test's settings are valid");
    let limit = TotalLimit::new(total);
    let manager = Manager::with_total_limit(config, limit, Arc::clone(&watched) as Arc<dyn Runtime>).expect("a valid limit");
    *looked.lock().expect("nothing panics under it") = Some((manager.clone(), servers.clone()));
    LimitedNodes { seed, runtime, watched, servers, manager }
}

pub(super) fn cold() -> NodeConfigBuilder {
    NodeConfig::builder().min_idle(0).max_connection_size(8).max_pools_per_node(1)
}

impl Drop for LimitedNodes {
    /// However a test ends: nobody has seen a rule broken.
    fn drop(&mut self) {
        let broken = self.watched.broken.lock().expect("nothing panics under it");
        if !std::thread::panicking() {
            assert_eq!(*broken, [""; 0], "seed {}", self.seed);
        }
    }
}

impl LimitedNodes {
    pub(super) fn add(&self, node: usize, timeout: Duration) -> Result<(), AcquireError> {
        self.runtime.block_on(self.manager.add(&names(node + 1)[node], timeout, || self.servers[node].connector())).map(drop)
    }

    /// So many nodes are there.
    pub(super) fn with(self, nodes: usize) -> Self {
        (0..nodes).for_each(|node| self.add(node, SECOND).expect("there is room for it"));
        self
    }

    pub(super) fn get(&self, node: usize, timeout: Duration) -> Result<Lease<FakeConnector>, AcquireError> {
        self.runtime.block_on(self.manager.get(&format!("node-{node}"), timeout))
    }

    #[track_caller]
    pub(super) fn lend(&self, node: usize, count: usize) -> Vec<Lease<FakeConnector>> {
        (0..count).map(|_| self.get(node, SECOND).unwrap_or_else(|error| panic!("seed {}: {error}", self.seed))).collect()
    }

    pub(super) fn taken(&self) -> usize {
        self.manager.total_connections().expect("there is a limit").taken
    }

    pub(super) fn yielded(&self, node: usize) -> usize {
        self.servers[node].closes().iter().filter(|reason| **reason == CloseReason::Yielded).count()
    }

    /// A caller in the queue, who writes down the number of its node when it is served and gives the connection back then.
    pub(super) fn wait(&self, node: usize, timeout: Duration, served: &Served) {
        let (manager, served) = (self.manager.clone(), Arc::clone(served));
        self.watched.spawn(Box::pin(async move {
            let got = manager.get(&format!("node-{node}"), timeout).await;
            served.lock().expect("nothing panics under it").push((node, got.map(Box::new)));
        }));
        self.runtime.settle();
    }
}

/// Whoever was served, in order, and what it got: it keeps it.
pub(super) type Served = Arc<Mutex<Vec<(usize, Result<Box<Lease<FakeConnector>>, AcquireError>)>>>;

pub(super) fn nodes_of(served: &Served) -> Vec<usize> {
    served.lock().expect("nothing panics under it").iter().filter(|(_, got)| got.is_ok()).map(|(node, _)| *node).collect()
}

pub(super) fn is_at_the_limit(got: &Result<Lease<FakeConnector>, AcquireError>) -> bool {
    matches!(got, Err(AcquireError::Timeout { phase: WaitPhase::TotalLimit, .. }))
}
