//! What the node's state orders: one action at a time.

use crate::close_reason::CloseReason;
use crate::state::token::{Checkup, Closing, Ticket};

/// One order of the node's state.
#[must_use = "an action must be performed"]
#[derive(Debug, PartialEq, Eq)]
pub enum Action<C> {
    /// Open a connection.
    Connect(Ticket),
    /// Check a connection.
    Check(Checkup<C>),
    /// Clean a connection.
    Clean(Checkup<C>),
    /// Close a connection.
    Close(Closing, C, CloseReason),
    /// End a connection that is still on loan.
    Kill(Closing),
}
