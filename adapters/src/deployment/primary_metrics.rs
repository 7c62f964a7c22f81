//! What is counted of a primary behind sentinels, or of one with replicas.

use std::time::Duration;

/// What was counted of a primary behind sentinels, or of one with replicas, since it was added. Read by
/// `RedisManager::primary_metrics`. The connections and requests are in the metrics of each of its nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PrimaryMetrics {
    /// Primaries that were replaced by another server.
    pub failovers: u64,
    /// For how long the primary was suspect or down, in all, with the time until now if it still is. Writes fail or wait meanwhile.
    #[cfg_attr(feature = "serde", serde(serialize_with = "seconds"))]
    pub time_impaired: Duration,
    /// Sentinels that have answered when they were asked last. 0 without sentinels.
    pub sentinels_reached: usize,
    /// Sentinels that have not.
    pub sentinels_unreached: usize,
    /// Replicas that are read from. 0 while no replica is used.
    pub replicas_fit: usize,
    /// Replicas that are not.
    pub replicas_unfit: usize,
}

/// In seconds, as all lengths of time are.
#[cfg(feature = "serde")]
fn seconds<S: serde::Serializer>(length: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(length.as_secs_f64())
}
