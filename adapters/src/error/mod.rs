//! The errors that users handle: why there is no client, why a node was not added, why a command has no reply.
//!
//! All of them answer the same questions: what went wrong ([`FailureKind`]), whether the node is unavailable, whether a retry
//! may succeed, and which node it was. Programs need not parse the texts.
//!
//! `#[non_exhaustive]` in the whole workspace: every error enum, every kind, and every struct with public fields that users
//! read but do not construct.

mod add_node;
mod command_failure;
mod connect_failure;
mod failure_kind;
mod get_client;
mod redis_error_ext;
mod sent;
#[cfg(all(test, feature = "tokio"))]
mod tests;

pub use add_node::AddNodeError;
pub(crate) use command_failure::{CommandFailure, NoConnection, Outage};
pub use connect_failure::ConnectFailure;
pub use failure_kind::FailureKind;
pub use get_client::GetClientError;
pub use redis_error_ext::RedisErrorExt;
pub use sent::Sent;
