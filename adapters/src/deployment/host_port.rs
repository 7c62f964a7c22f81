//! A host and a port, as a sentinel tells them or a user writes them.

use std::fmt;
use std::sync::Arc;

/// The port of a sentinel that names none.
const SENTINEL_PORT: u16 = 26_379;

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct HostPort {
    pub(crate) host: Arc<str>,
    pub(crate) port: u16,
}

impl HostPort {
    /// Checks both.
    ///
    /// # Errors
    ///
    /// What is wrong with them.
    pub(crate) fn new(host: &str, port: u16) -> Result<Self, &'static str> {
        let is_strange = |byte: u8| byte.is_ascii_whitespace() || byte.is_ascii_control() || b"/@?#,".contains(&byte);
        match (host, port) {
            ("", _) => Err("the host is missing"),
            (host, _) if host.len() > 255 || host.bytes().any(is_strange) => Err("the host is not a name or an address"),
            (_, 0) => Err("the port is not 1 to 65535"),
            (host, port) => Ok(Self { host: Arc::from(host), port }),
        }
    }

    /// Reads `host`, `host:port`, `[::1]` or `[::1]:port`, of a sentinel.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let bracketed = text.strip_prefix('[').map(|rest| rest.split_once(']').ok_or("the bracket is not closed")).transpose()?;
        let (host, port) = match bracketed {
            Some((host, "")) => (host, None),
            Some((host, rest)) => (host, Some(rest.strip_prefix(':').ok_or("the port is not 1 to 65535")?)),
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let is_number = |port: &&str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = match port {
            None => SENTINEL_PORT,
            Some(port) => Some(port).filter(is_number).and_then(|port| port.parse().ok()).ok_or("the port is not 1 to 65535")?,
        };
        Self::new(host, port)
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen to bite: with a port of 0, with a + in a port, with the rest behind a bracket passed over.
    #[test]
    fn a_place_is_read_as_it_is_shown_and_nonsense_is_refused() {
        for (text, shown) in [
            ("s1", "s1:26379"),
            ("s1:7", "s1:7"),
            ("10.0.0.1:65535", "10.0.0.1:65535"),
            ("[::1]", "[::1]:26379"),
            ("[fe80::1]:7", "[fe80::1]:7"),
        ] {
            assert_eq!(HostPort::parse(text).map(|place| place.to_string()).as_deref(), Ok(shown), "{text}");
        }
        for text in
            ["", ":7", "s1:", "s1:0", "s1:+7", "s1:65536", "s1:x", "s 1:7", "s1:7:8", "[::1", "[::1]7", "[]", "a/b", "u@h", "a\n"]
        {
            assert!(HostPort::parse(text).is_err(), "{text:?}");
        }
    }
}
