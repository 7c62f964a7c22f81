//! What went wrong, as a value that a program can decide by.

/// What went wrong when there is no client, or no node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// The server does not accept us: a wrong user or password, or no right to connect.
    Authentication,
    /// The pools were closed.
    Closed,
    /// The URL or a setting is wrong: a database that is not there, say, or a limit that leaves no room for the node.
    Configuration,
    /// The server closes the connection without an answer.
    HungUp,
    /// The host of the URL has no address, or cannot be looked up.
    NameResolution,
    /// The server, or the cluster, answers that it cannot serve now: it loads its data, has too many clients, has no owner for
    /// the slot.
    NotReady,
    /// The server speaks something else than was expected.
    Protocol,
    /// Nothing listens at the address.
    Refused,
    /// The runtime of the manager has ended.
    RuntimeEnded,
    /// `max_waiters` callers wait already.
    Saturated,
    /// The server does not answer: a connect got nothing within its time.
    Silent,
    /// The deadline came first, while the node was well: clients were on loan, or being dialled, checked or closed.
    Timeout,
    /// There is no TLS with the server: a certificate is not accepted, or one side speaks no TLS.
    Tls,
    /// The node is down, and no more is known of the reason.
    Unavailable,
    /// The node was never added, or has been closed.
    UnknownNode,
    /// There is no path to the server: the network, the host or the unix socket is not there.
    Unreachable,
}
