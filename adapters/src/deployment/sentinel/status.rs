//! The public status of a primary behind sentinels.

use crate::deployment::sentinel::group::SentinelGroup;
use crate::deployment::sentinel::primary_change::PrimaryChange;

/// What the sentinels of a primary have said last. The pools of the primary are in
/// [`fetch_pool_status`](crate::RedisManager::fetch_pool_status).
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SentinelStatus {
    /// Host and port of the primary that is used. `None` if no sentinel has told it yet. It stays while no sentinel answers.
    pub primary: Option<String>,
    /// Replicas, by the sentinel of the most recent epoch: host and port, and whether that sentinel can reach it and its link to
    /// the primary is up.
    pub replicas: Vec<(String, bool)>,
    /// Every sentinel that is asked, the one that has answered last first.
    pub sentinels: Vec<SentinelReport>,
    /// Count of primaries that were replaced by another since the deployment was added.
    pub failovers: u64,
    /// The last of them.
    pub last_failover: Option<PrimaryChange>,
}

/// What one sentinel has said when it was asked last.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SentinelReport {
    /// Its host and port.
    pub address: String,
    /// The primary that it names; `None` if it does not know the name, or has not answered.
    pub primary: Option<String>,
    /// The epoch of its configuration of the primary: it grows with each failover. 0 if it has not told.
    pub epoch: u64,
    /// Whether it has answered when it was asked last.
    pub has_answered: bool,
    /// Why it has not answered. `None` if it has, or was not asked yet.
    pub error: Option<String>,
}

impl SentinelGroup {
    pub(crate) fn status(&self) -> SentinelStatus {
        let state = self.state();
        let reports = state.sentinels().iter().map(|sentinel| SentinelReport {
            address: sentinel.place.to_string(),
            primary: sentinel.said.as_ref().and_then(|said| said.primary.as_ref()).map(ToString::to_string),
            epoch: sentinel.said.as_ref().map_or(0, |said| said.epoch),
            has_answered: sentinel.said.is_some(),
            error: sentinel.fault.as_ref().map(ToString::to_string),
        });
        SentinelStatus {
            primary: state.primary().map(ToString::to_string),
            replicas: state.replicas().iter().map(|replica| (replica.place.to_string(), !replica.is_down)).collect(),
            sentinels: reports.collect(),
            failovers: self.failovers(),
            last_failover: self.last_failover(),
        }
    }
}
