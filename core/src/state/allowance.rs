//! What a node may have of what all nodes may have together: the numbers it is given, and those it gives in return.

use crate::connector::CloseReason;
use crate::state::line::Want;
use crate::state::node::{Ledger, Life};
use crate::state::phase::Phase;
use crate::state::token::ConnId;
use crate::time::Instant;

/// How many waits of a node are told one by one; those behind them count as no older than the last of these.
pub(crate) const TOLD_WAITS: usize = 8;

/// What a node may have; an input of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Connections that it may have, in whatever phase; never fewer than it has.
    pub most: usize,
    /// Of them, those that nobody else can claim.
    pub floor: usize,
    /// Idle connections that it is to close now for the sake of others.
    pub give: usize,
    /// How it takes connections back.
    pub stance: Stance,
}

impl Allowance {
    /// As much as its own knobs let it have, and nobody else to think of.
    pub(super) const UNLIMITED: Self = Self { most: usize::MAX, floor: usize::MAX, give: 0, stance: Stance::AtEase };

    /// Nothing yet.
    pub(crate) const NONE: Self = Self { most: 0, floor: 0, give: 0, stance: Stance::Watched };
}

/// How a node takes connections back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stance {
    /// Nobody else needs to know.
    AtEase,
    /// Somebody here or elsewhere is short of connections: every change is told.
    Watched,
    /// Another node is below its floor: what comes free beyond the own floor is held back from the own line until that
    /// is settled.
    Yielding,
}

/// What a node has and would have; an output of the ledger, after every input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appetite {
    /// Whether it still lends; a node that does not has no floor.
    pub is_open: bool,
    /// Connections that it has, in whatever phase.
    pub total: usize,
    /// Of them, those being closed.
    pub closing: usize,
    /// Of them, those that idle.
    pub idle: usize,
    /// Whether callers are in line.
    pub has_line: bool,
    /// Dials that callers in line would have now, and nothing but the allowance forbids.
    pub callers: usize,
    /// Since when they wait, the first of them.
    pub since: [Instant; TOLD_WAITS],
    /// Dials beyond them that nobody waits for: to keep a minimum, to probe, to have one to spare.
    pub more: usize,
}

impl Appetite {
    /// That of a node that has not said anything yet.
    pub(crate) const UNTOLD: Self = Self {
        is_open: true,
        total: 0,
        closing: 0,
        idle: 0,
        has_line: false,
        callers: 0,
        since: [Instant::ZERO; TOLD_WAITS],
        more: 0,
    };
}

/// What the ledger keeps of its allowance; the number itself is kept with the connections, in the roster.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    pub(super) given: Allowance,
    /// A probe was due, there was room for it, and the allowance was used up.
    pub(super) is_probe_put_off: bool,
    /// The same for a dial that somebody wanted who did not wait.
    pub(super) is_spare_put_off: bool,
}

impl Share {
    pub(super) const UNLIMITED: Self = Self { given: Allowance::UNLIMITED, is_probe_put_off: false, is_spare_put_off: false };
}

impl<C> Ledger<C> {
    /// What the node has and would have.
    #[must_use]
    pub fn appetite(&self) -> Appetite {
        let tally = self.roster.tally();
        let (total, closing) = (tally.total(), tally.of(Phase::Closing));
        if self.life != Life::Open {
            return Appetite { is_open: false, total, closing, ..Appetite::UNTOLD };
        }
        let connecting = tally.of(Phase::Connecting);
        let gate = if self.share.is_probe_put_off { 1 } else { self.dialling.width_left(connecting) };
        let most = self.roster.room(self.config.max_pools_per_node()).min(gate);
        let in_line = self.line.len(Want::Loan);
        let callers = in_line.saturating_sub(connecting).min(most);
        let minimum = self.roster.shortfall(self.config.connection_pools_per_node_at_start(), self.config.min_idle());
        let spare = self.share.is_spare_put_off && tally.of(Phase::Idle) == 0;
        let others = self.dials_without_line().max(usize::from(spare)).saturating_sub(connecting);
        let all = callers.max(minimum).max(others).min(most);
        let mut since = [Instant::ZERO; TOLD_WAITS];
        if callers > 0 {
            self.line.tell_since(Want::Loan, connecting, &mut since);
        }
        let (idle, has_line) = (tally.of(Phase::Idle), in_line > 0);
        Appetite { is_open: true, total, closing, idle, has_line, callers, since, more: all - callers }
    }

    /// What it may have: what it was told last, less the places of connections that are no more.
    pub(crate) fn allowance(&self) -> Allowance {
        Allowance { most: self.roster.allowance(), ..self.share.given }
    }

    /// Before the first input: the node may have nothing until it is given an allowance.
    pub fn start_with_nothing(&mut self) {
        self.take_allowance(Allowance::NONE);
    }

    /// The other nodes have heard of this appetite and leave no more: with its floor the node is as warm as it can be.
    pub fn note_agreement(&mut self, appetite: &Appetite) {
        let tally = self.roster.tally();
        let lacks_some = self.roster.is_at_allowance() && appetite.callers + appetite.more > 0;
        let has_floor = tally.dialled() == 0 && tally.open() >= self.share.given.floor;
        if lacks_some && has_floor && self.has_met_server && self.life == Life::Open {
            self.tell_ready(Want::Warm);
        }
    }

    pub(super) fn on_allowance(&mut self, now: Instant, allowance: Allowance) {
        let raised = allowance.most > self.roster.allowance();
        self.take_allowance(allowance);
        for _ in 0..allowance.give {
            let Some(id) = self.idle_for_longest() else { break };
            mark!(self, Yielded);
            self.close_idle(now, id, CloseReason::Yielded);
        }
        if raised && self.life == Life::Open {
            let was_due = std::mem::take(&mut self.share.is_probe_put_off);
            if self.dialling.made_room(now, was_due) && was_due {
                mark!(self, ProbeAllowed);
            }
            if std::mem::take(&mut self.share.is_spare_put_off) && self.roster.tally().of(Phase::Idle) == 0 {
                self.dial_spare(now);
            }
        }
    }

    fn take_allowance(&mut self, allowance: Allowance) {
        self.roster.set_allowance(allowance.most, allowance.floor);
        self.share.given = Allowance { give: 0, ..allowance };
        self.set_pace();
    }

    /// Whether what idles is held back from the line, until others have said whether they need it for their floor.
    pub(super) fn is_yielding(&self) -> bool {
        let tally = self.roster.tally();
        self.share.given.stance == Stance::Yielding && tally.total() - tally.of(Phase::Closing) > self.share.given.floor
    }

    /// Whether there is room for a dial, and the allowance is used up.
    pub(super) fn is_short_of_allowance(&self) -> bool {
        self.roster.is_at_allowance() && self.roster.room(self.config.max_pools_per_node()) > 0
    }

    /// Dials that are wanted whether or not somebody is in line: the first contact of a node that is being added, and the
    /// probe of one that fails.
    pub(super) fn dials_without_line(&self) -> usize {
        let first_contact = !self.has_met_server && !self.line.is_empty(Want::Warm);
        usize::from(first_contact || self.dialling.is_failing())
    }

    /// Of the connections that idle, the one that has been unused for longest.
    fn idle_for_longest(&self) -> Option<ConnId> {
        let idle = self.roster.records().filter(|(_, record)| record.phase == Phase::Idle);
        // One whose time was not noted came back not long ago.
        idle.min_by_key(|(_, record)| (record.idle_since.is_none(), record.idle_since)).map(|(id, _)| id)
    }
}
