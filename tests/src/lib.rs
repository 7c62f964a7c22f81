//! What the tests share: real Redis servers and clusters that they start and stop themselves, and every runtime there is, and a
//! recorder of log lines.

pub mod abilities;
pub mod certificates;
pub mod cluster;
pub mod exposition;
pub mod log_recorder;
pub mod nutcracker;
pub mod ports;
pub mod redis_server;
pub mod runtimes;
pub mod scripted_server;
pub mod sentinel;
pub mod tasks;
pub mod tcp_proxy;
pub mod tls_wire;

/// The programs in the README, which must compile (and run, where they need no server).
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
