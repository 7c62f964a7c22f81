//! Why a subscription has ended.

use redis_manager_core::count_key;

/// Why a [`PubSub`](crate::PubSub) gets no more messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PubSubEnd {
    /// The pools of the node were closed, by [`close_all_pools`](crate::RedisManager::close_all_pools) or
    /// [`close_node_pools`](crate::RedisManager::close_node_pools).
    Closed,
    /// The server closed the connection, or the network failed. A new subscription may succeed.
    ConnectionLost,
    /// The runtime of the manager has ended.
    RuntimeEnded,
}

count_key! { PubSubEnd: Closed "closed", ConnectionLost "connection_lost", RuntimeEnded "runtime_ended", }

impl PubSubEnd {
    /// Whether the server is the cause, as [`RedisErrorExt::is_unavailable`](crate::RedisErrorExt::is_unavailable) for
    /// commands.
    #[must_use]
    pub fn is_unavailable(self) -> bool {
        match self {
            Self::ConnectionLost => true,
            Self::Closed | Self::RuntimeEnded => false,
        }
    }
}
