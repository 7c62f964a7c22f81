//! What has become of a fake server's connections: what tests and checkers look at.

use crate::close_reason::CloseReason;
use crate::connection_monitor::ConnectionMonitor;
use crate::testing::fake_server::{FakeMode, FakeServer};
use crate::time::Instant;

impl FakeServer {
    /// How many connections a client has begun to close since then, of the last ones.
    pub(crate) fn closes_begun_since(&self, since: Instant) -> usize {
        self.lock().closes_begun.iter().filter(|at| **at >= since).count()
    }

    /// How many connections are held that are dead, which their pools have been told.
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
    pub(crate) fn dials_under_way(&self) -> usize {
        self.lock().dials_under_way
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

    /// How many connections the server holds whose end does not reach it.
    #[must_use]
    pub fn orphans(&self) -> usize {
        let now = self.runtime.now();
        self.lock().orphans_at(now)
    }

    /// How many connections clients hold that lead elsewhere, to a former server or nowhere.
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

    pub(crate) fn monitor_of(&self, id: u64) -> Option<ConnectionMonitor> {
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

    /// How many connections clients hold, whether the server has them or not.
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
}
