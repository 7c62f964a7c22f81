//! Where the subscriptions of a name behind sentinels belong: to the primary, and to the next one after a failover.

use std::pin::Pin;
use std::sync::Arc;

use crate::deployment::sentinel::group::SentinelGroup;
use crate::deployment::subscription_places::{ShardMap, SubscriptionPlaces};

pub(crate) struct SentinelPlaces(pub(crate) Arc<SentinelGroup>);

impl SubscriptionPlaces for SentinelPlaces {
    fn home(&self) -> u64 {
        self.0.failovers()
    }

    fn version(&self) -> u64 {
        self.0.changed.version()
    }

    fn changed(&self, beyond: u64) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let group = Arc::clone(&self.0);
        Box::pin(async move {
            group.changed.beyond(beyond).await;
        })
    }

    fn shards(&self) -> Option<&dyn ShardMap> {
        None
    }
}
