//! A server to script: it counts its own connections, and can refuse, fall silent, lose what it is sent, and come back.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::future::{pending, poll_fn};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::alarm::Alarm;
use crate::connector::{CloseReason, Connector, KillSwitch};
use crate::runtime::Runtime;
use crate::testing::FakeRuntime;
use crate::time::Instant;

/// How many alarms of connections that are gone are kept.
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
    /// The server has as many connections as it takes.
    #[error("max number of clients reached")]
    Full,
    /// The connection is gone.
    #[error("connection lost")]
    Lost,
}

/// A server for tests; clones are the same server.
#[derive(Clone)]
pub struct FakeServer {
    runtime: Arc<dyn Runtime>,
    state: Arc<Mutex<State>>,
}

struct State {
    mode: FakeMode,
    connect_latency: Duration,
    latency: Duration,
    most_clients: usize,
    connections: BTreeMap<u64, Option<Alarm>>,
    next_id: u64,
    dials: Vec<Instant>,
    checks: usize,
    peak: usize,
    /// Connections that a client holds, whether the server knows them or not.
    held: usize,
    closes: Vec<CloseReason>,
    /// Connections that are dead, which their pools know, and that are still held.
    lost: BTreeSet<u64>,
    /// Alarms of connections that are gone, the last ones.
    spent: VecDeque<Alarm>,
    /// Whether a connection was closed as broken that was not.
    sound_one_closed: bool,
    /// Whoever waits for the mode to change.
    waiting: Vec<Waker>,
}

impl FakeServer {
    /// A server that is up and answers without delay.
    #[must_use]
    pub fn new(runtime: &FakeRuntime) -> Self {
        Self::on(Arc::new(runtime.clone()))
    }

    /// The same on any other runtime, whose time it then keeps.
    #[must_use]
    pub fn on(runtime: Arc<dyn Runtime>) -> Self {
        let state = State {
            mode: FakeMode::Up,
            connect_latency: Duration::ZERO,
            latency: Duration::ZERO,
            most_clients: usize::MAX,
            connections: BTreeMap::new(),
            next_id: 1,
            dials: Vec::new(),
            checks: 0,
            peak: 0,
            held: 0,
            closes: Vec::new(),
            lost: BTreeSet::new(),
            spent: VecDeque::new(),
            sound_one_closed: false,
            waiting: Vec::new(),
        };
        Self { runtime, state: Arc::new(Mutex::new(state)) }
    }

    /// What a pool needs to connect to this server.
    #[must_use]
    pub fn connector(&self) -> FakeConnector {
        FakeConnector { server: self.clone() }
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
            state.lost.extend(lost.keys());
            let waiting = std::mem::take(&mut state.waiting);
            (lost, waiting)
        };
        lost.0.into_values().flatten().for_each(Alarm::raise);
        lost.1.into_iter().for_each(Waker::wake);
    }

    /// All connections are lost and nobody notices: the path to the clients is cut.
    pub fn forget_connections(&self) {
        let lost = std::mem::take(&mut self.lock().connections);
        drop(lost);
    }

    /// The alarms of connections that are gone are raised, much too late.
    pub(crate) fn raise_late_alarms(&self) {
        let spent = std::mem::take(&mut self.lock().spent);
        spent.into_iter().for_each(Alarm::raise);
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
        (state.next_id - 1, state.connections.keys().next().copied())
    }

    /// When the server was dialled last.
    pub(crate) fn last_dial(&self) -> Option<Instant> {
        self.lock().dials.last().copied()
    }

    /// How many connections were closed for this reason.
    pub(crate) fn closes_for(&self, reason: CloseReason) -> usize {
        self.lock().closes.iter().filter(|other| **other == reason).count()
    }

    /// How many connections the server holds.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.lock().connections.len()
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

    /// Waits until the server has answered what is sent now.
    async fn answer(&self, latency: fn(&State) -> Duration) {
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
        let mut state = self.lock();
        match state.mode {
            FakeMode::Refusing => Err(FakeError::Refused),
            FakeMode::Rejecting => Err(FakeError::Rejected),
            FakeMode::Loading => Err(FakeError::Loading),
            FakeMode::Up | FakeMode::Silent | FakeMode::Void if state.connections.len() >= state.most_clients => {
                Err(FakeError::Full)
            }
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

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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

/// A connection to a [`FakeServer`]; the server forgets it when it is dropped.
#[derive(Debug)]
pub struct FakeConnection {
    server: FakeServer,
    id: u64,
    /// Requests sent and not answered.
    outstanding: usize,
}

impl FakeConnection {
    /// Asks the server to say `token`.
    ///
    /// # Errors
    ///
    /// [`FakeError::Lost`] if the connection is gone.
    ///
    /// # Cancel safety
    ///
    /// Dropped before the answer, it leaves the connection broken: the pool closes it on return.
    pub async fn echo(&mut self, token: u64) -> Result<u64, FakeError> {
        self.outstanding += 1;
        if self.is_alive() {
            self.server.answer(|state| state.latency).await;
        }
        self.outstanding -= 1;
        if self.is_alive() { Ok(token) } else { Err(FakeError::Lost) }
    }

    /// The server's number for this connection.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Whether the server still knows this connection.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.server.lock().connections.contains_key(&self.id)
    }

    pub(crate) fn is_known_broken(&self) -> bool {
        self.outstanding > 0 || !self.is_alive()
    }
}

impl Drop for FakeConnection {
    fn drop(&mut self) {
        let alarm = {
            let mut state = self.server.lock();
            state.held -= 1;
            state.lost.remove(&self.id);
            if let Some(alarm) = state.connections.remove(&self.id).flatten() {
                state.spent.push_back(alarm);
            }
            if state.spent.len() > MOST_SPENT_ALARMS { state.spent.pop_front() } else { None }
        };
        drop(alarm);
    }
}

/// Connects a pool to a [`FakeServer`].
#[derive(Clone, Debug)]
pub struct FakeConnector {
    server: FakeServer,
}

impl Connector for FakeConnector {
    type Connection = FakeConnection;
    type Error = FakeError;

    async fn connect(&self) -> Result<FakeConnection, FakeError> {
        let now = self.server.runtime.now();
        self.server.lock().dials.push(now);
        if !matches!(self.server.lock().mode, FakeMode::Refusing | FakeMode::Rejecting) {
            self.server.answer(|state| state.connect_latency).await;
        }
        let id = self.server.accept()?;
        Ok(FakeConnection { server: self.server.clone(), id, outstanding: 0 })
    }

    async fn check(&self, conn: &mut FakeConnection) -> Result<(), FakeError> {
        self.server.lock().checks += 1;
        conn.echo(0).await?;
        if self.server.mode() == FakeMode::Loading { Err(FakeError::Loading) } else { Ok(()) }
    }

    fn is_broken(&self, conn: &mut FakeConnection) -> bool {
        conn.is_known_broken()
    }

    fn close(&self, conn: FakeConnection, reason: CloseReason) {
        let sound = reason == CloseReason::Broken && !conn.is_known_broken();
        let mut state = self.server.lock();
        state.closes.push(reason);
        state.sound_one_closed |= sound;
        drop(state);
        drop(conn);
    }

    fn watch(&self, conn: &mut FakeConnection, alarm: Alarm) {
        if let Some(place) = self.server.lock().connections.get_mut(&conn.id) {
            *place = Some(alarm);
            return;
        }
        alarm.raise();
    }

    fn kill_switch(&self, conn: &mut FakeConnection) -> Option<KillSwitch> {
        let (server, id) = (self.server.clone(), conn.id);
        Some(Box::new(move || {
            let alarm = server.lock().connections.remove(&id);
            drop(alarm);
        }))
    }

    fn is_permanent(&self, error: &FakeError) -> bool {
        matches!(error, FakeError::Rejected)
    }

    fn name(&self) -> String {
        String::from("fake")
    }
}
