//! An in-memory Redis as a pure machine: bytes and times in, bytes out; it has no network (see `fake_network`).
//!
//! [`Server`] is the whole of it. `dispatch` reads commands, checks them and carries them out by the `table`; the files
//! of the commands change the `keyspace` or the server; `protocol` and `reply` are the two directions of the wire.

mod access;
mod admin;
mod behaviour;
mod blocking;
mod checks;
mod clients;
mod cluster;
mod consumer_groups;
mod counters;
mod dispatch;
mod expiry;
mod generic;
mod hashes;
mod history;
mod journal;
mod keyspace;
mod lists;
mod picks;
mod protocol;
mod pub_sub;
mod replicas;
mod replication;
mod reply;
mod scan;
mod score_ranges;
mod server;
mod session;
mod sets;
mod sorted_set;
mod sorted_sets;
mod spec;
mod stream_log;
mod stream_reads;
mod streams;
mod strings;
mod subcommands;
mod table;
mod transactions;
mod words;

pub use behaviour::{Behaviour, FakeUser, Script};
pub use cluster::{
    BusMessage, Failover, FakeClusterSettings, MovedKey, NodeHeader, PreferredEndpoint, SLOTS, VoteRequest, slot_of,
};
pub use journal::Seen;
pub use replication::{Changes, History, KeptLog, LogEntry, LostWrite, Position};
pub use server::{ConnectionId, ConnectionSeen, Output, Server};
