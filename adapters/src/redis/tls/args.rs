//! The settings of TLS: trusted certificates, the client's own, the expected name.

use std::fmt;
use std::fs;
use std::path::PathBuf;

use redis_manager_core::{ConfigError, Setting};
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;

use crate::setters::option_setters;

const CA_CERTIFICATES: &str = "tls.ca_certificates";
const CERTIFICATES: &str = "tls.client_certificate.certificates";
const KEY: &str = "tls.client_certificate.key";
const SERVER_NAME: &str = "tls.server_name";

/// TLS of `rediss://` and `valkeys://` nodes; a part of [`PoolArgs`](crate::PoolArgs), with the feature
/// `tls-rustls`. Everything is read once, by `build`: a file that changes later is not noticed.
///
/// TLS 1.2 and 1.3, with rustls and ring; nothing has to be installed by the application, and what it has installed as
/// the default of its process does not matter. The connections of a node resume each other's sessions.
///
/// ```
/// use redis_manager::tls::{ClientCertificate, Pem, TlsArgs};
/// use redis_manager::PoolArgs;
///
/// let identity = ClientCertificate::new(Pem::file("/etc/redis/client.crt"), Pem::file("/etc/redis/client.key"));
/// let tls = TlsArgs::default().ca_certificates(Pem::file("/etc/redis/ca.crt")).client_certificate(identity);
/// let args = PoolArgs::default().tls(tls);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsArgs {
    /// The trusted CA certificates, one or more. Default none: those of the platform (also `SSL_CERT_FILE` and
    /// `SSL_CERT_DIR`), read when the first node with TLS is added.
    ///
    /// They replace the platform's certificates, so that with a private CA no public one is trusted. To trust both, put both
    /// into the file.
    pub ca_certificates: Option<Pem>,
    /// The client's certificate, for servers that demand one (`tls-auth-clients yes`, the default of Redis). Default none.
    pub client_certificate: Option<ClientCertificate>,
    /// The name that certificates must be valid for, a DNS name or an IP address, if it is not the host of the URL: behind a
    /// tunnel, or in a cluster whose nodes announce IP addresses. For all nodes of the manager. Default none.
    pub server_name: Option<String>,
}

/// The client's certificate and its private key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientCertificate {
    /// The certificate, then those that lead to its CA.
    pub certificates: Pem,
    /// The private key: PKCS#8, PKCS#1 or SEC1, not encrypted.
    pub key: Pem,
}

impl ClientCertificate {
    /// Of these.
    #[must_use]
    pub fn new(certificates: Pem, key: Pem) -> Self {
        Self { certificates, key }
    }
}

/// Text in PEM format, or the file where it is. Its `Debug` shows no text.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pem {
    /// The text.
    Bytes(Vec<u8>),
    /// The path of the file; read by `build`.
    File(PathBuf),
}

impl Pem {
    /// The text itself.
    #[must_use]
    pub fn bytes(text: impl Into<Vec<u8>>) -> Self {
        Self::Bytes(text.into())
    }

    /// The path of a file.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::File(path.into())
    }

    fn read(&self, setting: &'static str) -> Result<Vec<u8>, ConfigError> {
        match self {
            Self::Bytes(text) => Ok(text.clone()),
            Self::File(path) => fs::read(path).map_err(|error| self.unusable(setting, error.to_string())),
        }
    }

    fn read_certificates(&self, setting: &'static str) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
        let text = self.read(setting)?;
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        // Not in the words of the reader, which quote a line: all of a key, if the line ends got lost on the way.
        let certificates = read.unwrap_or_default();
        if certificates.is_empty() {
            return Err(self.unusable(setting, String::from("no certificate in it, or one that is not well-formed")));
        }
        Ok(certificates)
    }

    fn unusable(&self, setting: &'static str, reason: String) -> ConfigError {
        ConfigError::Unusable { setting, value: format!("{self:?}"), reason }
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(text) => write!(f, "Bytes({} bytes)", text.len()),
            // A key where its path should be.
            Self::File(path) if path.to_string_lossy().contains("-----BEGIN") => f.write_str("File(text, not a path)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

/// The table of the settings in [`TlsArgs`].
pub(crate) fn settings() -> Vec<Setting> {
    let setting = |name, unit, default: &str, range: &str, why| Setting::new(name, unit, default.into(), range.into(), why);
    vec![
        setting("pool_args.tls.ca_certificates", "PEM", "none: the platform's", "certificates", "the trusted CA certificates"),
        setting(
            "pool_args.tls.client_certificate",
            "PEM, twice",
            "none",
            "certificates and their key",
            "for servers that demand one (`tls-auth-clients yes`)",
        ),
        setting(
            "pool_args.tls.server_name",
            "text",
            "none: the URL's host",
            "a DNS name or an IP address",
            "what the server's certificate must be valid for",
        ),
    ]
}

impl TlsArgs {
    option_setters! {
        ca_certificates: Pem,
        client_certificate: ClientCertificate,
    }

    /// Sets the field `server_name`.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// The roots of its own; none for those of the platform.
    pub(super) fn roots(&self) -> Result<Option<RootCertStore>, ConfigError> {
        let Some(pem) = &self.ca_certificates else { return Ok(None) };
        let mut roots = RootCertStore::empty();
        for certificate in pem.read_certificates(CA_CERTIFICATES)? {
            roots.add(certificate).map_err(|error| pem.unusable(CA_CERTIFICATES, error.to_string()))?;
        }
        Ok(Some(roots))
    }

    pub(super) fn identity(&self, provider: &CryptoProvider) -> Result<Option<CertifiedKey>, ConfigError> {
        let Some(ClientCertificate { certificates, key }) = &self.client_certificate else { return Ok(None) };
        let chain = certificates.read_certificates(CERTIFICATES)?;
        // Not in the words of the reader here, either.
        let parsed = PrivateKeyDer::from_pem_slice(&key.read(KEY)?);
        let unreadable = |_| key.unusable(KEY, String::from("no private key that is well-formed and not encrypted in it"));
        let parsed = parsed.map_err(unreadable)?;
        let identity = CertifiedKey::from_der(chain, parsed, provider);
        identity.map(Some).map_err(|error| key.unusable(KEY, error.to_string()))
    }

    pub(super) fn expected_name(&self) -> Result<Option<ServerName<'static>>, ConfigError> {
        let Some(name) = &self.server_name else { return Ok(None) };
        ServerName::try_from(name.clone()).map(Some).map_err(|_| ConfigError::Unreadable {
            setting: SERVER_NAME,
            value: name.clone(),
            expected: "a DNS name or an IP address",
        })
    }
}
