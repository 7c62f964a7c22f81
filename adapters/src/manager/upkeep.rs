//! The periodic health checks and the cleanup of all of the manager's nodes.

use redis_manager_core::Manager;

use crate::manager::RedisManager;

impl RedisManager {
    /// Starts the periodic health checks of idle connections, every `health_check_interval`. They run from the start. A second
    /// start has no effect.
    pub fn start_health_checks(&self) {
        self.nodes.start_health_checks();
        self.deployments.for_each_manager(Manager::start_health_checks);
    }

    /// Stops the periodic health checks until they are started again. Broken connections are still found on use, and when the
    /// server closes them.
    pub fn stop_health_checks(&self) {
        self.nodes.stop_health_checks();
        self.deployments.for_each_manager(Manager::stop_health_checks);
    }

    /// Whether health checks run. False after the manager is closed.
    #[must_use]
    pub fn is_health_check_running(&self) -> bool {
        self.nodes.is_health_check_running()
    }

    /// Starts the periodic cleanup. Every `cleanup_interval` it closes connections that were idle for `max_idle_time`, keeps
    /// `min_idle`, and drops empty pools beyond those at start. A second start has no effect.
    pub fn start_cleanup(&self) {
        self.nodes.start_cleanup();
        self.deployments.for_each_manager(Manager::start_cleanup);
    }

    /// Stops the periodic cleanup until it is started again.
    pub fn stop_cleanup(&self) {
        self.nodes.stop_cleanup();
        self.deployments.for_each_manager(Manager::stop_cleanup);
    }

    /// Whether cleanup runs. False after the manager is closed.
    #[must_use]
    pub fn is_cleanup_running(&self) -> bool {
        self.nodes.is_cleanup_running()
    }
}
