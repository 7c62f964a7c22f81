//! Redis Cluster: its topology, clients that send each command to the node of its key, and leases on the owner of a key.
//!
//! ```text
//!  RoutedClient --> router (beside this: slot, split, gather) --> shared connections of the owner's pools
//!       |  ^            reads the owner of a slot: OwnerTable
//!       |  '--- MOVED, ASK, TRYAGAIN … are followed (redirection)
//!       v
//!  Cluster <--> ClusterState (state/: who owns what, who lives; pure) <-- ClusterMonitor (one task: asks nodes, probes)
//! ```

mod args;
mod cluster_mode;
mod cluster_name;
mod config;
mod error;
mod fan_out;
mod inner;
mod join_all;
mod lending;
mod member;
mod members;
mod monitor;
mod name_state;
mod node_handles;
mod one_request;
mod owner_table;
mod pieces;
mod questions;
mod redirection;
mod retry_budget;
mod routed_client;
mod scan;
mod send_one;
mod shards;
mod state;
mod status;
mod targets;

pub use args::ClusterArgs;
pub(crate) use cluster_mode::ClusterMode;
pub(crate) use cluster_name::ClusterPlan;
pub(crate) use config::ClusterConfig;
