//! What each fact does to the ledger: connections come, fail, answer, die and come back; the pool closes.

use std::time::Duration;

use crate::config::OnNodeDown;
use crate::connector::CloseReason;
use crate::state::deadlines::Kind;
use crate::state::line::Want;
use crate::state::node::{Ledger, Life};
use crate::state::phase::Phase;
use crate::state::pool::Roster;
use crate::state::status::Health;
use crate::state::token::{Action, Checkup, Closing, ConnId, Failure, FailureKind, Finding, Loan, Loop, News, Ticket, Verdict};
use crate::time::Instant;

/// The connections of a node are replaced for another server's sake once in so long at most: a server that stays a
/// replica must not be dialled in a loop.
const BETWEEN_GENERATIONS: Duration = Duration::from_secs(1);

/// What is noted when a connection dies by itself.
pub(super) const CLOSED_BY_SERVER: &str = "a connection was closed by the server";

/// A connection that is lost before this age counts as a failed dial: no server in use closes idle ones so soon.
const EARLY: Duration = Duration::from_secs(1);

impl<C> Ledger<C> {
    /// Takes a connection back from a borrower, or from a waiter that did not collect it.
    pub(super) fn on_release(&mut self, now: Instant, loan: Loan<C>, verdict: Verdict) {
        let Loan { id, conn } = loan;
        let Some(record) = self.roster.get_mut(id) else {
            // The pool was closed by force while it was out: it counts no more, but it still leaves by a close.
            mark!(self, LoanOutlivedForce);
            self.order(Action::Close(Closing { id: None }, conn, CloseReason::PoolClosed));
            return;
        };
        let (epoch, retire) = (record.epoch, record.retire);
        match (verdict, retire) {
            (Verdict::Broken(reason), _) => self.close_conn(now, id, conn, reason),
            (Verdict::Stale, _) => {
                let born_at = record.born_at;
                self.close_conn(now, id, conn, CloseReason::Broken);
                self.lost_early(now, born_at);
            }
            (Verdict::Silent, _) => {
                mark!(self, CommandSilent);
                self.close_conn(now, id, conn, CloseReason::Broken);
                self.distrust_since(now, epoch, "a command was not answered in time");
            }
            (Verdict::Sound | Verdict::Soiled, Some(reason)) => self.close_conn(now, id, conn, reason),
            (Verdict::Sound | Verdict::Soiled, None) if self.life != Life::Open => {
                self.close_conn(now, id, conn, CloseReason::PoolClosed);
            }
            (Verdict::Soiled, None) => {
                mark!(self, Soiled);
                self.clean_conn(now, id, conn);
            }
            (Verdict::Sound, None) if epoch != self.epoch => {
                mark!(self, OldEpochReturned);
                self.check_conn(now, id, conn);
            }
            (Verdict::Sound, None) => {
                record_idle(&mut self.roster, id, now);
                self.roster.shelve(id, conn);
                self.arm_stamp(now);
            }
        }
    }

    /// Takes back a connection that was granted and not collected.
    pub(super) fn revoke(&mut self, now: Instant, id: ConnId, verdict: Verdict) {
        if let Some(conn) = self.roster.unpark(id) {
            self.on_release(now, Loan { id, conn }, verdict);
        }
    }

    pub(super) fn on_connected(&mut self, now: Instant, ticket: Ticket, conn: C) {
        let id = ticket.id;
        let lifetime = self.lifetime();
        let check_at = self.next_check(now);
        let (epoch, generation) = (self.epoch, self.generation);
        let Some(record) = self.roster.get_mut(id) else {
            self.order(Action::Close(Closing { id: None }, conn, CloseReason::PoolClosed));
            return;
        };
        if self.life != Life::Open {
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
        record.epoch = epoch;
        record.made_for = generation;
        record.born_at = now;
        record.idle_since = Some(now);
        self.has_met_server = true;
        if self.dialling.has_failed() {
            mark!(self, CameBack);
        }
        self.dialling.succeeded(now, started_at);
        self.end_at(id, now + lifetime);
        self.check_at(id, check_at);
        self.roster.shelve(id, conn);
    }

    pub(super) fn on_connect_failed(&mut self, now: Instant, ticket: Ticket, failure: Failure) {
        let Some(record) = self.roster.free(ticket.id) else { return };
        match (self.life, record.phase, failure.kind) {
            // Known since it was overdue.
            (Life::Open, Phase::Overdue, FailureKind::TimedOut) => self.dialling.elaborate(now, &failure.message),
            (Life::Closing | Life::Closed, _, _) => {
                mark!(self, DialEndedAfterClose);
            }
            (Life::Open, _, _) => self.dial_failed(now, record.entered_at, failure),
        }
    }

    pub(super) fn dial_failed(&mut self, now: Instant, started_at: Instant, failure: Failure) {
        let permanent = failure.kind == FailureKind::Permanent;
        let someone_waits = self.someone_waits();
        self.dialling.failed(now, started_at, failure, someone_waits, &mut self.chance);
        if permanent {
            // Waiting will not help them. Those who wait for a connection hear as soon as nothing is left to lend.
            self.tell_all(now, Want::Warm, News::Down);
        }
    }

    /// Whether those who ask are not to wait: nothing is left to lend, and callers fail fast or the server refuses us.
    pub(super) fn is_hopeless(&self) -> bool {
        let told_at_once = self.config.on_node_down() == OnNodeDown::FailFast || self.dialling.is_refused_for_good();
        told_at_once && self.evidence() == Health::Down
    }

    pub(super) fn on_checked(&mut self, now: Instant, checkup: Checkup<C>, finding: Finding) {
        let Checkup { id, conn, .. } = checkup;
        let check_at = self.next_check(now);
        let current = self.epoch;
        let Some(record) = self.roster.get_mut(id) else {
            self.order(Action::Close(Closing { id: None }, conn, CloseReason::PoolClosed));
            return;
        };
        let (seen, cleaned) = (record.epoch, record.phase == Phase::Cleaning);
        match finding {
            Finding::Sound => {
                if cleaned {
                    mark!(self, Cleaned);
                } else {
                    mark!(self, CheckPassed);
                }
                record.epoch = current;
                let retire = record.retire;
                self.dialling.reassured();
                self.check_at(id, check_at);
                match retire {
                    Some(reason) => self.close_conn(now, id, conn, reason),
                    None if self.life != Life::Open => self.close_conn(now, id, conn, CloseReason::PoolClosed),
                    // Used a moment ago, so it goes where used ones go.
                    None if cleaned => self.roster.shelve(id, conn),
                    None => self.roster.shelve_below(id, conn),
                }
            }
            Finding::Failed(_) if cleaned => {
                mark!(self, CleaningFailed);
                self.close_conn(now, id, conn, CloseReason::Unclean);
            }
            Finding::Failed(message) => {
                mark!(self, CheckFailed);
                self.dialling.note(now, &message);
                self.close_conn(now, id, conn, CloseReason::CheckFailed);
            }
            Finding::Silent if cleaned => {
                mark!(self, CleaningSilent);
                self.close_conn(now, id, conn, CloseReason::Unclean);
                self.distrust_since(now, seen, "a connection that came back was not cleaned in time");
            }
            Finding::Silent => {
                mark!(self, CheckSilent);
                self.close_conn(now, id, conn, CloseReason::CheckFailed);
                self.distrust_since(now, seen, "a health check was not answered in time");
            }
        }
    }

    pub(super) fn on_distrusted(&mut self, now: Instant, id: ConnId, why: &str) {
        if let Some(epoch) = self.roster.get(id).map(|record| record.epoch) {
            self.distrust_since(now, epoch, why);
        }
    }

    /// Another server is wanted: every connection that was made for the present generation goes.
    pub(super) fn on_outdated(&mut self, now: Instant, id: ConnId, why: &str) {
        let made_for = self.roster.get(id).map(|record| record.made_for);
        if made_for != Some(self.generation) || self.life != Life::Open || now < self.next_generation_at {
            return;
        }
        self.generation += 1;
        self.next_generation_at = now + BETWEEN_GENERATIONS;
        mark!(self, Renewed);
        self.dialling.note(now, why);
        for id in self.roster.select(|record| record.phase == Phase::Idle) {
            self.close_idle(now, id, CloseReason::Outdated);
        }
        for id in self.roster.select(|record| record.phase.is_in_use() && record.retire.is_none()) {
            self.roster.retire(id, CloseReason::Outdated);
        }
    }

    pub(super) fn on_died(&mut self, now: Instant, id: ConnId) {
        let Some(record) = self.roster.get(id) else { return };
        let (phase, born_at, granted_to) = (record.phase, record.born_at, record.granted_to);
        match phase {
            Phase::Idle => {
                mark!(self, DiedWhileIdle);
                self.close_idle(now, id, CloseReason::Broken);
            }
            Phase::Granted => {
                mark!(self, DiedWhileGranted);
                let taken_back = granted_to.and_then(|waiter| self.line.take_back(waiter));
                if let Some(id) = taken_back {
                    self.revoke(now, id, Verdict::Broken(CloseReason::Broken));
                }
            }
            Phase::Leased => {
                self.roster.retire(id, CloseReason::Broken);
                self.roster.shift(id, Phase::Lost);
                mark!(self, DiedOnLoan);
            }
            Phase::Connecting | Phase::Overdue | Phase::Checking | Phase::Cleaning => {
                self.roster.retire(id, CloseReason::Broken);
                mark!(self, DiedWhileOut);
            }
            Phase::Lost | Phase::Closing => return,
        }
        self.dialling.note(now, CLOSED_BY_SERVER);
        if matches!(phase, Phase::Idle | Phase::Granted) {
            self.lost_early(now, born_at);
        }
    }

    /// A connection died soon after its birth, unused. A server that accepts and hangs up must not be dialled in a loop.
    fn lost_early(&mut self, now: Instant, born_at: Instant) {
        if self.life == Life::Open && now.saturating_duration_since(born_at) < EARLY {
            mark!(self, LostEarly);
            self.dial_failed(now, now, lost_at_birth());
        }
    }

    pub(super) fn on_close(&mut self, now: Instant, force_at: Option<Instant>) {
        if let Some(force_at) = force_at
            && self.life != Life::Closed
        {
            self.deadlines.arm(Kind::Force, force_at);
        }
        if self.life != Life::Open {
            return;
        }
        self.life = Life::Closing;
        self.set_pace();
        for kind in [Kind::Probe, Kind::Check, Kind::Cleanup, Kind::Lifetime, Kind::Stamp] {
            self.deadlines.disarm(kind);
        }
        for waiter in self.line.granted() {
            if let Some(id) = self.line.tell(waiter, News::Closed) {
                mark!(self, CloseOnUncollectedGrant);
                self.revoke(now, id, Verdict::Sound);
            }
            self.wake(waiter);
        }
        for want in [Want::Loan, Want::Warm] {
            while let Some(waiter) = self.line.head(want) {
                self.line.tell(waiter, News::Closed);
                self.wake(waiter);
            }
        }
        for id in self.roster.select(|record| record.phase == Phase::Idle) {
            self.close_idle(now, id, CloseReason::PoolClosed);
        }
    }

    pub(super) fn on_closed(&mut self, now: Instant, closing: Closing) {
        let freed = closing.id.and_then(|id| self.roster.free(id));
        if freed.is_some() && self.dialling.made_room(now, false) {
            mark!(self, RoomAfterSilence);
        }
        if freed.is_some() && self.cleanup == Loop::Running {
            self.roster.remove_empty_surplus(self.config.connection_pools_per_node_at_start());
        }
    }
}

/// The failure of a dial whose connection was gone before it was of use.
fn lost_at_birth() -> Failure {
    Failure { message: String::from("the server closed a new connection at once"), kind: FailureKind::Passing }
}

pub(super) fn record_idle<C>(roster: &mut Roster<C>, id: ConnId, now: Instant) {
    if let Some(record) = roster.get_mut(id) {
        record.idle_since = Some(now);
    }
}
