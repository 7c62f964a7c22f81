//! The cluster that a manager adds under names.

use crate::deployment::cluster::{ClusterOfNames, ClusterPlan};

/// The cluster of `use_cluster`: all names under which it is added are one cluster.
#[derive(Clone)]
pub(crate) struct ClusterMode {
    pub(super) plan: ClusterPlan,
    pub(super) names: ClusterOfNames,
}
