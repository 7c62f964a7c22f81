//! The choice of the node for reads, if replicas are allowed: a usable replica, or else the primary.

use redis::cluster_read_routing::{ReadCandidates, ReadRoutingStrategy, ReadRoutingStrategyFactory};
use redis_manager_core::{Health, Instant};

use crate::cluster::map;
use crate::cluster::nodes::{Cluster, ClusterMember};

/// Chooses among the replicas of a shard; for the cluster of this number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FitReplicas(pub(crate) u64);

impl ReadRoutingStrategyFactory for FitReplicas {
    fn create_strategy(&self) -> Box<dyn ReadRoutingStrategy> {
        Box::new(*self)
    }
}

impl ReadRoutingStrategy for FitReplicas {
    fn route_read<'a>(&self, candidates: &ReadCandidates<'a>) -> &'a redis::cluster::NodeAddress {
        let (replicas, primary) = match candidates {
            ReadCandidates::AnyNode(any) => (any.replicas(), Some(any.primary())),
            ReadCandidates::ReplicasOnly(only) => (only.replicas(), None),
        };
        let Some(cluster) = map::find(self.0) else { return replicas.first() };
        let fit: Vec<_> = replicas.iter().filter(|replica| cluster.is_fit_replica(&replica.to_string())).collect();
        let chosen = (cluster.chance() * fit.len() as f64) as usize;
        fit.get(chosen).copied().or(primary).unwrap_or_else(|| replicas.first())
    }
}

impl Cluster {
    /// Whether a command may be sent there: always to a primary that owns slots; to a replica if it is usable. Any other node
    /// may have an old topology.
    pub(crate) fn serves(&self, address: &str) -> bool {
        self.topology().is_owner(address) || self.is_fit_replica(address)
    }

    fn is_fit_replica(&self, address: &str) -> bool {
        let topology = self.topology();
        if topology.is_owner(address) || !topology.is_part(address) {
            return false;
        }
        let member = self.members().get(address).cloned();
        !self.is_silent(address) && member.is_none_or(|member| member.is_fit(self.runtime().now()))
    }
}

impl ClusterMember {
    /// Whether its dials fail. Not yet, if it has never been dialled.
    pub(crate) fn is_down(&self) -> bool {
        let status = self.pool().status();
        status.health == Health::Down && status.last_error.is_some()
    }

    fn is_fit(&self, now: Instant) -> bool {
        !self.is_down() && now >= self.unfit_until()
    }
}
