//! Redis as a node of the core: addresses, connections, and the client that users hold.

mod address;
mod addresses;
mod buffers;
mod client;
mod close_registry;
mod commands;
mod connection;
mod connector;
mod contention;
mod dial;
mod error;
mod harmless;
mod hub;
mod last_words;
mod link;
mod login;
mod news;
mod node_handle;
mod node_share;
mod outstanding;
mod parameters;
mod patience;
mod pool_args;
mod pub_sub;
mod received;
mod redact;
mod replies;
mod roles;
mod secrets;
mod session;
mod shared;
mod sign_of_life;
mod stage;
#[cfg(all(test, feature = "tokio"))]
mod tests;
#[cfg(feature = "tls-rustls")]
mod tls;
#[cfg(not(feature = "tls-rustls"))]
#[path = "no_tls.rs"]
mod tls;
mod traces;
mod track;
mod transaction;

pub(crate) use address::Address;
pub use client::Client;
#[cfg(feature = "cluster")]
pub(crate) use connection::{lost, timed_out};
#[cfg(feature = "cluster")]
pub(crate) use connector::Membership;
pub(crate) use connector::RedisConnector;
pub use error::AddNodeError;
pub(crate) use hub::Hub;
#[cfg(feature = "cluster")]
pub(crate) use news::{Answer, Asked};
pub use node_handle::NodeHandle;
#[cfg(feature = "cluster")]
pub(crate) use node_share::{NodeShare, not_sent, refuse_unless_plain, refuse_unless_plain_pipeline};
#[cfg(feature = "cluster")]
pub(crate) use patience::KeptTimer;
pub use pool_args::{Handshake, Keepalive, PoolArgs, UnknownCommands};
pub use pub_sub::{PubSub, PubSubEnd};
pub(crate) use redact::redact;
#[cfg(feature = "cluster")]
pub(crate) use secrets::Secrets;
#[cfg(feature = "cluster")]
pub(crate) use session::Request;
pub(crate) use session::Session;
pub use shared::SharedClient;
pub(crate) use tls::Tls;
#[cfg(feature = "tls-rustls")]
pub use tls::{ClientCertificate, Pem, TlsArgs};
pub use transaction::{Attempt, Preparation, TransactionError};
