//! Where a node is and who we are there: a URL, parsed once, its password hidden from then on.

use std::path::PathBuf;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo};

use crate::redis_node::AddNodeError;
use crate::redis_node::tls::{Tls, TlsPeer};

/// A parsed node URL.
#[derive(Clone)]
pub(crate) struct Address {
    pub(crate) place: Place,
    /// User, password, database and protocol.
    pub(crate) login: RedisConnectionInfo,
    /// The URL without its password.
    pub(crate) name: String,
}

#[derive(Clone, Debug)]
pub(crate) enum Place {
    Tcp {
        host: String,
        port: u16,
        /// None: without TLS.
        tls: Option<TlsPeer>,
    },
    Unix {
        path: PathBuf,
    },
}

/// How much of a server's certificate is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verification {
    /// Its signatures, its dates, its name.
    Full,
    /// Nothing.
    Off,
}

impl Address {
    /// Parses `redis://`, `valkey://`, `rediss://`, `valkeys://` and `unix://` URLs; `protocol` is for those that name none.
    pub(crate) fn parse(url: &str, protocol: ProtocolVersion, tls: &Tls) -> Result<Self, AddNodeError> {
        let invalid = |reason: &str| AddNodeError::InvalidUrl { node: redact(url), reason: String::from(reason) };
        let mut parsed = redis::parse_redis_url(url).ok_or_else(|| {
            invalid(
                "expected redis://[user][:password]@host[:port][/db] (or valkey://; rediss:// or valkeys:// for TLS), \
                 or unix:///path[?db=n&user=u&pass=p]",
            )
        })?;
        let verification = match (parsed.scheme(), parsed.fragment()) {
            ("rediss" | "valkeys", None) => Some(Verification::Full),
            ("rediss" | "valkeys", Some("insecure")) => Some(Verification::Off),
            ("rediss" | "valkeys", Some(_)) => return Err(invalid("only #insecure may follow a URL with TLS")),
            (_, _) => None,
        };
        if verification.is_some() {
            // The redis crate takes it only with a TLS of its own, which we do not use; all else in it is the same.
            parsed.set_scheme("redis").map_err(|()| invalid("this scheme is not supported"))?;
        }
        if parsed.port() == Some(0) {
            return Err(invalid("port 0 cannot be connected to"));
        }
        let names_protocol = parsed.query_pairs().any(|(key, _)| key == "protocol");
        let info: ConnectionInfo = parsed.into_connection_info().map_err(|error| {
            let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
            invalid(&format!("{}{detail}", error.category()))
        })?;
        let mut login = info.redis_settings().clone();
        if !names_protocol {
            login = login.set_protocol(protocol);
        }
        if login.db() < 0 {
            return Err(invalid("a database number is 0 or more"));
        }
        let place = match info.addr() {
            ConnectionAddr::Tcp(host, port) => {
                let peer = |verification| tls.peer(host, verification).map_err(|reason| invalid(&reason));
                Place::Tcp { host: host.clone(), port: *port, tls: verification.map(peer).transpose()? }
            }
            ConnectionAddr::Unix(path) => Place::Unix { path: path.clone() },
            ConnectionAddr::TcpTls { .. } | _ => return Err(invalid("this kind of address is not supported")),
        };
        Ok(Self { place, login, name: redact(url) })
    }

    #[cfg(feature = "cluster")]
    pub(crate) fn is_tcp(&self) -> bool {
        matches!(self.place, Place::Tcp { .. })
    }

    #[cfg(feature = "cluster")]
    pub(crate) fn has_login_of(&self, other: &Self) -> bool {
        let words = |place: &Self| {
            let login = &place.login;
            let words = (login.username().map(String::from), login.password().map(String::from));
            (words, login.protocol(), place.tls().is_some())
        };
        words(self) == words(other)
    }

    /// Host and port, as a cluster names its nodes.
    #[cfg(feature = "cluster")]
    pub(crate) fn name_of_place(&self) -> String {
        match &self.place {
            Place::Tcp { host, port, .. } => format!("{host}:{port}"),
            Place::Unix { path } => path.display().to_string(),
        }
    }

    /// The same login at another place, with TLS if this one has it.
    ///
    /// # Errors
    ///
    /// Why TLS with that host is out of the question.
    #[cfg(any(test, feature = "cluster"))]
    pub(crate) fn beside(&self, host: &str, port: u16) -> Result<Self, String> {
        let tls = self.tls().map(|peer| peer.at(host)).transpose()?;
        let place = Place::Tcp { host: String::from(host), port, tls };
        Ok(Self { place, login: self.login.clone(), name: format!("{host}:{port}") })
    }

    /// Whom to expect at the other side of TLS; none without it.
    pub(crate) fn tls(&self) -> Option<&TlsPeer> {
        match &self.place {
            Place::Tcp { tls, .. } => tls.as_ref(),
            Place::Unix { .. } => None,
        }
    }
}

/// A URL, or what was meant to be one, with its password replaced by `***`. Where it is not clear what is the password,
/// too much is hidden rather than too little.
pub(crate) fn redact(url: &str) -> String {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), url),
    };
    if scheme.to_ascii_lowercase().contains("unix") {
        return scheme + &redact_query(rest);
    }
    // The last @ of all ends the login, whatever a password may hold.
    let hidden = match rest.rsplit_once('@') {
        Some((login, place)) => {
            let login = login.split_once(':').map_or_else(|| String::from(login), |(user, _)| format!("{user}:***"));
            format!("{login}@{}", redact_query(place))
        }
        None => {
            let place = rest.split(['/', '?', '#']).next().unwrap_or_default();
            let is_port = |text: &str| !text.is_empty() && text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit());
            match place.rsplit_once(':') {
                Some((host, port)) if !is_port(port) && !place.ends_with(']') => {
                    format!("{}:***", host.split(':').next().unwrap_or_default())
                }
                Some(_) | None => redact_query(rest),
            }
        }
    };
    scheme + &hidden
}

fn redact_query(text: &str) -> String {
    let Some((base, query)) = text.split_once('?') else { return String::from(text) };
    let mut after_password = false;
    let pairs: Vec<_> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((key, _)) => {
                after_password = key.to_ascii_lowercase().starts_with("pass");
                if after_password { format!("{key}=***") } else { String::from(pair) }
            }
            // The rest of a password with an & in it.
            None if after_password => String::from("***"),
            None => String::from(pair),
        })
        .collect();
    format!("{base}?{}", pairs.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "tls-rustls")]
    fn tls() -> Tls {
        Tls::new(&crate::TlsArgs::default(), false).expect("nothing to read")
    }

    #[cfg(not(feature = "tls-rustls"))]
    fn tls() -> Tls {
        Tls
    }

    fn parse(url: &str) -> Result<Address, AddNodeError> {
        Address::parse(url, ProtocolVersion::RESP3, &tls())
    }

    #[test]
    fn urls_of_every_kind_are_understood() {
        let address = parse("redis://user:p%40ss@example.org:7000/3?protocol=resp2").expect("valid");
        assert!(matches!(&address.place, Place::Tcp { host, port: 7000, tls: None } if host == "example.org"));
        assert_eq!((address.login.username(), address.login.password()), (Some("user"), Some("p@ss")));
        assert_eq!((address.login.db(), address.login.protocol()), (3, ProtocolVersion::RESP2));
        assert_eq!(address.name, "redis://user:***@example.org:7000/3?protocol=resp2");

        let address = parse("valkey://localhost").expect("valid");
        assert!(matches!(&address.place, Place::Tcp { host, port: 6379, tls: None } if host == "localhost"));
        assert_eq!(address.login.protocol(), ProtocolVersion::RESP3);

        let address = parse("unix:///run/redis.sock?db=2&pass=secret").expect("valid");
        assert!(matches!(&address.place, Place::Unix { path } if path.as_os_str() == "/run/redis.sock"));
        assert_eq!((address.login.db(), address.login.password()), (2, Some("secret")));
        assert_eq!(address.name, "unix:///run/redis.sock?db=2&pass=***");
    }

    #[cfg(feature = "tls-rustls")]
    #[test]
    fn urls_with_tls_and_the_places_beside_them() {
        // The roots of the machine would do as well, if it has any.
        let (authority, mut args) = (redis_manager_tests::certificates::Authority::new().pem, crate::TlsArgs::default());
        args.ca_certificates = Some(crate::Pem::bytes(authority));
        let tls = Tls::new(&args, false).expect("a certificate");
        for url in ["rediss://u:p@example.org/3?protocol=resp2", "valkeys://u:p@example.org:6379/3?protocol=resp2"] {
            let address = Address::parse(url, ProtocolVersion::RESP3, &tls).expect("valid");
            assert!(matches!(&address.place, Place::Tcp { host, port: 6379, tls: Some(_) } if host == "example.org"));
            assert_eq!((address.login.username(), address.login.db()), (Some("u"), 3));
            assert_eq!(address.login.protocol(), ProtocolVersion::RESP2);
            assert!(address.name.contains("s://u:***@example.org"), "{}", address.name);
            let beside = address.beside("10.1.2.3", 7000).expect("an address");
            assert!(matches!(&beside.place, Place::Tcp { host, port: 7000, tls: Some(_) } if host == "10.1.2.3"));
            assert!(address.beside("not a name", 7000).is_err());
        }
        let plain = parse("redis://u:p@example.org").expect("valid").beside("10.1.2.3", 7000).expect("an address");
        assert!(plain.tls().is_none() && plain.login.username() == Some("u"));
    }

    #[cfg(not(feature = "tls-rustls"))]
    #[test]
    fn urls_with_tls_are_refused_with_the_name_of_the_feature() {
        for url in ["rediss://localhost", "valkeys://localhost#insecure"] {
            let error = parse(url).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains("the feature tls-rustls"), "{error}");
        }
    }

    #[test]
    fn what_is_not_a_node_url_is_refused_with_its_password_hidden() {
        for url in [
            "",
            "localhost",
            "http://u:secret@localhost",
            "redis://",
            "redis://:secret@localhost:99999",
            "redis://:secret@localhost:0",
            "redis://:secret@localhost/db",
            "redis://:secret@localhost/-1",
            "redis://:secret@localhost?protocol=9",
            "redis://:secret@0.0.0.0",
            "rediss://:secret@localhost#insecure",
            "rediss://:secret@localhost#else",
            "u:secret@localhost",
        ] {
            let error = parse(url).err().unwrap_or_else(|| panic!("{url} was accepted"));
            assert!(matches!(error, AddNodeError::InvalidUrl { .. }), "{error:?}");
            assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
        }
    }

    #[test]
    fn a_password_is_hidden_whatever_it_holds() {
        assert_eq!(redact("redis://:a@b:c@host:1"), "redis://:***@host:1");
        assert_eq!(redact("redis://host"), "redis://host");
        assert_eq!(redact("redis://user@host"), "redis://user@host");
        assert_eq!(redact("redis://user:pa?ss@host:6379/0"), "redis://user:***@host:6379/0");
        assert_eq!(redact("redis://:p?a=b@c/d@host?protocol=resp2"), "redis://:***@host?protocol=resp2");
        assert_eq!(redact("redis://:hunter2"), "redis://:***");
        assert_eq!(redact("redis://user:hunter2/x?y"), "redis://user:***");
        assert_eq!(redact("redis://host:6379/0?protocol=resp3"), "redis://host:6379/0?protocol=resp3");
        assert_eq!(redact("redis://[::1]:6379"), "redis://[::1]:6379");
        assert_eq!(redact("redis://[::1]"), "redis://[::1]");
        assert_eq!(redact("unix:///x?pass=a&b&db=1"), "unix:///x?pass=***&***&db=1");
        assert_eq!(redact("unix:///x?PASS=x"), "unix:///x?PASS=***");
    }
}
