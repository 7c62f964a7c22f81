//! Where the connections of a subscriber come from: the pools of a node, or of the nodes of a deployment.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use redis_manager_core::NodePool;

use crate::deployment::{Deployment, PlaceLease, SubscriptionPlaces};
use crate::error::GetClientError;
use crate::redis_node::RedisConnector;
use crate::subscriber::state::shard_routes::SlotOf;
use crate::subscriber::state::subscriber_io::LinkPlace;

/// Keeps the pools open.
pub(crate) enum LeaseSource {
    Node(NodePool<RedisConnector>),
    /// Its first slot says which node is at home: all nodes get all messages, except those of sharded channels.
    Deployment(Arc<dyn Deployment>),
}

impl LeaseSource {
    /// Waits for a connection, as any caller does.
    pub(super) fn lend(&self, place: LinkPlace, timeout: Duration) -> PlaceLease {
        let deployment = match self {
            Self::Node(pool) => {
                let pool = pool.clone();
                return Box::pin(async move { Ok(pool.get_timeout(timeout).await?) });
            }
            Self::Deployment(deployment) => Arc::clone(deployment),
        };
        if let LinkPlace::Owner(owner) = place
            && let Some(shards) = deployment.subscription_places().shards()
        {
            return shards.lend(owner, timeout);
        }
        Box::pin(async move {
            let client = deployment.get_client_for_key(b"", timeout).await?;
            let no_lease = || GetClientError::UnknownNode { node: String::from(deployment.name()) };
            client.into_lease().ok_or_else(no_lease)
        })
    }

    /// If sharded channels belong to the owners of their slots.
    pub(super) fn slot_of(&self) -> Option<SlotOf> {
        self.places().and_then(|places| places.shards().map(|shards| shards.slot_of()))
    }

    /// None: all belongs to the one node.
    pub(super) fn places(&self) -> Option<Arc<dyn SubscriptionPlaces>> {
        match self {
            Self::Node(_) => None,
            Self::Deployment(deployment) => Some(deployment.subscription_places()),
        }
    }
}

/// The places of subscriptions, as a subscriber follows them.
pub(super) struct PlaceWatch {
    places: Arc<dyn SubscriptionPlaces>,
    seen: u64,
    changed: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// The server at which the connection at home is.
    home: u64,
}

impl PlaceWatch {
    pub(super) fn new(places: Arc<dyn SubscriptionPlaces>) -> Self {
        let seen = places.version();
        let (changed, home) = (places.changed(seen), places.home());
        Self { places, seen, changed, home }
    }

    /// Whether places may have changed since this was asked last. If not, the task is woken when they do.
    pub(super) fn poll_changed(&mut self, cx: &mut Context<'_>) -> bool {
        let mut has_changed = false;
        while self.changed.as_mut().poll(cx).is_ready() {
            has_changed = true;
            self.seen = self.places.version();
            self.changed = self.places.changed(self.seen);
        }
        has_changed
    }

    /// Whether places may have changed.
    pub(super) fn is_behind(&self) -> bool {
        self.places.version() > self.seen
    }

    /// A connection at home is asked for, and will be at the server that is the right one now.
    pub(super) fn note_dial(&mut self) {
        self.home = self.places.home();
    }

    /// Whether the connection at home is at another server than the right one.
    pub(super) fn has_home_moved(&self) -> bool {
        self.places.home() != self.home
    }

    pub(super) fn owners(&self, slots: impl IntoIterator<Item = u16>) -> Vec<(u16, Option<u32>)> {
        let Some(shards) = self.places.shards() else { return Vec::new() };
        slots.into_iter().map(|slot| (slot, shards.owner(slot))).collect()
    }

    /// The owners of the slots of these channels.
    pub(super) fn owners_of(&self, names: &[Arc<[u8]>]) -> Vec<(u16, Option<u32>)> {
        let Some(shards) = self.places.shards() else { return Vec::new() };
        let slot_of = shards.slot_of();
        self.owners(names.iter().map(|name| slot_of(name)).collect::<BTreeSet<u16>>())
    }

    /// The connection to an owner was lost.
    pub(super) fn doubt(&self, place: LinkPlace) {
        if let (LinkPlace::Owner(_), Some(shards)) = (place, self.places.shards()) {
            shards.doubt();
        }
    }

    /// An owner has said `MOVED …`: the topology learns it.
    pub(super) fn redirected(&self, place: LinkPlace, text: &str) {
        if let (LinkPlace::Owner(from), Some(shards)) = (place, self.places.shards()) {
            shards.redirected(from, text);
        }
    }
}
