//! Settings of TLS, a part of [`PoolArgs`](crate::PoolArgs).

pub use crate::redis_node::{ClientCertificate, Pem, TlsArgs};
