//! What each fact does: connections come, fail, answer, die and come back; the pool closes.

use std::sync::Arc;
use std::time::Duration;

use super::NodeState;
use crate::close_reason::CloseReason;
use crate::config::OnNodeDown;
use crate::state::action::Action;
use crate::state::closing::Lifecycle;
use crate::state::connections::{ConnectionTable, Phase};
use crate::state::deadlines::DeadlineKind;
use crate::state::event::{CheckOutcome, ConnectionUse, Event, GrantRevoked};
use crate::state::ids::ConnId;
use crate::state::input::{CheckResult, DialFailure, DialFailureKind, ReleaseKind};
use crate::state::outcome::{WaitError, WaitResult};
use crate::state::status::Health;
use crate::state::token::{Checkup, Closing, Loan, Ticket};
use crate::state::wait_queue::WaitKind;
use crate::time::Instant;

/// What is noted when a connection dies by itself.
pub(super) const CLOSED_BY_SERVER: &str = "a connection was closed by the server";

/// What is noted when one does so unused, soon after its birth.
const CLOSED_AT_BIRTH: &str = "the server closed a new connection at once";

/// A connection that is lost before this age counts as a failed dial: no server in use closes idle ones so soon.
const EARLY: Duration = Duration::from_secs(1);

impl<C> NodeState<C> {
    /// Takes a connection back from a borrower, or from a waiter that did not collect it.
    pub(super) fn on_release(&mut self, now: Instant, loan: Loan<C>, kind: ReleaseKind) {
        let Loan { id, conn } = loan;
        if kind == ReleaseKind::Stale {
            self.outbox.metrics_mut().note_found_broken();
            self.forget_use(id);
        }
        self.end_use(now, id);
        let Some(meta) = self.connections.get_mut(id) else {
            // The pool was closed by force while it was out: it counts no more, but it still leaves by a close.
            self.outbox.emit(Event::LoanOutlivedPool);
            self.close_uncounted(conn);
            return;
        };
        let (trust_epoch, retire) = (meta.trust_epoch(), meta.retire());
        match (kind, retire) {
            (ReleaseKind::Broken(reason), _) => self.close_conn(now, id, conn, reason),
            (ReleaseKind::Stale, _) => {
                let born_at = meta.born_at();
                self.close_conn(now, id, conn, CloseReason::Broken);
                self.lost_early(now, born_at, "a new connection was closed, or refused, before its first use");
            }
            (ReleaseKind::Silent, _) => {
                self.outbox.emit(Event::CommandUnanswered);
                self.close_conn(now, id, conn, CloseReason::Broken);
                self.distrust_since(now, trust_epoch, "a command was not answered in time");
            }
            (ReleaseKind::Sound | ReleaseKind::Soiled, Some(reason)) => self.close_conn(now, id, conn, reason),
            (ReleaseKind::Sound | ReleaseKind::Soiled, None) if !self.closes.is_open() => {
                self.close_conn(now, id, conn, CloseReason::PoolClosed);
            }
            (ReleaseKind::Soiled, None) => {
                self.outbox.emit(Event::UncleanReturn);
                self.clean_conn(now, id, conn);
            }
            (ReleaseKind::Sound, None) if trust_epoch != self.trust.epoch() => {
                self.outbox.emit(Event::DoubtfulReturn);
                self.check_conn(now, id, conn);
            }
            (ReleaseKind::Sound, None) => {
                note_idle_since(&mut self.connections, id, now);
                self.connections.add_idle(id, conn);
                self.arm_idle_times(now);
            }
        }
    }

    /// Closes a connection that the pool no longer counts, since it was closed by force while the connection was out.
    fn close_uncounted(&mut self, conn: C) {
        self.outbox.order(Action::Close(Closing { id: None }, conn, CloseReason::PoolClosed));
    }

    /// Takes back a connection that was granted and not collected.
    pub(super) fn revoke(&mut self, now: Instant, id: ConnId, kind: ReleaseKind) {
        if let Some(conn) = self.connections.take_held(id) {
            self.on_release(now, Loan { id, conn }, kind);
        }
    }

    pub(super) fn on_connected(&mut self, now: Instant, ticket: Ticket, conn: C) {
        let id = ticket.id;
        let lifetime = self.upkeep.lifetime(&mut self.rng);
        let check_at = self.upkeep.next_check(now, &mut self.rng);
        let Some(meta) = self.connections.get_mut(id) else {
            self.close_uncounted(conn);
            return;
        };
        let (started_at, pool, overdue, retire) = (meta.entered_at(), meta.pool(), meta.phase() == Phase::Overdue, meta.retire());
        meta.connected(now);
        let has_answered = meta.trust_epoch() == self.trust.epoch();
        let is_outdated = meta.server_generation() != self.trust.server_generation();
        let (took, recovered) = (now.saturating_duration_since(started_at), self.dialer.has_failed());
        self.outbox.emit(Event::Connected { pool, took, overdue, recovered });
        if !self.closes.is_open() {
            self.close_conn(now, id, conn, CloseReason::PoolClosed);
            return;
        }
        if let Some(reason) = retire {
            self.close_conn(now, id, conn, reason);
            // One of a server that was replaced says nothing of its successor.
            if reason != CloseReason::Outdated {
                self.lost_at_birth(now, CLOSED_AT_BIRTH);
            }
            return;
        }
        if has_answered {
            self.dialer.succeeded(now, started_at);
        }
        if is_outdated {
            self.close_conn(now, id, conn, CloseReason::Outdated);
            return;
        }
        self.end_at(id, now + lifetime);
        if has_answered {
            self.check_at(id, check_at);
            self.connections.add_idle(id, conn);
        } else {
            // Its replies are older than what made the node suspect.
            self.check_conn(now, id, conn);
        }
    }

    pub(super) fn on_connect_failed(&mut self, now: Instant, ticket: Ticket, failure: DialFailure) {
        let Some(meta) = self.connections.free(ticket.id) else { return };
        if self.closes.is_open() {
            let took = now.saturating_duration_since(meta.entered_at());
            self.outbox.emit(Event::ConnectFailed { took, kind: failure.kind, why: Arc::clone(&failure.message) });
        }
        if self.closes.is_open() && meta.retire() == Some(CloseReason::Outdated) {
            return;
        }
        match (self.closes.lifecycle(), meta.phase(), failure.kind) {
            // Known since it was overdue.
            (Lifecycle::Open, Phase::Overdue, DialFailureKind::TimedOut) => self.dialer.elaborate(now, failure.message),
            (Lifecycle::Closing | Lifecycle::Closed, _, _) => {
                self.outbox.emit(Event::DialOutlivedPool);
            }
            (Lifecycle::Open, _, _) => self.dial_failed(now, meta.entered_at(), failure),
        }
    }

    pub(super) fn dial_failed(&mut self, now: Instant, started_at: Instant, failure: DialFailure) {
        let permanent = failure.kind == DialFailureKind::Permanent;
        let someone_waits = self.someone_waits();
        self.dialer.failed(now, started_at, failure, someone_waits, &mut self.rng);
        if permanent {
            // Waiting will not help them. Those who wait for a connection hear as soon as nothing is left to lend.
            self.finish_all_down(now, WaitKind::Warm);
        }
    }

    /// Whether those who ask are not to wait: nothing is left to lend, and callers fail fast or the server refuses us.
    pub(super) fn is_hopeless(&self) -> bool {
        let fails_at_once = self.config.on_node_down() == OnNodeDown::FailFast || self.dialer.is_refused_for_good();
        fails_at_once && self.evidence() == Health::Down
    }

    pub(super) fn on_checked(&mut self, now: Instant, checkup: Checkup<C>, result: CheckResult) {
        let Checkup { id, conn, .. } = checkup;
        let check_at = self.upkeep.next_check(now, &mut self.rng);
        let Some(meta) = self.connections.get_mut(id) else {
            self.close_uncounted(conn);
            return;
        };
        let (seen, cleaned) = (meta.trust_epoch(), meta.phase() == Phase::Cleaning);
        match result {
            CheckResult::Sound => {
                // One that was cut short by a close has shown nothing.
                if self.closes.is_open() {
                    let outcome = CheckOutcome::Passed;
                    self.outbox.emit(if cleaned { Event::Cleaned(outcome) } else { Event::Checked(outcome) });
                }
                meta.trust(self.trust.epoch());
                let retire = meta.retire();
                self.dialer.reassured();
                self.check_at(id, check_at);
                match retire {
                    Some(reason) => self.close_conn(now, id, conn, reason),
                    None if !self.closes.is_open() => self.close_conn(now, id, conn, CloseReason::PoolClosed),
                    // Used a moment ago, so it goes where used ones go.
                    None if cleaned => self.connections.add_idle(id, conn),
                    None => self.connections.add_idle_below(id, conn),
                }
            }
            CheckResult::Failed(_) if cleaned => {
                self.outbox.emit(Event::Cleaned(CheckOutcome::Failed));
                self.close_conn(now, id, conn, CloseReason::Unclean);
            }
            CheckResult::Failed(message) => {
                self.outbox.emit(Event::Checked(CheckOutcome::Failed));
                self.dialer.note(now, message);
                self.close_conn(now, id, conn, CloseReason::CheckFailed);
            }
            CheckResult::Silent if cleaned => {
                self.outbox.emit(Event::Cleaned(CheckOutcome::Unanswered));
                self.close_conn(now, id, conn, CloseReason::Unclean);
                self.distrust_since(now, seen, "a connection that came back was not cleaned in time");
            }
            CheckResult::Silent => {
                self.outbox.emit(Event::Checked(CheckOutcome::Unanswered));
                self.close_conn(now, id, conn, CloseReason::CheckFailed);
                self.distrust_since(now, seen, "a health check was not answered in time");
            }
        }
    }

    pub(super) fn on_distrusted(&mut self, now: Instant, id: ConnId, why: &str) {
        if let Some(trust_epoch) = self.connections.get(id).map(|meta| meta.trust_epoch()) {
            self.distrust_since(now, trust_epoch, why);
        }
    }

    /// Another server is wanted: every connection that was made for the present generation goes.
    pub(super) fn on_outdated(&mut self, now: Instant, id: ConnId, why: &str) {
        let Some(server_generation) = self.connections.get(id).map(|meta| meta.server_generation()) else { return };
        if self.closes.is_open() && self.trust.fail_over(now, server_generation) {
            self.retire_generation(now, why);
        }
    }

    /// It is known that the wanted server is another one from now on: the same without a limit, and the new one is dialled at
    /// once, whatever was learned of the old one.
    pub(super) fn on_replaced(&mut self, now: Instant, why: &str) {
        if !self.closes.is_open() {
            return;
        }
        self.trust.replace();
        self.retire_generation(now, why);
        for id in self.connections.select(|meta| matches!(meta.phase(), Phase::Connecting | Phase::Overdue)) {
            self.connections.retire(id, CloseReason::Outdated);
            // It stands in the way of no other.
            self.connections.shift(id, Phase::Overdue);
        }
        self.dialer.restart(now);
    }

    fn retire_generation(&mut self, now: Instant, why: &str) {
        let why: Arc<str> = Arc::from(why);
        self.dialer.note(now, Arc::clone(&why));
        self.outbox.emit(Event::FailedOver { why });
        for id in self.connections.select(|meta| meta.phase() == Phase::Idle) {
            self.close_idle(now, id, CloseReason::Outdated);
        }
        for id in self.connections.select(|meta| meta.phase().is_in_use() && meta.retire().is_none()) {
            self.connections.retire(id, CloseReason::Outdated);
        }
    }

    /// `why` is known if the server has not just closed it.
    pub(super) fn on_died(&mut self, now: Instant, id: ConnId, why: Option<String>) {
        let Some(meta) = self.connections.get(id) else { return };
        let (phase, born_at, granted_to) = (meta.phase(), meta.born_at(), meta.granted_to());
        match phase {
            Phase::Idle => {
                self.outbox.emit(Event::Died { during: ConnectionUse::Idle });
                self.close_idle(now, id, CloseReason::Broken);
            }
            Phase::Granted => {
                self.outbox.emit(Event::Died { during: ConnectionUse::Granted });
                let taken_back = granted_to.and_then(|waiter| self.queue.take_back(waiter));
                if let Some(id) = taken_back {
                    self.outbox.emit(Event::GrantRevoked { why: GrantRevoked::Broken });
                    self.note_waiting();
                    self.revoke(now, id, ReleaseKind::Broken(CloseReason::Broken));
                }
            }
            Phase::Leased => {
                self.connections.retire(id, CloseReason::Broken);
                self.connections.shift(id, Phase::Lost);
                self.outbox.emit(Event::Died { during: ConnectionUse::Loan });
            }
            Phase::Connecting | Phase::Overdue | Phase::Checking | Phase::Cleaning => {
                self.connections.retire(id, CloseReason::Broken);
                self.outbox.emit(Event::Died { during: ConnectionUse::Upkeep });
            }
            Phase::Lost | Phase::Closing => return,
        }
        self.dialer.note(now, why.as_deref().unwrap_or(CLOSED_BY_SERVER));
        if matches!(phase, Phase::Idle | Phase::Granted) {
            self.lost_early(now, born_at, why.as_deref().unwrap_or(CLOSED_AT_BIRTH));
        }
    }

    /// A connection died soon after its birth, unused. A server that accepts and hangs up must not be dialled in a loop.
    fn lost_early(&mut self, now: Instant, born_at: Instant, why: &str) {
        if self.closes.is_open() && now.saturating_duration_since(born_at) < EARLY {
            self.outbox.emit(Event::LostEarly);
            self.lost_at_birth(now, why);
        }
    }

    fn lost_at_birth(&mut self, now: Instant, why: &str) {
        let someone_waits = self.someone_waits();
        let failure = DialFailure::new(String::from(why), DialFailureKind::Passing);
        self.dialer.lost_early(now, failure, someone_waits, &mut self.rng);
    }

    pub(super) fn on_close(&mut self, now: Instant, force_at: Option<Instant>) {
        if let Some(force_at) = force_at
            && self.closes.lifecycle() != Lifecycle::Closed
        {
            self.deadlines.arm(DeadlineKind::Force, force_at);
        }
        if !self.closes.is_open() {
            return;
        }
        if let Some((health, lasted)) = self.present_health(now) {
            self.outbox.metrics_mut().note_last_health(health, lasted);
        }
        self.closes.enter(Lifecycle::Closing);
        self.update_return_path();
        for kind in
            [DeadlineKind::Probe, DeadlineKind::Check, DeadlineKind::Cleanup, DeadlineKind::Lifetime, DeadlineKind::IdleTimes]
        {
            self.deadlines.disarm(kind);
        }
        for waiter in self.queue.granted() {
            if let Some(id) = self.queue.finish(waiter, WaitResult::Failed(WaitError::Closed)) {
                self.outbox.emit(Event::GrantRevoked { why: GrantRevoked::PoolClosed });
                self.outbox.metrics_mut().note_refused_by_close();
                self.revoke(now, id, ReleaseKind::Sound);
            }
            self.outbox.wake(waiter);
        }
        for kind in [WaitKind::Loan, WaitKind::Warm] {
            while let Some(waiter) = self.queue.head(kind) {
                self.queue.finish(waiter, WaitResult::Failed(WaitError::Closed));
                if kind == WaitKind::Loan {
                    self.outbox.metrics_mut().note_refused_by_close();
                }
                self.outbox.wake(waiter);
            }
        }
        for id in self.connections.select(|meta| meta.phase() == Phase::Idle) {
            self.close_idle(now, id, CloseReason::PoolClosed);
        }
    }

    pub(super) fn on_closed(&mut self, now: Instant, closing: Closing) {
        let freed = closing.id.and_then(|id| self.connections.free(id));
        if freed.is_some() && self.dialer.made_room(now, false) {
            self.outbox.emit(Event::ProbeHasRoom);
        }
        if freed.is_some() && self.upkeep.cleanup() {
            self.remove_empty_surplus();
        }
    }
}

pub(super) fn note_idle_since<C>(connections: &mut ConnectionTable<C>, id: ConnId, now: Instant) {
    if let Some(meta) = connections.get_mut(id) {
        meta.set_idle_since(Some(now));
    }
}
