//! What is counted of a cluster as a whole: changes of its topology, failovers, and how long primaries were not up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis_manager_core::{CountBy, CountKey, Instant, count_key};

/// Why the topology of a cluster has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TopologyChange {
    /// A node has redirected one slot, by `MOVED`.
    Moved,
    /// A node was asked for the topology, and its answer was new.
    Reported,
    /// A replica of a primary that fails has said that it is a primary now.
    Promoted,
}

count_key! { TopologyChange: Moved "moved", Reported "reported", Promoted "promoted", }

/// What was counted of a cluster since it was added. Read by `RedisManager::cluster_metrics`. The requests to its nodes are in the
/// [`CommandMetrics`](crate::CommandMetrics) of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ClusterMetrics {
    /// Changes of the topology by their cause; the first topology is one.
    pub topology_changes: CountBy<TopologyChange>,
    /// Primaries that were replaced by one of their replicas.
    pub failovers: u64,
    /// For how long at least one primary was not up, in all, with the time until now if one is not. Writes to its slots fail
    /// meanwhile.
    #[cfg_attr(feature = "serde", serde(serialize_with = "seconds"))]
    pub time_impaired: Duration,
}

/// In seconds, as all lengths of time are.
#[cfg(feature = "serde")]
fn seconds<S: serde::Serializer>(length: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(length.as_secs_f64())
}

/// The counters of a cluster.
#[derive(Default)]
pub(crate) struct ClusterCounters {
    changes: [AtomicU64; TopologyChange::ALL.len()],
    failovers: AtomicU64,
    impaired: Mutex<ImpairedTime>,
}

#[derive(Default)]
struct ImpairedTime {
    /// `None` while all primaries are up.
    since: Option<Instant>,
    before: Duration,
}

impl ClusterCounters {
    /// The topology has changed; so many primaries were replaced by a replica.
    pub(crate) fn note_change(&self, cause: TopologyChange, failovers: usize) {
        self.changes[cause as usize].fetch_add(1, Ordering::Relaxed);
        self.failovers.fetch_add(failovers as u64, Ordering::Relaxed);
    }

    /// Whether all primaries are up now.
    pub(crate) fn note_primaries(&self, all_up: bool, now: Instant) {
        let mut impaired = self.impaired.lock().unwrap_or_else(PoisonError::into_inner);
        if !all_up {
            impaired.since.get_or_insert(now);
        } else if let Some(since) = impaired.since.take() {
            impaired.before = impaired.before.saturating_add(now.saturating_duration_since(since));
        }
    }

    pub(crate) fn read(&self, now: Instant) -> ClusterMetrics {
        let impaired = self.impaired.lock().unwrap_or_else(PoisonError::into_inner);
        let present = impaired.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        ClusterMetrics {
            topology_changes: CountBy::of_each(|cause| self.changes[cause as usize].load(Ordering::Relaxed)),
            failovers: self.failovers.load(Ordering::Relaxed),
            time_impaired: impaired.before.saturating_add(present),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen to bite: with `insert` for `get_or_insert`, which begins anew at each look.
    #[test]
    fn the_time_without_a_primary_is_counted_from_the_first_look_to_the_first_without_it() {
        let counters = ClusterCounters::default();
        let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
        let time = |seconds| counters.read(at(seconds)).time_impaired.as_secs();
        for (seconds, all_up) in [(1, true), (10, false), (12, false), (15, true), (16, true), (20, false)] {
            counters.note_primaries(all_up, at(seconds));
        }
        assert_eq!((time(20), time(27)), (5, 12));
        counters.note_change(TopologyChange::Reported, 2);
        counters.note_change(TopologyChange::Moved, 0);
        let read = counters.read(at(30));
        assert_eq!(
            (read.topology_changes.of(TopologyChange::Reported), read.topology_changes.total(), read.failovers),
            (1, 2, 2)
        );
    }
}
