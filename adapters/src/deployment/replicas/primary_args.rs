//! A primary with replicas that are given by their addresses, without sentinels.

use std::fmt;
use std::time::Duration;

use redis_manager_core::{ConfigError, NodeConfig, Setting};

use crate::deployment::read_from::ReadFrom;
use crate::deployment::replicas::settings::{DEFAULT_CHECK_INTERVAL, DEFAULT_MAX_LAG, ReplicaSettings};
use crate::redis_node::redact;
use crate::setters::setters;

/// A primary with replicas that are given by their addresses, without sentinels. Begin with [`PrimaryArgs::new`], and set fields or
/// call setters; [`add_primary`](crate::RedisManager::add_primary) checks them.
///
/// ```
/// use redis_manager::{PrimaryArgs, ReadFrom};
///
/// let servers = ["redis://:password@10.0.0.1", "redis://:password@10.0.0.2", "redis://:password@10.0.0.3"];
/// let args = PrimaryArgs::new(servers).read_from(ReadFrom::PreferReplica).max_replica_lag(64 * 1024);
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PrimaryArgs {
    /// URLs of the primary and of its replicas, in any order, all with the same login and database; at least one, at most 64. Which of
    /// them is the primary is asked of the servers themselves, and asked again when it fails. Servers that are not given are not
    /// used.
    pub servers: Vec<String>,
    /// Where shared clients send commands that only read keys. Default [`ReadFrom::Primary`]. Replicas have pools only with
    /// another choice, or after the first [`get_replica_client`](crate::RedisManager::get_replica_client).
    pub read_from: ReadFrom,
    /// A replica that lacks more of the primary's writes is not read from. In bytes of the stream of replication, default
    /// 1 048 576 (1 MiB), 0 to [`u64::MAX`], which is any lag.
    pub max_replica_lag: u64,
    /// How often the primary and its replicas are asked how far they are (`INFO replication`), while replicas are used. Default 1 s, 10 ms to
    /// 1 h. One that a read waits for is asked at once.
    pub replica_check_interval: Duration,
    /// How often all servers are asked which of them is the primary. Default 1 s, 10 ms to [`Duration::MAX`], which is never. They
    /// are asked sooner, but ten times a second at most, while dials of the primary fail.
    pub poll_interval: Duration,
    /// How long one server may take to answer, from the dial on. Default 500 ms, 10 ms to 7 days. All are asked at the same time.
    pub ask_timeout: Duration,
}

impl PrimaryArgs {
    /// The URLs of a primary and of its replicas, in any order, and the defaults.
    #[must_use]
    pub fn new<U: Into<String>>(servers: impl IntoIterator<Item = U>) -> Self {
        Self {
            servers: servers.into_iter().map(Into::into).collect(),
            read_from: ReadFrom::Primary,
            max_replica_lag: DEFAULT_MAX_LAG,
            replica_check_interval: DEFAULT_CHECK_INTERVAL,
            poll_interval: Duration::from_secs(1),
            ask_timeout: Duration::from_millis(500),
        }
    }

    setters! {
        read_from: ReadFrom,
        max_replica_lag: u64,
        replica_check_interval: Duration,
        poll_interval: Duration,
        ask_timeout: Duration,
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.servers.is_empty() || self.servers.len() > 64 {
            return Err(ConfigError::OutOfRange {
                setting: "primary_args.servers",
                value: self.servers.len().to_string(),
                range: String::from("1 to 64 URLs"),
            });
        }
        ReplicaSettings::check_interval("primary_args.replica_check_interval", self.replica_check_interval)?;
        ConfigError::unless_within("primary_args.poll_interval", self.poll_interval, &NodeConfig::PERIODS)?;
        ConfigError::unless_within("primary_args.ask_timeout", self.ask_timeout, &NodeConfig::DURATIONS)
    }

    /// The rows of the table of settings.
    pub(crate) fn settings() -> Vec<Setting> {
        let args = Self::new([""; 0]);
        let mut settings = vec![Setting::new(
            "primary_args.servers",
            "URLs",
            String::from("must be given"),
            String::from("1 to 64 URLs"),
            "a primary and its replicas, in any order",
        )];
        settings.extend(ReplicaSettings::settings([
            "primary_args.read_from",
            "primary_args.max_replica_lag",
            "primary_args.replica_check_interval",
        ]));
        settings.extend([
            Setting::duration(
                "primary_args.poll_interval",
                args.poll_interval,
                &NodeConfig::PERIODS,
                "how often all servers are asked which is the primary; sooner while dials fail",
            ),
            Setting::duration(
                "primary_args.ask_timeout",
                args.ask_timeout,
                &NodeConfig::DURATIONS,
                "how long one server may take to answer",
            ),
        ]);
        settings
    }
}

/// Without passwords.
impl fmt::Debug for PrimaryArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<String> = self.servers.iter().map(|url| redact(url)).collect();
        f.debug_struct("PrimaryArgs")
            .field("servers", &servers)
            .field("read_from", &self.read_from)
            .field("max_replica_lag", &self.max_replica_lag)
            .field("replica_check_interval", &self.replica_check_interval)
            .field("poll_interval", &self.poll_interval)
            .field("ask_timeout", &self.ask_timeout)
            .finish()
    }
}
