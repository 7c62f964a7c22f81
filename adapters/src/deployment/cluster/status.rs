//! The status of a cluster, read from its state and its pools.

use crate::deployment::cluster::inner::Cluster;
use crate::deployment::cluster_metrics::ClusterMetrics;
use crate::deployment::cluster_status::{ClusterNode, ClusterStatus};

impl Cluster {
    pub(crate) fn status(&self) -> ClusterStatus {
        let (health, living_slots, covered_slots, mut nodes) = {
            let state = self.state();
            let topology = state.topology();
            let address = |node| topology.node(node).map(|node| node.address.to_string());
            let nodes = topology.nodes().into_iter().map(|(number, node)| ClusterNode {
                address: node.address.to_string(),
                role: node.role,
                replica_of: topology.primary_of(node).and_then(address),
                slots: topology.ranges_of(number),
                failed: node.failed,
                zone: node.zone.as_deref().map(String::from),
                pools: None,
            });
            (state.health(), state.living_slots(), topology.covered(), nodes.collect::<Vec<_>>())
        };
        for node in &mut nodes {
            node.pools = self.open_member(&node.address).map(|member| member.pool().status());
        }
        ClusterStatus { health, nodes, covered_slots, living_slots, is_down: living_slots == 0 }
    }

    pub(crate) fn metrics(&self) -> ClusterMetrics {
        self.counters.read(self.runtime().now())
    }
}
