//! Why a configuration was refused, and the checks of a single value.

use std::ops::RangeInclusive;
use std::time::Duration;

const DAY: u64 = 24 * 3_600;

/// Why a configuration was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A value is outside of what its setting allows.
    #[error("{setting} is {value}: must be {range}")]
    OutOfRange {
        /// Which setting.
        setting: &'static str,
        /// What it was set to.
        value: String,
        /// What it may be.
        range: String,
    },
    /// Two settings contradict each other.
    #[error("{setting} is {value}: must be at most {limit_setting}, which is {limit}")]
    Contradiction {
        /// Which setting is too high.
        setting: &'static str,
        /// What it was set to.
        value: String,
        /// Which setting bounds it.
        limit_setting: &'static str,
        /// What that one is set to.
        limit: String,
    },
    /// A value, from the environment say, could not be read.
    #[error("{setting} is {value:?}: expected {expected}")]
    Unreadable {
        /// Which setting or variable.
        setting: &'static str,
        /// What it was set to.
        value: String,
        /// What would have been understood.
        expected: &'static str,
    },
    /// A value was read, but is of no use.
    #[error("{setting} is {value}: {reason}")]
    Unusable {
        /// Which setting.
        setting: &'static str,
        /// What it was set to, without secrets.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No setting has this name.
    #[error("unknown setting {setting}{}", closest.map(|closest| format!(": did you mean {closest}?")).unwrap_or_default())]
    UnknownSetting {
        /// The name.
        setting: String,
        /// The name that is most like it, if one is.
        closest: Option<&'static str>,
    },
    /// The same, with where the value comes from.
    #[error("{origin}: {error}")]
    At {
        /// A file, or a variable of the environment.
        origin: String,
        /// What is wrong.
        #[source]
        error: Box<ConfigError>,
    },
}

impl ConfigError {
    /// Checks a setting that is a length of time; for packages that add settings of their own.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`](ConfigError::OutOfRange) if `value` is outside of `range`.
    #[doc(hidden)]
    pub fn unless_within(setting: &'static str, value: Duration, range: &RangeInclusive<Duration>) -> Result<(), Self> {
        if range.contains(&value) {
            return Ok(());
        }
        Err(Self::OutOfRange { setting, value: format!("{value:?}"), range: in_words(range) })
    }
}

/// Checks a setting that is a count.
pub(crate) fn count(setting: &'static str, value: usize, range: RangeInclusive<usize>) -> Result<(), ConfigError> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(ConfigError::OutOfRange { setting, value: value.to_string(), range: format!("{} to {}", range.start(), range.end()) })
}

/// Checks a setting that says of how many one is taken: of none, or of a power of two.
pub(crate) fn sampling(setting: &'static str, value: usize, range: RangeInclusive<usize>) -> Result<(), ConfigError> {
    if range.contains(&value) && (value == 0 || value.is_power_of_two()) {
        return Ok(());
    }
    Err(ConfigError::OutOfRange { setting, value: value.to_string(), range: samplings(&range) })
}

/// What such a setting may be, as errors and tables show it.
pub(crate) fn samplings(range: &RangeInclusive<usize>) -> String {
    format!("{} or a power of two up to {}", range.start(), range.end())
}

/// Checks a setting against another one.
pub(crate) fn at_most(setting: &'static str, value: usize, limit_setting: &'static str, limit: usize) -> Result<(), ConfigError> {
    if value <= limit {
        return Ok(());
    }
    Err(ConfigError::Contradiction { setting, value: value.to_string(), limit_setting, limit: limit.to_string() })
}

/// A range of lengths of time, as errors and tables show it.
pub(crate) fn in_words(range: &RangeInclusive<Duration>) -> String {
    let word = |length: &Duration| match length.as_secs() {
        _ if *length == Duration::MAX => String::from("never"),
        seconds if seconds >= DAY && seconds % DAY == 0 => format!("{} days", seconds / DAY),
        _ => format!("{length:?}"),
    };
    format!("{} to {}", word(range.start()), word(range.end()))
}
