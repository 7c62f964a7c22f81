//! What users have reported of other clients and pools, told again on the fake clock: a manager over fake servers on a fake network.
//!
//! Each test is named after its rule. The same faults against real servers, where a kernel has a part in them, are in `tests/redis`.

mod bombs;
mod closing;
mod cluster;
mod cluster_requests;
mod counting;
mod dead_loans;
mod dialling;
mod leaving;
mod names;
mod replicas;
mod secrets;
mod sentinel;
mod server_words;
mod shards;
mod silence;
mod story;
mod subscriber;
mod unasked;
mod user_code;
