//! The protocol RESP, versions 2 and 3, without any I/O: bytes become replies.

mod blob;
mod charge;
#[cfg(any(test, feature = "testing"))]
mod differential;
mod frame;
mod line;
mod number;
mod parser;
mod protocol_error;
mod quick;
mod reply_type;
mod scalar;
mod server_error;
#[cfg(test)]
mod tests;

#[cfg(any(test, feature = "testing"))]
pub use differential::check_reply_parser;
#[expect(unused_imports, reason = "the machine of a connection is to use them")]
pub(crate) use parser::{Parser, ReplyLimits};
#[expect(unused_imports, reason = "the machine of a connection is to use it")]
pub(crate) use protocol_error::ProtocolError;
