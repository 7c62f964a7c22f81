//! What a connection is like: timeouts, socket options, protocol, name.

use std::ops::RangeInclusive;
use std::time::Duration;

use redis::ProtocolVersion;
use redis_manager_core::{ConfigError, NodeConfig, Setting};

#[cfg(feature = "tls-rustls")]
use crate::redis_node::TlsArgs;
use crate::redis_node::tls;
use crate::setters::{option_setters, setters};
use crate::tcp_options::{Keepalive, TcpOptions};

/// The kernel counts these in whole seconds, up to 2^15 - 1.
const KEEPALIVE_TIME: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(32_767);
const KEEPALIVE_RETRIES: RangeInclusive<u32> = 1..=127;

/// Less would close what has carried nothing large; the redis crate begins with 8 KiB.
const IDLE_BUFFER: RangeInclusive<usize> = (64 << 10)..=(1 << 30);
const REPLY_SIZE: RangeInclusive<usize> = 64 * 1_024..=1 << 31;

/// How the connections of a manager are made. Begin with [`PoolArgs::default`], and set fields or call setters; `build`
/// checks them.
///
/// ```
/// use redis_manager::PoolArgs;
/// use std::time::Duration;
///
/// let args = PoolArgs::default().command_timeout(Duration::from_secs(2)).client_name("billing").keepalive(None);
///
/// let mut same = PoolArgs::default();
/// same.command_timeout = Duration::from_secs(2);
/// same.client_name = Some(String::from("billing"));
/// same.keepalive = None;
/// assert_eq!(args, same);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolArgs {
    /// The longest a connect may take: name look-up, dial, TLS and Redis handshakes and the first PING together. Default 5 s, 10 ms to
    /// 7 days.
    pub connect_timeout: Duration,
    /// The longest that one address of the node may take to accept, a part of `connect_timeout`. The other addresses of its
    /// name do not wait for it: the next is dialled 250 ms later, or at once when one fails. Default 1 s, 10 ms to 7 days.
    pub dial_timeout: Duration,
    /// The longest a command may take. One that blocks by its nature (`BLPOP key 30`) gets its own timeout on top, and
    /// no limit if it has none. A client whose command timed out is not lent again. Default 5 s, 10 ms to 7 days.
    pub command_timeout: Duration,
    /// Whether small packets are sent at once (TCP_NODELAY). Default true.
    pub nodelay: bool,
    /// When the kernel probes a silent connection. Default after 60 s, each 10 s, 3 times.
    pub keepalive: Option<Keepalive>,
    /// How long sent data may stay unacknowledged before the kernel gives the connection up (Linux and Android).
    /// Default 10 s, 10 ms to 7 days.
    pub tcp_user_timeout: Option<Duration>,
    /// The protocol where the URL names none (`?protocol=resp2`). Default RESP3, which becomes RESP2 where the server does
    /// not support HELLO; a URL with `?protocol=resp3` demands RESP3.
    pub protocol: ProtocolVersion,
    /// The commands of the login. Default [`Full`](Handshake::Full); some proxies support [`Least`](Handshake::Least) only.
    pub handshake: Handshake,
    /// What `CLIENT LIST` shows for the connections. Default none. Printable ASCII without spaces.
    pub client_name: Option<String>,
    /// The most memory that a connection keeps for requests while nothing is to be sent, in bytes. A large request enlarges its
    /// buffer, and a buffer above this is given back once the request is sent. For replies no memory is kept. Default 1 MiB,
    /// 64 KiB to 1 GiB.
    pub max_idle_buffer: usize,
    /// The largest reply, in bytes as the server sends it; each value in it counts 56 bytes more, for its place in memory. A
    /// larger reply ends the connection, with an error that names this setting. Default 1 GiB, 64 KiB to 2 GiB.
    pub max_reply_size: usize,
    /// How commands are treated that are in no list of this crate. Default [`Check`](UnknownCommands::Check).
    pub unknown_commands: UnknownCommands,
    /// TLS of `rediss://` and `valkeys://` nodes. Default: the platform's roots, no client certificate.
    #[cfg(feature = "tls-rustls")]
    pub tls: TlsArgs,
}

/// The commands of the login on a new connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Handshake {
    /// Beside what is needed: the library, shown as `redis-rs(redis-manager_v0.1.0)` with the version of the redis crate
    /// (`CLIENT SETINFO`), `client_name` (`CLIENT SETNAME`) and a PING with a nonce that must come back. The first two may be
    /// refused.
    #[default]
    Full,
    /// What every proxy supports: the password, if there is one; the database, if it is not 0; and a plain PING, also as a
    /// health check. Proxies without HELLO need `?protocol=resp2`, too. A connection on which a command was cancelled is
    /// closed there, unless the proxy passes the argument of a PING on.
    Least,
}

/// How a command is treated that is in no list of this crate: one of a private module, or of a newer server. It might change
/// the session, or end the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnknownCommands {
    /// It is sent. Its connection is lent again only after it has answered a PING, in the background. A shared connection goes
    /// on, and is checked when it goes back to the pool.
    #[default]
    Check,
    /// It is sent as a command that changes nothing. No check.
    Trust,
    /// Shared clients refuse it; exclusive ones send it, and their connections are checked.
    Refuse,
}

impl Default for PoolArgs {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            dial_timeout: Duration::from_secs(1),
            command_timeout: Duration::from_secs(5),
            nodelay: true,
            keepalive: Some(Keepalive { idle: Duration::from_secs(60), interval: Duration::from_secs(10), retries: 3 }),
            tcp_user_timeout: Some(Duration::from_secs(10)),
            protocol: ProtocolVersion::RESP3,
            handshake: Handshake::default(),
            client_name: None,
            max_idle_buffer: 1 << 20,
            max_reply_size: 1 << 30,
            unknown_commands: UnknownCommands::default(),
            #[cfg(feature = "tls-rustls")]
            tls: TlsArgs::default(),
        }
    }
}

impl PoolArgs {
    setters! {
        connect_timeout: Duration,
        dial_timeout: Duration,
        command_timeout: Duration,
        nodelay: bool,
        protocol: ProtocolVersion,
        handshake: Handshake,
        max_idle_buffer: usize,
        max_reply_size: usize,
        unknown_commands: UnknownCommands,
        #[cfg(feature = "tls-rustls")]
        tls: TlsArgs,
    }

    option_setters! {
        keepalive: Keepalive,
        tcp_user_timeout: Duration,
    }

    /// Sets the field `client_name`.
    #[must_use]
    pub fn client_name(mut self, name: impl Into<String>) -> Self {
        self.client_name = Some(name.into());
        self
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        ConfigError::unless_within("connect_timeout", self.connect_timeout, &NodeConfig::DURATIONS)?;
        ConfigError::unless_within("dial_timeout", self.dial_timeout, &NodeConfig::DURATIONS)?;
        ConfigError::unless_within("command_timeout", self.command_timeout, &NodeConfig::DURATIONS)?;
        if let Some(timeout) = self.tcp_user_timeout {
            ConfigError::unless_within("tcp_user_timeout", timeout, &NodeConfig::DURATIONS)?;
        }
        if let Some(Keepalive { idle, interval, retries }) = self.keepalive {
            ConfigError::unless_within("keepalive idle", idle, &KEEPALIVE_TIME)?;
            ConfigError::unless_within("keepalive interval", interval, &KEEPALIVE_TIME)?;
            if !KEEPALIVE_RETRIES.contains(&retries) {
                let range = format!("{} to {}", KEEPALIVE_RETRIES.start(), KEEPALIVE_RETRIES.end());
                return Err(ConfigError::OutOfRange { setting: "keepalive retries", value: retries.to_string(), range });
            }
        }
        for (setting, value, range) in
            [("max_idle_buffer", self.max_idle_buffer, IDLE_BUFFER), ("max_reply_size", self.max_reply_size, REPLY_SIZE)]
        {
            if !range.contains(&value) {
                let range = format!("{} to {}", range.start(), range.end());
                return Err(ConfigError::OutOfRange { setting, value: value.to_string(), range });
            }
        }
        match &self.client_name {
            Some(name) if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) => Err(ConfigError::Unreadable {
                setting: "client_name",
                value: name.clone(),
                expected: "printable ASCII without spaces",
            }),
            Some(_) | None => Ok(()),
        }
    }

    pub(crate) fn tcp_options(&self) -> TcpOptions {
        TcpOptions { nodelay: self.nodelay, keepalive: self.keepalive, user_timeout: self.tcp_user_timeout }
    }

    /// The table of these settings, as [`NodeConfig::settings`](crate::pool::NodeConfig::settings).
    #[must_use]
    pub fn settings() -> Vec<Setting> {
        let Self {
            connect_timeout,
            dial_timeout,
            command_timeout,
            nodelay,
            keepalive,
            tcp_user_timeout,
            protocol,
            handshake,
            client_name: _,
            max_idle_buffer,
            max_reply_size,
            unknown_commands,
            #[cfg(feature = "tls-rustls")]
                tls: _,
        } = Self::default();
        let length = |name, default: Duration, why| Setting::duration(name, default, &NodeConfig::DURATIONS, why);
        let user_timeout = length(
            "pool_args.tcp_user_timeout",
            tcp_user_timeout.unwrap_or_default(),
            "the kernel gives up unacknowledged data (Linux, Android); may be none",
        );
        let keepalive = keepalive.map_or_else(
            || String::from("none"),
            |Keepalive { idle, interval, retries }| format!("{idle:?} / {interval:?} / {retries}"),
        );
        let mut settings = vec![
            length("pool_args.connect_timeout", connect_timeout, "look-up, dial, handshakes and first PING together"),
            length(
                "pool_args.dial_timeout",
                dial_timeout,
                "for one address of a node; the next is dialled 250 ms later, or at once when one fails",
            ),
            length("pool_args.command_timeout", command_timeout, "for one command; a blocking one gets its own timeout on top"),
            Setting::new(
                "pool_args.nodelay",
                "switch",
                nodelay.to_string(),
                String::from("true or false"),
                "large values take 2.7 times as long without it",
            ),
            Setting::new(
                "pool_args.keepalive",
                "idle / interval / probes",
                keepalive,
                format!("{:?} to {:?}, twice; 1 to 127; or none", KEEPALIVE_TIME.start(), KEEPALIVE_TIME.end()),
                "the kernel finds a dead idle peer",
            ),
            user_timeout,
            Setting::new(
                "pool_args.protocol",
                "choice",
                format!("{protocol:?}"),
                String::from("RESP2 or RESP3"),
                "where the URL names none; RESP3 becomes RESP2 where HELLO is not supported",
            ),
            Setting::new(
                "pool_args.handshake",
                "choice",
                format!("{handshake:?}"),
                String::from("Full or Least"),
                "Least sends only what every proxy supports",
            ),
            Setting::new(
                "pool_args.client_name",
                "text",
                String::from("none"),
                String::from("printable ASCII without spaces"),
                "what `CLIENT LIST` shows",
            ),
            Setting::new(
                "pool_args.max_idle_buffer",
                "bytes",
                max_idle_buffer.to_string(),
                format!("{} to {}", IDLE_BUFFER.start(), IDLE_BUFFER.end()),
                "a larger buffer for requests is given back once it is empty",
            ),
            Setting::new(
                "pool_args.max_reply_size",
                "bytes",
                max_reply_size.to_string(),
                format!("{} to {}", REPLY_SIZE.start(), REPLY_SIZE.end()),
                "a larger reply ends its connection",
            ),
            Setting::new(
                "pool_args.unknown_commands",
                "choice",
                format!("{unknown_commands:?}"),
                String::from("Check, Trust or Refuse"),
                "commands of no list: their connection is checked before its next loan, or is not, or shared clients refuse them",
            ),
        ];
        settings.extend(tls::settings());
        settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(change: impl FnOnce(&mut PoolArgs)) -> String {
        let mut args = PoolArgs::default();
        change(&mut args);
        args.check().expect_err("must be refused").to_string()
    }

    #[test]
    fn every_field_is_checked_and_named() {
        assert_eq!(PoolArgs::default().check(), Ok(()));
        assert!(message(|args| args.connect_timeout = Duration::ZERO).starts_with("connect_timeout is 0ns"));
        assert!(message(|args| args.dial_timeout = Duration::MAX).starts_with("dial_timeout is "));
        assert!(message(|args| args.command_timeout = Duration::from_millis(9)).starts_with("command_timeout is 9ms"));
        assert!(message(|args| args.max_idle_buffer = 65_535).starts_with("max_idle_buffer is 65535"));
        assert!(message(|args| args.max_reply_size = 65_535).starts_with("max_reply_size is 65535"));
        assert!(message(|args| args.tcp_user_timeout = Some(Duration::ZERO)).starts_with("tcp_user_timeout is 0ns"));
        let keepalive = |idle, retries| Some(Keepalive { idle, interval: Duration::from_secs(1), retries });
        assert!(message(|args| args.keepalive = keepalive(Duration::from_millis(1), 3)).starts_with("keepalive idle is 1ms"));
        assert!(message(|args| args.keepalive = keepalive(Duration::from_secs(1), 0)).starts_with("keepalive retries is 0"));
        assert!(message(|args| args.client_name = Some(String::from("a b"))).starts_with("client_name is \"a b\""));
        assert!(message(|args| args.client_name = Some(String::new())).starts_with("client_name is \"\""));
    }
}
