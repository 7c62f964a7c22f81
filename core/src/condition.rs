//! The condition of a connection, as its connector sees it without I/O.

/// The answer of [`Connector::inspect`](crate::Connector::inspect).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// It is fit for use: on return it is lent again at once.
    Clean,
    /// It is sound, and [`Connector::clean`](crate::Connector::clean) can undo what was left on it.
    Resettable,
    /// Something was left on it that stays: it is closed as [`Unclean`](crate::CloseReason::Unclean).
    Tainted,
    /// It must not be lent: it is closed as [`Broken`](crate::CloseReason::Broken).
    Broken,
    /// It was asked and did not answer in time: it is closed as [`Broken`](crate::CloseReason::Broken), and its neighbours are
    /// suspected, too: each is checked before it is lent again.
    Unresponsive,
}
