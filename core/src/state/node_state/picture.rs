//! What can be seen of a node: how it is doing, its status, and why a wait has failed.

use std::sync::Arc;
use std::time::Duration;

use super::NodeState;
use crate::state::connections::Phase;
use crate::state::input::DialFailureKind;
use crate::state::outcome::{WaitFailure, WaitPhase};
#[cfg(feature = "testing")]
use crate::state::status::CheckerCounts;
use crate::state::status::{Health, NodeStatus, PoolStatus, Snapshot};
use crate::state::wait_queue::WaitKind;
use crate::time::Instant;

impl<C> NodeState<C> {
    /// How the node is doing: derived, never kept.
    #[must_use]
    pub fn health(&self) -> Health {
        if self.dialer.has_met_server() { self.evidence() } else { Health::Down }
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

    /// The last error since the node last answered, and how the dial failed that it is of, if it is of one.
    #[must_use]
    pub fn last_error(&self) -> Option<(Arc<str>, Option<DialFailureKind>)> {
        self.dialer.last_error().map(|error| (error.text, error.dial_failure))
    }

    /// One consistent picture of the node.
    #[must_use]
    pub fn status(&self, now: Instant) -> NodeStatus {
        let last_error = self.dialer.last_error();
        let health = self.health();
        let health_for = self.seen_health.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let pools: Vec<_> = self
            .connections
            .pools()
            .map(|(index, counts)| {
                let lends = counts.alive() > 0;
                PoolStatus {
                    index,
                    healthy: self.closes.is_open() && (health == Health::Up || (health == Health::Suspect && lends)),
                    active_calls: counts.on_loan(),
                    lost: counts.of(Phase::Lost),
                    idle: counts.of(Phase::Idle),
                    connecting: counts.dialled(),
                    checking: counts.examined(),
                    cleaning: counts.of(Phase::Cleaning),
                    closing: counts.of(Phase::Closing),
                    limit: self.connections.limit_of(index),
                }
            })
            .collect();
        let counts = self.connections.counts();
        let healthy_pools = pools.iter().filter(|pool| pool.healthy).count();
        NodeStatus {
            health,
            health_for,
            down_for: match health {
                Health::Up | Health::Suspect => None,
                Health::Down => Some(health_for),
            },
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
            last_error: last_error.as_ref().map(|error| error.text.to_string()),
            last_error_age: last_error.map(|error| now.saturating_duration_since(error.at)),
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
        let last_error = self.dialer.last_error();
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
            dial_failure: last_error.as_ref().and_then(|error| error.dial_failure),
            last_error: last_error.map(|error| error.text),
        }
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
            open: self.closes.is_open(),
            probe_armed: self.deadlines.is_armed(crate::state::deadlines::DeadlineKind::Probe),
        }
    }
}
