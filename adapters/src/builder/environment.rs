//! Settings from the environment.

use std::time::Duration;

use redis_manager_core::ConfigError;

use crate::builder::RedisManagerBuilder;

impl RedisManagerBuilder {
    /// Takes settings from the environment, where they are set: `MAX_CONNECTION_SIZE` (a count), `HEALTH_CHECK_INTERVAL`,
    /// `CLEANUP_INTERVAL` and `MAX_IDLE_TIME` (seconds, decimals allowed), `USE_REDIS_CLUSTER` (true or false; true needs the
    /// feature `cluster`). What cannot be read is said by [`build`](RedisManagerBuilder::build).
    pub fn from_env(self) -> Self {
        self.set_from(|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }

    fn set_from(mut self, variable: impl Fn(&'static str) -> Option<String>) -> Self {
        let unreadable = |setting, value, expected| ConfigError::Unreadable { setting, value, expected };
        let seconds = |name: &'static str| -> Result<Option<Duration>, ConfigError> {
            let Some(value) = variable(name) else { return Ok(None) };
            let length = value.trim().parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            length.map(Some).ok_or_else(|| unreadable(name, value, "a number of seconds"))
        };
        let count = |name: &'static str| -> Result<Option<usize>, ConfigError> {
            let Some(value) = variable(name) else { return Ok(None) };
            value.trim().parse().map(Some).map_err(|_| unreadable(name, value, "a whole number"))
        };
        let switch = |name: &'static str| -> Result<Option<bool>, ConfigError> {
            let Some(value) = variable(name) else { return Ok(None) };
            match value.trim().to_ascii_lowercase().as_str() {
                "" | "false" | "0" | "no" | "off" => Ok(Some(false)),
                "true" | "1" | "yes" | "on" => Ok(Some(true)),
                _ => Err(unreadable(name, value, "true or false")),
            }
        };
        let mut take = || -> Result<(), ConfigError> {
            let mut node = self.node.clone();
            if let Some(size) = count("MAX_CONNECTION_SIZE")? {
                node = node.max_connection_size(size);
            }
            if let Some(interval) = seconds("HEALTH_CHECK_INTERVAL")? {
                node = node.health_check_interval(interval);
            }
            if let Some(interval) = seconds("CLEANUP_INTERVAL")? {
                node = node.cleanup_interval(interval);
            }
            if let Some(longest) = seconds("MAX_IDLE_TIME")? {
                node = node.max_idle_time(longest);
            }
            let use_cluster = switch("USE_REDIS_CLUSTER")?;
            if let Some(use_cluster) = use_cluster {
                self.cluster.set_from_environment(use_cluster)?;
            }
            self.node = node;
            Ok(())
        };
        let taken = take();
        self.unreadable = self.unreadable.or(taken.err());
        self
    }
}

#[cfg(test)]
mod tests {
    use redis_manager_core::NodeConfig;

    use super::*;
    use crate::manager::RedisManager;

    fn with(name: &'static str, value: &'static str) -> RedisManagerBuilder {
        RedisManager::builder().set_from(move |asked| (asked == name).then(|| String::from(value)))
    }

    #[test]
    fn the_environment_sets_knobs_and_what_cannot_be_read_is_named() {
        assert_eq!(with("MAX_CONNECTION_SIZE", "7").node, NodeConfig::builder().max_connection_size(7));
        let half = Duration::from_millis(500);
        assert_eq!(with("HEALTH_CHECK_INTERVAL", "0.5").node, NodeConfig::builder().health_check_interval(half));
        assert_eq!(with("CLEANUP_INTERVAL", "0.5").node, NodeConfig::builder().cleanup_interval(half));
        assert_eq!(with("MAX_IDLE_TIME", " 0.5 ").node, NodeConfig::builder().max_idle_time(half));
        assert!(with("USE_REDIS_CLUSTER", "false").unreadable.is_none());
        for (name, value) in [("MAX_CONNECTION_SIZE", "many"), ("MAX_IDLE_TIME", "-1"), ("USE_REDIS_CLUSTER", "perhaps")] {
            let message = with(name, value).unreadable.map(|error| error.to_string()).unwrap_or_default();
            assert!(message.starts_with(&format!("{name} is {value:?}: expected ")), "{message}");
        }
    }
}
