//! For pools of something else than Redis, on the same machines: what connects, what is lent, what is set, what happens.
//!
//! [`NodePool`] lends the connections of one node, [`Manager`] those of many by name; a [`Lease`] goes back on drop.
//! [`Connector`] is all that is asked of a server. All of it is the package `redis-manager-core`.

pub use redis_manager_core::{
    AbortHandle, Acquire, AcquireError, CheckOutcome, CloseReason, Condition, ConnectionMonitor, ConnectionUse, Connector,
    DialFailureKind, Event, GrantRevoked, Lease, Manager, NodeConfig, NodeConfigBuilder, NodePool, Observer, ProbeBackoff,
    TotalLimit,
};
