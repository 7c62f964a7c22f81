//! What was counted and timed of a node, as users read it.

use std::time::Duration;

use crate::close_reason::CloseReason;
use crate::state::event::{CheckOutcome, ConnectionUse, GrantRevoked};
use crate::state::input::DialFailureKind;
use crate::state::metrics::count_by::CountBy;
use crate::state::metrics::histogram::Histogram;
use crate::state::outcome::WaitPhase;
use crate::state::status::Health;

/// What was counted and timed of a node since it was added, at one moment: all of it adds up, also with a
/// [`NodeStatus`](crate::NodeStatus) that was read [together with it](crate::NodePool::status_and_metrics).
///
/// Counters and histograms only grow; `pending` of the gets is the one number that also falls. 1.6 kB.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct NodeMetrics {
    /// Gets by how they ended.
    pub acquires: AcquireCounts,
    /// How long the gets waited that are counted as `waited`: from the first look at the node to the lease in hand. Gets that
    /// got nothing are in the counters alone. One whose connection was found broken waits on, and is timed once more, from its
    /// beginning.
    pub wait_time: Histogram,
    /// Dials by how they ended.
    pub connects: ConnectCounts,
    /// How long the dials took that have succeeded.
    pub connect_time: Histogram,
    /// How long leases lived, from the lease in hand to its return or its forced end. A sample: one lease of each
    /// `use_time_sampling`, so `count()` says how many were timed, not how many there were. A lease whose connection was found
    /// broken before its use is left out.
    pub use_time: Histogram,
    /// Of how many leases one is timed, as [`use_time_sampling`](crate::NodeConfig::use_time_sampling) is set; 0: none.
    pub use_time_sampling: usize,
    /// Returns where nothing else was to be done.
    pub returns: ReturnCounts,
    /// Connections that were closed, or given up at the end of their pool, by why. A close counts when it begins.
    pub closes: CountBy<CloseReason>,
    /// Connections that have died by themselves, by what they were used for.
    pub deaths: CountBy<ConnectionUse>,
    /// Health checks by how they ended; those that a close of the pool has cut short are left out.
    pub checks: CountBy<CheckOutcome>,
    /// Cleanings of what borrowers left behind, by how they ended; those that a close of the pool has cut short are left out.
    pub cleanings: CountBy<CheckOutcome>,
    /// Changes of the node's health, by what it became. It is down at first, which is no change.
    pub health_changes: CountBy<Health>,
    /// For how long the node was suspect, in all, with the time until now if it still is. It ends with the close of the pool.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::seconds::of"))]
    pub time_suspect: Duration,
    /// For how long the node was down, in all, with the time until now if it still is. It begins when the node is added and
    /// ends with the close of the pool.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::seconds::of"))]
    pub time_down: Duration,
    /// How often something was not answered in time, so that connections had to be checked before they were lent.
    pub suspicions: u64,
    /// How often another server was wanted, so that all connections were replaced.
    pub failovers: u64,
    /// Connections that were taken back from a waiting caller that they had been given to, by why.
    pub grants_revoked: CountBy<GrantRevoked>,
    /// The most callers that were ever in the queue at once. How many there are now is
    /// [`NodeStatus::waiting`](crate::NodeStatus::waiting).
    pub most_waiting: usize,
    /// Pools that were added because the others were full.
    pub pools_added: u64,
    /// Empty surplus pools that were removed.
    pub pools_removed: u64,
}

impl NodeMetrics {
    /// Connections that were ever open: the same as `connects.succeeded`.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.connects.succeeded
    }

    /// Connections that are no longer open, whatever became of them: the same as `closes.total()`.
    #[must_use]
    pub fn closed(&self) -> u64 {
        self.closes.total()
    }

    /// Connections that are open: idle, on loan, dead or alive, and being checked or cleaned. Those that are being dialled or
    /// closed are not.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.opened() - self.closed()
    }
}

/// Gets by how they ended.
///
/// One whose connection was found broken before its use asks again, and is then counted once more: so many calls as
/// `total() - found_broken` have asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct AcquireCounts {
    /// Got a connection that idled.
    pub at_once: u64,
    /// Got a connection after a wait in the queue.
    pub waited: u64,
    /// Got none by their deadline, by what they were waiting for; a `try_get` has its deadline at once.
    pub timed_out: CountBy<WaitPhase>,
    /// Got none because the node is down.
    pub unavailable: u64,
    /// Got none because the queue was full.
    pub saturated: u64,
    /// Got none because the pool was closed before or during their wait.
    pub closed: u64,
    /// Were dropped during their wait.
    pub cancelled: u64,
    /// Have not ended: callers in the queue, and callers that were given a connection and have not taken it yet.
    pub pending: usize,
    /// How many of those with a connection found it broken before its use.
    pub found_broken: u64,
}

impl AcquireCounts {
    /// Those that got none for another reason than their own.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.timed_out.total() + self.unavailable + self.saturated + self.closed
    }

    /// All of them: those that got a connection, at once or after a wait, that failed, that were cancelled, and that are
    /// pending.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.at_once + self.waited + self.failed() + self.cancelled + self.pending as u64
    }
}

/// Dials by how they ended: those that have `started` have succeeded, failed or been `abandoned`, or are under way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ConnectCounts {
    /// Have begun.
    pub started: u64,
    /// How many of those were probes of a failing node.
    pub probes: u64,
    /// Ended with a connection.
    pub succeeded: u64,
    /// Ended without one, by whether another dial is worth while.
    pub failed: CountBy<DialFailureKind>,
    /// Ended without one because the pool was closed.
    pub abandoned: u64,
    /// Took longer than is usual, whatever became of them.
    pub overdue: u64,
}

/// Returns where nothing else was to be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ReturnCounts {
    /// To the idle connections.
    pub idle: u64,
    /// To the head of the queue.
    pub handed_over: u64,
}
