//! For tests, ours and yours: a runtime with a virtual clock and a seeded schedule, a network in memory, and servers on it.
//!
//! [`FakeRuntime`] has the clock and the tasks, [`FakeNetwork`] the streams, [`FakeRedis`] answers like a Redis, and [`FakeCluster`]
//! like the nodes of a cluster. A test runs in one thread, in no time, and in the same way each time it has the same seed.
//!
//! [`FakeServer`] and [`FakeConnection`] belong to [`pool`](crate::pool): pools of something else than Redis.

#[cfg(any(feature = "tokio", feature = "smol"))]
mod fake_cluster;
#[cfg(any(feature = "tokio", feature = "smol"))]
mod fake_network;
#[doc(hidden)]
pub mod fake_redis;
#[cfg(any(feature = "tokio", feature = "smol"))]
mod fake_redis_host;
#[cfg(all(test, any(feature = "tokio", feature = "smol")))]
mod tests;

#[cfg(any(feature = "tokio", feature = "smol"))]
#[doc(hidden)]
pub use crate::connection::resp::{check_connection_machine, check_reply_parser};
#[cfg(any(feature = "tokio", feature = "smol"))]
pub use fake_cluster::{ClusterNodeSeen, ClusterShape, FakeCluster, SlotMigration};
#[cfg(any(feature = "tokio", feature = "smol"))]
pub use fake_network::{Cut, Direction, FakeHost, FakeListener, FakeNetwork, FakeStream, LinkConditions};
pub use fake_redis::{
    Behaviour, ConnectionSeen, Failover, FakeClusterSettings, FakeUser, LostWrite, PreferredEndpoint, Script, Seen,
};
#[cfg(any(feature = "tokio", feature = "smol"))]
pub use fake_redis_host::FakeRedis;
pub use redis_manager_core::testing::*;
