//! A cluster: its state behind one lock, the owners of slots as commands read them, and the pools of its nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, Weak};
use std::time::Duration;

use redis_manager_core::{Event, Health, Instant, LastError, Manager, PendingClose, Runtime};

use crate::deployment::cluster::args::ClusterArgs;
use crate::deployment::cluster::member::{ClusterMember, ReadTargets};
use crate::deployment::cluster::owner_table::OwnerTable;
use crate::deployment::cluster::state::cluster_io::{ClusterInput, ClusterOutput};
use crate::deployment::cluster::state::cluster_state::{ClusterSettings, ClusterState};
use crate::deployment::cluster::state::topology::ClusterNodeId;
use crate::deployment::cluster_metrics::ClusterCounters;
use crate::deployment::read_from::ReadFrom;
use crate::deployment::signal::Signal;
use crate::network::Network;
use crate::redis_node::{Address, Hooks, PoolArgs, RedisConnector};

/// All that a cluster is made of.
pub(crate) struct ClusterContext {
    /// Of this cluster alone.
    pub(crate) nodes: Manager<RedisConnector>,
    pub(crate) network: Arc<dyn Network>,
    pub(crate) args: PoolArgs,
    pub(crate) hooks: Hooks,
    pub(crate) cluster_args: ClusterArgs,
    /// At least one.
    pub(crate) startup: Vec<Address>,
    pub(crate) lanes: usize,
}

/// A cluster.
pub(crate) struct Cluster {
    pub(crate) context: ClusterContext,
    state: Mutex<ClusterState>,
    pub(crate) read_from: ReadFrom,
    pub(crate) owners: OwnerTable,
    pub(super) members: RwLock<BTreeMap<Arc<str>, Arc<ClusterMember>>>,
    pub(super) by_id: RwLock<BTreeMap<ClusterNodeId, Arc<ClusterMember>>>,
    pub(super) read_targets: RwLock<Arc<ReadTargets>>,
    /// Counts the requests that take turns.
    turn: AtomicUsize,
    /// Raised with each new topology, and when a node fails or lives again.
    pub(crate) changed: Signal,
    /// Raised when a node may have failed, and when the monitor must wake earlier than it meant to.
    pub(crate) doubted: Arc<Signal>,
    /// Until when the monitor sleeps, in nanoseconds of the runtime's clock.
    pub(crate) monitor_sleeps_until: AtomicU64,
    pub(crate) counters: ClusterCounters,
    /// Since when the health is what it is.
    health: Mutex<(Health, Instant)>,
    names: Mutex<Vec<Arc<str>>>,
    closed: AtomicBool,
    itself: Weak<Self>,
}

impl Cluster {
    pub(crate) fn new(context: ClusterContext) -> Arc<Self> {
        let now = context.network.now();
        let args = &context.cluster_args;
        let read_from = args.reads();
        let settings = ClusterSettings {
            startup: context.startup.iter().map(|place| Arc::from(place.name_of_place())).collect(),
            require_full_coverage: args.require_full_coverage,
            reads_replicas: read_from != ReadFrom::Primary,
            refresh_interval: args.topology_refresh_interval,
            check_interval: args.node_check_interval,
        };
        Arc::new_cyclic(|itself| Self {
            state: Mutex::new(ClusterState::new(settings, now)),
            read_from,
            context,
            owners: OwnerTable::new(),
            members: RwLock::default(),
            by_id: RwLock::default(),
            read_targets: RwLock::default(),
            turn: AtomicUsize::new(0),
            changed: Signal::default(),
            doubted: Arc::default(),
            monitor_sleeps_until: AtomicU64::new(0),
            counters: ClusterCounters::default(),
            health: Mutex::new((Health::Down, now)),
            names: Mutex::default(),
            closed: AtomicBool::new(false),
            itself: Weak::clone(itself),
        })
    }

    pub(crate) fn runtime(&self) -> &dyn Runtime {
        &*self.context.network
    }

    pub(crate) fn weak(&self) -> Weak<Self> {
        Weak::clone(&self.itself)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Tells the state a fact, and does what follows.
    pub(crate) fn tell(&self, input: ClusterInput) {
        let now = self.runtime().now();
        let mut outputs = Vec::new();
        let (next, change) = {
            let mut state = self.state();
            if self.is_closed() {
                return;
            }
            state.handle(now, input);
            while let Some(output) = state.poll_output() {
                // Under the lock, so that the last word on a slot is the last one here, too.
                if let ClusterOutput::Owner { slot, node } = output {
                    self.owners.set(slot, node);
                } else {
                    outputs.push(output);
                }
            }
            let change = self.note_health(state.health(), now, &state);
            self.counters.note_primaries(state.is_all_well(), now);
            (state.next_deadline(), change)
        };
        if let Some(change) = change {
            self.tell_observer(&change);
        }
        let mut has_changed = false;
        for output in outputs {
            has_changed |= self.act(output);
        }
        if has_changed {
            self.publish_read_targets();
            self.changed.raise();
        }
        if next.as_nanos() < self.monitor_sleeps_until.load(Ordering::SeqCst) {
            self.doubted.raise();
        }
    }

    /// Does one thing. True if users of the topology must look again.
    fn act(&self, output: ClusterOutput) -> bool {
        match output {
            ClusterOutput::AskReport(address) => self.spawn_question(move |cluster| async move {
                let report = cluster.ask_report(&address).await;
                cluster.tell(ClusterInput::Reported { from: address, report });
            }),
            ClusterOutput::Probe(node) => self.spawn_question(move |cluster| async move {
                let alive = cluster.is_alive(node).await;
                cluster.tell(ClusterInput::Probed { node, alive });
            }),
            ClusterOutput::AskRole(node) => self.spawn_question(move |cluster| async move {
                let is_primary = cluster.is_primary(node).await;
                cluster.tell(ClusterInput::Role { node, is_primary });
            }),
            ClusterOutput::Cut(node) => {
                let member = read(&self.by_id).get(&node).cloned();
                member.iter().for_each(|member| member.connections.cut());
            }
            ClusterOutput::Forget(node) => self.forget(node),
            ClusterOutput::Changed { cause, failovers } => {
                self.counters.note_change(cause, failovers);
                return true;
            }
            ClusterOutput::HealthChanged => return true,
            ClusterOutput::RoundEnded => {
                self.close_strangers();
                return true;
            }
            ClusterOutput::Owner { .. } => {}
        }
        false
    }

    fn spawn_question<F: Future<Output = ()> + Send + 'static>(&self, question: impl FnOnce(Arc<Self>) -> F) {
        if let Some(cluster) = self.itself.upgrade() {
            self.runtime().spawn(Box::pin(question(cluster)));
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, ClusterState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The dials that fail now, of the nodes that are in use.
    pub(crate) fn failing_dials(&self) -> BTreeSet<ClusterNodeId> {
        let members: Vec<_> = read(&self.by_id).iter().map(|(node, member)| (*node, Arc::clone(member))).collect();
        members.into_iter().filter(|(_, member)| member.is_down()).map(|(node, _)| node).collect()
    }

    pub(crate) fn next_turn(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    fn note_health(&self, health: Health, now: Instant, state: &ClusterState) -> Option<Event> {
        let mut noted = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        let (from, since) = *noted;
        if from == health {
            return None;
        }
        *noted = (health, now);
        let why = state.why_not_up().map(|error| Arc::from(error.to_string()));
        Some(Event::HealthChanged { from, to: health, lasted: now.saturating_duration_since(since), why })
    }

    /// Tells what has happened to the cluster, by each of its names. A panic of the observer costs nothing but that event.
    fn tell_observer(&self, event: &Event) {
        if let Some(observer) = self.context.nodes.config().observer() {
            let names = self.names().clone();
            for name in names.iter() {
                let _ = catch_unwind(AssertUnwindSafe(|| observer.event(name, event)));
            }
        }
    }

    /// The names under which it was added, without secrets.
    pub(crate) fn names(&self) -> MutexGuard<'_, Vec<Arc<str>>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the cluster is doing, and since when.
    pub(crate) fn health(&self) -> (Health, Instant) {
        *self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why it is not up, if it is not.
    pub(crate) fn last_error(&self) -> Option<LastError> {
        self.state().why_not_up().map(|error| error.to_last_error())
    }

    /// A request waits for a node: it may have failed.
    pub(crate) fn doubt(&self) {
        self.doubted.raise();
    }

    /// A request has failed at a node: the topology may be out of date.
    pub(crate) fn suspect(&self) {
        self.tell(ClusterInput::Wanted);
        self.doubted.raise();
    }

    /// A node has redirected a slot.
    pub(crate) fn moved(&self, slot: u16, to: &str) {
        self.tell(ClusterInput::Moved { slot, to: Arc::from(to) });
    }

    /// No command is sent from now on, and no node lends anything; then the shared connections are returned.
    pub(crate) fn begin_close(&self, timeout: Duration) -> PendingClose<RedisConnector> {
        {
            let _state = self.state();
            self.closed.store(true, Ordering::SeqCst);
            self.owners.clear();
        }
        let closing = self.context.nodes.begin_close(timeout);
        let members = std::mem::take(&mut *self.members.write().unwrap_or_else(PoisonError::into_inner));
        drop(std::mem::take(&mut *self.by_id.write().unwrap_or_else(PoisonError::into_inner)));
        members.values().for_each(|member| member.connections.close());
        self.changed.raise();
        self.doubted.raise();
        closing
    }

    /// A random number from 0 to 1.
    pub(crate) fn chance(&self) -> f64 {
        (self.runtime().seed() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Wakes the monitor, which then ends.
        self.doubted.raise();
    }
}

/// A lock that was poisoned guards what it guarded.
pub(super) fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}
