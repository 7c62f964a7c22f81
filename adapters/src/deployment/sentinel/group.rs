//! The sentinels of a name: their state behind one lock, the questions that follow from it, and the place of the primary as dials
//! read it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use redis_manager_core::{Health, NodeConfig, Runtime};

use crate::deployment::host_port::HostPort;
use crate::deployment::kept_connection::KeptConnection;
use crate::deployment::sentinel::asking::{ask_sentinel, ask_server};
use crate::deployment::sentinel::failure::{why_no_primary, why_unknown};
use crate::deployment::sentinel::listening::AnnouncementReader;
use crate::deployment::sentinel::plan::{SentinelPlan, WitnessKind};
use crate::deployment::sentinel::primary_change::PrimaryChange;
use crate::deployment::sentinel::state::answer::SentinelFault;
use crate::deployment::sentinel::state::sentinel_io::{SentinelInput, SentinelOutput};
use crate::deployment::sentinel::state::sentinel_state::{SentinelSettings, SentinelState};
use crate::deployment::signal::Signal;
use crate::error::{ConnectFailure, FailureKind};
use crate::network::Network;
use crate::redis_node::parts::{DialPlace, DialTarget, FindPlace};
use crate::redis_node::{Address, Hooks, PoolArgs, RedisConnector, SharedConnections};

/// How long the commands in flight to a former primary may be answered.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// All that the sentinels of a name are asked with.
pub(crate) struct SentinelContext {
    pub(crate) network: Arc<dyn Network>,
    pub(crate) args: PoolArgs,
    pub(crate) config: NodeConfig,
    pub(crate) plan: SentinelPlan,
}

/// The sentinels of a name.
pub(crate) struct SentinelGroup {
    pub(crate) context: SentinelContext,
    state: Mutex<SentinelState>,
    /// The primary as it was published last, and how many were before it.
    place: Mutex<Option<(HostPort, u64)>>,
    peers: Mutex<BTreeMap<HostPort, Arc<KeptConnection>>>,
    /// The connections to the primary.
    connections: OnceLock<Weak<SharedConnections>>,
    /// Rounds of questions that have ended.
    rounds: AtomicU64,
    failovers: AtomicU64,
    last_failover: Mutex<Option<PrimaryChange>>,
    /// Raised when another primary is published, and when a round has ended.
    pub(crate) changed: Signal,
    /// Raised when the monitor must wake earlier than it meant to.
    pub(super) woken: Arc<Signal>,
    /// Until when the monitor sleeps, in nanoseconds of the runtime's clock.
    pub(super) monitor_sleeps_until: AtomicU64,
    closed: AtomicBool,
    itself: Weak<Self>,
}

impl SentinelGroup {
    pub(crate) fn new(context: SentinelContext) -> Arc<Self> {
        let SentinelPlan { args, given, .. } = &context.plan;
        let settings = SentinelSettings { given: given.clone(), poll_interval: args.poll_interval };
        let state = SentinelState::new(settings, context.network.now());
        Arc::new_cyclic(|itself| Self {
            context,
            state: Mutex::new(state),
            place: Mutex::default(),
            peers: Mutex::default(),
            connections: OnceLock::new(),
            rounds: AtomicU64::new(0),
            failovers: AtomicU64::new(0),
            last_failover: Mutex::default(),
            changed: Signal::default(),
            woken: Arc::default(),
            monitor_sleeps_until: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            itself: Weak::clone(itself),
        })
    }

    /// The connections that are replaced when the primary is another one.
    pub(crate) fn replaces(&self, connections: &Arc<SharedConnections>) {
        let _ = self.connections.set(Arc::downgrade(connections));
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

    /// Primaries that were replaced by another.
    pub(crate) fn failovers(&self) -> u64 {
        self.failovers.load(Ordering::Relaxed)
    }

    /// Tells the state a fact, and does what follows.
    pub(crate) fn tell(&self, input: SentinelInput) {
        let now = self.runtime().now();
        let mut outputs = Vec::new();
        let next = {
            let mut state = self.state();
            if self.is_closed() {
                return;
            }
            state.handle(now, input);
            while let Some(output) = state.poll_output() {
                // Under the lock, so that the last word is the last one here, too.
                if let SentinelOutput::Publish { place, .. } = &output {
                    let mut published = lock(&self.place);
                    let version = published.as_ref().map_or(0, |(_, version)| version + 1);
                    *published = Some((place.clone(), version));
                }
                outputs.push(output);
            }
            state.next_deadline()
        };
        outputs.into_iter().for_each(|output| self.act(output));
        if next.as_nanos() < self.monitor_sleeps_until.load(Ordering::SeqCst) {
            self.woken.raise();
        }
    }

    fn act(&self, output: SentinelOutput) {
        match output {
            SentinelOutput::Ask(place) => self.spawn_question(place),
            SentinelOutput::Listen(place) => match self.context.plan.witnesses {
                WitnessKind::Sentinels => self.listen(&place),
                // Servers announce nothing.
                WitnessKind::Servers => {}
            },
            SentinelOutput::Forget(place) => {
                let peer = lock(&self.peers).remove(&place);
                peer.iter().for_each(|peer| peer.leave());
            }
            SentinelOutput::Publish { place, before } => {
                if let Some(before) = before {
                    self.fail_over(&before, &place);
                }
                // Afterwards: subscribers that look now are lent no connection to the former primary.
                self.changed.raise();
            }
            SentinelOutput::RoundEnded => {
                self.rounds.fetch_add(1, Ordering::SeqCst);
                self.changed.raise();
            }
        }
    }

    /// The last primary that was replaced by another.
    pub(crate) fn last_failover(&self) -> Option<PrimaryChange> {
        lock(&self.last_failover).clone()
    }

    fn fail_over(&self, before: &HostPort, place: &HostPort) {
        let status = self.connections.get().and_then(Weak::upgrade).map(|connections| connections.pool.status());
        let impaired = status.filter(|status| status.health != Health::Up).map(|status| (status.health, status.health_for));
        let impaired_for = impaired.map(|(_, length)| length).unwrap_or_default();
        let change = PrimaryChange { from: before.to_string(), to: place.to_string(), impaired_for };
        let replaced = lock(&self.last_failover).replace(change);
        drop(replaced);
        self.failovers.fetch_add(1, Ordering::Relaxed);
        let took = impaired.map_or_else(String::new, |(health, length)| format!(", which had been {health} for {length:?}"));
        self.replace_connections(&format!("the primary is {place}, and was {before}{took}"));
    }

    /// All that leads to the former primary goes.
    fn replace_connections(&self, why: &str) {
        let Some(connections) = self.connections.get().and_then(Weak::upgrade) else { return };
        connections.pool.replace_server(why);
        let replaced = connections.replace();
        if !replaced.are_idle() {
            let last_words = self.runtime().sleep(LAST_WORDS);
            self.runtime().spawn(Box::pin(async move {
                last_words.await;
                drop(replaced);
            }));
        }
    }

    fn spawn_question(&self, place: HostPort) {
        let (group, network) = (self.weak(), Arc::clone(&self.context.network));
        let SentinelPlan { args, witnesses, .. } = &self.context.plan;
        let (name, limit, witnesses) = (args.primary_name.clone(), args.ask_timeout, *witnesses);
        let peer = self.peer(&place);
        self.runtime().spawn(Box::pin(async move {
            let answer = match peer {
                Ok(peer) => match witnesses {
                    WitnessKind::Sentinels => ask_sentinel(&peer, &*network as &dyn Runtime, &name, limit).await,
                    WitnessKind::Servers => ask_server(&peer, &*network as &dyn Runtime, &place, limit).await,
                },
                Err(fault) => Err(fault),
            };
            if let Some(group) = group.upgrade() {
                group.tell(SentinelInput::Answered { from: place, answer });
            }
        }));
    }

    fn listen(&self, place: &HostPort) {
        // One that cannot be dialled says so when it is asked.
        let Ok(peer) = self.peer(place) else { return };
        let SentinelPlan { args, .. } = &self.context.plan;
        let (group, from) = (self.weak(), place.clone());
        let hint = move || {
            if let Some(group) = group.upgrade() {
                group.tell(SentinelInput::Hinted { from: from.clone() });
            }
        };
        let listening = AnnouncementReader {
            hint: Box::new(hint),
            peer,
            network: Arc::clone(&self.context.network),
            primary_name: Arc::from(args.primary_name.as_str()),
            limit: args.ask_timeout,
        };
        self.runtime().spawn(Box::pin(listening.run()));
    }

    fn peer(&self, place: &HostPort) -> Result<Arc<KeptConnection>, SentinelFault> {
        let known = lock(&self.peers).get(place).cloned();
        if let Some(peer) = known {
            return Ok(peer);
        }
        let SentinelPlan { args, witnesses, given, sentinel, .. } = &self.context.plan;
        let mut address = sentinel.beside(&place.host, place.port).map_err(|words| SentinelFault::Unreachable {
            words,
            kind: FailureKind::Tls,
            is_permanent: true,
        })?;
        address.name = match witnesses {
            WitnessKind::Sentinels => format!("sentinel {place}"),
            WitnessKind::Servers => place.to_string(),
        };
        let network = Arc::clone(&self.context.network);
        let map = args.address_map.as_ref().filter(|_| !given.contains(place));
        // Not under the lock: it is code of users.
        let address = address.dialled_at(map.and_then(|map| map.dialled(&place.host, place.port)));
        let connector = RedisConnector::new(network, address, self.context.args.clone(), Hooks::default(), &self.context.config);
        let made = Arc::new(KeptConnection::new(connector));
        let mut peers = lock(&self.peers);
        if self.is_closed() {
            drop(peers);
            made.leave();
            return Ok(made);
        }
        // Another call may have made it meanwhile.
        Ok(Arc::clone(peers.entry(place.clone()).or_insert(made)))
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, SentinelState> {
        lock(&self.state)
    }

    /// The primary.
    pub(crate) fn primary(&self) -> Option<HostPort> {
        lock(&self.place).as_ref().map(|(place, _)| place.clone())
    }

    /// The servers that copy it, or should.
    pub(crate) fn replicas(&self) -> Vec<HostPort> {
        let SentinelPlan { witnesses, given, .. } = &self.context.plan;
        match witnesses {
            WitnessKind::Sentinels => self.state().replicas().iter().map(|replica| replica.place.clone()).collect(),
            WitnessKind::Servers => {
                let primary = self.primary();
                given.iter().filter(|place| Some(*place) != primary.as_ref()).cloned().collect()
            }
        }
    }

    fn failure(&self) -> ConnectFailure {
        let state = self.state();
        match self.context.plan.witnesses {
            WitnessKind::Sentinels => why_unknown(&self.context.plan.args.primary_name, state.sentinels()),
            WitnessKind::Servers => why_no_primary(state.sentinels()),
        }
    }

    /// How a data node is dialled.
    ///
    /// # Errors
    ///
    /// Why TLS cannot be used with it.
    pub(crate) fn data_address(&self, place: &HostPort) -> Result<Address, String> {
        let SentinelPlan { args, data, .. } = &self.context.plan;
        let address = data.beside(&place.host, place.port)?;
        let elsewhere = args.address_map.as_ref().and_then(|map| map.dialled(&place.host, place.port));
        Ok(address.dialled_at(elsewhere))
    }

    fn place_to_dial(&self, place: &HostPort, version: u64) -> Result<DialPlace, ConnectFailure> {
        let address = self.data_address(place).map_err(|reason| ConnectFailure::new(reason, FailureKind::Tls, true))?;
        Ok(DialPlace { address, version })
    }

    async fn find_place(&self) -> Result<DialPlace, ConnectFailure> {
        let asked = self.rounds.load(Ordering::SeqCst);
        loop {
            let seen = self.changed.version();
            let published = lock(&self.place).clone();
            if let Some((place, version)) = published {
                return self.place_to_dial(&place, version);
            }
            if self.is_closed() || self.rounds.load(Ordering::SeqCst) > asked {
                return Err(self.failure());
            }
            self.tell(SentinelInput::Wanted);
            self.changed.beyond(seen).await;
        }
    }

    /// No sentinel is asked any more.
    pub(crate) fn close(&self) {
        {
            let _state = self.state();
            self.closed.store(true, Ordering::SeqCst);
        }
        let peers = std::mem::take(&mut *lock(&self.peers));
        peers.values().for_each(|peer| peer.leave());
        self.changed.raise();
        self.woken.raise();
    }
}

impl DialTarget for SentinelGroup {
    fn find(&self) -> FindPlace<'_> {
        Box::pin(self.find_place())
    }

    fn moved<'a>(&'a self, place: &'a DialPlace) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            loop {
                let seen = self.changed.version();
                if lock(&self.place).as_ref().is_some_and(|(_, version)| *version != place.version) {
                    return;
                }
                self.changed.beyond(seen).await;
            }
        })
    }

    fn told_by(&self) -> &'static str {
        match self.context.plan.witnesses {
            WitnessKind::Sentinels => "by the sentinels",
            WitnessKind::Servers => "by its own word",
        }
    }

    fn doubt(&self) {
        self.tell(SentinelInput::Wanted);
    }

    fn redirected(&self, version: u64, to: &str) {
        let from = lock(&self.place).as_ref().filter(|(_, current)| *current == version).map(|(place, _)| place.clone());
        let to = to.rsplit_once(':').and_then(|(host, port)| HostPort::new(host, port.parse().ok()?).ok());
        match from.zip(to) {
            Some((from, to)) => self.tell(SentinelInput::Redirected { from, to }),
            None => self.doubt(),
        }
    }

    fn refuted(&self, place: &DialPlace) {
        let refuted = lock(&self.place).as_ref().filter(|(_, version)| *version == place.version).map(|(place, _)| place.clone());
        match refuted {
            Some(place) => self.tell(SentinelInput::Refuted { place }),
            None => self.doubt(),
        }
    }
}

impl Drop for SentinelGroup {
    fn drop(&mut self) {
        let peers = std::mem::take(&mut *lock(&self.peers));
        peers.values().for_each(|peer| peer.leave());
        // Wakes the monitor, which then ends.
        self.woken.raise();
    }
}

/// A lock that was poisoned guards what it guarded.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
