//! Where the subscriptions of a deployment belong: to which server, and sharded channels to the owners of their slots.

use std::pin::Pin;
use std::time::Duration;

use redis_manager_core::Lease;

use crate::error::GetClientError;
use crate::redis_node::RedisConnector;

/// A connection on its way.
pub(crate) type PlaceLease = Pin<Box<dyn Future<Output = Result<Lease<RedisConnector>, GetClientError>> + Send>>;

/// Servers that change.
pub(crate) trait SubscriptionPlaces: Send + Sync {
    /// Grows when all subscriptions that are not sharded belong to another server, although the one that they are at may live.
    fn home(&self) -> u64;

    /// Grows at least with each change of what is said here.
    fn version(&self) -> u64;

    /// Ends with a version beyond this one.
    fn changed(&self, beyond: u64) -> Pin<Box<dyn Future<Output = ()> + Send>>;

    /// Slots with owners, if there are any.
    fn shards(&self) -> Option<&dyn ShardMap>;
}

/// Slots with owners that change.
pub(crate) trait ShardMap: Send + Sync {
    /// The slot of a channel.
    fn slot_of(&self) -> fn(&[u8]) -> u16;

    /// The number of the node that owns a slot; `None` if it has no owner.
    fn owner(&self, slot: u16) -> Option<u32>;

    /// A connection to a node, by its number.
    fn lend(&self, owner: u32, timeout: Duration) -> PlaceLease;

    /// A node has said `MOVED …`.
    fn redirected(&self, from: u32, text: &str);

    /// A connection to a node was lost: it may have failed.
    fn doubt(&self);
}
