//! The short start on tokio: a manager with default settings and one node.

use crate::error::AddNodeError;
use crate::manager::RedisManager;
use crate::tokio::TokioRuntime;

impl RedisManager {
    /// Makes a manager with default settings on the current tokio runtime and adds the node of this URL, within 10 s
    /// (`default_timeout`). For other settings, use [`builder`](RedisManager::builder).
    ///
    /// ```no_run
    /// use redis_manager::{RedisManager, redis};
    ///
    /// async fn ping() -> redis::RedisResult<String> {
    ///     let manager = RedisManager::connect("redis://localhost").await?;
    ///     let mut client = manager.get_client("redis://localhost").await?;
    ///     redis::cmd("PING").query_async(&mut client).await
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidUrl`](AddNodeError::InvalidUrl) at once. [`NoHealthyPools`](AddNodeError::NoHealthyPools) at the deadline, or
    /// at once if the server rejects the connection permanently. [`RuntimeEnded`](AddNodeError::RuntimeEnded) after the end of
    /// the runtime.
    ///
    /// # Panics
    ///
    /// If it is called outside of a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; nothing is left behind.
    pub async fn connect(url: &str) -> Result<Self, AddNodeError> {
        let runtime = TokioRuntime::current().expect("RedisManager::connect is called on a tokio runtime");
        let manager = Self::builder().build(runtime).expect("the defaults are valid");
        manager.add_node_pool(url).await?;
        Ok(manager)
    }
}
