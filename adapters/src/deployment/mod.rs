//! What a name of the manager stands for, if it is more than one node: the one place where the manager meets clusters and sentinels.
//!
//! ```text
//!  RedisManager --> Deployments (by name) --> dyn Deployment --> Manager (the pools of its nodes)
//!        '--------> Manager (the pools of plain nodes, by URL)
//! ```

mod add_phase;
mod address_map;
#[cfg_attr(not(feature = "cluster"), path = "no_cluster.rs")]
pub(crate) mod cluster;
mod cluster_metrics;
mod cluster_role;
mod cluster_status;
mod deployments;
pub(crate) mod host_port;
mod interface;
mod kept_connection;
mod parts;
mod primary_metrics;
mod read_choice;
mod read_from;
pub(crate) mod replicas;
pub(crate) mod router;
mod scan_options;
pub(crate) mod sentinel;
mod signal;
mod subscription_places;
pub(crate) mod waiting;

pub use address_map::AddressMap;
pub use cluster_metrics::{ClusterMetrics, TopologyChange};
pub use cluster_role::ClusterRole;
pub use cluster_status::{ClusterNode, ClusterStatus};
pub(crate) use deployments::{Deployments, insert_numbered};
pub(crate) use interface::{Deployment, KeyBatch, KeySource, OpenByName};
pub(crate) use parts::DeploymentParts;
pub use primary_metrics::PrimaryMetrics;
pub use read_from::ReadFrom;
pub use scan_options::ScanOptions;
pub(crate) use subscription_places::{PlaceLease, SubscriptionPlaces};
