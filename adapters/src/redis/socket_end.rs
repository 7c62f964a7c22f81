//! Why a socket has ended.

/// Why a socket carries nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SocketEnd {
    /// The server has closed it, the path has broken, or it was closed because it could not be used any more.
    Lost,
    /// The pools of its node were closed.
    PoolsClosed,
    /// The runtime that it lived on has ended.
    RuntimeEnded,
}
