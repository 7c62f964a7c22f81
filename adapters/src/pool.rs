//! Pools for servers other than Redis: connector, leases, settings, events.
//!
//! [`NodePool`] lends the connections of one node, [`Manager`] those of many nodes by name. A [`Lease`] returns its connection
//! when it is dropped. [`Connector`] is the only trait to implement. All items come from the package `redis-manager-core`.

pub use redis_manager_core::{
    AbortHandle, Acquire, AcquireError, CheckOutcome, CloseReason, Condition, ConnectionMonitor, ConnectionUse, Connector,
    DialFailureKind, Event, GrantRevoked, Lease, Manager, NodeConfig, NodeConfigBuilder, NodePool, Observer, ProbeBackoff,
    TotalLimit,
};
