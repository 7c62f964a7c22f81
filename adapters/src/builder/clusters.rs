//! The settings of cluster mode.

use crate::builder::RedisManagerBuilder;
use crate::deployment::cluster::ClusterArgs;

impl RedisManagerBuilder {
    /// Whether what is added are clusters. Default false. Needs [`startup_nodes`](RedisManagerBuilder::startup_nodes).
    ///
    /// All names under which a cluster is added are the same cluster: that of the startup nodes.
    pub fn use_cluster(mut self, use_cluster: bool) -> Self {
        self.cluster.use_cluster = use_cluster;
        self
    }

    /// URLs of nodes of the cluster, at least one, all with the same login: they are asked for the others.
    pub fn startup_nodes<U: Into<String>>(mut self, urls: impl IntoIterator<Item = U>) -> Self {
        self.cluster.startup_nodes = urls.into_iter().map(Into::into).collect();
        self
    }

    /// How the cluster is used.
    pub fn cluster_args(mut self, args: ClusterArgs) -> Self {
        self.cluster.args = Some(args);
        self
    }
}
