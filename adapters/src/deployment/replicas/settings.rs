//! The settings about replicas, which every deployment with replicas has.

use std::ops::RangeInclusive;
use std::time::Duration;

use redis_manager_core::{ConfigError, Setting};

use crate::deployment::read_from::ReadFrom;

/// Default of `max_replica_lag`, in bytes.
pub(crate) const DEFAULT_MAX_LAG: u64 = 1 << 20;
/// Default of `replica_check_interval`.
pub(crate) const DEFAULT_CHECK_INTERVAL: Duration = Duration::from_secs(1);
const CHECK_INTERVALS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(3_600);

/// Which replicas are read from, and by which shared clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReplicaSettings {
    pub(crate) read_from: ReadFrom,
    /// In bytes.
    pub(crate) max_lag: u64,
    pub(crate) check_interval: Duration,
    /// How long one server may take to answer.
    pub(crate) ask_timeout: Duration,
}

impl ReplicaSettings {
    pub(crate) fn check_interval(setting: &'static str, interval: Duration) -> Result<(), ConfigError> {
        ConfigError::unless_within(setting, interval, &CHECK_INTERVALS)
    }

    /// The rows of the table of settings, by the names of `read_from`, `max_replica_lag` and `replica_check_interval`.
    pub(crate) fn settings(names: [&'static str; 3]) -> [Setting; 3] {
        let [read_from, max_lag, interval] = names;
        [
            Setting::new(
                read_from,
                "choice",
                ReadFrom::default().to_string(),
                String::from("primary, prefer replica, replica, any or a zone"),
                "where shared clients send reads of keys",
            ),
            Setting::new(
                max_lag,
                "bytes",
                DEFAULT_MAX_LAG.to_string(),
                format!("0 to {}", u64::MAX),
                "a replica that lacks more of the primary's writes is not read from",
            ),
            Setting::duration(
                interval,
                DEFAULT_CHECK_INTERVAL,
                &CHECK_INTERVALS,
                "how often replicas that are read from, and their primary, are asked how far they are",
            ),
        ]
    }
}
