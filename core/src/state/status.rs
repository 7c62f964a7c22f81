//! What users see of a node: one consistent picture, derived from the node's state's slots.

use std::fmt;
use std::time::Duration;

use crate::state::node_state::{Lifecycle, NodeState};
use crate::state::phase::Phase;
use crate::state::token::{WaitFailure, WaitPhase};
use crate::state::wait_queue::WaitKind;
use crate::time::Instant;

/// How a node is doing.
///
/// ```text
///          a dial fails, or an answer stays out            nothing lendable is left
///    Up ------------------------------------------> Suspect ------------------------> Down
///     ^                                              |                                 |
///     '------- a dial succeeds, or a check ----------'---------------------------------'
/// ```
///
/// A node is down until its first dial has succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Health {
    /// The last dial or check succeeded.
    Up,
    /// The last dial failed or a server did not answer in time, but some connections may still work.
    Suspect,
    /// No connection is left that is not known to be dead, and the last dial failed, or none can be made because borrowers
    /// hold dead ones in all places; or no dial has ever succeeded. The node is probed, for ever, until it answers.
    Down,
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Up => "up",
            Self::Suspect => "suspect",
            Self::Down => "down",
        })
    }
}

/// A node at one moment. All counts are of that moment and add up.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeStatus {
    /// How the node is doing.
    pub health: Health,
    /// For how long it has been down; none if it is not.
    pub down_for: Option<Duration>,
    /// How many pools there are.
    pub total_pools: usize,
    /// How many of them can lend.
    pub healthy_pools: usize,
    /// How many of them cannot.
    pub unhealthy_pools: usize,
    /// Connections on loan, those included that were granted to a waiter who has not collected them yet.
    pub active: usize,
    /// How many of those are known to be dead: their borrowers still hold them.
    pub lost: usize,
    /// Connections ready to be lent.
    pub idle: usize,
    /// Connections being dialled.
    pub connecting: usize,
    /// Connections out for a health check, or being cleaned of what a borrower left on them.
    pub checking: usize,
    /// How many of those are being cleaned.
    pub cleaning: usize,
    /// Connections being closed.
    pub closing: usize,
    /// Callers in the queue.
    pub waiting: usize,
    /// The last error of a dial or a check, until a dial succeeds again.
    pub last_error: Option<String>,
    /// How long ago that error came.
    pub last_error_age: Option<Duration>,
    /// The pools, by index.
    pub pools: Vec<PoolStatus>,
}

/// One pool of a node at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStatus {
    /// Which pool; stays the same as long as the pool exists.
    pub index: usize,
    /// Whether it can lend.
    pub healthy: bool,
    /// Connections on loan.
    pub active_calls: usize,
    /// How many of those are known to be dead.
    pub lost: usize,
    /// Connections ready to be lent.
    pub idle: usize,
    /// Connections being dialled.
    pub connecting: usize,
    /// Connections out for a health check, or being cleaned of what a borrower left on them.
    pub checking: usize,
    /// How many of those are being cleaned.
    pub cleaning: usize,
    /// Connections being closed.
    pub closing: usize,
    /// The most connections that it may have, `max_connection_size`.
    pub limit: usize,
}

/// What the pools of a node looked like when a caller was refused; part of the error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// How many pools there were.
    pub pools: u32,
    /// Connections on loan.
    pub active: u32,
    /// Connections ready to be lent.
    pub idle: u32,
    /// Connections being dialled.
    pub connecting: u32,
    /// Connections being checked or closed.
    pub housekeeping: u32,
    /// Callers in the queue.
    pub waiting: u32,
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "pools {}: active {}, idle {}, connecting {}, checking or closing {}; waiting {}",
            self.pools, self.active, self.idle, self.connecting, self.housekeeping, self.waiting
        )
    }
}

impl<C> NodeState<C> {
    /// How the node is doing: derived, never kept.
    #[must_use]
    pub fn health(&self) -> Health {
        if self.has_met_server { self.evidence() } else { Health::Down }
    }

    /// The same, but a node that has never answered is not down before a dial has failed: its callers have reason to wait.
    pub(super) fn evidence(&self) -> Health {
        let counts = self.connections.counts();
        if !self.dialer.is_failing() {
            Health::Up
        } else if counts.alive() == 0 && (self.dialer.has_failed() || self.is_full_of_lost()) {
            Health::Down
        } else {
            Health::Suspect
        }
    }

    /// Whether dead connections that have not come back take all places, so that no dial can show that the node lives.
    fn is_full_of_lost(&self) -> bool {
        let counts = self.connections.counts();
        let lost = counts.of(Phase::Lost);
        lost > 0 && lost == counts.total() && !self.connections.has_room(self.config.max_pools_per_node())
    }

    /// One consistent picture of the node.
    #[must_use]
    pub fn status(&self, now: Instant) -> NodeStatus {
        let last_error = self.dialer.last_error();
        let health = self.health();
        let pools: Vec<_> = self
            .connections
            .pools()
            .map(|(index, pool)| {
                let lends = pool.counts.alive() > 0;
                PoolStatus {
                    index,
                    healthy: self.life == Lifecycle::Open && (health == Health::Up || (health == Health::Suspect && lends)),
                    active_calls: pool.counts.on_loan(),
                    lost: pool.counts.of(Phase::Lost),
                    idle: pool.counts.of(Phase::Idle),
                    connecting: pool.counts.dialled(),
                    checking: pool.counts.examined(),
                    cleaning: pool.counts.of(Phase::Cleaning),
                    closing: pool.counts.of(Phase::Closing),
                    limit: self.connections.limit(),
                }
            })
            .collect();
        let counts = self.connections.counts();
        let healthy_pools = pools.iter().filter(|pool| pool.healthy).count();
        NodeStatus {
            health,
            down_for: self.down_since.map(|since| now.saturating_duration_since(since)),
            total_pools: pools.len(),
            healthy_pools,
            unhealthy_pools: pools.len() - healthy_pools,
            active: counts.on_loan(),
            lost: counts.of(Phase::Lost),
            idle: counts.of(Phase::Idle),
            connecting: counts.dialled(),
            checking: counts.examined(),
            cleaning: counts.of(Phase::Cleaning),
            closing: counts.of(Phase::Closing),
            waiting: self.queue.len(WaitKind::Loan),
            last_error: last_error.as_ref().map(|(text, _)| text.to_string()),
            last_error_age: last_error.map(|(_, at)| now.saturating_duration_since(at)),
            pools,
        }
    }

    /// What is told to somebody who waited since `since` and gets nothing.
    pub(super) fn failure(&self, now: Instant, since: Instant) -> WaitFailure {
        let counts = self.connections.counts();
        let phase = if self.dialer.is_failing() {
            WaitPhase::DialsFailing
        } else if counts.dialled() > 0 {
            WaitPhase::Dialling
        } else if self.is_short_of_quota() {
            WaitPhase::TotalLimit
        } else if counts.on_loan() > 0 {
            WaitPhase::LeasesHeld
        } else {
            WaitPhase::Housekeeping
        };
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        WaitFailure {
            waited: now.saturating_duration_since(since),
            phase,
            seen: Snapshot {
                pools: count(self.connections.pool_count()),
                active: count(counts.on_loan()),
                idle: count(counts.of(Phase::Idle)),
                connecting: count(counts.dialled()),
                housekeeping: count(counts.examined() + counts.of(Phase::Closing)),
                waiting: count(self.queue.len(WaitKind::Loan)),
            },
            last_error: self.dialer.last_error().map(|(text, _)| text),
        }
    }
}

/// The counts of a node as a checker needs them at every step.
#[cfg(feature = "testing")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CheckerCounts {
    pub(crate) idle: usize,
    pub(crate) granted: usize,
    /// Those included that are known to be dead.
    pub(crate) leased: usize,
    /// Known to be dead.
    pub(crate) lost: usize,
    pub(crate) connecting: usize,
    pub(crate) checking: usize,
    pub(crate) closing: usize,
    pub(crate) waiting: usize,
    pub(crate) health: Health,
    pub(crate) open: bool,
    pub(crate) probe_armed: bool,
}

#[cfg(feature = "testing")]
impl CheckerCounts {
    pub(crate) fn total(&self) -> usize {
        self.idle + self.granted + self.leased + self.connecting + self.checking + self.closing
    }
}

#[cfg(feature = "testing")]
impl<C> NodeState<C> {
    pub(crate) fn counts(&self) -> CheckerCounts {
        let counts = self.connections.counts();
        CheckerCounts {
            idle: counts.of(Phase::Idle),
            granted: counts.of(Phase::Granted),
            leased: counts.of(Phase::Leased) + counts.of(Phase::Lost),
            lost: counts.of(Phase::Lost),
            connecting: counts.dialled(),
            checking: counts.examined(),
            closing: counts.of(Phase::Closing),
            waiting: self.queue.len(WaitKind::Loan),
            health: self.evidence(),
            open: self.life == Lifecycle::Open,
            probe_armed: self.deadlines.is_armed(crate::state::deadlines::DeadlineKind::Probe),
        }
    }
}
