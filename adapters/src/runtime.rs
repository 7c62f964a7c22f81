//! What is asked of an executor, for runtimes of your own: time and tasks, and, for Redis, a network.

pub use redis_manager_core::{Instant, Runtime, Spawn, Task, Timer};

#[cfg(any(feature = "tokio", feature = "smol"))]
pub use crate::network::{Network, Reply};
#[cfg(any(feature = "tokio", feature = "smol"))]
pub use crate::stream::{BoxStream, Stream};
#[cfg(any(feature = "tokio", feature = "smol"))]
pub use crate::tcp_options::TcpOptions;
