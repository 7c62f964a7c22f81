//! Why a socket has ended.

/// Why a socket is not usable any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SocketEnd {
    /// The server closed it, the network failed, or it was closed because it was unusable.
    Lost,
    /// The pools of its node were closed.
    PoolsClosed,
    /// The runtime that it lived on has ended.
    RuntimeEnded,
}
