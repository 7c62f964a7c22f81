//! For tests, ours and yours: a runtime with a virtual clock and a seeded schedule, and a fake server to script.
//!
//! A test runs in one thread, in no time, and in the same way each time it has the same seed:
//!
//! ```
//! use redis_manager_core::testing::{FakeMode, FakeRuntime, FakeServer};
//! use redis_manager_core::{AcquireError, NodeConfig, NodePool, Timer};
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! let runtime = FakeRuntime::new(42);
//! let server = FakeServer::new(&runtime);
//! let pool = NodePool::new(server.connector(), NodeConfig::default(), Arc::new(runtime.clone()));
//! runtime.settle();
//! assert_eq!(pool.status().idle, 1);
//!
//! // The server dies; a caller gets its error at its deadline, neither sooner nor later.
//! server.kill();
//! let asked_at = runtime.now();
//! let answer = runtime.block_on(pool.get_timeout(Duration::from_secs(3)));
//! assert!(matches!(answer, Err(AcquireError::NoHealthyPools { .. })));
//! assert_eq!(runtime.now(), asked_at + Duration::from_secs(3));
//!
//! // It comes back; the pool heals by itself.
//! server.set_mode(FakeMode::Up);
//! runtime.advance(Duration::from_secs(6));
//! assert!(pool.try_get().is_ok());
//! ```

mod fake_connection;
mod fake_runtime;
mod fake_server;
mod schedule;
mod seeded_rng;
pub mod simulation;

pub use fake_connection::{FakeConnection, FakeConnector};
pub use fake_runtime::FakeRuntime;
pub use fake_server::{FakeError, FakeMode, FakeServer, FormerServer};
pub use schedule::{Pick, Schedule};
pub use seeded_rng::SeededRng;

pub use crate::state::{CoverPoint, Coverage};
