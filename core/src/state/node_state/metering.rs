//! What is counted and timed and is no event: gets by how they end, the use of connections, and how long the node was not up.

use std::time::Duration;

use super::NodeState;
use crate::close_reason::CloseReason;
use crate::state::connections::Phase;
use crate::state::event::Event;
use crate::state::ids::{ConnId, WaiterId};
use crate::state::metrics::NodeMetrics;
use crate::state::status::Health;
use crate::state::token::Loan;
use crate::state::wait_queue::WaitKind;
use crate::time::Instant;

impl<C> NodeState<C> {
    /// What was counted and timed until now.
    #[must_use]
    pub fn metrics(&self, now: Instant) -> NodeMetrics {
        self.outbox.metrics().read(self.pending_gets(), self.present_health(now))
    }

    /// The use of a connection on loan begins: it is timed from now on.
    pub fn begin_use(&mut self, now: Instant, id: ConnId) {
        if let Some(meta) = self.connections.get_mut(id).filter(|meta| meta.phase() == Phase::Leased) {
            meta.set_lent_at(Some(now));
        }
    }

    /// The use of a connection on loan has ended. Nothing happens if it is not timed.
    pub fn end_use(&mut self, now: Instant, id: ConnId) {
        let lent_at = self.connections.get_mut(id).and_then(|meta| meta.take_lent_at());
        if let Some(lent_at) = lent_at {
            self.outbox.metrics_mut().note_use(now.as_nanos().saturating_sub(lent_at.as_nanos()));
        }
    }

    /// The same for a connection that was not used.
    pub(super) fn forget_use(&mut self, id: ConnId) {
        if let Some(meta) = self.connections.get_mut(id) {
            meta.set_lent_at(None);
        }
    }

    /// Lends an idle connection at a time that is known.
    #[inline(always)]
    pub(super) fn take_idle_at(&mut self, now: Instant) -> Option<Loan<C>> {
        let loan = self.take_idle()?;
        self.follow_up(now, loan.id);
        Some(loan)
    }

    /// What follows from a loan.
    fn follow_up(&mut self, now: Instant, id: ConnId) {
        if self.wants_use_timed() {
            self.begin_use(now, id);
        }
        if self.lacks_idle() {
            self.dispatch(now);
        }
    }

    /// A waiter leaves if it is still queued; says whether it was.
    pub(super) fn leave_queued(&mut self, id: WaiterId) -> bool {
        let kind = self.queue.leave_queued(id);
        if kind == Some(WaitKind::Loan) {
            self.outbox.metrics_mut().note_cancelled();
        }
        kind.is_some()
    }

    /// A caller takes the connection that it was granted.
    pub(super) fn note_waited(&mut self, now: Instant, id: ConnId, since: Instant) {
        if self.outbox.metrics_mut().note_waited(now.as_nanos().saturating_sub(since.as_nanos())) {
            self.begin_use(now, id);
        }
    }

    /// A get comes to a pool that is closed.
    pub(super) fn note_refused_by_close(&mut self) {
        self.outbox.metrics_mut().note_asked();
        self.outbox.metrics_mut().note_refused_by_close();
    }

    /// The queue has become longer.
    pub(super) fn note_waiting(&mut self) {
        let waiting = self.queue.len(WaitKind::Loan);
        self.outbox.metrics_mut().note_waiting(waiting);
    }

    /// A connection is open no more.
    pub(super) fn note_closed(&mut self, now: Instant, id: ConnId, reason: CloseReason, idle: bool) {
        let born_at = self.connections.get(id).map_or(now, |meta| meta.born_at());
        self.outbox.emit(Event::Closed { reason, age: now.saturating_duration_since(born_at), idle });
    }

    /// Gets that have not ended.
    pub(super) fn pending_gets(&self) -> usize {
        self.queue.len(WaitKind::Loan) + self.connections.counts().of(Phase::Granted)
    }

    /// How the node is doing, and for how long so far; none once the pool is closed.
    pub(super) fn present_health(&self, now: Instant) -> Option<(Health, Duration)> {
        let since = self.seen_health.since.filter(|_| self.closes.is_open())?;
        Some((self.seen_health.health, now.saturating_duration_since(since)))
    }
}
