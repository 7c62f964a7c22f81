//! The slots of a cluster for subscribers: who owns them, and connections to the owners.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::deployment::cluster::inner::Cluster;
use crate::deployment::cluster::redirection::read_moved;
use crate::deployment::cluster::state::topology::ClusterNodeId;
use crate::deployment::router::slot_of;
use crate::deployment::subscription_places::{PlaceLease, ShardMap, SubscriptionPlaces};

/// The owners of a cluster's slots.
pub(crate) struct ClusterShards(pub(crate) Arc<Cluster>);

impl SubscriptionPlaces for ClusterShards {
    /// Each node gets the messages of all of them.
    fn home(&self) -> u64 {
        0
    }

    fn version(&self) -> u64 {
        self.0.changed.version()
    }

    fn changed(&self, beyond: u64) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let cluster = Arc::clone(&self.0);
        Box::pin(async move {
            cluster.changed.beyond(beyond).await;
        })
    }

    fn shards(&self) -> Option<&dyn ShardMap> {
        Some(self)
    }
}

impl ShardMap for ClusterShards {
    fn slot_of(&self) -> fn(&[u8]) -> u16 {
        slot_of
    }

    fn owner(&self, slot: u16) -> Option<u32> {
        let owner = self.0.owners.owner(slot);
        (owner != ClusterNodeId::NONE).then_some(owner.0)
    }

    fn lend(&self, owner: u32, timeout: Duration) -> PlaceLease {
        let cluster = Arc::clone(&self.0);
        Box::pin(async move {
            let member = cluster.member(ClusterNodeId(owner))?;
            let lending = member.pool().get_timeout(timeout);
            // It may be dead, and its place taken.
            cluster.doubt();
            Ok(lending.await?)
        })
    }

    fn redirected(&self, from: u32, text: &str) {
        match read_moved(text) {
            Some((slot, to)) => self.0.moved(slot, &to.address(&self.0.address_of(ClusterNodeId(from)))),
            None => self.0.suspect(),
        }
    }

    fn doubt(&self) {
        self.0.suspect();
    }
}
