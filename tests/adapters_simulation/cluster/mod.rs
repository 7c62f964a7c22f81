//! Whole clusters in the simulator: a manager over fake nodes, with writers, readers, scans, cancels, and all that may happen to a
//! cluster.

mod cluster_caller;
mod cluster_verdict;
mod cluster_world;
mod disturbance;
mod last_failover;
mod write_book;

pub(crate) use cluster_world::simulate_cluster;
