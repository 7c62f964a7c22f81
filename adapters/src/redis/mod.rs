//! Redis as a node of the core: addresses, connections, and the clients of users.

mod address;
mod addresses;
mod beside;
mod client;
mod close_registry;
mod command_name;
mod command_profile;
mod commands;
mod connect_phase;
mod connection;
mod connector;
mod contention;
mod dial;
mod dial_target;
mod dirty_flags;
mod error;
mod harmless;
mod hooks;
mod last_words;
mod login;
mod metrics;
mod padded;
mod parameters;
pub(crate) mod parts;
mod pool_args;
mod pub_sub;
mod pub_sub_end;
mod redact;
mod redirection_listener;
mod replies;
mod reply_class;
mod reply_timeout;
mod roles;
mod routed_connection;
mod routed_handle;
mod secrets;
mod session;
mod shared;
mod shared_connection;
mod shared_connections;
mod shared_handle;
mod sign_of_life;
mod socket;
mod socket_end;
#[cfg(all(test, feature = "tokio"))]
mod tests;
#[cfg(feature = "tls-rustls")]
mod tls;
#[cfg(not(feature = "tls-rustls"))]
#[path = "no_tls.rs"]
mod tls;
mod transaction;
mod verification;
mod watcher;
mod written_keys;

pub(crate) use address::Address;
pub use client::Client;
pub(crate) use close_registry::RegistryEntry;
pub(crate) use connector::RedisConnector;
pub(crate) use dirty_flags::DirtyFlags;
pub(crate) use hooks::Hooks;
pub use hooks::{LendCandidate, NewConnection};
pub(crate) use metrics::NodeCounters;
pub use metrics::{
    CommandMetrics, ConnectPhaseTimes, RequestCounts, RequestResult, RequestWay, ServerErrorCode, SubscriptionCounts,
};
pub use pool_args::{Handshake, PoolArgs, UnknownCommands};
pub use pub_sub::PubSub;
pub use pub_sub_end::PubSubEnd;
pub(crate) use redact::redact;
pub(crate) use reply_timeout::ReusableSleep;
pub(crate) use session::Session;
pub use shared::SharedClient;
pub(crate) use shared_connections::SharedConnections;
pub(crate) use socket_end::SocketEnd;
pub(crate) use tls::Tls;
#[cfg(feature = "tls-rustls")]
pub use tls::{ClientCertificate, Pem, TlsArgs};
pub use transaction::{Attempt, Prepared, TransactionError};
