//! Redis as a node of the core: addresses, connections, and the client that users hold.

mod address;
mod client;
mod commands;
mod connection;
mod connector;
mod error;
mod hub;
mod link;
mod news;
mod node_handle;
mod patience;
mod pool_args;
mod pub_sub;
mod session;
mod shared;
mod track;
mod transaction;

pub(crate) use address::{Address, redact};
pub use client::Client;
pub(crate) use connector::RedisConnector;
pub use error::AddNodeError;
pub(crate) use hub::Hub;
pub use node_handle::NodeHandle;
pub use pool_args::{Keepalive, PoolArgs};
pub use pub_sub::PubSub;
pub use shared::SharedClient;
pub use transaction::{Attempt, Preparation, TransactionError};
