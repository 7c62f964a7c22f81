//! The state of a cluster: plain values, without I/O, clock or lock.

pub(crate) mod cluster_io;
pub(crate) mod cluster_state;
pub(crate) mod liveness;
pub(crate) mod report;
pub(crate) mod report_round;
pub(crate) mod scan_plan;
pub(crate) mod slot_set;
pub(crate) mod topology;
