//! What the node's state hands out: tokens that cannot be copied and must come back exactly once.

use crate::state::ids::ConnId;
use crate::time::Instant;

/// Permission to connect. Comes back as `Connected` or `ConnectFailed`.
#[must_use = "a ticket must come back to the state"]
#[derive(Debug, PartialEq, Eq)]
pub struct Ticket {
    pub(crate) id: ConnId,
    /// When the attempt must have ended.
    pub(crate) deadline: Instant,
}

/// A connection out for a health check, or to be cleaned. Comes back as `Checked`.
#[must_use = "a checkup must come back to the state"]
#[derive(Debug, PartialEq, Eq)]
pub struct Checkup<C> {
    pub(crate) id: ConnId,
    /// When the check must have ended.
    pub(crate) deadline: Instant,
    pub(crate) conn: C,
}

/// A connection on loan. Comes back as `Release`.
#[must_use = "a loan must come back to the state"]
#[derive(Debug, PartialEq, Eq)]
pub struct Loan<C> {
    pub(crate) id: ConnId,
    pub(crate) conn: C,
}

impl<C> Loan<C> {
    /// Which connection it is.
    #[must_use]
    pub fn id(&self) -> ConnId {
        self.id
    }
}

/// A connection that is being closed. Comes back as `Closed`.
#[must_use = "a closing must come back to the state"]
#[derive(Debug, PartialEq, Eq)]
pub struct Closing {
    /// None when the node's state no longer counts the connection: its loan outlived a forced close.
    pub(crate) id: Option<ConnId>,
}
