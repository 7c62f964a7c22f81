//! Why the bytes of a connection cannot be trusted any more.

use super::protocol_error::ProtocolError;

/// Why a stream cannot be trusted any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StreamFault {
    #[error("protocol error: {0}")]
    Protocol(#[from] ProtocolError),
    #[error("protocol error: data that no request has asked for, beginning with the byte {0:#04x}")]
    Unasked(u8),
    #[error("protocol error: a reply before its request was sent")]
    Early,
    #[error("protocol error: EXEC was refused, and the transaction may still be open")]
    OpenTransaction,
}
