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
#[cfg(feature = "cluster")]
pub(crate) use connection::{lost, timed_out};
pub use client::Client;
pub(crate) use connector::RedisConnector;
pub use error::AddNodeError;
pub(crate) use hub::Hub;
pub use node_handle::NodeHandle;
pub use pool_args::{Keepalive, PoolArgs};
#[cfg(feature = "cluster")]
pub(crate) use patience::KeptTimer;
pub use pub_sub::PubSub;
#[cfg(feature = "cluster")]
pub(crate) use session::{Request, Session, Traces};
pub use shared::SharedClient;
#[cfg(feature = "cluster")]
pub(crate) use shared::{refuse_unless_plain, refuse_unless_plain_pipeline};
pub use transaction::{Attempt, Preparation, TransactionError};
