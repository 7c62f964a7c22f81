//! A server to script: it counts its own connections, and can refuse, fall silent, lose what it is sent, and come back.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::future::{pending, poll_fn};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::close_reason::CloseReason;
use crate::connection_monitor::ConnectionMonitor;
use crate::runtime::Runtime;
use crate::testing::fake_runtime::FakeRuntime;
use crate::time::Instant;

/// How many monitors of connections that are gone are kept.
const MOST_SPENT_ALARMS: usize = 16;

/// How a [`FakeServer`] treats whoever talks to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FakeMode {
    /// It answers after its latency.
    Up,
    /// Dials fail at once. Connections that exist are not touched: see [`FakeServer::kill`].
    Refusing,
    /// It accepts and says nothing, like a stopped process: all that was asked is answered once it is up again.
    Silent,
    /// Whatever is sent is lost for good, like behind a broken path: what was asked is never answered.
    Void,
    /// Dials fail at once and for good, like with a wrong password.
    Rejecting,
    /// It answers that it is not ready yet: dials and checks fail.
    Loading,
}

/// What becomes of the connections to a server when its name leads to another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormerServer {
    /// It goes on answering, whatever the new one does.
    Answers,
    /// It is never heard of again, and nobody is told.
    Silent,
}

/// Where a connection leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// To the server that is dialled.
    Server,
    /// To the one that was dialled before, which answers.
    Former,
    /// To where nothing is heard of.
    Nobody,
    /// Nowhere: it is known to be lost.
    Lost,
}

/// Why a dial or a request to a [`FakeServer`] failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FakeError {
    /// The server does not take connections.
    #[error("connection refused")]
    Refused,
    /// The server does not take this client.
    #[error("wrong password")]
    Rejected,
    /// The server is not ready yet.
    #[error("the server is loading")]
    Loading,
    /// The server has become a replica.
    #[error("the server is a replica")]
    Demoted,
    /// The server has as many connections as it takes.
    #[error("max number of clients reached")]
    Full,
    /// The connection is gone.
    #[error("connection lost")]
    Lost,
    /// Nothing was heard in time.
    #[error("no answer in time")]
    TimedOut,
}

/// More closes than this do not hang at the same time: each of them takes a part of the stack.
const MOST_HANGING: usize = 8;

/// How many beginnings of closes are kept.
const MOST_CLOSES_BEGUN: usize = 64;

/// Looks at the world while a close hangs.
type HangWatch = Arc<dyn Fn(&FakeServer) + Send + Sync>;

/// A server for tests; clones are the same server.
#[derive(Clone)]
pub struct FakeServer {
    runtime: Arc<dyn Runtime>,
    /// The same, if it is one in which a close can hang.
    fake: Option<FakeRuntime>,
    state: Arc<Mutex<ServerState>>,
}

struct ServerState {
    mode: FakeMode,
    connect_latency: Duration,
    latency: Duration,
    close_latency: Duration,
    /// Until when the closes hang that do.
    hanging: Vec<Instant>,
    /// When closes began, the last ones.
    closes_begun: VecDeque<Instant>,
    hang_watch: Option<HangWatch>,
    most_clients: usize,
    connections: BTreeMap<u64, Option<ConnectionMonitor>>,
    /// Connections that lead elsewhere.
    strays: BTreeMap<u64, Stray>,
    /// Until when the server keeps connections of whose end it cannot hear.
    orphans: Vec<Instant>,
    next_id: u64,
    /// Connections with a lower number lead to a server that has become a replica.
    demoted_below: u64,
    dials: Vec<Instant>,
    /// How many dials are under way.
    dialer: usize,
    checks: usize,
    peak: usize,
    /// Connections that a client holds, whether the server knows them or not.
    held: usize,
    closes: Vec<CloseReason>,
    /// Connections that are dead, which their pools know, and that are still held.
    lost: BTreeSet<u64>,
    /// Monitors of connections that are gone, the last ones.
    spent: VecDeque<ConnectionMonitor>,
    /// Whether a connection was closed as broken that was not.
    sound_one_closed: bool,
    /// Whoever waits for the mode to change.
    waiting: Vec<Waker>,
}

/// A connection that leads elsewhere than to the server that is dialled.
struct Stray {
    monitor: Option<ConnectionMonitor>,
    former: FormerServer,
}

impl FakeServer {
    /// A server that is up and answers without delay.
    #[must_use]
    pub fn new(runtime: &FakeRuntime) -> Self {
        Self { fake: Some(runtime.clone()), ..Self::on(Arc::new(runtime.clone())) }
    }

    /// The same on any other runtime, whose time it then keeps.
    #[must_use]
    pub fn on(runtime: Arc<dyn Runtime>) -> Self {
        let state = ServerState {
            mode: FakeMode::Up,
            connect_latency: Duration::ZERO,
            latency: Duration::ZERO,
            close_latency: Duration::ZERO,
            hanging: Vec::new(),
            closes_begun: VecDeque::new(),
            hang_watch: None,
            most_clients: usize::MAX,
            connections: BTreeMap::new(),
            strays: BTreeMap::new(),
            orphans: Vec::new(),
            next_id: 1,
            demoted_below: 0,
            dials: Vec::new(),
            dialer: 0,
            checks: 0,
            peak: 0,
            held: 0,
            closes: Vec::new(),
            lost: BTreeSet::new(),
            spent: VecDeque::new(),
            sound_one_closed: false,
            waiting: Vec::new(),
        };
        Self { runtime, fake: None, state: Arc::new(Mutex::new(state)) }
    }

    /// How the server behaves from now on.
    pub fn set_mode(&self, mode: FakeMode) {
        let waiting = {
            let mut state = self.lock();
            state.mode = mode;
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// How long a dial takes from now on. Default: no time.
    pub fn set_connect_latency(&self, latency: Duration) {
        self.lock().connect_latency = latency;
    }

    /// How long requests and checks take from now on. Default: no time.
    pub fn set_latency(&self, latency: Duration) {
        self.lock().latency = latency;
    }

    /// How long the close of a connection blocks the task that closes it, from now on; other tasks go on meanwhile, as on
    /// a runtime with more than one thread. Default: no time. On a runtime other than [`FakeRuntime`] it is ignored.
    pub fn set_close_latency(&self, latency: Duration) {
        self.lock().close_latency = latency;
    }

    /// Whom to call while a close hangs, whenever nothing is ready to run.
    pub(crate) fn set_hang_watch(&self, watch: HangWatch) {
        self.lock().hang_watch = Some(watch);
    }

    /// How many connections a client has begun to close since then, of the last ones.
    pub(crate) fn closes_begun_since(&self, since: Instant) -> usize {
        self.lock().closes_begun.iter().filter(|at| **at >= since).count()
    }

    /// How many connections the server takes from now on. Default: any number.
    pub fn set_most_clients(&self, most: usize) {
        self.lock().most_clients = most;
    }

    /// The process dies: all connections are lost, which their pools notice, and dials are refused.
    pub fn kill(&self) {
        self.set_mode(FakeMode::Refusing);
        self.drop_connections();
    }

    /// All connections are lost, which their pools notice; the server goes on.
    pub fn drop_connections(&self) {
        let lost = {
            let mut state = self.lock();
            let lost = std::mem::take(&mut state.connections);
            state.orphans.clear();
            state.lost.extend(lost.keys());
            let waiting = std::mem::take(&mut state.waiting);
            (lost, waiting)
        };
        lost.0.into_values().flatten().for_each(ConnectionMonitor::closed);
        lost.1.into_iter().for_each(Waker::wake);
    }

    /// Another server takes its place: connections that exist lead to a replica from now on, which refuses requests.
    pub fn demote(&self) {
        let mut state = self.lock();
        state.demoted_below = state.next_id;
    }

    /// All connections are lost and nobody notices: the path to the clients is cut.
    pub fn forget_connections(&self) {
        let lost = std::mem::take(&mut self.lock().connections);
        drop(lost);
    }

    /// The path was cut and is open again: what is dialled from now on is answered, the connections that there were stay
    /// silent for ever. The server hears of no end of theirs: it keeps and counts them for so long.
    pub fn half_open(&self, kept_for: Duration) {
        let until = self.runtime.now() + kept_for;
        let mut state = self.lock();
        let orphans = state.connections.len();
        state.orphans.extend((0..orphans).map(|_| until));
        state.strays.values_mut().for_each(|stray| stray.former = FormerServer::Silent);
        state.lead_astray(FormerServer::Silent);
    }

    /// The name leads to another server, of which this is the rest of the life: `former` says what becomes of the
    /// connections that there were.
    pub fn move_elsewhere(&self, former: FormerServer) {
        let mut state = self.lock();
        state.orphans.clear();
        state.lead_astray(former);
    }

    /// The monitors of connections that are gone are called, much too late.
    pub(crate) fn raise_late_alarms(&self) {
        let spent = std::mem::take(&mut self.lock().spent);
        spent.into_iter().for_each(ConnectionMonitor::closed);
    }

    /// How many connections are held of which the pool knows that they are dead.
    pub(crate) fn known_dead(&self) -> usize {
        self.lock().lost.len()
    }

    /// Whether a connection was closed as broken that was not.
    pub(crate) fn has_seen_a_sound_one_closed(&self) -> bool {
        self.lock().sound_one_closed
    }

    /// How many connections there have been, and the number of the oldest that there still is.
    pub(crate) fn births(&self) -> (u64, Option<u64>) {
        let state = self.lock();
        let oldest = state.connections.keys().next().into_iter().chain(state.strays.keys().next()).min();
        (state.next_id - 1, oldest.copied())
    }

    /// How many dials are under way.
    pub(crate) fn dialer(&self) -> usize {
        self.lock().dialer
    }

    /// When the server was dialled last.
    pub(crate) fn last_dial(&self) -> Option<Instant> {
        self.lock().dials.last().copied()
    }

    /// How many connections were closed for this reason.
    pub(crate) fn closes_for(&self, reason: CloseReason) -> usize {
        self.lock().closes.iter().filter(|other| **other == reason).count()
    }

    /// How many connections the server holds that lead to somebody.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.lock().connections.len()
    }

    /// How many connections the server holds of whose end it cannot hear.
    #[must_use]
    pub fn orphans(&self) -> usize {
        let now = self.runtime.now();
        self.lock().orphans_at(now)
    }

    /// How many connections clients hold that lead elsewhere, to a former server or to nobody.
    #[must_use]
    pub fn strays(&self) -> usize {
        self.lock().strays.len()
    }

    /// The most connections that the server ever held.
    #[must_use]
    pub fn peak_connections(&self) -> usize {
        self.lock().peak
    }

    /// When the server was dialled.
    #[must_use]
    pub fn dials(&self) -> Vec<Instant> {
        self.lock().dials.clone()
    }

    pub(crate) fn dial_count(&self) -> usize {
        self.lock().dials.len()
    }

    /// How many connections the server has taken so far.
    pub(crate) fn accepted(&self) -> usize {
        self.lock().next_id as usize - 1
    }

    pub(crate) fn alarm_of(&self, id: u64) -> Option<ConnectionMonitor> {
        self.lock().connections.get(&id).cloned().flatten()
    }

    /// Whether a connection leads to a replica.
    pub(crate) fn has_demoted(&self, id: u64) -> bool {
        let state = self.lock();
        id < state.demoted_below && state.connections.contains_key(&id)
    }

    pub(crate) fn mode(&self) -> FakeMode {
        self.lock().mode
    }

    /// How many connections clients hold, whether the server knows them or not.
    pub(crate) fn held(&self) -> usize {
        self.lock().held
    }

    /// How many health checks the server was asked for.
    #[must_use]
    pub fn checks(&self) -> usize {
        self.lock().checks
    }

    /// Why connections were closed, in order.
    #[must_use]
    pub fn closes(&self) -> Vec<CloseReason> {
        self.lock().closes.clone()
    }

    /// Waits until whoever is at the other end of a connection has answered what is sent now.
    pub(super) async fn answer_on(&self, id: u64) {
        match self.peer_of(id) {
            Peer::Server => self.answer(|state| state.latency).await,
            Peer::Former => self.runtime.sleep(self.latency()).await,
            Peer::Nobody => return pending().await,
            Peer::Lost => return,
        }
        if self.peer_of(id) == Peer::Nobody {
            // The path was cut meanwhile, and the answer got lost.
            pending().await
        }
    }

    /// A dial: it is on record, and either accepted, as the connection of this number, or not.
    pub(super) async fn dial(&self) -> Result<u64, FakeError> {
        let now = self.runtime.now();
        let mode = {
            let mut state = self.lock();
            state.dials.push(now);
            state.dialer += 1;
            state.mode
        };
        let _under_way = UnderWay(self);
        if !matches!(mode, FakeMode::Refusing | FakeMode::Rejecting) {
            self.answer(|state| state.connect_latency).await;
        }
        self.accept()
    }

    /// Waits until the server has answered what is sent now.
    async fn answer(&self, latency: fn(&ServerState) -> Duration) {
        if self.lock().mode == FakeMode::Void {
            return pending().await;
        }
        let wait = latency(&self.lock());
        if !wait.is_zero() {
            self.runtime.sleep(wait).await;
        }
        poll_fn(|cx| {
            let waker = cx.waker().clone();
            let mut state = self.lock();
            match state.mode {
                FakeMode::Silent | FakeMode::Void => {
                    state.waiting.push(waker);
                    Poll::Pending
                }
                FakeMode::Up | FakeMode::Refusing | FakeMode::Rejecting | FakeMode::Loading => Poll::Ready(()),
            }
        })
        .await;
    }

    fn accept(&self) -> Result<u64, FakeError> {
        let now = self.runtime.now();
        let mut state = self.lock();
        let clients = state.connections.len() + state.orphans_at(now);
        match state.mode {
            FakeMode::Refusing => Err(FakeError::Refused),
            FakeMode::Rejecting => Err(FakeError::Rejected),
            FakeMode::Loading => Err(FakeError::Loading),
            FakeMode::Up | FakeMode::Silent | FakeMode::Void if clients >= state.most_clients => Err(FakeError::Full),
            FakeMode::Up | FakeMode::Silent | FakeMode::Void => {
                let id = state.next_id;
                state.next_id += 1;
                state.connections.insert(id, None);
                state.held += 1;
                state.peak = state.peak.max(state.connections.len());
                Ok(id)
            }
        }
    }

    /// Where a connection leads.
    pub(super) fn peer_of(&self, id: u64) -> Peer {
        let state = self.lock();
        match (state.connections.contains_key(&id), state.strays.get(&id).map(|stray| stray.former)) {
            (true, _) => Peer::Server,
            (false, Some(FormerServer::Answers)) => Peer::Former,
            (false, Some(FormerServer::Silent)) => Peer::Nobody,
            (false, None) => Peer::Lost,
        }
    }

    /// A connection was asked for a sign of life.
    pub(super) fn note_check(&self) {
        self.lock().checks += 1;
    }

    /// A client closes a connection, for this reason.
    pub(super) fn note_close(&self, reason: CloseReason, known_broken: bool) {
        let now = self.runtime.now();
        let mut state = self.lock();
        state.closes.push(reason);
        state.sound_one_closed |= reason == CloseReason::Broken && !known_broken;
        state.closes_begun.push_back(now);
        if state.closes_begun.len() > MOST_CLOSES_BEGUN {
            state.closes_begun.pop_front();
        }
    }

    /// A close hangs, if closes do: no longer than the one further up the stack, which could not go on before it.
    pub(super) fn hang(&self) {
        let Some(fake) = &self.fake else { return };
        let now = fake.now();
        let (until, watch) = {
            let mut state = self.lock();
            let wanted = now + state.close_latency;
            let until = state.hanging.last().map_or(wanted, |outer| wanted.min(*outer));
            if state.close_latency.is_zero() || state.hanging.len() >= MOST_HANGING || std::thread::panicking() {
                return;
            }
            state.hanging.push(until);
            (until, state.hang_watch.clone())
        };
        fake.block_until(until, || {
            if let Some(watch) = &watch {
                watch(self);
            }
        });
        self.lock().hanging.pop();
    }

    /// Whom to tell when a connection is lost; the monitor comes back if it is lost already.
    pub(super) fn set_alarm(&self, id: u64, monitor: ConnectionMonitor) -> Option<ConnectionMonitor> {
        let mut state = self.lock();
        let ServerState { connections, strays, .. } = &mut *state;
        match connections.get_mut(&id).or_else(|| strays.get_mut(&id).map(|stray| &mut stray.monitor)) {
            Some(place) => place.replace(monitor),
            None => Some(monitor),
        }
    }

    /// A connection is ended while its client holds it.
    pub(super) fn cut_off(&self, id: u64) {
        let monitor = self.lock().remove(id);
        drop(monitor);
    }

    /// A client has let go of a connection.
    pub(super) fn let_go(&self, id: u64) {
        let monitor = {
            let mut state = self.lock();
            state.held -= 1;
            state.lost.remove(&id);
            if let Some(monitor) = state.remove(id) {
                state.spent.push_back(monitor);
            }
            if state.spent.len() > MOST_SPENT_ALARMS { state.spent.pop_front() } else { None }
        };
        drop(monitor);
    }

    pub(super) fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.runtime
    }

    fn latency(&self) -> Duration {
        self.lock().latency
    }

    fn lock(&self) -> MutexGuard<'_, ServerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ServerState {
    fn lead_astray(&mut self, former: FormerServer) {
        let strays = std::mem::take(&mut self.connections).into_iter();
        self.strays.extend(strays.map(|(id, monitor)| (id, Stray { monitor, former })));
    }

    fn orphans_at(&self, now: Instant) -> usize {
        self.orphans.iter().filter(|until| **until > now).count()
    }

    fn remove(&mut self, id: u64) -> Option<ConnectionMonitor> {
        self.connections.remove(&id).or_else(|| self.strays.remove(&id).map(|stray| stray.monitor)).flatten()
    }
}

/// CheckerCounts a dial however it ends.
struct UnderWay<'a>(&'a FakeServer);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.lock().dialer -= 1;
    }
}

impl fmt::Debug for FakeServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("FakeServer")
            .field("mode", &state.mode)
            .field("connections", &state.connections.len())
            .finish_non_exhaustive()
    }
}
