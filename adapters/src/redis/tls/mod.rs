//! TLS on a stream of any runtime, with rustls: the settings of a manager, the peer at each node, the handshake.

mod args;
mod error;
mod insecure;
mod stream;

use std::fmt;
use std::sync::{Arc, OnceLock};

use redis_manager_core::{ConfigError, Setting};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use crate::redis_node::verification::Verification;
use crate::stream::BoxStream;
pub(crate) use args::settings;
pub use args::{ClientCertificate, Pem, TlsArgs};
pub(crate) use error::TlsError;
pub(crate) use stream::TlsVerdict;
use stream::WatchedStream;

/// Sessions that a node remembers. Each connection takes one that it does not give back, and leaves one or two behind;
/// rustls keeps eight for a name, and a node has one name.
const SESSIONS_PER_NODE: usize = 8;

/// All that the TLS connections of a manager have in common.
pub(crate) struct Tls {
    provider: Arc<CryptoProvider>,
    /// None: those of the platform.
    roots: Option<Arc<RootCertStore>>,
    identity: Option<Arc<SingleCertAndKey>>,
    /// What certificates must be valid for, where it is not the host of the URL.
    server_name: Option<ServerName<'static>>,
    allow_insecure: bool,
    /// Made for the first node that wants it: without such a node the platform's roots need not be there.
    verifying: OnceLock<ClientConfig>,
    trusting: OnceLock<ClientConfig>,
}

impl Tls {
    /// The row of the builder's own switch.
    pub(crate) fn setting() -> Option<Setting> {
        Some(Setting::new(
            "allow_insecure_tls",
            "switch",
            String::from("false"),
            String::from("true or false"),
            "whether `#insecure` at the end of a URL may turn the check of the certificate off",
        ))
    }

    pub(crate) fn new(args: &TlsArgs, allow_insecure: bool) -> Result<Self, ConfigError> {
        // Passed on by hand, so that neither a default provider that is missing nor another one matters.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Ok(Self {
            roots: args.roots()?.map(Arc::new),
            identity: args.identity(&provider)?.map(|identity| Arc::new(SingleCertAndKey::from(identity))),
            server_name: args.expected_name()?,
            allow_insecure,
            verifying: OnceLock::new(),
            trusting: OnceLock::new(),
            provider,
        })
    }

    /// The peer to expect at this host.
    ///
    /// # Errors
    ///
    /// Why TLS with it is out of the question.
    pub(crate) fn peer(&self, host: &str, verification: Verification) -> Result<TlsPeer, String> {
        let config = match verification {
            Verification::Full => &self.verifying,
            Verification::Off if self.allow_insecure => &self.trusting,
            Verification::Off => {
                return Err(String::from(
                    "#insecure turns the check of the certificate off; that needs allow_insecure_tls(true)",
                ));
            }
        };
        let config = match config.get() {
            Some(made) => made.clone(),
            // A failure is not kept: roots may be installed meanwhile.
            None => {
                let made = self.config(verification)?;
                config.get_or_init(|| made).clone()
            }
        };
        TlsPeer::new(config, self.server_name.clone(), host)
    }

    fn config(&self, verification: Verification) -> Result<ClientConfig, String> {
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider));
        let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
        let builder = match verification {
            Verification::Full => builder.with_root_certificates(self.roots()?),
            Verification::Off => {
                let verifier = insecure::AnyCertificate::new(Arc::clone(&self.provider));
                builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
            }
        };
        Ok(match &self.identity {
            Some(identity) => builder.with_client_cert_resolver(Arc::clone(identity) as _),
            None => builder.with_no_client_auth(),
        })
    }

    fn roots(&self) -> Result<Arc<RootCertStore>, String> {
        if let Some(roots) = &self.roots {
            return Ok(Arc::clone(roots));
        }
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        // Every platform has some that rustls cannot read; the others are as good without them.
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
            return Err(format!("this machine has no root certificates{why}: install them, or set tls.ca_certificates"));
        }
        Ok(Arc::new(roots))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

/// The peer to expect at a node, and how to make sure of it.
#[derive(Clone)]
pub(crate) struct TlsPeer {
    config: Arc<ClientConfig>,
    /// The name that all nodes have, whatever their hosts.
    #[cfg(any(test, feature = "cluster"))]
    server_name: Option<ServerName<'static>>,
    name: ServerName<'static>,
}

impl TlsPeer {
    fn new(mut config: ClientConfig, server_name: Option<ServerName<'static>>, host: &str) -> Result<Self, String> {
        let host_name = || ServerName::try_from(String::from(host)).map_err(|_| format!("{host:?} is no name of a TLS server"));
        let name = server_name.clone().map_or_else(host_name, Ok)?;
        // All else is shared. Sessions are remembered by name alone, without a port: nodes at one host, or under one
        // `server_name`, would take each other's, which are of no use to them.
        config.resumption = Resumption::in_memory_sessions(SESSIONS_PER_NODE);
        Ok(Self {
            config: Arc::new(config),
            #[cfg(any(test, feature = "cluster"))]
            server_name,
            name,
        })
    }

    /// The same at another host, as another node with sessions of its own.
    ///
    /// # Errors
    ///
    /// If that is no name of a TLS server.
    #[cfg(any(test, feature = "cluster"))]
    pub(crate) fn at(&self, host: &str) -> Result<Self, String> {
        Self::new(ClientConfig::clone(&self.config), self.server_name.clone(), host)
    }

    /// Makes a stream secret and sure of its peer. Whether the server accepts us may come later; `TlsVerdict` has it.
    ///
    /// # Cancel safety
    ///
    /// The stream is closed when the future is dropped.
    pub(crate) async fn handshake(&self, stream: BoxStream) -> Result<(BoxStream, TlsVerdict), TlsError> {
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let verdict = TlsVerdict::new(&self.name);
        match connector.connect(self.name.clone(), stream).await {
            Ok(stream) => Ok((Box::new(WatchedStream::new(stream, verdict.clone())), verdict)),
            Err(error) => Err(TlsError::of(&self.name, error)),
        }
    }
}

impl fmt::Debug for TlsPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsPeer").field("name", &self.name).finish_non_exhaustive()
    }
}
