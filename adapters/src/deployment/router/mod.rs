//! Where each command goes in a cluster, whether it only reads, and how the replies of several nodes become one. Pure: it knows no
//! node, no connection and no time.
//!
//! - `command_table` says of each command where its keys are, whether it only reads, and where it goes; `command_index` finds a
//!   command in it.
//! - `route` turns a command into a [`Destination`]; `split` cuts one with keys of several slots.
//! - `gathering` takes the replies of the parts and makes the one reply.

mod combine;
mod command_index;
mod command_rule;
mod command_table;
mod gathering;
mod key_spec;
mod route;
mod route_error;
mod shown_key;
mod slot;
mod split;
#[cfg(test)]
mod tests;

pub(crate) use command_rule::{Access, Gather, NodeSet};
pub(crate) use gathering::Gathering;
pub(crate) use route::{Destination, Routed, reads_keys, route_command, route_transaction};
pub(crate) use route_error::RouteError;
pub(crate) use slot::{SLOTS, slot_of};
pub(crate) use split::SplitPart;
