//! What each fact does to the node's state: connections come, fail, answer, die and come back; the pool closes.

use std::time::Duration;

use crate::close_reason::CloseReason;
use crate::config::OnNodeDown;
use crate::state::connection_table::ConnectionTable;
use crate::state::deadlines::DeadlineKind;
use crate::state::node_state::{Lifecycle, NodeState};
use crate::state::phase::Phase;
use crate::state::status::Health;
use crate::state::token::{
    Action, CheckResult, Checkup, Closing, ConnId, DialFailure, DialFailureKind, Loan, Loop, ReleaseKind, Ticket, WaitResult,
};
use crate::state::wait_queue::WaitKind;
use crate::time::Instant;

/// The connections of a node are replaced for another server's sake once in so long at most: a server that stays a
/// replica must not be dialled in a loop.
const BETWEEN_GENERATIONS: Duration = Duration::from_secs(1);

/// What is noted when a connection dies by itself.
pub(super) const CLOSED_BY_SERVER: &str = "a connection was closed by the server";

/// A connection that is lost before this age counts as a failed dial: no server in use closes idle ones so soon.
const EARLY: Duration = Duration::from_secs(1);

impl<C> NodeState<C> {
    /// Takes a connection back from a borrower, or from a waiter that did not collect it.
    pub(super) fn on_release(&mut self, now: Instant, loan: Loan<C>, kind: ReleaseKind) {
        let Loan { id, conn } = loan;
        let Some(record) = self.connections.get_mut(id) else {
            // The pool was closed by force while it was out: it counts no more, but it still leaves by a close.
            mark!(self, LoanOutlivedForce);
            self.order(Action::Close(Closing { id: None }, conn, CloseReason::PoolClosed));
            return;
        };
        let (trust_epoch, retire) = (record.trust_epoch, record.retire);
        match (kind, retire) {
            (ReleaseKind::Broken(reason), _) => self.close_conn(now, id, conn, reason),
            (ReleaseKind::Stale, _) => {
                let born_at = record.born_at;
                self.close_conn(now, id, conn, CloseReason::Broken);
                self.lost_early(now, born_at);
            }
            (ReleaseKind::Silent, _) => {
                mark!(self, CommandSilent);
                self.close_conn(now, id, conn, CloseReason::Broken);
                self.distrust_since(now, trust_epoch, "a command was not answered in time");
            }
            (ReleaseKind::Sound | ReleaseKind::Soiled, Some(reason)) => self.close_conn(now, id, conn, reason),
            (ReleaseKind::Sound | ReleaseKind::Soiled, None) if self.life != Lifecycle::Open => {
                self.close_conn(now, id, conn, CloseReason::PoolClosed);
            }
            (ReleaseKind::Soiled, None) => {
                mark!(self, Soiled);
                self.clean_conn(now, id, conn);
            }
            (ReleaseKind::Sound, None) if trust_epoch != self.trust_epoch => {
                mark!(self, OldEpochReturned);
                self.check_conn(now, id, conn);
            }
            (ReleaseKind::Sound, None) => {
                note_idle_since(&mut self.connections, id, now);
                self.connections.add_idle(id, conn);
                self.arm_idle_times(now);
            }
        }
    }

    /// Takes back a connection that was granted and not collected.
    pub(super) fn revoke(&mut self, now: Instant, id: ConnId, kind: ReleaseKind) {
        if let Some(conn) = self.connections.take_held(id) {
            self.on_release(now, Loan { id, conn }, kind);
        }
    }

    pub(super) fn on_connected(&mut self, now: Instant, ticket: Ticket, conn: C) {
        let id = ticket.id;
        let lifetime = self.lifetime();
        let check_at = self.next_check(now);
        let (trust_epoch, generation) = (self.trust_epoch, self.generation);
        let Some(record) = self.connections.get_mut(id) else {
            self.order(Action::Close(Closing { id: None }, conn, CloseReason::PoolClosed));
            return;
        };
        if self.life != Lifecycle::Open {
            mark!(self, DialEndedAfterClose);
            self.close_conn(now, id, conn, CloseReason::PoolClosed);
            return;
        }
        if record.phase == Phase::Overdue {
            mark!(self, OverdueDialSucceeded);
        }
        let started_at = record.entered_at;
        if let Some(reason) = record.retire {
            self.close_conn(now, id, conn, reason);
            self.dial_failed(now, now, lost_at_birth());
            return;
        }
        record.trust_epoch = trust_epoch;
        record.made_for = generation;
        record.born_at = now;
        record.idle_since = Some(now);
        self.has_met_server = true;
        if self.dialer.has_failed() {
            mark!(self, CameBack);
        }
        self.dialer.succeeded(now, started_at);
        self.end_at(id, now + lifetime);
        self.check_at(id, check_at);
        self.connections.add_idle(id, conn);
    }

    pub(super) fn on_connect_failed(&mut self, now: Instant, ticket: Ticket, failure: DialFailure) {
        let Some(record) = self.connections.free(ticket.id) else { return };
        match (self.life, record.phase, failure.kind) {
            // Known since it was overdue.
            (Lifecycle::Open, Phase::Overdue, DialFailureKind::TimedOut) => self.dialer.elaborate(now, &failure.message),
            (Lifecycle::Closing | Lifecycle::Closed, _, _) => {
                mark!(self, DialEndedAfterClose);
            }
            (Lifecycle::Open, _, _) => self.dial_failed(now, record.entered_at, failure),
        }
    }

    pub(super) fn dial_failed(&mut self, now: Instant, started_at: Instant, failure: DialFailure) {
        let permanent = failure.kind == DialFailureKind::Permanent;
        let someone_waits = self.someone_waits();
        self.dialer.failed(now, started_at, failure, someone_waits, &mut self.rng);
        if permanent {
            // Waiting will not help them. Those who wait for a connection hear as soon as nothing is left to lend.
            self.finish_all(now, WaitKind::Warm, WaitResult::Down);
        }
    }

    /// Whether those who ask are not to wait: nothing is left to lend, and callers fail fast or the server refuses us.
    pub(super) fn is_hopeless(&self) -> bool {
        let fails_at_once = self.config.on_node_down() == OnNodeDown::FailFast || self.dialer.is_refused_for_good();
        fails_at_once && self.evidence() == Health::Down
    }

    pub(super) fn on_checked(&mut self, now: Instant, checkup: Checkup<C>, result: CheckResult) {
        let Checkup { id, conn, .. } = checkup;
        let check_at = self.next_check(now);
        let current = self.trust_epoch;
        let Some(record) = self.connections.get_mut(id) else {
            self.order(Action::Close(Closing { id: None }, conn, CloseReason::PoolClosed));
            return;
        };
        let (seen, cleaned) = (record.trust_epoch, record.phase == Phase::Cleaning);
        match result {
            CheckResult::Sound => {
                if cleaned {
                    mark!(self, Cleaned);
                } else {
                    mark!(self, CheckPassed);
                }
                record.trust_epoch = current;
                let retire = record.retire;
                self.dialer.reassured();
                self.check_at(id, check_at);
                match retire {
                    Some(reason) => self.close_conn(now, id, conn, reason),
                    None if self.life != Lifecycle::Open => self.close_conn(now, id, conn, CloseReason::PoolClosed),
                    // Used a moment ago, so it goes where used ones go.
                    None if cleaned => self.connections.add_idle(id, conn),
                    None => self.connections.add_idle_below(id, conn),
                }
            }
            CheckResult::Failed(_) if cleaned => {
                mark!(self, CleaningFailed);
                self.close_conn(now, id, conn, CloseReason::Unclean);
            }
            CheckResult::Failed(message) => {
                mark!(self, CheckFailed);
                self.dialer.note(now, &message);
                self.close_conn(now, id, conn, CloseReason::CheckFailed);
            }
            CheckResult::Silent if cleaned => {
                mark!(self, CleaningSilent);
                self.close_conn(now, id, conn, CloseReason::Unclean);
                self.distrust_since(now, seen, "a connection that came back was not cleaned in time");
            }
            CheckResult::Silent => {
                mark!(self, CheckSilent);
                self.close_conn(now, id, conn, CloseReason::CheckFailed);
                self.distrust_since(now, seen, "a health check was not answered in time");
            }
        }
    }

    pub(super) fn on_distrusted(&mut self, now: Instant, id: ConnId, why: &str) {
        if let Some(trust_epoch) = self.connections.get(id).map(|record| record.trust_epoch) {
            self.distrust_since(now, trust_epoch, why);
        }
    }

    /// Another server is wanted: every connection that was made for the present generation goes.
    pub(super) fn on_outdated(&mut self, now: Instant, id: ConnId, why: &str) {
        let made_for = self.connections.get(id).map(|record| record.made_for);
        if made_for != Some(self.generation) || self.life != Lifecycle::Open || now < self.next_generation_at {
            return;
        }
        self.generation += 1;
        self.next_generation_at = now + BETWEEN_GENERATIONS;
        mark!(self, Renewed);
        self.dialer.note(now, why);
        for id in self.connections.select(|record| record.phase == Phase::Idle) {
            self.close_idle(now, id, CloseReason::Outdated);
        }
        for id in self.connections.select(|record| record.phase.is_in_use() && record.retire.is_none()) {
            self.connections.retire(id, CloseReason::Outdated);
        }
    }

    pub(super) fn on_died(&mut self, now: Instant, id: ConnId) {
        let Some(record) = self.connections.get(id) else { return };
        let (phase, born_at, granted_to) = (record.phase, record.born_at, record.granted_to);
        match phase {
            Phase::Idle => {
                mark!(self, DiedWhileIdle);
                self.close_idle(now, id, CloseReason::Broken);
            }
            Phase::Granted => {
                mark!(self, DiedWhileGranted);
                let taken_back = granted_to.and_then(|waiter| self.queue.take_back(waiter));
                if let Some(id) = taken_back {
                    self.revoke(now, id, ReleaseKind::Broken(CloseReason::Broken));
                }
            }
            Phase::Leased => {
                self.connections.retire(id, CloseReason::Broken);
                self.connections.shift(id, Phase::Lost);
                mark!(self, DiedOnLoan);
            }
            Phase::Connecting | Phase::Overdue | Phase::Checking | Phase::Cleaning => {
                self.connections.retire(id, CloseReason::Broken);
                mark!(self, DiedWhileOut);
            }
            Phase::Lost | Phase::Closing => return,
        }
        self.dialer.note(now, CLOSED_BY_SERVER);
        if matches!(phase, Phase::Idle | Phase::Granted) {
            self.lost_early(now, born_at);
        }
    }

    /// A connection died soon after its birth, unused. A server that accepts and hangs up must not be dialled in a loop.
    fn lost_early(&mut self, now: Instant, born_at: Instant) {
        if self.life == Lifecycle::Open && now.saturating_duration_since(born_at) < EARLY {
            mark!(self, LostEarly);
            self.dial_failed(now, now, lost_at_birth());
        }
    }

    pub(super) fn on_close(&mut self, now: Instant, force_at: Option<Instant>) {
        if let Some(force_at) = force_at
            && self.life != Lifecycle::Closed
        {
            self.deadlines.arm(DeadlineKind::Force, force_at);
        }
        if self.life != Lifecycle::Open {
            return;
        }
        self.life = Lifecycle::Closing;
        self.set_return_path();
        for kind in [DeadlineKind::Probe, DeadlineKind::Check, DeadlineKind::Cleanup, DeadlineKind::Lifetime, DeadlineKind::Stamp]
        {
            self.deadlines.disarm(kind);
        }
        for waiter in self.queue.granted() {
            if let Some(id) = self.queue.finish(waiter, WaitResult::Closed) {
                mark!(self, CloseOnUncollectedGrant);
                self.revoke(now, id, ReleaseKind::Sound);
            }
            self.wake(waiter);
        }
        for want in [WaitKind::Loan, WaitKind::Warm] {
            while let Some(waiter) = self.queue.head(want) {
                self.queue.finish(waiter, WaitResult::Closed);
                self.wake(waiter);
            }
        }
        for id in self.connections.select(|record| record.phase == Phase::Idle) {
            self.close_idle(now, id, CloseReason::PoolClosed);
        }
    }

    pub(super) fn on_closed(&mut self, now: Instant, closing: Closing) {
        let freed = closing.id.and_then(|id| self.connections.free(id));
        if freed.is_some() && self.dialer.made_room(now, false) {
            mark!(self, RoomAfterSilence);
        }
        if freed.is_some() && self.cleanup == Loop::Running {
            self.connections.remove_empty_surplus(self.config.connection_pools_per_node_at_start());
        }
    }
}

/// The failure of a dial whose connection was gone before it was of use.
fn lost_at_birth() -> DialFailure {
    DialFailure { message: String::from("the server closed a new connection at once"), kind: DialFailureKind::Passing }
}

pub(super) fn note_idle_since<C>(connections: &mut ConnectionTable<C>, id: ConnId, now: Instant) {
    if let Some(record) = connections.get_mut(id) {
        record.idle_since = Some(now);
    }
}
