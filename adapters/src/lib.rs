//! Connection pools to Redis and Valkey nodes, on tokio, smol and async-std.
//!
//! A caller borrows a client of a node and gives it back by dropping it. Broken connections are detected and replaced in the
//! background. Waiting callers are served in order. Every call ends by its deadline, whatever the server does.
//!
//! ```no_run
//! # #[cfg(feature = "tokio")]
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use redis_manager::{RedisManager, tokio::TokioRuntime};
//!
//! let manager = RedisManager::builder().max_connection_size(20).build(TokioRuntime::current()?)?;
//! manager.add_node_pool("redis://localhost").await?;
//!
//! let mut client = manager.get_client("redis://localhost").await?;
//! let pong: String = redis::cmd("PING").query_async(&mut client).await?;
//! drop(client); // gives it back
//!
//! manager.close_all_pools().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Guide
//!
//! | page | read it |
//! |---|---|
//! | [`guide::clients`] | to choose a client: lease, shared client, client for a key, transactions, subscriptions |
//! | [`guide::subscriptions`] | to subscribe: what survives, what is missed, slow readers |
//! | [`guide::configuration`] | to set something: every setting, hooks, limits of connections, URLs, features |
//! | [`guide::metrics`] | to watch it: counters and histograms, Prometheus, OpenTelemetry |
//! | [`guide::outages`] | to handle errors and to shut down: what callers get, every error, HTTP 503, SIGTERM |
//! | [`guide::observability`] | to watch the pools: health for readiness probes, events, logs |
//! | [`guide::cluster`] | with Redis Cluster |
//! | [`guide::sentinel`] | with Sentinel |
//! | [`guide::tls`] | with TLS |
//! | [`guide::testing`] | to test your own code with a virtual clock |
//! | [`guide::performance`], [`guide::comparison`] | to choose a crate |
//!
//! # Modules
//!
//! - The root: what most services need. [`prelude`]: a part of it, for `use redis_manager::prelude::*;`.
//! - `pub_sub`: what a `Subscriber` reads, and why it has failed.
//! - [`runtime`]: the traits of an executor and its network, for other runtimes.
//! - [`pool`]: pools of something else than Redis.
//! - `export`: the metrics of all nodes for Prometheus, the crate `metrics` and OpenTelemetry.
//! - `tls`: the settings of TLS. `testing`: the fake runtime, the fake network and the fake Redis.
#![cfg_attr(
    any(feature = "tokio", feature = "smol"),
    doc = "- [`redis`]: the crate of that name. Its types are in signatures here: its major version is part of this interface."
)]
//!
//! # Features
//!
//! - `tokio` (default): `tokio::TokioRuntime`, for services on tokio.
//! - `smol`: `smol::SmolRuntime`, for services on smol or async-std.
//! - `cluster`: Redis Cluster. `tls-rustls`: `rediss://` and `valkeys://` URLs. Both need one of the runtimes.
//! - `prometheus`, `metrics`, `opentelemetry`: the module `export`. They need one of the runtimes.
//! - `tracing`: what happens in the nodes as events of the crate of that name.
//! - `serde`: `Serialize` for every status, event and all metrics.
//! - `testing`: the module of that name.
//!
//! All may be on at once. For smol alone: `default-features = false, features = ["smol"]`. Without a runtime only [`pool`] and
//! [`runtime`] are here.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]
// What only clusters use is compiled without them, too: fewer combinations to get wrong. With them every unused item is found.
#![cfg_attr(not(feature = "cluster"), allow(dead_code, unused_imports))]

#[cfg(any(feature = "tokio", feature = "smol"))]
mod builder;
#[cfg(any(feature = "tokio", feature = "smol"))]
mod connection;
#[cfg(any(feature = "tokio", feature = "smol"))]
mod deployment;
#[cfg(any(feature = "tokio", feature = "smol"))]
mod error;
#[cfg(all(
    any(feature = "metrics", feature = "opentelemetry", feature = "prometheus"),
    any(feature = "tokio", feature = "smol")
))]
pub mod export;
#[cfg(any(doc, doctest))]
pub mod guide;
#[cfg(any(feature = "tokio", feature = "smol"))]
mod health_report;
#[cfg(any(feature = "tokio", feature = "smol"))]
mod manager;
#[cfg(any(feature = "tokio", feature = "smol"))]
mod network;
#[cfg(not(any(feature = "tokio", feature = "smol")))]
mod no_runtime;
#[cfg(any(feature = "tokio", feature = "smol"))]
mod observe;
pub mod pool;
pub mod prelude;
#[cfg(any(feature = "tokio", feature = "smol"))]
pub mod pub_sub;
#[cfg(any(feature = "tokio", feature = "smol"))]
#[path = "redis/mod.rs"]
mod redis_node;
pub mod runtime;
#[cfg(any(feature = "tokio", feature = "smol"))]
mod setters;
#[cfg(any(feature = "tokio", feature = "smol"))]
mod setting_value;
#[cfg(any(feature = "tokio", feature = "smol"))]
mod settings;
#[cfg(feature = "smol")]
pub mod smol;
#[cfg(any(feature = "tokio", feature = "smol"))]
mod stream;
#[cfg(any(feature = "tokio", feature = "smol"))]
mod subscriber;
#[cfg(any(feature = "tokio", feature = "smol"))]
mod sync;
#[cfg(any(feature = "tokio", feature = "smol"))]
mod tcp_options;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(all(feature = "tls-rustls", any(feature = "tokio", feature = "smol")))]
pub mod tls;
#[cfg(feature = "tokio")]
pub mod tokio;

#[cfg(any(feature = "tokio", feature = "smol"))]
pub use redis;
pub use redis_manager_core::{
    AcquireCounts, CheckOutcome, CloseReason, Closed, ConfigError, ConnectCounts, ConnectionUse, CountBy, CountKey,
    DialFailureKind, Event, GrantRevoked, Health, Histogram, LastError, NodeMetrics, NodeStatus, Observer, OnNodeDown,
    PoolStatus, ReturnCounts, Setting, Snapshot, TotalConnections, WaitPhase,
};

#[cfg(any(feature = "tokio", feature = "smol"))]
pub use builder::{RedisManagerBuilder, RedisManagerConfig};
#[cfg(all(feature = "cluster", any(feature = "tokio", feature = "smol")))]
pub use deployment::cluster::ClusterArgs;
#[cfg(any(feature = "tokio", feature = "smol"))]
pub use deployment::replicas::{PrimaryArgs, ReplicaReport, ReplicaStatus};
#[cfg(any(feature = "tokio", feature = "smol"))]
pub use deployment::sentinel::{PrimaryChange, SentinelArgs, SentinelReport, SentinelStatus};
#[cfg(any(feature = "tokio", feature = "smol"))]
pub use deployment::{
    AddressMap, ClusterMetrics, ClusterNode, ClusterRole, ClusterStatus, PrimaryMetrics, ReadFrom, ScanOptions, TopologyChange,
};
#[cfg(any(feature = "tokio", feature = "smol"))]
pub use error::{AddNodeError, ConnectFailure, FailureKind, GetClientError, RedisErrorExt, Sent};
#[cfg(any(feature = "tokio", feature = "smol"))]
pub use health_report::{HealthReport, NodeHealth};
#[cfg(any(feature = "tokio", feature = "smol"))]
pub use manager::{KeyScan, NodeHandle, RedisManager};
#[cfg(not(any(feature = "tokio", feature = "smol")))]
#[expect(deprecated, reason = "its note says what is missing")]
pub use no_runtime::RedisManager;
#[cfg(any(feature = "tokio", feature = "smol"))]
pub use observe::{EventReader, MissedEvents, NodeEvent};
#[cfg(any(feature = "tokio", feature = "smol"))]
pub use redis_node::{
    Attempt, Client, CommandMetrics, ConnectPhaseTimes, Handshake, LendCandidate, NewConnection, PoolArgs, Prepared, PubSub,
    PubSubEnd, RequestCounts, RequestResult, RequestWay, ServerErrorCode, SharedClient, SubscriptionCounts, TransactionError,
    UnknownCommands,
};
#[cfg(any(feature = "tokio", feature = "smol"))]
pub use subscriber::{Overflow, Subscriber, SubscriberOptions};
#[cfg(any(feature = "tokio", feature = "smol"))]
pub use tcp_options::Keepalive;
