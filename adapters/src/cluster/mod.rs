//! Redis Cluster: the topology, clients that route their commands, and leases on the owner of a key.
//!
//! ```text
//!  Client --> ClusterConnection of the redis crate --> Wire (one for each node) --> shared connections of that node's pools
//!  (lease)    routes, splits, follows redirections      |                            (ours: dialled, checked, healed)
//!                                                       v
//!  ClusterMonitor ------------------------------------------> Cluster: topology and members
//!  (asks nodes for the slots)
//! ```
//!
//! The redis crate decides where a command goes and how redirections are followed. All sockets are ours. The connections that
//! the redis crate sees never hang: its own requests are answered from the topology here.

mod args;
mod cluster_metrics;
mod connector;
mod discovery;
mod error;
mod manager;
mod map;
mod monitor;
mod nodes;
mod pipeline;
mod redirection;
mod replica_routing;
mod retry;
mod retry_budget;
mod routed_client;
mod signal;
mod status;
mod topology;
mod wire;

pub use args::ClusterArgs;
pub use cluster_metrics::{ClusterMetrics, TopologyChange};
pub(crate) use connector::ClusterConnector;
pub(crate) use manager::{ClusterConfig, Clusters, WeakClusters};
pub(crate) use redirection::note_redirections;
pub(crate) use retry_budget::RetryBudget;
pub(crate) use routed_client::RoutedClient;
pub use status::{ClusterNode, ClusterStatus};
pub use topology::ClusterRole;
