//! The replicas of a primary: their state behind one lock, the questions that follow from it, and the pools of those that are used.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use redis_manager_core::{Instant, Manager, Runtime, Task};

use crate::deployment::host_port::HostPort;
use crate::deployment::kept_connection::KeptConnection;
use crate::deployment::read_choice::{ReadCandidate, choose_reader};
use crate::deployment::read_from::ReadFrom;
use crate::deployment::replicas::member::ReplicaMember;
use crate::deployment::replicas::settings::ReplicaSettings;
use crate::deployment::replicas::state::replica_io::{ReplicaInput, ReplicaOutput};
use crate::deployment::replicas::state::replica_state::{ReadPlaces, ReplicaState};
use crate::deployment::replicas::state::server_report::ServerReport;
use crate::deployment::sentinel::SentinelGroup;
use crate::deployment::signal::Signal;
use crate::error::GetClientError;
use crate::network::Network;
use crate::redis_node::{Hooks, PoolArgs, RedisConnector, Session, SharedConnections};

/// How long the commands in flight to a server that is no replica any more may be answered.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// What the replicas of a primary are reached with.
pub(crate) struct ReplicaContext {
    /// Of this deployment alone; the primary is one of them.
    pub(crate) nodes: Manager<RedisConnector>,
    pub(crate) network: Arc<dyn Network>,
    pub(crate) args: PoolArgs,
    pub(crate) hooks: Hooks,
    pub(crate) lanes: usize,
    /// The name of the deployment, without secrets.
    pub(crate) shown: Arc<str>,
    pub(crate) settings: ReplicaSettings,
    /// Knows the roles of the servers.
    pub(crate) source: Arc<SentinelGroup>,
}

/// Where a read goes.
pub(crate) enum Reader {
    Primary,
    Replica(Arc<ReplicaMember>),
}

/// The replicas of a primary. They are asked from the first use on.
pub(crate) struct ReplicaGroup {
    pub(crate) context: ReplicaContext,
    state: Mutex<ReplicaState>,
    places: Mutex<Arc<ReadPlaces>>,
    members: Mutex<BTreeMap<HostPort, Arc<ReplicaMember>>>,
    /// The servers as they are asked.
    servers: Mutex<BTreeMap<HostPort, Arc<KeptConnection>>>,
    /// Raised when other replicas are fit.
    pub(crate) changed: Signal,
    pub(super) woken: Arc<Signal>,
    /// Until when the monitor sleeps, in nanoseconds of the runtime's clock.
    monitor_sleeps_until: AtomicU64,
    turn: AtomicUsize,
    pub(super) is_used: AtomicBool,
    closed: AtomicBool,
    pub(super) itself: Weak<Self>,
}

impl ReplicaGroup {
    pub(crate) fn new(context: ReplicaContext) -> Arc<Self> {
        let now = context.network.now();
        let ReplicaSettings { max_lag, check_interval, .. } = &context.settings;
        let state = Mutex::new(ReplicaState::new(*max_lag, *check_interval, now));
        Arc::new_cyclic(|itself| Self {
            context,
            state,
            places: Mutex::default(),
            members: Mutex::default(),
            servers: Mutex::default(),
            changed: Signal::default(),
            woken: Arc::default(),
            monitor_sleeps_until: AtomicU64::new(0),
            turn: AtomicUsize::new(0),
            is_used: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            itself: Weak::clone(itself),
        })
    }

    pub(crate) fn runtime(&self) -> &dyn Runtime {
        &*self.context.network
    }

    pub(crate) fn source(&self) -> &SentinelGroup {
        &self.context.source
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Takes in the roles of the servers, and that time has passed. What is returned ends when this is due again.
    pub(super) fn look(&self) -> Task {
        let (primary, replicas) = (self.source().primary(), self.source().replicas());
        self.tell(ReplicaInput::Servers { primary, replicas });
        let next = self.state().next_deadline(self.runtime().now());
        self.monitor_sleeps_until.store(next.as_nanos(), Ordering::SeqCst);
        self.runtime().sleep_until(next)
    }

    /// Tells the state a fact, and does what follows.
    pub(crate) fn tell(&self, input: ReplicaInput) {
        let now = self.runtime().now();
        let mut outputs = Vec::new();
        let next = {
            let mut state = self.state();
            if self.is_closed() {
                return;
            }
            state.handle(now, input);
            while let Some(output) = state.poll_output() {
                if output == ReplicaOutput::Changed {
                    // Under the lock, so that the last word is the last one here, too.
                    let replaced = std::mem::replace(&mut *lock(&self.places), Arc::new(state.places().clone()));
                    drop(replaced);
                }
                outputs.push(output);
            }
            state.next_deadline(now)
        };
        outputs.into_iter().for_each(|output| self.act(output));
        if next.as_nanos() < self.monitor_sleeps_until.load(Ordering::SeqCst) {
            self.woken.raise();
        }
    }

    fn act(&self, output: ReplicaOutput) {
        match output {
            ReplicaOutput::Ask(place) => self.spawn_question(place),
            ReplicaOutput::Changed => self.changed.raise(),
            ReplicaOutput::Left(place) => self.close_member(&place),
        }
    }

    fn spawn_question(&self, place: HostPort) {
        let (group, network) = (Weak::clone(&self.itself), Arc::clone(&self.context.network));
        let limit = self.context.settings.ask_timeout;
        let server = self.server(&place);
        self.runtime().spawn(Box::pin(async move {
            let answer = match server {
                Ok(server) => ask_report(&server, &*network as &dyn Runtime, limit).await,
                Err(words) => Err(words),
            };
            if let Some(group) = group.upgrade() {
                // Its pools may be less lucky than the question.
                let fault = lock(&group.members).get(&place).cloned().and_then(|member| member.fault());
                let answer = fault.map_or(answer, Err);
                group.tell(ReplicaInput::Answered { from: place, answer });
            }
        }));
    }

    fn server(&self, place: &HostPort) -> Result<Arc<KeptConnection>, String> {
        let known = lock(&self.servers).get(place).cloned();
        if let Some(server) = known {
            return Ok(server);
        }
        let made = Arc::new(KeptConnection::new(self.connector(place, Hooks::default())?));
        let mut servers = lock(&self.servers);
        if self.is_closed() {
            drop(servers);
            made.leave();
            return Ok(made);
        }
        // Another call may have made it meanwhile.
        Ok(Arc::clone(servers.entry(place.clone()).or_insert(made)))
    }

    fn connector(&self, place: &HostPort, hooks: Hooks) -> Result<RedisConnector, String> {
        let mut address = self.source().data_address(place)?;
        address.name = format!("{} replica {place}", self.context.shown);
        let (network, args) = (Arc::clone(&self.context.network), self.context.args.clone());
        Ok(RedisConnector::new(network, address, args, hooks, self.context.nodes.config()))
    }

    /// The pools of a replica, which begin to fill if it is new.
    pub(super) fn member(&self, place: &HostPort) -> Result<Arc<ReplicaMember>, GetClientError> {
        let known = lock(&self.members).get(place).filter(|member| member.pool().is_open()).cloned();
        if let Some(member) = known {
            return Ok(member);
        }
        let closed = || GetClientError::Closed { node: self.context.shown.to_string() };
        if self.is_closed() {
            return Err(closed());
        }
        // Not under the lock: it calls code of users, the address map and the observer.
        let connector = self.connector(place, self.context.hooks.clone());
        let connector = connector.map_err(|_| GetClientError::UnknownNode { node: place.to_string() })?;
        let session = Session::fresh(&self.context.args, connector.address.login.protocol(), connector.address.login.db());
        let pool = self.context.nodes.open(&key_of(place), || connector)?;
        let runtime = Arc::clone(&self.context.network) as Arc<dyn Runtime>;
        let connections = Arc::new(SharedConnections::new(pool, runtime, self.context.lanes, session));
        let made = Arc::new(ReplicaMember { place: place.clone(), connections });
        let (member, replaced) = {
            let mut members = lock(&self.members);
            match members.get(place).filter(|known| known.connections.is_of(made.pool())) {
                // Another call has made it meanwhile; the pool is the same.
                Some(known) => (Arc::clone(known), None),
                None => (Arc::clone(&made), members.insert(place.clone(), Arc::clone(&made))),
            }
        };
        drop((replaced, made));
        if self.is_closed() {
            member.connections.close();
            return Err(closed());
        }
        Ok(member)
    }

    fn close_member(&self, place: &HostPort) {
        let server = lock(&self.servers).remove(place);
        server.iter().for_each(|server| server.leave());
        let Some(member) = lock(&self.members).remove(place) else { return };
        let timeout = self.context.nodes.config().default_timeout();
        let closing = self.context.nodes.begin_close_nodes([&*key_of(place)], timeout);
        let last_words = self.runtime().sleep(LAST_WORDS);
        self.runtime().spawn(Box::pin(async move {
            last_words.await;
            member.connections.cut();
            member.connections.close();
            closing.drained().await;
        }));
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, ReplicaState> {
        lock(&self.state)
    }

    pub(crate) fn places(&self) -> Arc<ReadPlaces> {
        Arc::clone(&lock(&self.places))
    }

    /// Where a read goes now; `None` while there is no server for it. The primary is passed over where that is possible if it is
    /// `without_primary`.
    ///
    /// # Errors
    ///
    /// If the one that was chosen cannot have pools. It is left out next time.
    pub(crate) fn choose(&self, from: &ReadFrom, without_primary: bool) -> Result<Option<Reader>, GetClientError> {
        let places = self.places();
        let candidates: Vec<_> = places
            .replicas
            .iter()
            .map(|replica| ReadCandidate { node: Some(&replica.place), zone: replica.zone.as_deref() })
            .collect();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let passes_over = !candidates.is_empty() && (without_primary || !places.primary_answers);
        let from = if passes_over && *from == ReadFrom::Any { &ReadFrom::PreferReplica } else { from };
        let zone = places.zone.as_deref().filter(|_| !passes_over);
        match choose_reader(from, ReadCandidate { node: None, zone }, &candidates, turn) {
            None => Ok(None),
            Some(None) => Ok(Some(Reader::Primary)),
            Some(Some(place)) => match self.member(place) {
                Ok(member) => Ok(Some(Reader::Replica(member))),
                Err(error) => {
                    self.note_refusal(place);
                    Err(error)
                }
            },
        }
    }

    /// Ends when a replica is not fit any more.
    pub(crate) async fn until_unfit(&self, place: &HostPort) {
        // There is no free connection: it may fail.
        self.tell(ReplicaInput::Doubted { place: place.clone() });
        let mut seen = self.changed.version();
        while self.places().has(place) {
            seen = self.changed.beyond(seen).await;
        }
    }

    /// A replica has refused a read, or could not be sent one.
    pub(crate) fn note_refusal(&self, place: &HostPort) {
        self.tell(ReplicaInput::Refused { place: place.clone() });
    }

    /// Nothing is asked any more, and no command is sent to a replica.
    pub(crate) fn close(&self) {
        {
            let _state = self.state();
            self.closed.store(true, Ordering::SeqCst);
        }
        self.end();
        self.changed.raise();
    }

    fn end(&self) {
        let servers = std::mem::take(&mut *lock(&self.servers));
        servers.values().for_each(|server| server.leave());
        let members = std::mem::take(&mut *lock(&self.members));
        members.values().for_each(|member| member.connections.close());
        // Wakes the monitor, which then ends.
        self.woken.raise();
    }

    pub(crate) fn deadline(&self, timeout: Duration) -> Instant {
        self.runtime().now() + timeout
    }
}

impl Drop for ReplicaGroup {
    fn drop(&mut self) {
        self.end();
    }
}

/// What a server says of its replication.
async fn ask_report(server: &KeptConnection, runtime: &dyn Runtime, limit: Duration) -> Result<ServerReport, String> {
    let replies = server.ask(runtime, &ServerReport::questions(), limit).await.map_err(|failure| failure.to_string())?;
    ServerReport::read_replies(&replies, |words| server.connector.secrets.clean(words))
}

/// The key of a replica in the manager of the deployment's nodes.
fn key_of(place: &HostPort) -> String {
    format!("replica {place}")
}

/// A lock that was poisoned guards what it guarded.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
