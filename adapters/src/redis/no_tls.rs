//! Replaces TLS when the feature `tls-rustls` is off: addresses that need it are rejected.

use redis_manager_core::Setting;

use crate::redis_node::verification::Verification;
use crate::stream::BoxStream;

/// The empty shared part of a manager's TLS connections.
#[derive(Debug)]
pub(crate) struct Tls;

/// No settings.
pub(crate) fn settings() -> Option<Setting> {
    None
}

impl Tls {
    /// No row.
    pub(crate) fn setting() -> Option<Setting> {
        None
    }

    /// Always an error.
    pub(crate) fn peer(&self, _host: &str, _verification: Verification) -> Result<TlsPeer, String> {
        Err(String::from("TLS needs the feature tls-rustls of redis-manager, which is off"))
    }
}

/// Does not exist without the feature.
#[derive(Clone, Debug)]
pub(crate) enum TlsPeer {}

impl TlsPeer {
    pub(crate) fn at(&self, _host: &str) -> Result<Self, String> {
        match *self {}
    }

    pub(crate) fn verification(&self) -> Verification {
        match *self {}
    }

    pub(crate) async fn handshake(&self, _stream: BoxStream) -> Result<(BoxStream, TlsVerdict), TlsError> {
        match *self {}
    }
}

/// Does not exist without the feature.
pub(crate) enum TlsVerdict {}

impl TlsVerdict {
    pub(crate) fn reached(&self) -> Option<TlsError> {
        match *self {}
    }
}

/// Does not exist without the feature.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {}

impl TlsError {
    pub(crate) fn is_permanent(&self) -> bool {
        match *self {}
    }
}
