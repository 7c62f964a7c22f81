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
//! - `tokio`: `tokio::TokioRuntime`, for services on tokio.
//! - `smol`: `smol::SmolRuntime`, for services on smol or async-std.
//! - `cluster`: Redis Cluster, beside one of those.
//! - `tls-rustls`: `rediss://` and `valkeys://` URLs, and `PoolArgs::tls`, beside one of the runtimes.
//! - `testing`: the fake runtime and the fake server of the core, to unit-test pool logic with a virtual clock.
//!
//! None is on by default, and all may be on. Without a runtime only the core is here: [`NodePool`], [`Manager`],
//! [`Connector`], [`Runtime`] and their kin.
//!
//! The core is the package `redis-manager-core`; all of it is re-exported.

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
#[cfg(any(feature = "tokio", feature = "smol"))]
#[path = "redis/mod.rs"]
mod redis_node;
#[cfg(any(feature = "tokio", feature = "smol"))]
mod settings;
#[cfg(feature = "smol")]
pub mod smol;
#[cfg(any(feature = "tokio", feature = "smol"))]
mod stream;
#[cfg(any(feature = "tokio", feature = "smol"))]
mod tcp_options;
#[cfg(feature = "tokio")]
pub mod tokio;

pub use redis_manager_core::*;

#[cfg(any(feature = "tokio", feature = "smol"))]
pub use builder::RedisManagerBuilder;
#[cfg(all(feature = "cluster", any(feature = "tokio", feature = "smol")))]
pub use cluster::{ClusterArgs, ClusterNode, ClusterRole, ClusterStatus};
#[cfg(any(feature = "tokio", feature = "smol"))]
pub use error::{AddNodeError, ConnectFailure, FailureKind, GetClientError, RedisErrorExt, Sent};
#[cfg(any(feature = "tokio", feature = "smol"))]
pub use manager::RedisManager;
#[cfg(any(feature = "tokio", feature = "smol"))]
pub use network::{Network, Reply};
#[cfg(any(feature = "tokio", feature = "smol"))]
pub use redis_node::{
    Attempt, Client, Handshake, NodeHandle, PoolArgs, Prepared, PubSub, PubSubEnd, SharedClient, TransactionError,
    UnknownCommands,
};
#[cfg(all(feature = "tls-rustls", any(feature = "tokio", feature = "smol")))]
pub use redis_node::{ClientCertificate, Pem, TlsArgs};
#[cfg(any(feature = "tokio", feature = "smol"))]
pub use stream::{BoxStream, Stream};
#[cfg(any(feature = "tokio", feature = "smol"))]
pub use tcp_options::{Keepalive, TcpOptions};
