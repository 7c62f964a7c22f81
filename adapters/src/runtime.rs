//! The traits of an executor, for your own runtime: time and tasks, and a network for Redis.

pub use redis_manager_core::{Instant, Runtime, Spawn, Task, Timer};

#[cfg(any(feature = "tokio", feature = "smol"))]
pub use crate::network::{Network, Reply};
#[cfg(any(feature = "tokio", feature = "smol"))]
pub use crate::stream::{BoxStream, Peeked, Stream};
#[cfg(any(feature = "tokio", feature = "smol"))]
pub use crate::tcp_options::TcpOptions;
