//! A cluster as its manager holds it: the picture of who owns what, and the pools of the nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::task::Poll;
use std::time::Duration;

use redis_manager_core::{GetClientError, Health, Instant, Lease, Manager, NodePool, Runtime};

use crate::cluster::args::ClusterArgs;
use crate::cluster::error::ClusterError;
use crate::cluster::signal::Signal;
use crate::cluster::topology::{Seen, Topology, read_view};
use crate::network::Network;
use crate::redis_node::{Address, Hub, Membership, NodeShare, PoolArgs, RedisConnector};

/// The topology is asked for once in so long at most.
pub(crate) const BETWEEN_REFRESHES: Duration = Duration::from_secs(1);

/// How often one who waits for a node looks whether it is down.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// Nodes that are asked for one picture: more than one, so that one that has slept is outvoted.
const ASKED_AT_ONCE: usize = 3;

/// All that a cluster is made of.
pub(crate) struct Setup {
    pub(crate) nodes: Manager<RedisConnector>,
    pub(crate) network: Arc<dyn Network>,
    pub(crate) args: PoolArgs,
    pub(crate) cluster_args: ClusterArgs,
    /// At least one.
    pub(crate) startup: Vec<Address>,
    pub(crate) lanes: usize,
}

/// A cluster. All names under which it was added are one cluster, with the same nodes.
pub(crate) struct Cluster {
    pub(crate) setup: Setup,
    /// What it is known by to those who cannot be given more than a word.
    pub(crate) key: u64,
    topology: RwLock<Arc<Topology>>,
    members: Mutex<BTreeMap<String, Arc<Member>>>,
    /// Raised with each new topology.
    pub(crate) changed: Signal,
    /// Raised when somebody has reason to think that the topology is out of date, or a node fails.
    pub(crate) doubted: Arc<Signal>,
    /// Held by the one who asks the nodes.
    refreshing: async_lock::Mutex<()>,
    /// In nanoseconds of the runtime's clock; 0 if it never was.
    refreshed_at: AtomicU64,
    /// Primaries that gave no sign of life when they were asked last.
    silent: Mutex<BTreeSet<String>>,
    /// No primary can be reached.
    down: AtomicBool,
    /// A node has said that a slot is elsewhere.
    has_moved: AtomicBool,
    watched: AtomicBool,
    closed: AtomicBool,
}

/// One node of a cluster, with its pools.
pub(crate) struct Member {
    pub(crate) address: String,
    pub(crate) hub: Arc<Hub>,
}

impl Member {
    pub(crate) fn pool(&self) -> &NodePool<RedisConnector> {
        &self.hub.pool
    }
}

impl Cluster {
    pub(crate) fn new(setup: Setup) -> Arc<Self> {
        let cluster = Arc::new(Self {
            setup,
            key: crate::cluster::map::next_key(),
            topology: RwLock::default(),
            members: Mutex::default(),
            changed: Signal::default(),
            doubted: Arc::default(),
            refreshing: async_lock::Mutex::new(()),
            refreshed_at: AtomicU64::new(0),
            silent: Mutex::default(),
            down: AtomicBool::new(false),
            has_moved: AtomicBool::new(false),
            watched: AtomicBool::new(false),
            closed: AtomicBool::new(false),
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

    /// True for the first who asks, until the watch has ended.
    pub(crate) fn begin_watch(&self) -> bool {
        !self.watched.swap(true, Ordering::SeqCst)
    }

    pub(crate) fn end_watch(&self) {
        self.watched.store(false, Ordering::SeqCst);
    }

    /// The member at an address, with pools that begin to fill if it is new.
    pub(crate) fn member(&self, address: &str) -> Result<Arc<Member>, GetClientError> {
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
        let home = place.login.db();
        let pool = self.setup.nodes.open(address, || self.connector(place))?;
        let runtime = Arc::clone(&self.setup.network) as Arc<dyn Runtime>;
        let timeout = self.setup.args.command_timeout;
        let made = Arc::new(Member {
            address: String::from(address),
            hub: Arc::new(Hub::new(pool, runtime, self.setup.lanes, home, timeout)),
        });
        let mut members = self.members();
        // Another call may have been quicker.
        let known = members.get(address).filter(|member| member.hub.is_of(made.pool())).cloned();
        let member = known.unwrap_or_else(|| Arc::clone(&made));
        let replaced = members.insert(String::from(address), Arc::clone(&member));
        drop(members);
        drop((replaced, made));
        Ok(member)
    }

    fn connector(&self, place: Address) -> RedisConnector {
        let check_timeout = self.setup.nodes.config().health_check_timeout();
        let args = self.setup.args.clone();
        let connector = RedisConnector::new(Arc::clone(&self.setup.network), place, args, check_timeout);
        connector.within(Membership { cluster: self.key, reading: self.setup.cluster_args.read_from_replicas })
    }

    /// The member that owns a slot, and the version of the topology that says so.
    pub(crate) fn owner(&self, slot: u16) -> Result<(Arc<Member>, u64), GetClientError> {
        let version = self.changed.version();
        let topology = self.topology();
        let owner =
            topology.owner(slot).ok_or_else(|| GetClientError::UnknownNode { node: format!("the owner of slot {slot}") })?;
        Ok((self.member(owner)?, version))
    }

    /// A node has said where a slot is.
    pub(crate) fn moved(&self, slot: u16, to: &str) {
        let known = self.topology();
        if known.owner(slot) != Some(to) {
            self.publish(known.with_moved(slot, to));
        }
        self.has_moved.store(true, Ordering::SeqCst);
        self.doubted.raise();
    }

    /// Whether a node has said that a slot is elsewhere since this was asked last.
    pub(crate) fn take_moved(&self) -> bool {
        self.has_moved.swap(false, Ordering::SeqCst)
    }

    fn publish(&self, next: Topology) {
        *self.topology.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        self.changed.raise();
    }

    /// Asks nodes who owns what, one caller at a time and once a second at most, and adopts the answer.
    ///
    /// # Errors
    ///
    /// Why nobody could tell.
    pub(crate) async fn refresh(&self) -> Result<(), ClusterError> {
        self.refresh_from(None).await
    }

    /// The same, but one node is asked first: one that is known to know more than others.
    pub(crate) async fn refresh_from(&self, first: Option<&str>) -> Result<(), ClusterError> {
        let _turn = self.refreshing.lock().await;
        let last = Instant::from_nanos(self.refreshed_at.load(Ordering::SeqCst));
        let now = self.runtime().now();
        let next = last + BETWEEN_REFRESHES;
        let is_known = self.topology().nodes().next().is_some();
        if is_known && now < next {
            self.runtime().sleep_until(next).await;
        }
        self.refreshed_at.store(self.runtime().now().as_nanos().max(1), Ordering::SeqCst);
        let views = self.ask_for_views(first).await?;
        let known = self.topology();
        let merged = Topology::merge(&known, views);
        if merged != *known {
            self.publish(merged);
        }
        self.let_go();
        Ok(())
    }

    /// The members that are well first, then all others, then the nodes at startup.
    fn candidates(&self) -> Vec<String> {
        let topology = self.topology();
        let rank = |address: &str| {
            let known = self.members().get(address).map(|member| member.pool().status().health);
            usize::from(known != Some(Health::Up))
        };
        let mut known: Vec<_> = topology.nodes().map(|seen| (rank(&seen.address), seen.failed, seen.address.clone())).collect();
        known.sort_unstable();
        let startup = self.setup.startup.iter().map(|place| place.name_of_place());
        let mut all: Vec<_> = known.into_iter().map(|(_, _, address)| address).collect();
        startup.for_each(|address| {
            if !all.contains(&address) {
                all.push(address)
            }
        });
        // So that it is not always the same ones that are asked.
        let well = all.iter().filter(|address| rank(address) == 0).count();
        if well > 0 {
            let turn = (self.changed.version() as usize + self.runtime().now().as_nanos() as usize) % well;
            all[..well].rotate_left(turn);
        }
        all
    }

    async fn ask_for_views(&self, first: Option<&str>) -> Result<Vec<Vec<Seen>>, ClusterError> {
        let mut failure = None;
        if let Some(first) = first
            && let Ok(view) = self.ask_view(first).await
        {
            return Ok(vec![view]);
        }
        for some in self.candidates().chunks(ASKED_AT_ONCE) {
            let mut views = Vec::new();
            for answer in self.ask_all(some).await {
                match answer {
                    Ok(view) => views.push(view),
                    Err(error) => failure = Some(error),
                }
            }
            if !views.is_empty() {
                return Ok(views);
            }
        }
        Err(failure.unwrap_or(ClusterError::NoNode))
    }

    /// Asks several nodes at once; one that does not answer costs its own time only.
    async fn ask_all(&self, addresses: &[String]) -> Vec<Result<Vec<Seen>, ClusterError>> {
        let mut asked: Vec<_> = addresses.iter().map(|address| Box::pin(self.ask_view(address))).collect();
        let mut answers = Vec::new();
        poll_fn(|cx| {
            asked.retain_mut(|view| match view.as_mut().poll(cx) {
                Poll::Ready(answer) => {
                    answers.push(answer);
                    false
                }
                Poll::Pending => true,
            });
            // One answer is enough: others that are slow may be those that fail.
            let enough = answers.iter().any(Result::is_ok);
            if asked.is_empty() || enough { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        answers
    }

    async fn ask_view(&self, address: &str) -> Result<Vec<Seen>, ClusterError> {
        let mut cmd = redis::cmd("CLUSTER");
        cmd.arg("NODES");
        let text: String = self.ask(address, &cmd).await?;
        let view = read_view(&text, address);
        if view.is_empty() {
            return Err(ClusterError::Unreadable { address: String::from(address) });
        }
        Ok(view)
    }

    /// Asks one node something on a connection of our own, for `health_check_timeout` at most beyond its connecting.
    pub(crate) async fn ask<T: redis::FromRedisValue>(&self, address: &str, cmd: &redis::Cmd) -> Result<T, ClusterError> {
        let failed = |error: String| ClusterError::NoAnswer { address: String::from(address), error };
        let member = self.member(address).map_err(|error| failed(error.to_string()))?;
        let limit = self.setup.nodes.config().health_check_timeout();
        let mut client = self.ready(&member).await.map_err(failed)?;
        let asked = redis::aio::ConnectionLike::req_packed_command(&mut client, cmd);
        let Some(answered) = within(self.runtime(), limit, asked).await else {
            return Err(failed(format!("no answer within {limit:?}")));
        };
        let value = answered.and_then(redis::Value::extract_error).map_err(|error| ClusterError::of_reply(address, &error))?;
        redis::from_redis_value(value).map_err(|error| failed(error.to_string()))
    }

    /// Waits for a connection, but not when the node is known to be down.
    async fn ready(&self, member: &Member) -> Result<NodeShare, String> {
        let mut ready = pin!(NodeShare::ready(Arc::clone(&member.hub), self.patience(member)));
        let mut look = self.runtime().sleep(BETWEEN_LOOKS);
        poll_fn(|cx| {
            if let Poll::Ready(ready) = ready.as_mut().poll(cx) {
                return Poll::Ready(ready.map_err(|error| error.to_string()));
            }
            while look.as_mut().poll(cx).is_ready() {
                let status = member.pool().status();
                if let (Health::Down, Some(error)) = (status.health, status.last_error) {
                    return Poll::Ready(Err(error));
                }
                look = self.runtime().sleep(BETWEEN_LOOKS);
            }
            Poll::Pending
        })
        .await
    }

    /// A node that was well is asked at once; one that is new may take as long as connecting does.
    fn patience(&self, member: &Member) -> Duration {
        let known = self.topology().knows(&member.address);
        let config = self.setup.nodes.config();
        if known { config.health_check_timeout() } else { self.setup.args.connect_timeout.min(config.default_timeout()) }
    }

    /// Asks several nodes the same, at once; those that answer within `limit`, with their answers.
    pub(crate) async fn ask_each(&self, addresses: &[String], cmd: &redis::Cmd, limit: Duration) -> Vec<(String, redis::Value)> {
        let mut asked: Vec<_> =
            addresses.iter().map(|address| (address, Box::pin(self.ask::<redis::Value>(address, cmd)))).collect();
        let mut answers = Vec::new();
        let all = poll_fn(|cx| {
            asked.retain_mut(|(address, answer)| match answer.as_mut().poll(cx) {
                Poll::Ready(answer) => {
                    answers.extend(answer.ok().map(|answer| (address.clone(), answer)));
                    false
                }
                Poll::Pending => true,
            });
            if asked.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        });
        let _whether_all_did = within(self.runtime(), limit, all).await;
        answers
    }

    /// Asks every primary for a sign of life, and notes those that give none.
    pub(crate) async fn look_for_silence(&self) {
        let primaries = self.topology().primaries();
        let limit = self.setup.nodes.config().health_check_timeout();
        let alive: BTreeSet<_> =
            self.ask_each(&primaries, &redis::cmd("PING"), limit).await.into_iter().map(|(address, _)| address).collect();
        let silent = primaries.into_iter().filter(|address| !alive.contains(address)).collect();
        let before = std::mem::replace(&mut *self.silent.lock().unwrap_or_else(PoisonError::into_inner), silent);
        if self.judge() != before.is_empty() {
            self.doubted.raise();
        }
    }

    /// Notes how the primaries are. True if all of them are well.
    pub(crate) fn judge(&self) -> bool {
        let (primaries, ailing) = (self.topology().primaries(), self.ailing());
        self.down.store(!ailing.is_empty() && ailing.len() == primaries.len(), Ordering::Relaxed);
        ailing.is_empty()
    }

    /// Primaries that are not well.
    pub(crate) fn ailing(&self) -> Vec<String> {
        let silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let members = self.members().clone();
        let fails = |address: &String| members.get(address).is_some_and(|member| member.pool().status().health == Health::Down);
        self.topology().primaries().into_iter().filter(|address| silent.contains(address) || fails(address)).collect()
    }

    /// Whether the topology may be asked for again already.
    pub(crate) fn is_refresh_due(&self) -> bool {
        let last = Instant::from_nanos(self.refreshed_at.load(Ordering::SeqCst));
        self.runtime().now() >= last + BETWEEN_REFRESHES
    }

    /// Evenly from 0 to 1.
    pub(crate) fn chance(&self) -> f64 {
        (self.runtime().seed() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Closes the pools of nodes that are no part of the cluster any more.
    fn let_go(&self) {
        let topology = self.topology();
        let gone: Vec<_> = {
            let mut members = self.members();
            let (kept, gone) = std::mem::take(&mut *members).into_iter().partition(|(address, _)| topology.knows(address));
            *members = kept;
            let gone: BTreeMap<_, _> = gone;
            gone.into_values().collect()
        };
        for member in gone {
            member.hub.close();
            let (nodes, timeout) = (self.setup.nodes.clone(), self.setup.nodes.config().default_timeout());
            let address = member.address.clone();
            self.runtime().spawn(Box::pin(async move { nodes.close_node(&address, timeout).await }));
        }
    }

    /// It is in use, again perhaps.
    pub(crate) fn reopen(&self) {
        self.closed.store(false, Ordering::SeqCst);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// No command is sent from now on; returns the nodes, whose pools are still to be closed.
    pub(crate) fn close(&self) -> Vec<String> {
        self.closed.store(true, Ordering::SeqCst);
        let members = std::mem::take(&mut *self.members());
        members.values().for_each(|member| member.hub.close());
        *self.topology.write().unwrap_or_else(PoisonError::into_inner) = Arc::default();
        self.changed.raise();
        self.doubted.raise();
        members.into_keys().collect()
    }

    /// Lends a connection to the owner of a slot, wherever that goes while the call waits.
    pub(crate) async fn lend(&self, slot: u16, timeout: Duration) -> Result<Lease<RedisConnector>, GetClientError> {
        let deadline = self.runtime().now() + timeout;
        loop {
            let (member, version) = self.owner(slot)?;
            let left = deadline.saturating_duration_since(self.runtime().now());
            let (mut lent, mut changed) = (member.pool().get_timeout(left), self.changed.beyond(version));
            let mut waited = false;
            let outcome = poll_fn(|cx| {
                if let Poll::Ready(lent) = Pin::new(&mut lent).poll(cx) {
                    return Poll::Ready(Some(lent));
                }
                if !std::mem::replace(&mut waited, true) {
                    self.doubted.raise();
                }
                Pin::new(&mut changed).poll(cx).map(|_| None)
            })
            .await;
            match outcome {
                Some(Ok(lease)) => return Ok(lease),
                // Its pools have just been closed because it left.
                Some(Err(GetClientError::Closed { .. })) if self.changed.version() > version && left > Duration::ZERO => {}
                Some(Err(error)) => return Err(error),
                None => {}
            }
        }
    }

    pub(crate) fn members(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Member>>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn weak(self: &Arc<Self>) -> Weak<Self> {
        Arc::downgrade(self)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        crate::cluster::map::leave(self.key);
        // The watch finds nobody any more.
        self.doubted.raise();
    }
}

/// Waits for all of them, at once.
pub(crate) async fn all(waits: impl IntoIterator<Item = impl Future<Output = ()>>) {
    let mut waits: Vec<_> = waits.into_iter().map(Box::pin).collect();
    poll_fn(|cx| {
        waits.retain_mut(|wait| wait.as_mut().poll(cx).is_pending());
        if waits.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Waits for something, no longer than `limit`.
pub(crate) async fn within<T>(runtime: &dyn Runtime, limit: Duration, awaited: impl Future<Output = T>) -> Option<T> {
    let (mut awaited, mut sleep) = (pin!(awaited), runtime.sleep(limit));
    poll_fn(|cx| match awaited.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => sleep.as_mut().poll(cx).map(|()| None),
    })
    .await
}
