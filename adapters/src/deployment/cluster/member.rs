//! One node of a cluster, with its pools.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis_manager_core::{Health, Instant, NodePool};

use crate::deployment::cluster::state::topology::ClusterNodeId;
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
        let fit = || replicas.iter().filter(|replica| is_fit(replica.node));
        let in_turn = |nodes: Vec<ClusterNodeId>| nodes.get(turn % nodes.len().max(1)).copied();
        let any_replica = || in_turn(fit().map(|replica| replica.node).collect());
        match from {
            ReadFrom::Primary => Some(primary),
            ReadFrom::PreferReplica => any_replica().or(Some(primary)),
            ReadFrom::Replica => any_replica(),
            ReadFrom::Any => in_turn(fit().map(|replica| replica.node).chain([primary]).collect()),
            ReadFrom::Zone(zone) => {
                let is_here = |other: Option<&Arc<str>>| other.is_some_and(|other| **other == **zone);
                let mut here: Vec<_> =
                    fit().filter(|replica| is_here(replica.zone.as_ref())).map(|replica| replica.node).collect();
                here.extend(is_here(self.zones.get(&primary)).then_some(primary));
                in_turn(here).or_else(any_replica).or(Some(primary))
            }
        }
    }

    /// Whether a node is one of those that copy `primary`.
    pub(crate) fn has(&self, primary: ClusterNodeId, node: ClusterNodeId) -> bool {
        self.replicas.get(&primary).is_some_and(|replicas| replicas.iter().any(|replica| replica.node == node))
    }
}
