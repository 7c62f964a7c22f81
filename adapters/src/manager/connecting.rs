//! The short start on tokio: a manager with default settings and one node.

use crate::error::AddNodeError;
use crate::manager::RedisManager;
use crate::tokio::TokioRuntime;

impl RedisManager {
    /// A manager on the tokio runtime that this is called on, every setting at its default, with the node of this URL.
    /// For other settings, [`builder`](RedisManager::builder).
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = redis_manager::RedisManager::connect("redis://localhost").await?;
    /// let mut client = manager.get_client("redis://localhost").await?;
    /// # drop(client);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`add_node_pool`](RedisManager::add_node_pool).
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
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
