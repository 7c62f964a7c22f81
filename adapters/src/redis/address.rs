//! The address of a node and its login: a URL, parsed once, with its password hidden afterwards.

use std::path::PathBuf;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo};

use crate::error::AddNodeError;
use crate::redis_node::parameters::{Parameters, database_of_path};
use crate::redis_node::redact::redact;
use crate::redis_node::tls::{Tls, TlsPeer};
use crate::redis_node::verification::Verification;

const EXPECTED: &str = "expected redis://[user][:password]@host[:port][/db] (or valkey://; rediss:// or valkeys:// for TLS), \
                        or unix:///path[?db=n&user=u&pass=p]";
const NO_FRAGMENT: &str = "only #insecure may follow, and only a URL with TLS; a # in a password is %23";

/// A parsed node URL.
#[derive(Clone)]
pub(crate) struct Address {
    pub(crate) place: Endpoint,
    /// User, password, database and protocol.
    pub(crate) login: RedisConnectionInfo,
    /// Whether the URL itself requires RESP3.
    pub(crate) demands_resp3: bool,
    /// The URL without its password.
    pub(crate) name: String,
}

#[derive(Clone, Debug)]
pub(crate) enum Endpoint {
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

impl Address {
    /// Parses `redis://`, `valkey://`, `rediss://`, `valkeys://` and `unix:` URLs. `protocol` applies to URLs that name none.
    ///
    /// # Errors
    ///
    /// Names the part of the URL that is not understood.
    pub(crate) fn parse(url: &str, protocol: ProtocolVersion, tls: &Tls) -> Result<Self, AddNodeError> {
        Self::read(url, protocol, tls).map_err(|reason| AddNodeError::InvalidUrl { node: redact(url), reason })
    }

    fn read(url: &str, protocol: ProtocolVersion, tls: &Tls) -> Result<Self, String> {
        if url.trim().contains(['\t', '\n', '\r']) {
            return Err(String::from("it contains a tab or a line end"));
        }
        let mut parsed = redis::parse_redis_url(url).ok_or(EXPECTED)?;
        let is_unix = parsed.scheme().contains("unix");
        let verification = match (parsed.scheme(), parsed.fragment()) {
            ("rediss" | "valkeys", None) => Some(Verification::Full),
            ("rediss" | "valkeys", Some("insecure")) => Some(Verification::Off),
            (_, Some(_)) => return Err(String::from(NO_FRAGMENT)),
            (_, None) => None,
        };
        if is_unix {
            let has_place = parsed.port().is_some() || parsed.host_str().is_some_and(|host| !host.is_empty());
            if has_place || !parsed.username().is_empty() || parsed.password().is_some() {
                return Err(String::from("it names a socket by its path alone, unix:///path, and its login as ?user=u&pass=p"));
            }
        } else if parsed.host_str().is_none_or(str::is_empty) {
            return Err(String::from(EXPECTED));
        } else if parsed.path().contains('@') || parsed.query().is_some_and(|query| query.contains('@')) {
            return Err(String::from("there is an @ after the host; /, ?, # and @ in a password are %2F, %3F, %23 and %40"));
        }
        let parameters = Parameters::read(parsed.query().unwrap_or_default(), is_unix)?;
        let home = if is_unix { None } else { database_of_path(parsed.path())? };
        if home.zip(parameters.database).is_some_and(|(one, other)| one != other) {
            return Err(String::from("its path and its db parameter name different databases"));
        }
        if verification.is_some() {
            // The redis crate accepts `rediss` only with a TLS of its own, which we do not use. The rest of the URL is the
            // same.
            parsed.set_scheme("redis").map_err(|()| "this scheme is not supported")?;
        }
        if parsed.port() == Some(0) {
            return Err(String::from("port 0 cannot be connected to"));
        }
        // Only the address is left to the redis crate and, except for unix sockets, the login.
        parsed.set_query(None);
        parsed.set_fragment(None);
        if !is_unix {
            parsed.set_path("");
        }
        let info: ConnectionInfo = parsed.into_connection_info().map_err(|error| String::from(error.category()))?;
        let place = match info.addr() {
            ConnectionAddr::Tcp(host, port) => {
                let tls = verification.map(|verification| tls.peer(host, verification)).transpose()?;
                Endpoint::Tcp { host: host.clone(), port: *port, tls }
            }
            ConnectionAddr::Unix(path) => Endpoint::Unix { path: path.clone() },
            ConnectionAddr::TcpTls { .. } | _ => return Err(String::from("this kind of address is not supported")),
        };
        let demands_resp3 = parameters.demands_resp3();
        let login = parameters.over(info.redis_settings().clone(), home, protocol);
        Ok(Self { place, login, demands_resp3, name: redact(url) })
    }

    pub(crate) fn is_tcp(&self) -> bool {
        matches!(self.place, Endpoint::Tcp { .. })
    }

    /// The expected peer of the TLS handshake; `None` without TLS.
    pub(crate) fn tls(&self) -> Option<&TlsPeer> {
        match &self.place {
            Endpoint::Tcp { tls, .. } => tls.as_ref(),
            Endpoint::Unix { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "tls-rustls")]
    fn tls() -> Tls {
        Tls::new(&crate::tls::TlsArgs::default(), false).expect("nothing to read")
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
        assert!(matches!(&address.place, Endpoint::Tcp { host, port: 7000, tls: None } if host == "example.org"));
        assert_eq!((address.login.username(), address.login.password()), (Some("user"), Some("p@ss")));
        assert_eq!((address.login.db(), address.login.protocol()), (3, ProtocolVersion::RESP2));
        assert_eq!(address.name, "redis://user:***@example.org:7000/3?protocol=resp2");

        let address = parse("valkey://localhost").expect("valid");
        assert!(matches!(&address.place, Endpoint::Tcp { host, port: 6379, tls: None } if host == "localhost"));
        assert_eq!(address.login.protocol(), ProtocolVersion::RESP3);

        let address = parse("unix:///run/redis.sock?db=2&pass=secret").expect("valid");
        assert!(matches!(&address.place, Endpoint::Unix { path } if path.as_os_str() == "/run/redis.sock"));
        assert_eq!((address.login.db(), address.login.password()), (2, Some("secret")));
        assert_eq!(address.name, "unix:///run/redis.sock?db=2&pass=***");
    }

    /// Guards against: the db parameter of a host passed over, with a + read as a space, with keys that are not decoded,
    /// without the empty password of a user that has none.
    #[test]
    fn what_is_understood_of_a_url_is_what_it_says() {
        let long = "%31".repeat(300);
        for (url, database, user, password) in [
            ("redis://h", 0, None, None),
            ("redis://h/", 0, None, None),
            ("redis://h/2", 2, None, None),
            ("redis://h/2/", 2, None, None),
            ("redis://h?db=2", 2, None, None),
            ("redis://h/?db=2&protocol=3", 2, None, None),
            ("redis://h/2?db=2", 2, None, None),
            ("redis://h/2?db=02&", 2, None, None),
            (" redis://h/2 \n", 2, None, None),
            ("redis://u:a+b%2Bc%zz@h", 0, Some("u"), Some("a+b+c%zz")),
            ("redis://u@h", 0, Some("u"), Some("")),
            ("redis://:p@h", 0, None, Some("p")),
            ("unix:/x", 0, None, None),
            ("unix:///x?user=u+v&pass=a+b%20c%26d", 0, Some("u+v"), Some("a+b c&d")),
            ("unix:/x?p%61ss=100%&%64b=7", 7, None, Some("100%")),
            ("unix:///x?user=u", 0, Some("u"), Some("")),
            ("redis+unix:///x?user=&pass=", 0, None, None),
            (&format!("unix:///x?pass={long}"), 0, None, Some(&"1".repeat(300))),
        ] {
            let login = parse(url).unwrap_or_else(|error| panic!("{url}: {error}")).login;
            assert_eq!((login.db(), login.username(), login.password()), (database, user, password), "{url}");
        }
    }

    /// Guards against: each of the checks left out of `read` and of `Parameters::read`.
    #[test]
    fn what_is_not_understood_of_a_url_is_refused_by_name() {
        for (url, words) in [
            ("redis://:hush@h/x", "the database \"x\" is not a number"),
            ("redis://:hush@h/-1", "the database \"-1\" is not a number"),
            ("redis://:hush@h/99999999999999999999", "is not a number"),
            ("redis://:hush@h/0/x", "\"0/x\" contains more than the number of a database"),
            ("redis://:hush@h//0", "\"/0\" contains more"),
            ("redis://:hush@h/1?db=2", "different databases"),
            ("redis://:hush@h?db=+2", "the parameter db is not a number"),
            ("redis://:hush@h?db", "the parameter db is not a number"),
            ("redis://:hush@h?timeout=5s", "\"timeout\" is not a parameter of such a URL; valid are db, protocol"),
            ("redis://:hush@h?DB=2", "\"DB\" is not a parameter"),
            ("redis://h?pass=hush", "\"pass\" is not a parameter"),
            ("redis://h?password=hush", "\"password\" is not a parameter"),
            ("redis://h?insecure", "\"insecure\" is not a parameter"),
            ("redis://h?p%2Bass%20wo%72d%21%7c=hush", "\"p%2Bass%20wo%72d%21%7c\" is not a parameter"),
            ("redis://h?h=sh@h", "there is an @ after the host"),
            ("redis://u:12?hush@h", "there is an @ after the host"),
            ("redis://:hush@h?db=1&db=1", "the parameter db is given twice"),
            ("redis://:hush@h?db=1&%64b=1", "the parameter db is given twice"),
            ("redis://:hush@h?protocol=hush", "the parameter protocol must be resp2 or resp3"),
            ("redis://:hush@h#insecure", "#insecure"),
            ("redis://:hush@h#hush", "only #insecure may follow"),
            ("unix:///x?pass=a#hush", "a # in a password is %23"),
            ("unix:///x?pass=a&hush", "an & in a password is %26"),
            ("unix:///x?pass=a&hush=b", "an & in a password is %26"),
            ("unix:///x?pass=a&pass=hush", "the parameter pass is given twice"),
            ("unix:///x?pass=hush%ff", "the parameter pass is not UTF-8"),
            ("unix:///x?password=hush", "\"password\" is not a parameter of such a URL; valid are db, protocol, user, pass"),
            ("unix:///x?p%ZZss=hush", "\"p%ZZss\" is not a parameter"),
            ("unix:///x?%ff=hush", "\"%ff\" is not a parameter"),
            ("unix://u:hush@localhost/x", "it names a socket by its path alone"),
            ("unix://localhost/x?pass=hush", "it names a socket by its path alone"),
            ("unix:x?pass=hush", ""),
            ("redis://:hu\nsh@h", "it contains a tab or a line end"),
            ("redis://:hush%ff@h", ""),
            ("redis:hush", "expected redis://"),
            ("redis:///hush", "expected redis://"),
        ] {
            let error = parse(url).err().unwrap_or_else(|| panic!("{url} was accepted"));
            let AddNodeError::InvalidUrl { reason, .. } = &error else { panic!("{url}: {error:?}") };
            assert!(reason.contains(words) && !reason.is_empty(), "{url}: {reason}");
            let all = format!("{error} {error:?} {error:#?}");
            assert!(!["hush", "hu\nsh"].iter().any(|secret| all.contains(secret)), "{url}: {all}");
        }
    }

    #[cfg(feature = "tls-rustls")]
    #[test]
    fn urls_with_tls_and_the_places_beside_them() {
        // The roots of the machine would do as well, if it has any.
        let (authority, mut args) = (redis_manager_tests::certificates::Authority::new().pem, crate::tls::TlsArgs::default());
        args.ca_certificates = Some(crate::tls::Pem::bytes(authority));
        let tls = Tls::new(&args, false).expect("a certificate");
        for url in ["rediss://u:p@example.org/3?protocol=resp2", "valkeys://u:p@example.org:6379/3?protocol=resp2"] {
            let address = Address::parse(url, ProtocolVersion::RESP3, &tls).expect("valid");
            assert!(matches!(&address.place, Endpoint::Tcp { host, port: 6379, tls: Some(_) } if host == "example.org"));
            assert_eq!((address.login.username(), address.login.db()), (Some("u"), 3));
            assert_eq!(address.login.protocol(), ProtocolVersion::RESP2);
            assert!(address.name.contains("s://u:***@example.org"), "{}", address.name);
            let beside = address.beside("10.1.2.3", 7000).expect("an address");
            assert!(matches!(&beside.place, Endpoint::Tcp { host, port: 7000, tls: Some(_) } if host == "10.1.2.3"));
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
}
