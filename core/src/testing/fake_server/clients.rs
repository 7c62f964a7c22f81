//! What the clients of a fake server do: they dial, wait for answers, and close.

use std::future::{pending, poll_fn};
use std::task::Poll;
use std::time::Duration;

use crate::close_reason::CloseReason;
use crate::connection_monitor::ConnectionMonitor;
use crate::testing::fake_server::{FakeError, FakeMode, FakeServer, FormerServer, Peer, ServerState};

/// How many monitors of connections that are gone are kept.
const MOST_SPENT_MONITORS: usize = 16;

/// More closes than this do not hang at the same time: each of them takes a part of the stack.
const MOST_HANGING: usize = 8;

/// How many beginnings of closes are kept.
const MOST_CLOSES_BEGUN: usize = 64;

impl FakeServer {
    /// Waits until the other end of a connection has answered what is sent now.
    pub(in crate::testing) async fn answer_on(&self, id: u64) {
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
    pub(in crate::testing) async fn dial(&self) -> Result<u64, FakeError> {
        let now = self.runtime.now();
        let mode = {
            let mut state = self.lock();
            state.dials.push(now);
            state.dials_under_way += 1;
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
    pub(in crate::testing) fn peer_of(&self, id: u64) -> Peer {
        let state = self.lock();
        match (state.connections.contains_key(&id), state.strays.get(&id).map(|stray| stray.former)) {
            (true, _) => Peer::Server,
            (false, Some(FormerServer::Answers)) => Peer::Former,
            (false, Some(FormerServer::Silent)) => Peer::Nobody,
            (false, None) => Peer::Lost,
        }
    }

    /// A connection was asked for a sign of life.
    pub(in crate::testing) fn note_check(&self) {
        self.lock().checks += 1;
    }

    /// A client closes a connection, for this reason.
    pub(in crate::testing) fn note_close(&self, reason: CloseReason, known_broken: bool) {
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
    pub(in crate::testing) fn hang(&self) {
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

    /// Sets what is called when a connection is lost; the monitor comes back if it is lost already.
    pub(in crate::testing) fn set_monitor(&self, id: u64, monitor: ConnectionMonitor) -> Option<ConnectionMonitor> {
        let mut state = self.lock();
        let ServerState { connections, strays, .. } = &mut *state;
        match connections.get_mut(&id).or_else(|| strays.get_mut(&id).map(|stray| &mut stray.monitor)) {
            Some(place) => place.replace(monitor),
            None => Some(monitor),
        }
    }

    /// A connection is ended while its client holds it.
    pub(in crate::testing) fn cut_off(&self, id: u64) {
        let monitor = self.lock().remove(id);
        drop(monitor);
    }

    /// A client has let go of a connection.
    pub(in crate::testing) fn let_go(&self, id: u64) {
        let monitor = {
            let mut state = self.lock();
            state.held -= 1;
            state.lost.remove(&id);
            if let Some(monitor) = state.remove(id) {
                state.spent.push_back(monitor);
            }
            if state.spent.len() > MOST_SPENT_MONITORS { state.spent.pop_front() } else { None }
        };
        drop(monitor);
    }

    fn latency(&self) -> Duration {
        self.lock().latency
    }
}

/// Counts a dial however it ends.
struct UnderWay<'a>(&'a FakeServer);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.lock().dials_under_way -= 1;
    }
}
