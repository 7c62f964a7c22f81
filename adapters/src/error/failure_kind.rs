//! The category of a failure, for programs to match on.

/// Why there is no client, or why a node was not added, as a category.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// The server rejects the login: a wrong user or password, or no permission to connect.
    Authentication,
    /// The pools were closed.
    Closed,
    /// The URL or a setting is wrong: for example a database that does not exist, or a limit that leaves no room for the node.
    Configuration,
    /// The server closes the connection without a reply.
    HungUp,
    /// The host of the URL has no address, or the look-up failed.
    NameResolution,
    /// No sentinel gives a usable answer: each of them is unreachable, refuses the login, or is no sentinel.
    NoSentinel,
    /// The server that the sentinels name says itself that it is no primary, or none of the given servers says that it is one.
    NotPrimary,
    /// The server or the cluster replies that it cannot serve now: it is loading its data, has too many clients, has no
    /// owner for the slot, or no replica that is fit.
    NotReady,
    /// The server does not speak the expected protocol.
    Protocol,
    /// The address refuses connections.
    Refused,
    /// The runtime of the manager has ended.
    RuntimeEnded,
    /// The queue is full: `max_waiters` callers are waiting.
    Saturated,
    /// The server does not reply: a connect timed out.
    Silent,
    /// The deadline passed while the node was up: all clients were on loan, or being dialled, checked or closed.
    Timeout,
    /// The TLS handshake failed: a certificate was rejected, or one side does not use TLS.
    Tls,
    /// The node is down, and the cause is not known.
    Unavailable,
    /// No sentinel that answers knows the name of the primary.
    UnknownName,
    /// The node was never added, or has been closed.
    UnknownNode,
    /// There is no route to the server: the network, the host or the unix socket does not exist.
    Unreachable,
}
