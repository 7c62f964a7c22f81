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

/// Sessions that a node keeps. Each connection uses one and adds one or two. rustls keeps eight for a name, and a node has one
/// name.
const SESSIONS_PER_NODE: usize = 8;

/// The shared part of a manager's TLS connections.
pub(crate) struct Tls {
    provider: Arc<CryptoProvider>,
    /// `None`: the roots of the platform.
    roots: Option<Arc<RootCertStore>>,
    identity: Option<Arc<SingleCertAndKey>>,
    /// The name that certificates must be valid for, if it is not the host of the URL.
    server_name: Option<ServerName<'static>>,
    allow_insecure: bool,
    /// Made for the first node that needs it: the platform's roots may be missing otherwise.
    verifying: OnceLock<ClientConfig>,
    trusting: OnceLock<ClientConfig>,
}

impl Tls {
    /// The table row of the builder's own setting.
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
        // Passed explicitly: the process's default provider, missing or not, is not used.
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

    /// The expected peer at this host.
    ///
    /// # Errors
    ///
    /// Why TLS cannot be used with it.
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
        TlsPeer::new(config, verification, self.server_name.clone(), host)
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
        // Every platform has some roots that rustls cannot read; the others are sufficient.
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

/// The expected peer at a node, and its verification.
#[derive(Clone)]
pub(crate) struct TlsPeer {
    config: Arc<ClientConfig>,
    verification: Verification,
    /// The common name of all nodes, regardless of their hosts.
    server_name: Option<ServerName<'static>>,
    name: ServerName<'static>,
}

impl TlsPeer {
    fn new(
        mut config: ClientConfig,
        verification: Verification,
        server_name: Option<ServerName<'static>>,
        host: &str,
    ) -> Result<Self, String> {
        let host_name =
            || ServerName::try_from(String::from(host)).map_err(|_| format!("{host:?} is not a valid name of a TLS server"));
        let name = server_name.clone().map_or_else(host_name, Ok)?;
        // Everything else is shared. Sessions are stored by name, without a port: nodes at one host, or with one `server_name`,
        // would use each other's sessions, which do not work for them.
        config.resumption = Resumption::in_memory_sessions(SESSIONS_PER_NODE);
        Ok(Self { config: Arc::new(config), verification, server_name, name })
    }

    /// The same at another host, for another node with its own sessions.
    ///
    /// # Errors
    ///
    /// If the host is not a valid name of a TLS server.
    pub(crate) fn at(&self, host: &str) -> Result<Self, String> {
        Self::new(ClientConfig::clone(&self.config), self.verification, self.server_name.clone(), host)
    }

    /// How much of the server's certificate is checked.
    pub(crate) fn verification(&self) -> Verification {
        self.verification
    }

    /// Runs the handshake: encrypts a stream and verifies its peer. The server may reject our certificate later; `TlsVerdict`
    /// contains that.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the stream.
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
