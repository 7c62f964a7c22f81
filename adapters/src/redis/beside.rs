//! Addresses of one deployment: the same login at several places.

use crate::redis_node::address::{Address, Endpoint};
use crate::redis_node::tls::TlsPeer;

impl Address {
    /// Whether user, password, database, protocol and TLS are the same, and how certificates are checked.
    pub(crate) fn has_login_of(&self, other: &Self) -> bool {
        let words = |place: &Self| {
            let login = &place.login;
            let words = (login.username().map(String::from), login.password().map(String::from));
            (words, login.db(), login.protocol(), place.tls().map(TlsPeer::verification))
        };
        words(self) == words(other)
    }

    /// Host and port, as a cluster names its nodes.
    pub(crate) fn name_of_place(&self) -> String {
        match &self.place {
            Endpoint::Tcp { host, port, .. } => format!("{host}:{port}"),
            Endpoint::Unix { path } => path.display().to_string(),
        }
    }

    /// `None` for a unix socket.
    pub(crate) fn host_and_port(&self) -> Option<(&str, u16)> {
        match &self.place {
            Endpoint::Tcp { host, port, .. } => Some((host, *port)),
            Endpoint::Unix { .. } => None,
        }
    }

    /// The same login at another place, with TLS if this one has it.
    ///
    /// # Errors
    ///
    /// Why TLS cannot be used with that host.
    pub(crate) fn beside(&self, host: &str, port: u16) -> Result<Self, String> {
        let tls = self.tls().map(|peer| peer.at(host)).transpose()?;
        let place = Endpoint::Tcp { host: String::from(host), port, tls };
        Ok(Self { place, login: self.login.clone(), demands_resp3: self.demands_resp3, name: format!("{host}:{port}") })
    }

    /// The same with another place to dial: its name and the name on its certificate stay.
    pub(crate) fn dialled_at(mut self, dialled: Option<(String, u16)>) -> Self {
        if let (Some((other_host, other_port)), Endpoint::Tcp { host, port, .. }) = (dialled, &mut self.place) {
            (*host, *port) = (other_host, other_port);
        }
        self
    }
}
