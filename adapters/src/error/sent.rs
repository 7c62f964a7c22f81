//! Whether a command reached the server, as a value.

/// Whether a command reached the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Sent {
    /// The server replied: with an error, or with a reply of another type than requested.
    Sent,
    /// The server did not get the command: it may be sent again, to the same node or another one.
    NotSent,
    /// The server may have executed the command.
    Unknown,
}
