//! What users see of a node: one consistent picture, derived from the slots of its connections.

use std::fmt;
use std::time::Duration;

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
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
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
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct NodeStatus {
    /// How the node is doing.
    pub health: Health,
    /// For how long it has been doing like that.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::seconds::of"))]
    pub health_for: Duration,
    /// For how long it has been down; none if it is not.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::seconds::of_option"))]
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
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::seconds::of_option"))]
    pub last_error_age: Option<Duration>,
    /// The pools, by index.
    pub pools: Vec<PoolStatus>,
}

impl NodeStatus {
    /// Of what is made of several nodes, and has no pools of its own.
    #[doc(hidden)]
    #[must_use]
    pub fn without_pools(health: Health, health_for: Duration, last_error: Option<String>) -> Self {
        let down_for = (health == Health::Down).then_some(health_for);
        let last_error_age = last_error.as_ref().map(|_| health_for);
        Self {
            health,
            health_for,
            down_for,
            total_pools: 0,
            healthy_pools: 0,
            unhealthy_pools: 0,
            active: 0,
            lost: 0,
            idle: 0,
            connecting: 0,
            checking: 0,
            cleaning: 0,
            closing: 0,
            waiting: 0,
            last_error,
            last_error_age,
            pools: Vec::new(),
        }
    }

    /// The same as `active`, by the name that it has in a [`PoolStatus`].
    #[must_use]
    pub fn active_calls(&self) -> usize {
        self.active
    }
}

/// `up: pools 2 (1 healthy); active 3, idle 1, connecting 0, checking 0, closing 0; waiting 5`
impl fmt::Display for NodeStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: pools {} ({} healthy); active {}, idle {}, connecting {}, checking {}, closing {}; waiting {}",
            self.health,
            self.total_pools,
            self.healthy_pools,
            self.active,
            self.idle,
            self.connecting,
            self.checking,
            self.closing,
            self.waiting
        )
    }
}

/// One pool of a node at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
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
    /// The most connections that it may have: `max_connection_size`, or what `max_connections_per_node` leaves the last pool.
    pub limit: usize,
}

impl PoolStatus {
    /// The same as `active_calls`, by the name that it has in a [`NodeStatus`].
    #[must_use]
    pub fn active(&self) -> usize {
        self.active_calls
    }
}

/// `pool 0 (healthy): active 3, idle 1, connecting 0, checking 0, closing 0; at most 50`
impl fmt::Display for PoolStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "pool {} ({}): active {}, idle {}, connecting {}, checking {}, closing {}; at most {}",
            self.index,
            if self.healthy { "healthy" } else { "unhealthy" },
            self.active_calls,
            self.idle,
            self.connecting,
            self.checking,
            self.closing,
            self.limit
        )
    }
}

/// What the pools of a node looked like when a caller was refused; part of the error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
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

impl Snapshot {
    /// The same as `pools`, by the name that it has in a [`NodeStatus`].
    #[must_use]
    pub fn total_pools(&self) -> u32 {
        self.pools
    }
}

/// What is zero is left out.
impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pools {}", self.pools)?;
        let counts = [
            ("active", self.active),
            ("idle", self.idle),
            ("connecting", self.connecting),
            ("checking or closing", self.housekeeping),
            ("waiting", self.waiting),
        ];
        let mut before = ": ";
        for (what, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            write!(f, "{before}{what} {count}")?;
            before = ", ";
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::close_reason::CloseReason;

    /// Guards against: a count left out or in the wrong place, names that disagree.
    #[test]
    fn statuses_are_shown_in_one_line_and_go_by_both_names() {
        let pool = PoolStatus {
            index: 2,
            healthy: true,
            active_calls: 1,
            lost: 0,
            idle: 2,
            connecting: 3,
            checking: 4,
            cleaning: 0,
            closing: 5,
            limit: 50,
        };
        let text = "pool 2 (healthy): active 1, idle 2, connecting 3, checking 4, closing 5; at most 50";
        assert_eq!((pool.to_string().as_str(), pool.active()), (text, 1));
        let node = NodeStatus {
            health: Health::Suspect,
            health_for: Duration::ZERO,
            down_for: None,
            total_pools: 2,
            healthy_pools: 1,
            unhealthy_pools: 1,
            active: 1,
            lost: 0,
            idle: 2,
            connecting: 3,
            checking: 4,
            cleaning: 0,
            closing: 5,
            waiting: 6,
            last_error: None,
            last_error_age: None,
            pools: vec![pool],
        };
        let text = "suspect: pools 2 (1 healthy); active 1, idle 2, connecting 3, checking 4, closing 5; waiting 6";
        assert_eq!((node.to_string().as_str(), node.active_calls()), (text, 1));
        assert_eq!(Snapshot { pools: 2, ..Snapshot::default() }.total_pools(), 2);
        assert_eq!(CloseReason::IdleTooLong.to_string(), "idle too long");
    }
}
