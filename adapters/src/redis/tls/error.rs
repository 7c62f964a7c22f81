//! Why the TLS handshake with a server failed: the text of rustls, and the probable reason.

use std::io;

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, Error};

/// Why the TLS handshake with a server failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// One side rejects the other one.
    #[error("no TLS with {name}: {source}{}", hint(source))]
    Refused { name: String, source: Error },
    #[error("no TLS with {name}: the connection ended in the handshake: {source}")]
    Ended { name: String, source: io::Error },
}

impl TlsError {
    pub(super) fn of(name: &ServerName<'_>, error: io::Error) -> Self {
        let name = name.to_str().into_owned();
        match refusal(&error) {
            Some(source) => Self::Refused { name, source: source.clone() },
            None => Self::Ended { name, source: error },
        }
    }

    /// Whether every further attempt fails the same way until a certificate, a port or a setting is changed.
    pub(crate) fn is_permanent(&self) -> bool {
        let Self::Refused { source, .. } = self else { return false };
        // A server that shuts down may send one of these.
        let passing = [AlertDescription::CloseNotify, AlertDescription::InternalError, AlertDescription::UserCanceled]
            .map(Error::AlertReceived);
        let lasting = matches!(
            source,
            Error::AlertReceived(_)
                | Error::InvalidCertificate(_)
                | Error::InvalidMessage(_)
                | Error::NoCertificatesPresented
                | Error::PeerIncompatible(_)
                | Error::UnsupportedNameType
        );
        lasting && !passing.contains(source)
    }
}

/// The error of rustls in an error of a stream, if it is one.
pub(super) fn refusal(error: &io::Error) -> Option<&Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

fn hint(error: &Error) -> &'static str {
    let alerts = |hinted: &[AlertDescription]| matches!(error, Error::AlertReceived(alert) if hinted.contains(alert));
    if matches!(error, Error::InvalidMessage(_)) {
        "; does this port use TLS? a port without TLS needs redis://"
    } else if alerts(&[AlertDescription::CertificateRequired]) {
        "; the server requires tls.client_certificate"
    } else if alerts(&[AlertDescription::HandshakeFailure]) {
        "; the server may require tls.client_certificate"
    } else if alerts(&[AlertDescription::BadCertificate, AlertDescription::UnknownCA]) {
        "; the server does not accept tls.client_certificate"
    } else if matches!(error, Error::InvalidCertificate(CertificateError::UnknownIssuer)) {
        "; is its CA in tls.ca_certificates?"
    } else {
        ""
    }
}
