//! What stands in for TLS where the feature `tls-rustls` is off: no address that wants it is accepted.

use redis_manager_core::Setting;

use crate::redis_node::verification::Verification;
use crate::stream::BoxStream;

/// Nothing that the TLS connections of a manager could have in common.
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

    /// Always a refusal.
    pub(crate) fn peer(&self, _host: &str, _verification: Verification) -> Result<TlsPeer, String> {
        Err(String::from("TLS needs the feature tls-rustls of redis-manager, which is off"))
    }
}

/// There is none.
#[derive(Clone, Debug)]
pub(crate) enum TlsPeer {}

impl TlsPeer {
    #[cfg(any(test, feature = "cluster"))]
    pub(crate) fn at(&self, _host: &str) -> Result<Self, String> {
        match *self {}
    }

    pub(crate) async fn handshake(&self, _stream: BoxStream) -> Result<(BoxStream, TlsVerdict), TlsError> {
        match *self {}
    }
}

/// There is none.
pub(crate) enum TlsVerdict {}

impl TlsVerdict {
    pub(crate) fn reached(&self) -> Option<TlsError> {
        match *self {}
    }
}

/// There is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {}

impl TlsError {
    pub(crate) fn is_permanent(&self) -> bool {
        match *self {}
    }
}
