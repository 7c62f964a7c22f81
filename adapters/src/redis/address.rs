//! Where a node is and who we are there: a URL, parsed once, its password hidden from then on.

use std::path::PathBuf;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo};

use crate::redis_node::AddNodeError;

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
    Tcp { host: String, port: u16 },
    Unix { path: PathBuf },
}

impl Address {
    /// Parses `redis://`, `valkey://` and `unix://` URLs; `protocol` is for those that name none.
    pub(crate) fn parse(url: &str, protocol: ProtocolVersion) -> Result<Self, AddNodeError> {
        let invalid = |reason: &str| AddNodeError::InvalidUrl { node: redact(url), reason: String::from(reason) };
        let parsed = redis::parse_redis_url(url).ok_or_else(|| {
            invalid("expected redis://[user][:password]@host[:port][/db] (or valkey://), or unix:///path[?db=n&user=u&pass=p]")
        })?;
        if matches!(parsed.scheme(), "rediss" | "valkeys") {
            return Err(invalid("TLS is not supported yet"));
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
            ConnectionAddr::Tcp(host, port) => Place::Tcp { host: host.clone(), port: *port },
            ConnectionAddr::Unix(path) => Place::Unix { path: path.clone() },
            ConnectionAddr::TcpTls { .. } | _ => return Err(invalid("this kind of address is not supported")),
        };
        Ok(Self { place, login, name: redact(url) })
    }
}

/// A URL, or what was meant to be one, with its password replaced by `***`.
pub(crate) fn redact(url: &str) -> String {
    let (base, query) = match url.split_once('?') {
        Some((base, query)) => (base, Some(query)),
        None => (url, None),
    };
    let (scheme, rest) = match base.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, base),
    };
    // The last @ ends the login, whatever a password may hold.
    let hidden = match rest.rsplit_once('@') {
        Some((login, place)) => match login.split_once(':') {
            Some((user, _)) => format!("{user}:***@{place}"),
            None => format!("{login}@{place}"),
        },
        None => String::from(rest),
    };
    let mut text = scheme.map(|scheme| format!("{scheme}://")).unwrap_or_default() + &hidden;
    if let Some(query) = query {
        let pairs: Vec<_> = query
            .split('&')
            .map(|pair| match pair.split_once('=') {
                Some((key @ ("pass" | "password"), _)) => format!("{key}=***"),
                Some(_) | None => String::from(pair),
            })
            .collect();
        text = format!("{text}?{}", pairs.join("&"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Address, AddNodeError> {
        Address::parse(url, ProtocolVersion::RESP3)
    }

    #[test]
    fn urls_of_every_kind_are_understood() {
        let address = parse("redis://user:p%40ss@example.org:7000/3?protocol=resp2").expect("valid");
        assert!(matches!(&address.place, Place::Tcp { host, port: 7000 } if host == "example.org"));
        assert_eq!((address.login.username(), address.login.password()), (Some("user"), Some("p@ss")));
        assert_eq!((address.login.db(), address.login.protocol()), (3, ProtocolVersion::RESP2));
        assert_eq!(address.name, "redis://user:***@example.org:7000/3?protocol=resp2");

        let address = parse("valkey://localhost").expect("valid");
        assert!(matches!(&address.place, Place::Tcp { host, port: 6379 } if host == "localhost"));
        assert_eq!(address.login.protocol(), ProtocolVersion::RESP3);

        let address = parse("unix:///run/redis.sock?db=2&pass=secret").expect("valid");
        assert!(matches!(&address.place, Place::Unix { path } if path.as_os_str() == "/run/redis.sock"));
        assert_eq!((address.login.db(), address.login.password()), (2, Some("secret")));
        assert_eq!(address.name, "unix:///run/redis.sock?db=2&pass=***");
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
            "rediss://:secret@localhost",
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
    }
}
