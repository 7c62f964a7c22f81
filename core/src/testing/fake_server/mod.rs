//! A server to script: it counts its own connections, and can refuse, fall silent, lose what it is sent, and come back.

mod behaviour;
mod clients;
mod counts;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use crate::close_reason::CloseReason;
use crate::connection_monitor::ConnectionMonitor;
use crate::runtime::Runtime;
use crate::testing::fake_runtime::FakeRuntime;
use crate::time::Instant;
pub(super) use behaviour::Peer;
pub use behaviour::{FakeError, FakeMode, FormerServer};

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
    /// Until when the server keeps connections whose end does not reach it.
    orphans: Vec<Instant>,
    next_id: u64,
    /// Connections with a lower number lead to a server that has become a replica.
    demoted_below: u64,
    dials: Vec<Instant>,
    /// How many dials are under way.
    dials_under_way: usize,
    checks: usize,
    peak: usize,
    /// Connections that a client holds, whether the server has them or not.
    held: usize,
    closes: Vec<CloseReason>,
    /// Connections that are dead, which their pools have been told, and that are still held.
    lost: BTreeSet<u64>,
    /// Monitors of connections that are gone, the last ones.
    spent: VecDeque<ConnectionMonitor>,
    /// Whether a connection was closed as broken that was not.
    sound_one_closed: bool,
    /// Those that wait for the mode to change.
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
            dials_under_way: 0,
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

    /// What is called while a close hangs, whenever nothing is ready to run.
    pub(crate) fn set_hang_watch(&self, watch: HangWatch) {
        self.lock().hang_watch = Some(watch);
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

    /// All connections are lost and no client notices: the path to the clients is cut.
    pub fn forget_connections(&self) {
        let lost = std::mem::take(&mut self.lock().connections);
        drop(lost);
    }

    /// The path was cut and is open again: what is dialled from now on is answered, the connections that there were stay
    /// silent for ever. No end of theirs reaches the server: it keeps and counts them for so long.
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
    pub(crate) fn call_late_monitors(&self) {
        let spent = std::mem::take(&mut self.lock().spent);
        spent.into_iter().for_each(ConnectionMonitor::closed);
    }

    pub(super) fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.runtime
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

impl fmt::Debug for FakeServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("FakeServer")
            .field("mode", &state.mode)
            .field("connections", &state.connections.len())
            .finish_non_exhaustive()
    }
}
