//! A row of the table of settings, as the guide shows it.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config_error::in_words;

/// One row of the table of settings; see [`NodeConfig::settings`](crate::NodeConfig::settings).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Setting {
    /// The method of the builder.
    pub name: &'static str,
    /// What a bare number of it counts, or `duration`.
    pub unit: &'static str,
    /// What it is when it is not set.
    pub default: String,
    /// What it may be.
    pub range: String,
    /// What it is for.
    pub why: &'static str,
}

impl Setting {
    /// A row of a table.
    #[doc(hidden)]
    #[must_use]
    pub fn new(name: &'static str, unit: &'static str, default: String, range: String, why: &'static str) -> Self {
        Self { name, unit, default, range, why }
    }

    /// The row of a setting that is a length of time.
    #[doc(hidden)]
    #[must_use]
    pub fn duration(name: &'static str, default: Duration, range: &RangeInclusive<Duration>, why: &'static str) -> Self {
        Self::new(name, "duration", format!("{default:?}"), in_words(range), why)
    }
}
