//! The pauses between probes of a node that is down, as a setting.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config_error::ConfigError;

/// The pause between two probes of a node that is down: drawn evenly from nothing up to a cap (full jitter), which
/// doubles from `start` with each failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeBackoff {
    /// The cap after the first failure.
    pub start: Duration,
    /// The highest cap while callers wait.
    pub max_with_waiters: Duration,
    /// The highest cap while no caller waits.
    pub max_without_waiters: Duration,
}

impl ProbeBackoff {
    /// What it is when it is not set and `default_timeout` is no shorter.
    pub(super) const DEFAULT: Self = Self {
        start: Duration::from_millis(50),
        max_with_waiters: Duration::from_millis(500),
        max_without_waiters: Duration::from_secs(5),
    };

    /// Checks it: each pause within `durations`, in ascending order, the second at most `default_timeout`.
    pub(super) fn checked(self, durations: &RangeInclusive<Duration>, default_timeout: Duration) -> Result<Self, ConfigError> {
        ConfigError::unless_within("probe_backoff", self.start, durations)?;
        ConfigError::unless_within("probe_backoff", self.max_with_waiters, durations)?;
        ConfigError::unless_within("probe_backoff", self.max_without_waiters, durations)?;
        let at_most = |value: Duration, limit_setting, limit: Duration| match value > limit {
            true => Err(ConfigError::Contradiction {
                setting: "probe_backoff",
                value: format!("{value:?}"),
                limit_setting,
                limit: format!("{limit:?}"),
            }),
            false => Ok(()),
        };
        at_most(self.start, "probe_backoff (its maximum with waiters)", self.max_with_waiters)?;
        at_most(self.max_with_waiters, "probe_backoff (its maximum without waiters)", self.max_without_waiters)?;
        at_most(self.max_with_waiters, "default_timeout", default_timeout)?;
        Ok(self)
    }

    /// The defaults for callers that wait no longer than `default_timeout`.
    pub(super) fn within(self, default_timeout: Duration) -> Self {
        Self {
            start: self.start.min(default_timeout),
            max_with_waiters: self.max_with_waiters.min(default_timeout),
            max_without_waiters: self.max_without_waiters.min(default_timeout),
        }
    }
}
