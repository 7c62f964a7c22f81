//! The subscriptions of one subscriber as a pure machine: no clock, lock, waker, future or connection is here.

pub(crate) mod frame;
mod outage;
mod sent_requests;
pub(crate) mod shard_routes;
pub(crate) mod subscriber_io;
mod subscriber_link;
pub(crate) mod subscriber_state;
mod topic_table;
