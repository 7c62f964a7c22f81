//! Why a socket was lost.

use std::io;

use crate::connection::resp::stream_fault::StreamFault;

/// Why a socket was lost, for errors.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketFault {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the server closed the connection")]
    Ended,
    #[error("{0}")]
    Stream(#[from] StreamFault),
}
