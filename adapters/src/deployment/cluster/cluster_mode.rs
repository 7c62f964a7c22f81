//! How the clusters of checked settings are opened under names.

use std::sync::Arc;

use crate::deployment::cluster::cluster_name::{ClusterName, ClusterOfNames, ClusterPlan};
use crate::deployment::cluster::inner::ClusterContext;
use crate::deployment::interface::{Deployment, OpenByName};
use crate::deployment::parts::DeploymentParts;

/// One cluster: all names under which it is opened are the same.
pub(crate) struct ClusterMode {
    plan: ClusterPlan,
    names: ClusterOfNames,
}

impl ClusterMode {
    pub(crate) fn new(plan: ClusterPlan) -> Self {
        Self { plan, names: ClusterOfNames::default() }
    }
}

impl OpenByName for ClusterMode {
    fn open(&self, name: &str, parts: &dyn Fn() -> DeploymentParts) -> Arc<dyn Deployment> {
        ClusterName::open(name, &self.names, || {
            let DeploymentParts { nodes, network, args, hooks, lanes } = parts();
            let ClusterPlan { startup, args: cluster_args } = self.plan.clone();
            ClusterContext { nodes, network, args, hooks, cluster_args, startup, lanes }
        })
    }
}
