//! A connection manager for Redis and Valkey that heals itself, on tokio, smol and async-std.
//!
//! Callers borrow a client for a node and give it back by dropping it. Connections that break are found, replaced and
//! healed in the background; waiting callers are served in order; every call ends by its deadline, whatever the server
//! does.
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
//! drop(client);
//!
//! manager.close_all_pools().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! - `tokio` (default): `tokio::TokioRuntime`, for services on tokio.
//! - `smol`: `smol::SmolRuntime`, for services on smol or async-std.
//! - `cluster`: Redis Cluster, beside one of those.
//! - `tls-rustls`: `rediss://` and `valkeys://` URLs, and `PoolArgs::tls`, beside one of the runtimes.
//! - `testing`: the fake runtime and the fake server of the core, to unit-test pool logic with a virtual clock.
//!
//! `tokio` is on by default, and all may be on. For smol alone: `default-features = false, features = ["smol"]`. Without a
//! runtime only [`pool`] and [`runtime`] are here.
//!
//! # Where is what
//!
//! - Here, at the root: what a user of Redis needs.
//! - [`runtime`]: the traits of an executor and its network, for runtimes of your own.
//! - [`pool`]: pools of something else than Redis.
//! - `tls`: the settings of TLS. `testing`: the fake runtime and the fake server.
//! - [`prelude`]: for `use redis_manager::prelude::*;`.
//! - [`redis`]: the crate of that name. Its types are in the signatures here, so its major version is part of this interface.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

#[cfg(any(feature = "tokio", feature = "smol"))]
mod builder;
#[cfg(all(feature = "cluster", any(feature = "tokio", feature = "smol")))]
mod cluster;
#[cfg(any(feature = "tokio", feature = "smol"))]
mod error;
#[cfg(all(feature = "cluster", any(feature = "tokio", feature = "smol")))]
mod future_util;
#[cfg(any(feature = "tokio", feature = "smol"))]
mod manager;
#[cfg(any(feature = "tokio", feature = "smol"))]
mod network;
#[cfg(not(any(feature = "tokio", feature = "smol")))]
mod no_runtime;
pub mod pool;
pub mod prelude;
#[cfg(any(feature = "tokio", feature = "smol"))]
#[path = "redis/mod.rs"]
mod redis_node;
pub mod runtime;
#[cfg(any(feature = "tokio", feature = "smol"))]
mod settings;
#[cfg(feature = "smol")]
pub mod smol;
#[cfg(any(feature = "tokio", feature = "smol"))]
mod stream;
#[cfg(any(feature = "tokio", feature = "smol"))]
mod tcp_options;
#[cfg(all(feature = "tls-rustls", any(feature = "tokio", feature = "smol")))]
pub mod tls;
#[cfg(feature = "tokio")]
pub mod tokio;

#[cfg(any(feature = "tokio", feature = "smol"))]
pub use redis;
#[cfg(feature = "testing")]
pub use redis_manager_core::testing;
pub use redis_manager_core::{
    Closed, ConfigError, Health, LastError, NodeStatus, OnNodeDown, PoolStatus, Setting, Snapshot, TotalConnections, WaitPhase,
};

#[cfg(any(feature = "tokio", feature = "smol"))]
pub use builder::RedisManagerBuilder;
#[cfg(all(feature = "cluster", any(feature = "tokio", feature = "smol")))]
pub use cluster::{ClusterArgs, ClusterNode, ClusterRole, ClusterStatus};
#[cfg(any(feature = "tokio", feature = "smol"))]
pub use error::{AddNodeError, ConnectFailure, FailureKind, GetClientError, RedisErrorExt, Sent};
#[cfg(any(feature = "tokio", feature = "smol"))]
pub use manager::{NodeHandle, RedisManager};
#[cfg(not(any(feature = "tokio", feature = "smol")))]
#[expect(deprecated, reason = "its note says what is missing")]
pub use no_runtime::RedisManager;
#[cfg(any(feature = "tokio", feature = "smol"))]
pub use redis_node::{
    Attempt, Client, Handshake, PoolArgs, Prepared, PubSub, PubSubEnd, SharedClient, TransactionError, UnknownCommands,
};
#[cfg(any(feature = "tokio", feature = "smol"))]
pub use tcp_options::Keepalive;
