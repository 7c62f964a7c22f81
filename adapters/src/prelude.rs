//! The items that most files of a service import: `use redis_manager::prelude::*;`.
//!
//! A glob import of the crate's root does not work: its modules `tokio` and `smol` would clash with the crates of these names,
//! and `#[tokio::main]` would be ambiguous. The prelude does not contain them.
//!
#![cfg_attr(feature = "tokio", doc = "```no_run")]
#![cfg_attr(not(feature = "tokio"), doc = "```ignore")]
//! use redis_manager::prelude::*;
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let manager = RedisManager::builder().build(TokioRuntime::current()?)?;
//!     let node = manager.add_node_pool("redis://localhost").await?;
//!     tokio::time::sleep(std::time::Duration::from_millis(1)).await;
//!     manager.close_all_pools().await;
//!     Ok(())
//! }
//! ```

pub use redis_manager_core::{NodeStatus, OnNodeDown};

#[cfg(any(feature = "tokio", feature = "smol"))]
pub use crate::builder::RedisManagerBuilder;
#[cfg(any(feature = "tokio", feature = "smol"))]
pub use crate::error::{AddNodeError, GetClientError, RedisErrorExt};
#[cfg(any(feature = "tokio", feature = "smol"))]
pub use crate::manager::{NodeHandle, RedisManager};
#[cfg(any(feature = "tokio", feature = "smol"))]
pub use crate::redis_node::{Client, PoolArgs, SharedClient};
#[cfg(feature = "smol")]
pub use crate::smol::SmolRuntime;
#[cfg(feature = "tokio")]
pub use crate::tokio::TokioRuntime;
