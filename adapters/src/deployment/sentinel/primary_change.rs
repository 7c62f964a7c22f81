//! The public record of a failover.

use std::time::Duration;

/// One primary that was replaced by another.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PrimaryChange {
    /// Host and port of the former one.
    pub from: String,
    /// Host and port of the new one.
    pub to: String,
    /// For how long the former one had been suspect or down when the new one became known. 0 if it was up.
    pub impaired_for: Duration,
}
