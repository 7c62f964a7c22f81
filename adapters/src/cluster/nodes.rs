//! A cluster as its manager holds it: the topology, and the pools of the nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::task::Poll;
use std::time::Duration;

use redis_manager_core::{AcquireError, Instant, Lease, Manager, NodePool, PendingClose, Runtime};

use crate::cluster::args::ClusterArgs;
use crate::cluster::cluster_metrics::{ClusterCounters, TopologyChange};
use crate::cluster::signal::Signal;
use crate::cluster::topology::Topology;
use crate::error::GetClientError;
use crate::network::Network;
use crate::redis_node::{Address, ClusterMembership, Hooks, PoolArgs, RedisConnector, Session, SharedConnections, redact};

/// How long a replica that refused a read is not read from.
const UNFIT_FOR: Duration = Duration::from_secs(1);

/// All parts of a cluster.
pub(crate) struct ClusterContext {
    pub(crate) nodes: Manager<RedisConnector>,
    pub(crate) network: Arc<dyn Network>,
    pub(crate) args: PoolArgs,
    pub(crate) hooks: Hooks,
    pub(crate) cluster_args: ClusterArgs,
    /// At least one.
    pub(crate) startup: Vec<Address>,
    pub(crate) lanes: usize,
}

/// A cluster. All names under which it was added are one cluster, with the same nodes.
pub(crate) struct Cluster {
    pub(crate) setup: ClusterContext,
    /// Its number, for the redis crate: there is no place for a reference.
    pub(crate) key: u64,
    topology: RwLock<Arc<Topology>>,
    /// Locked while the next topology is made of the present one.
    adopting: Mutex<()>,
    members: Mutex<BTreeMap<String, Arc<ClusterMember>>>,
    /// Raised with each new topology.
    pub(crate) changed: Signal,
    /// Raised when the topology may be out of date, or a node may have failed.
    pub(crate) doubted: Arc<Signal>,
    /// Locked by the caller that asks the nodes.
    pub(crate) refreshing: async_lock::Mutex<()>,
    /// In nanoseconds of the runtime's clock; 0 if it never was.
    pub(crate) refreshed_at: AtomicU64,
    /// Nodes that gave no sign of life in the last check.
    pub(crate) silent: Mutex<BTreeSet<String>>,
    pub(crate) counters: ClusterCounters,
    /// A check of the nodes is in progress.
    pub(crate) is_looking: AtomicBool,
    /// No primary can be reached.
    pub(crate) down: AtomicBool,
    /// A node has redirected a slot, or was found not to serve: the topology must be requested again.
    has_moved: AtomicBool,
    watched: AtomicBool,
    closed: AtomicBool,
    /// Effects under way; see [`errand`](Cluster::errand).
    errands: Mutex<BTreeMap<u64, NudgeState>>,
    next_errand: AtomicU64,
}

/// Whether a node has seen an errand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NudgeState {
    NotYet,
    Once,
}

/// One node of a cluster, with its pools.
pub(crate) struct ClusterMember {
    pub(crate) address: String,
    pub(crate) connections: Arc<SharedConnections>,
    /// In nanoseconds of the runtime's clock.
    unfit_until: AtomicU64,
}

impl ClusterMember {
    pub(crate) fn pool(&self) -> &NodePool<RedisConnector> {
        &self.connections.pool
    }

    /// As a replica it cannot be read from now.
    pub(crate) fn note_refusal(&self, now: Instant) {
        self.unfit_until.store((now + UNFIT_FOR).as_nanos(), Ordering::Relaxed);
    }

    pub(crate) fn unfit_until(&self) -> Instant {
        Instant::from_nanos(self.unfit_until.load(Ordering::Relaxed))
    }
}

impl Cluster {
    pub(crate) fn new(setup: ClusterContext) -> Arc<Self> {
        let cluster = Arc::new(Self {
            setup,
            key: crate::cluster::map::next_key(),
            topology: RwLock::default(),
            adopting: Mutex::default(),
            members: Mutex::default(),
            changed: Signal::default(),
            doubted: Arc::default(),
            refreshing: async_lock::Mutex::new(()),
            refreshed_at: AtomicU64::new(0),
            silent: Mutex::default(),
            counters: ClusterCounters::default(),
            is_looking: AtomicBool::new(false),
            down: AtomicBool::new(false),
            has_moved: AtomicBool::new(false),
            watched: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            errands: Mutex::default(),
            next_errand: AtomicU64::new(0),
        });
        crate::cluster::map::enter(&cluster);
        cluster
    }

    pub(crate) fn runtime(&self) -> &dyn Runtime {
        &*self.setup.network
    }

    pub(crate) fn topology(&self) -> Arc<Topology> {
        Arc::clone(&self.topology.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether no primary can be reached.
    pub(crate) fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed)
    }

    /// True for the first caller, until the monitor has ended.
    pub(crate) fn begin_watch(&self) -> bool {
        !self.watched.swap(true, Ordering::SeqCst)
    }

    pub(crate) fn end_watch(&self) {
        self.watched.store(false, Ordering::SeqCst);
    }

    /// The member at an address, with pools that begin to fill if it is new.
    pub(crate) fn member(&self, address: &str) -> Result<Arc<ClusterMember>, GetClientError> {
        let unknown = || GetClientError::UnknownNode { node: String::from(address) };
        if self.is_closed() {
            return Err(GetClientError::Closed { node: String::from(address) });
        }
        if let Some(member) = self.members().get(address).filter(|member| member.pool().is_open()) {
            return Ok(Arc::clone(member));
        }
        let (host, port) = address.rsplit_once(':').ok_or_else(unknown)?;
        let beside = self.setup.startup[0].beside(host, port.parse().map_err(|_| unknown())?);
        let place = beside.map_err(|_| unknown())?;
        let session = Session::fresh(&self.setup.args, place.login.protocol(), place.login.db());
        let pool = self.setup.nodes.open(address, || self.connector(place))?;
        let runtime = Arc::clone(&self.setup.network) as Arc<dyn Runtime>;
        let made = Arc::new(ClusterMember {
            address: String::from(address),
            connections: Arc::new(SharedConnections::new(pool, runtime, self.setup.lanes, session)),
            unfit_until: AtomicU64::new(0),
        });
        let mut members = self.members();
        // Another call may have made it meanwhile.
        let known = members.get(address).filter(|member| member.connections.is_of(made.pool())).cloned();
        let member = known.unwrap_or_else(|| Arc::clone(&made));
        let replaced = members.insert(String::from(address), Arc::clone(&member));
        drop(members);
        drop((replaced, made));
        if self.is_closed() {
            // It was closed meanwhile, perhaps before the member was inserted.
            let late = self.members().remove(address);
            self.close_members(late);
            return Err(GetClientError::Closed { node: String::from(address) });
        }
        Ok(member)
    }

    fn connector(&self, place: Address) -> RedisConnector {
        let (args, hooks) = (self.setup.args.clone(), self.setup.hooks.clone());
        let config = self.setup.nodes.config();
        let connector = RedisConnector::new(Arc::clone(&self.setup.network), place, args, hooks, config);
        connector.within(ClusterMembership { cluster: self.key, reading: self.setup.cluster_args.read_from_replicas })
    }

    /// The member that owns a slot, and the version of the topology that says so.
    pub(crate) fn owner(&self, name: &str, slot: u16) -> Result<(Arc<ClusterMember>, u64), GetClientError> {
        let version = self.changed.version();
        let topology = self.topology();
        if self.is_closed() {
            return Err(GetClientError::Closed { node: redact(name) });
        }
        let no_owner = || GetClientError::NoOwner { node: redact(name), slot };
        let owner = topology.owner(slot).ok_or_else(no_owner)?;
        Ok((self.member(owner)?, version))
    }

    /// A node has redirected a slot to another node.
    pub(crate) fn moved(&self, slot: u16, to: &str) {
        self.adopt(TopologyChange::Moved, |known| (known.owner(slot) != Some(to)).then(|| known.with_moved(slot, to)));
        self.ask_again();
    }

    /// Requests the topology from the nodes, as soon as it is due.
    pub(crate) fn ask_again(&self) {
        self.has_moved.store(true, Ordering::SeqCst);
        self.doubted.raise();
    }

    /// Whether a new topology was requested since the last call.
    pub(crate) fn take_moved(&self) -> bool {
        self.has_moved.swap(false, Ordering::SeqCst)
    }

    /// Makes the next topology of the present one, if there is one; one caller at a time, so that no update is lost.
    pub(crate) fn adopt(&self, cause: TopologyChange, next: impl FnOnce(&Topology) -> Option<Topology>) {
        let adopting = self.adopting.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.topology();
        let Some(next) = next(&known).filter(|_| !self.is_closed()) else { return };
        self.counters.note_change(cause, known.failovers_to(&next));
        *self.topology.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        drop(adopting);
        self.changed.raise();
    }

    /// Closes the pools of nodes that do not belong to the cluster any more.
    pub(crate) fn let_go(&self) {
        let topology = self.topology();
        let gone: Vec<_> = {
            let mut members = self.members();
            let (kept, gone) = std::mem::take(&mut *members).into_iter().partition(|(address, _)| topology.contains(address));
            *members = kept;
            let gone: BTreeMap<_, _> = gone;
            gone.into_values().collect()
        };
        self.close_members(gone);
    }

    /// Closes the pools of former members, in the background.
    fn close_members(&self, gone: impl IntoIterator<Item = Arc<ClusterMember>>) {
        let timeout = self.setup.nodes.config().default_timeout();
        for member in gone {
            let closing = self.setup.nodes.begin_close_nodes([member.address.as_str()], timeout);
            member.connections.close();
            self.runtime().spawn(Box::pin(closing.drained()));
        }
    }

    /// The cluster is in use, perhaps again.
    pub(crate) fn reopen(&self) {
        self.closed.store(false, Ordering::SeqCst);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// No command is sent from now on, and no node lends anything; then the shared connections are returned.
    pub(crate) fn close(&self, timeout: Duration) -> PendingClose<RedisConnector> {
        let adopting = self.adopting.lock().unwrap_or_else(PoisonError::into_inner);
        self.closed.store(true, Ordering::SeqCst);
        let members = std::mem::take(&mut *self.members());
        let closing = self.setup.nodes.begin_close_nodes(members.keys().map(String::as_str), timeout);
        members.values().for_each(|member| member.connections.close());
        *self.topology.write().unwrap_or_else(PoisonError::into_inner) = Arc::default();
        drop(adopting);
        self.changed.raise();
        self.doubted.raise();
        closing
    }

    /// Lends a connection to the owner of a slot, and follows the slot while the call waits. A caller in a queue stays there
    /// until the slot belongs to another node.
    pub(crate) async fn lend(&self, name: &str, slot: u16, timeout: Duration) -> Result<Lease<RedisConnector>, GetClientError> {
        let deadline = self.runtime().now() + timeout;
        loop {
            let (member, version) = self.owner(name, slot)?;
            let left = deadline.saturating_duration_since(self.runtime().now());
            let mut lent = member.pool().get_timeout(left);
            let mut elsewhere = pin!(self.until_owned_by_another(slot, &member, version));
            let outcome = poll_fn(|cx| match Pin::new(&mut lent).poll(cx) {
                Poll::Ready(lent) => Poll::Ready(Some(lent)),
                Poll::Pending => elsewhere.as_mut().poll(cx).map(|()| None),
            })
            .await;
            match outcome {
                Some(Ok(lease)) => return Ok(lease),
                // Its pools were just closed because it left the cluster.
                Some(Err(AcquireError::Closed { .. })) if self.changed.version() > version && left > Duration::ZERO => {}
                Some(Err(error)) => return Err(error.into()),
                None => {}
            }
        }
    }

    async fn until_owned_by_another(&self, slot: u16, member: &ClusterMember, mut seen: u64) {
        // There is no free connection: the monitor should check the node.
        self.doubted.raise();
        loop {
            seen = self.changed.beyond(seen).await;
            if self.topology().owner(slot) != Some(member.address.as_str()) || member.connections.is_closed() {
                return;
            }
        }
    }

    /// A random number from 0 to 1.
    pub(crate) fn chance(&self) -> f64 {
        (self.runtime().seed() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Begins an errand; see [`is_first_errand`](Self::is_first_errand).
    pub(crate) fn begin_errand(&self) -> u64 {
        let number = self.next_errand.fetch_add(1, Ordering::Relaxed);
        self.errands().insert(number, NudgeState::NotYet);
        number
    }

    pub(crate) fn end_errand(&self, number: u64) {
        self.errands().remove(&number);
    }

    /// Whether this is the first request of an errand in progress.
    pub(crate) fn is_first_errand(&self, number: u64) -> bool {
        self.errands().get_mut(&number).is_some_and(|seen| std::mem::replace(seen, NudgeState::Once) == NudgeState::NotYet)
    }

    fn errands(&self) -> MutexGuard<'_, BTreeMap<u64, NudgeState>> {
        self.errands.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn members(&self) -> MutexGuard<'_, BTreeMap<String, Arc<ClusterMember>>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn weak(self: &Arc<Self>) -> Weak<Self> {
        Arc::downgrade(self)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        crate::cluster::map::leave(self.key);
        // Wakes the monitor, which then ends.
        self.doubted.raise();
    }
}
