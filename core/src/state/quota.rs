//! What a node may have of what all nodes may have together: the numbers it is given, and those it gives in return.

use crate::time::Instant;

/// How many waits of a node are told one by one; those behind them count as no older than the last of these.
pub(crate) const REPORTED_WAITS: usize = 8;

/// What a node may have; an input of the node's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Connections that it may have, in whatever phase; never fewer than it has.
    pub most: usize,
    /// Of them, those that nobody else can claim.
    pub floor: usize,
    /// Idle connections that it is to close now for the sake of others.
    pub give: usize,
    /// How it takes connections back.
    pub mode: SharingMode,
}

impl Quota {
    /// As much as its own settings let it have, and nobody else to think of.
    pub(crate) const UNLIMITED: Self = Self { most: usize::MAX, floor: usize::MAX, give: 0, mode: SharingMode::Unshared };

    /// Nothing yet.
    pub(crate) const NONE: Self = Self { most: 0, floor: 0, give: 0, mode: SharingMode::Contended };
}

/// How a node takes connections back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharingMode {
    /// Nobody else needs to know.
    Unshared,
    /// Somebody here or elsewhere is short of connections: every change is told.
    Contended,
    /// Another node is below its floor: what comes free beyond the own floor is held back from the own queue until that
    /// is settled.
    Yielding,
}

/// What a node has and would have; an output of the node's state, after every input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Whether it still lends; a node that does not has no floor.
    pub is_open: bool,
    /// Connections that it has, in whatever phase.
    pub total: usize,
    /// Of them, those being closed.
    pub closing: usize,
    /// Of them, those that idle.
    pub idle: usize,
    /// Whether callers are in the queue.
    pub has_waiters: bool,
    /// Dials that callers in the queue would have now, and nothing but the quota forbids.
    pub callers: usize,
    /// Since when they wait, the first of them.
    pub since: [Instant; REPORTED_WAITS],
    /// Dials beyond them that nobody waits for: to keep a minimum, to probe, to have one to spare.
    pub more: usize,
}

impl Demand {
    /// That of a node that has not said anything yet.
    pub(crate) const UNKNOWN: Self = Self {
        is_open: true,
        total: 0,
        closing: 0,
        idle: 0,
        has_waiters: false,
        callers: 0,
        since: [Instant::ZERO; REPORTED_WAITS],
        more: 0,
    };
}

/// What a node keeps of its quota; the number itself is kept with the connections, in their table.
#[derive(Debug)]
pub(crate) struct QuotaState {
    granted: Quota,
    is_used_up: bool,
    is_probe_put_off: bool,
    is_spare_put_off: bool,
}

impl QuotaState {
    pub(crate) const fn new() -> Self {
        Self { granted: Quota::UNLIMITED, is_used_up: false, is_probe_put_off: false, is_spare_put_off: false }
    }

    /// What was granted last; nothing of it is to be given up any more.
    pub(crate) fn granted(&self) -> Quota {
        self.granted
    }

    pub(crate) fn grant(&mut self, quota: Quota) {
        self.granted = Quota { give: 0, ..quota };
    }

    /// The node would have more, and the others have left nothing.
    pub(crate) fn is_used_up(&self) -> bool {
        self.is_used_up
    }

    pub(crate) fn set_used_up(&mut self, is_used_up: bool) {
        self.is_used_up = is_used_up;
    }

    /// A probe was due, there was room for it, and the quota was used up.
    pub(crate) fn is_probe_put_off(&self) -> bool {
        self.is_probe_put_off
    }

    pub(crate) fn put_off_probe(&mut self, is_put_off: bool) {
        self.is_probe_put_off = is_put_off;
    }

    pub(crate) fn take_put_off_probe(&mut self) -> bool {
        std::mem::take(&mut self.is_probe_put_off)
    }

    /// The same for a dial that a caller wanted which did not wait.
    pub(crate) fn is_spare_put_off(&self) -> bool {
        self.is_spare_put_off
    }

    pub(crate) fn put_off_spare(&mut self, is_put_off: bool) {
        self.is_spare_put_off = is_put_off;
    }

    pub(crate) fn take_put_off_spare(&mut self) -> bool {
        std::mem::take(&mut self.is_spare_put_off)
    }
}
