//! A server as a node of a cluster: what it believes of the slots and the other nodes, and what it answers by that; no network.

mod commands;
mod election;
mod failover;
mod gossip;
mod membership;
mod replies;
mod route;
mod slot_clients;
mod slots;
mod state;

pub(super) use commands::{asking, cluster, readonly, readwrite};
pub use election::VoteRequest;
pub use failover::Failover;
pub use gossip::NodeHeader;
pub use membership::MovedKey;
pub use slots::{SLOTS, slot_of};
pub(super) use state::FakeClusterState;
pub use state::{BusMessage, FakeClusterSettings, PreferredEndpoint};
