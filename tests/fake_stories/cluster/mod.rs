//! Whole clusters on the fake clock: a manager, a cluster of fake servers, and what happens to clusters.
//!
//! The same against real servers, where processes and kernels have a part in it, is in `tests/redis/cluster*`.

mod addresses;
mod cluster_story;
mod ends;
mod failovers;
mod hand_made;
mod moves;
mod nonsense;
mod rights;
mod scans;
mod startup;
