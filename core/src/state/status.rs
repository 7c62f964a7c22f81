//! What users see of a node: one consistent picture, derived from the ledger's slots.

use std::fmt;

/// How a node is doing.
///
/// ```text
///          a dial fails, or an answer stays out            nothing lendable is left
///    Up ------------------------------------------> Suspect ------------------------> Down
///     ^                                              |                                 |
///     '------- a dial succeeds, or a check ----------'---------------------------------'
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Health {
    /// The last dial or check succeeded.
    Up,
    /// The last dial failed or a server did not answer in time, but some connections may still work.
    Suspect,
    /// The last dial failed and no connection is left. The node is probed, for ever, until it answers.
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
    /// How many pools there are.
    pub total_pools: usize,
    /// How many of them can lend.
    pub healthy_pools: usize,
    /// How many of them cannot.
    pub unhealthy_pools: usize,
    /// Connections on loan, those included that were granted to a waiter who has not collected them yet.
    pub active: usize,
    /// Connections ready to be lent.
    pub idle: usize,
    /// Connections being dialled.
    pub connecting: usize,
    /// Connections out for a health check.
    pub checking: usize,
    /// Connections being closed.
    pub closing: usize,
    /// Callers in line.
    pub waiting: usize,
    /// The last error of a dial or a check, until a dial succeeds again.
    pub last_error: Option<String>,
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
    /// Connections ready to be lent.
    pub idle: usize,
    /// Connections being dialled.
    pub connecting: usize,
    /// Connections out for a health check.
    pub checking: usize,
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
    /// Callers in line.
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
