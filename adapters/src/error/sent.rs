//! Whether a command has reached its server, as a value.

/// Whether a command has reached its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Sent {
    /// The server has answered: with an error, or with a reply of another type than was asked for.
    Sent,
    /// It has not: the command may be sent again, here or elsewhere.
    NotSent,
    /// It may have been carried out.
    Unknown,
}
