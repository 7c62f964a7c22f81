//! The core of redis-manager: pools of connections, leases, waiting and healing, as pure state machines that know no
//! runtime and no Redis.
//!
//! Most people want the package `redis-manager`, which re-exports this one and adds tokio, smol and Redis. Use the core
//! alone to pool something else, to bring your own runtime, or to unit-test pool logic with a fake clock (feature
//! `testing`).
//!
//! - [`NodePool`] lends the connections of one node, [`Manager`] those of many by name; a [`Lease`] goes back on drop.
//! - [`Connector`] is all that is asked of a server, [`Runtime`] all that is asked of an executor.
//! - [`NodeConfig`] has the settings, [`NodeStatus`] the picture of a node, [`NodeMetrics`] its counters and histograms,
//!   [`AcquireError`] the errors.
//! - `state` is the pure part: one `NodeState` for each node owns the idle connections, counts all
//!   others, and holds the queue of waiting callers.
//!
//! One request, followed: `acquire` asks the node; the node locks, puts one input into its state, takes the outputs,
//! unlocks, and wakes; the driver performs actions and sleeps until the state's next deadline.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod acquire;
mod close_reason;
mod closed;
mod condition;
mod config;
mod config_error;
mod connection_limiter;
mod connection_monitor;
mod connector;
mod container;
mod driver;
mod error;
mod guard;
mod last_error;
mod lease;
mod manager;
mod node;
mod node_pool;
mod node_registry;
mod observer;
mod pending_close;
mod runtime;
#[cfg(feature = "serde")]
mod seconds;
#[doc(hidden)]
pub mod state;
mod sync;
#[cfg(feature = "testing")]
pub mod testing;
mod time;
mod total_limit;

pub use acquire::Acquire;
pub use close_reason::CloseReason;
pub use closed::Closed;
pub use condition::Condition;
pub use config::{NodeConfig, NodeConfigBuilder, OnNodeDown, ProbeBackoff, Setting};
pub use config_error::ConfigError;
pub use connection_limiter::TotalConnections;
pub use connection_monitor::ConnectionMonitor;
pub use connector::{AbortHandle, Connector};
pub use error::AcquireError;
pub use last_error::LastError;
pub use lease::Lease;
pub use manager::Manager;
#[doc(hidden)]
pub use manager::WeakManager;
pub use node_pool::NodePool;
pub use observer::Observer;
#[doc(hidden)]
pub use pending_close::PendingClose;
pub use runtime::{Runtime, Spawn, Task, Timer};
pub use state::{
    AcquireCounts, CheckOutcome, ConnectCounts, ConnectionUse, CountBy, CountKey, DialFailureKind, Event, GrantRevoked, Health,
    Histogram, NodeMetrics, NodeStatus, PoolStatus, ReturnCounts, Snapshot, WaitPhase,
};
pub use time::Instant;
pub use total_limit::TotalLimit;
