//! Which replicas are fit to be read from: plain values, without I/O, clock or lock.

pub(crate) mod replica_io;
pub(crate) mod replica_state;
pub(crate) mod server_report;
