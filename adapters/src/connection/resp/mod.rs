//! The protocol RESP, versions 2 and 3, as pure machines without any I/O: bytes become replies, and requests become bytes.

pub(crate) mod answer;
mod blob;
mod charge;
#[cfg(any(test, feature = "testing"))]
mod differential;
mod entry;
mod frame;
mod line;
pub(crate) mod machine;
#[cfg(any(test, feature = "testing"))]
mod model;
mod number;
mod out_buffer;
pub(crate) mod parser;
mod progress;
mod protocol_error;
mod quick;
pub(crate) mod received_mark;
mod reply_type;
pub(crate) mod request;
mod scalar;
mod server_error;
pub(crate) mod stream_fault;
#[cfg(test)]
mod tests;
pub(crate) mod wire_limits;

#[cfg(any(test, feature = "testing"))]
pub use differential::check_reply_parser;
#[cfg(any(test, feature = "testing"))]
pub use model::check_connection_machine;
