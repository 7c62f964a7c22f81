//! What a fake server may do to its clients, and which errors they get.

/// How a [`FakeServer`](crate::testing::FakeServer) treats its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FakeMode {
    /// It answers after its latency.
    Up,
    /// Dials fail at once. Connections that exist are not touched: see [`FakeServer::kill`](crate::testing::FakeServer::kill).
    Refusing,
    /// It accepts and says nothing, like a stopped process: all that was asked is answered once it is up again.
    Silent,
    /// Whatever is sent is lost for good, like behind a broken path: what was asked is never answered.
    Void,
    /// Dials fail at once and for good, like with a wrong password.
    Rejecting,
    /// It answers that it is not ready yet: dials and checks fail.
    Loading,
}

/// What becomes of the connections to a server when its name leads to another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormerServer {
    /// It goes on answering, whatever the new one does.
    Answers,
    /// It never answers again, and no client is told.
    Silent,
}

/// Where a connection leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::testing) enum Peer {
    /// To the server that is dialled.
    Server,
    /// To the one that was dialled before, which answers.
    Former,
    /// To where nothing is heard of.
    Nobody,
    /// Nowhere: it is known to be lost.
    Lost,
}

/// Why a dial or a request to a [`FakeServer`](crate::testing::FakeServer) failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FakeError {
    /// The server does not take connections.
    #[error("connection refused")]
    Refused,
    /// The server does not take this client.
    #[error("wrong password")]
    Rejected,
    /// The server is not ready yet.
    #[error("the server is loading")]
    Loading,
    /// The server has become a replica.
    #[error("the server is a replica")]
    Demoted,
    /// The server has as many connections as it takes.
    #[error("max number of clients reached")]
    Full,
    /// The connection is gone.
    #[error("connection lost")]
    Lost,
    /// Nothing was heard in time.
    #[error("no answer in time")]
    TimedOut,
}
