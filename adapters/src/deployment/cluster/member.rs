//! One node of a cluster, with its pools.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis_manager_core::{Health, Instant, NodePool};

use crate::deployment::cluster::state::topology::ClusterNodeId;
use crate::deployment::read_choice::{ReadCandidate, choose_reader};
use crate::deployment::read_from::ReadFrom;
use crate::redis_node::{RedisConnector, SharedConnections};

/// How long a replica that refused a read is not read from.
const UNFIT_FOR: Duration = Duration::from_secs(1);

pub(crate) struct ClusterMember {
    pub(crate) address: Arc<str>,
    pub(crate) connections: Arc<SharedConnections>,
    /// In nanoseconds of the runtime's clock.
    unfit_until: AtomicU64,
}

impl ClusterMember {
    pub(crate) fn new(address: Arc<str>, connections: Arc<SharedConnections>) -> Self {
        Self { address, connections, unfit_until: AtomicU64::new(0) }
    }

    pub(crate) fn pool(&self) -> &NodePool<RedisConnector> {
        &self.connections.pool
    }

    /// As a replica it cannot be read from now.
    pub(crate) fn note_refusal(&self, now: Instant) {
        self.unfit_until.store((now + UNFIT_FOR).as_nanos(), Ordering::Relaxed);
    }

    /// Whether reads may be sent to it, as a replica that is known to live.
    pub(crate) fn is_fit(&self, now: Instant) -> bool {
        now >= Instant::from_nanos(self.unfit_until.load(Ordering::Relaxed))
    }

    /// Whether its dials fail. Not yet, if it has never been dialled.
    pub(crate) fn is_down(&self) -> bool {
        let status = self.pool().status();
        status.health == Health::Down && status.last_error.is_some()
    }
}

/// The nodes that reads may go to, by the primary of the slot.
#[derive(Debug, Default)]
pub(crate) struct ReadTargets {
    replicas: HashMap<ClusterNodeId, Vec<ReadTarget>>,
    zones: HashMap<ClusterNodeId, Arc<str>>,
}

/// A node that lives.
#[derive(Clone, Debug)]
pub(crate) struct ReadTarget {
    pub(crate) node: ClusterNodeId,
    pub(crate) zone: Option<Arc<str>>,
}

impl ReadTargets {
    pub(crate) fn add_replica(&mut self, primary: ClusterNodeId, target: ReadTarget) {
        self.replicas.entry(primary).or_default().push(target);
    }

    pub(crate) fn add_primary(&mut self, target: ReadTarget) {
        self.zones.extend(target.zone.map(|zone| (target.node, zone)));
    }

    /// The nodes for a read from a slot of `primary`, the best ones first, those of equal worth in turn. `is_fit` says whether a
    /// node can be read from now.
    pub(crate) fn choose(
        &self,
        from: &ReadFrom,
        primary: ClusterNodeId,
        turn: usize,
        is_fit: impl Fn(ClusterNodeId) -> bool,
    ) -> Option<ClusterNodeId> {
        let replicas = self.replicas.get(&primary).map_or(&[][..], Vec::as_slice);
        let fit = replicas.iter().filter(|replica| is_fit(replica.node));
        let fit: Vec<_> = fit.map(|replica| ReadCandidate { node: replica.node, zone: replica.zone.as_deref() }).collect();
        let primary = ReadCandidate { node: primary, zone: self.zones.get(&primary).map(|zone| &**zone) };
        choose_reader(from, primary, &fit, turn)
    }

    /// Whether a node is one of those that copy `primary`.
    pub(crate) fn has(&self, primary: ClusterNodeId, node: ClusterNodeId) -> bool {
        self.replicas.get(&primary).is_some_and(|replicas| replicas.iter().any(|replica| replica.node == node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRIMARY: ClusterNodeId = ClusterNodeId(1);

    /// A primary in the zone `a` with replicas 2 in `a`, 3 in `b` and 4 without a zone.
    fn targets() -> ReadTargets {
        let target = |node, zone: Option<&str>| ReadTarget { node: ClusterNodeId(node), zone: zone.map(Arc::from) };
        let mut targets = ReadTargets::default();
        targets.add_primary(target(1, Some("a")));
        for (node, zone) in [(2, Some("a")), (3, Some("b")), (4, None)] {
            targets.add_replica(PRIMARY, target(node, zone));
        }
        targets
    }

    /// Where six reads in turn go.
    fn six(from: &ReadFrom, is_fit: impl Fn(u32) -> bool) -> Vec<Option<u32>> {
        let targets = targets();
        (0..6).map(|turn| targets.choose(from, PRIMARY, turn, |node| is_fit(node.0)).map(|node| node.0)).collect()
    }

    fn to(nodes: &[u32]) -> Vec<Option<u32>> {
        nodes.iter().cycle().take(6).map(|node| Some(*node)).collect()
    }

    /// Seen to bite: with the first one that is fit at each turn, and with a zone that counts for replicas only.
    #[test]
    fn h8_reads_take_turns_among_the_nodes_that_are_fit_and_fall_back_as_the_choice_says() {
        let zone = |zone: &str| ReadFrom::Zone(String::from(zone));
        for (from, all, without_2, none) in [
            (ReadFrom::Primary, to(&[1]), to(&[1]), to(&[1])),
            (ReadFrom::PreferReplica, to(&[2, 3, 4]), to(&[3, 4]), to(&[1])),
            (ReadFrom::Replica, to(&[2, 3, 4]), to(&[3, 4]), vec![None; 6]),
            (ReadFrom::Any, to(&[2, 3, 4, 1]), to(&[3, 4, 1]), to(&[1])),
            (zone("a"), to(&[2, 1]), to(&[1]), to(&[1])),
            (zone("b"), to(&[3]), to(&[3]), to(&[1])),
            (zone("c"), to(&[2, 3, 4]), to(&[3, 4]), to(&[1])),
        ] {
            assert_eq!(six(&from, |_| true), all, "{from}");
            assert_eq!(six(&from, |node| node != 2), without_2, "{from}");
            assert_eq!(six(&from, |_| false), none, "{from}");
        }
        assert_eq!(targets().choose(&ReadFrom::Replica, ClusterNodeId(9), 0, |_| true), None, "of another primary");
        assert!(targets().has(PRIMARY, ClusterNodeId(2)) && !targets().has(PRIMARY, PRIMARY));
    }
}
