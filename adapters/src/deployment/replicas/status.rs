//! The public status of the replicas of a primary.

use crate::deployment::replicas::group::ReplicaGroup;

/// The replicas of a primary, as they were found when they were asked last. Their pools are in
/// [`fetch_pool_status`](crate::RedisManager::fetch_pool_status).
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ReplicaStatus {
    /// Host and port of the primary that is used; `None` if it is not known yet.
    pub primary: Option<String>,
    /// Each replica. None if no replica was ever asked for: they are not looked at then.
    pub replicas: Vec<ReplicaReport>,
}

/// One replica.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ReplicaReport {
    /// Its host and port.
    pub address: String,
    /// The bytes of the primary's writes that it lacked when it was asked last. `None` if it is not read from.
    pub lag: Option<u64>,
    /// Why it is not read from; `None` if it is.
    pub error: Option<String>,
}

impl ReplicaGroup {
    pub(crate) fn status(&self) -> ReplicaStatus {
        let now = self.runtime().now();
        let state = self.state();
        let reports = state.verdicts(now).into_iter().map(|(place, verdict)| ReplicaReport {
            address: place.to_string(),
            lag: verdict.as_ref().ok().copied(),
            error: verdict.err().map(|unfitness| unfitness.to_string()),
        });
        let primary = state.primary().map(ToString::to_string);
        let replicas = reports.collect();
        drop(state);
        ReplicaStatus { primary: primary.or_else(|| self.source().primary().map(|place| place.to_string())), replicas }
    }
}
