//! How a primary is found by sentinels, and how its connections are made.

use std::fmt;
use std::time::Duration;

use redis::ProtocolVersion;
use redis_manager_core::{ConfigError, NodeConfig, Setting};

use crate::deployment::address_map::AddressMap;
use crate::deployment::read_from::ReadFrom;
use crate::deployment::replicas::{DEFAULT_CHECK_INTERVAL, DEFAULT_MAX_LAG, ReplicaSettings};
use crate::setters::{option_setters, setters};

/// How a primary is found by sentinels, and how connections to it and to them are made. Begin with [`SentinelArgs::new`], and
/// set fields or call setters; [`add_sentinel`](crate::RedisManager::add_sentinel) checks them.
///
/// ```
/// use redis_manager::SentinelArgs;
/// use std::time::Duration;
///
/// let args = SentinelArgs::new("mymaster", ["10.0.0.1:26379", "10.0.0.2:26379", "10.0.0.3:26379"])
///     .password(String::from("of the data nodes"))
///     .sentinel_password(String::from("of the sentinels"))
///     .poll_interval(Duration::from_secs(5));
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SentinelArgs {
    /// The name of the primary in the configuration of the sentinels (`sentinel monitor NAME …`). Not empty.
    pub primary_name: String,
    /// Sentinels, at least one, at most 64: each a host, or a host and a port; default port 26379. An IPv6 address is in
    /// brackets. Others are found by asking these, which are asked as long as the deployment is open.
    pub sentinels: Vec<String>,
    /// The user of the data nodes. Default none: the default user.
    pub username: Option<String>,
    /// The password of the data nodes. Default none. Never shown.
    pub password: Option<String>,
    /// The database of the data nodes. Default 0.
    pub database: u32,
    /// The protocol with the data nodes. Default none: that of `pool_args.protocol`.
    pub protocol: Option<ProtocolVersion>,
    /// The user of the sentinels. Default none: the default user. Needs `sentinel_password`.
    pub sentinel_username: Option<String>,
    /// The password of the sentinels. Default none. Never shown. That of the data nodes is never sent to them.
    pub sentinel_password: Option<String>,
    /// Whether the connections to the data nodes use TLS, with `pool_args.tls`. Default false. Needs the feature `tls-rustls`.
    pub tls: bool,
    /// Whether the connections to the sentinels use TLS, with `pool_args.tls`. Default false. Needs the feature `tls-rustls`.
    pub sentinel_tls: bool,
    /// How often all sentinels are asked for the primary. Default 10 s, 10 ms to [`Duration::MAX`], which is never. They are
    /// asked sooner, but ten times a second at most, while dials fail; one that announces a change is asked at once.
    pub poll_interval: Duration,
    /// How long one sentinel may take to answer, from the dial on. Default 500 ms, 10 ms to 7 days. All are asked at the same
    /// time: one that is silent holds up no other.
    pub ask_timeout: Duration,
    /// Another place to dial for an address that a sentinel tells, behind NAT or a tunnel. Default none.
    pub address_map: Option<AddressMap>,
    /// Where shared clients send commands that only read keys. Default [`ReadFrom::Primary`]. Replicas are asked and connected to
    /// only with another choice, or after the first [`get_replica_client`](crate::RedisManager::get_replica_client).
    pub read_from: ReadFrom,
    /// A replica that lacks more of the primary's writes is not read from. In bytes of the stream of replication, default
    /// 1 048 576 (1 MiB), 0 to [`u64::MAX`], which is any lag.
    pub max_replica_lag: u64,
    /// How often the primary and its replicas are asked how far they are (`INFO replication`), while replicas are used. Default 1 s, 10 ms to
    /// 1 h. One that a read waits for is asked at once.
    pub replica_check_interval: Duration,
}

impl SentinelArgs {
    /// The name of a primary, the addresses of its sentinels, and the defaults.
    #[must_use]
    pub fn new<S: Into<String>>(primary_name: impl Into<String>, sentinels: impl IntoIterator<Item = S>) -> Self {
        Self {
            primary_name: primary_name.into(),
            sentinels: sentinels.into_iter().map(Into::into).collect(),
            username: None,
            password: None,
            database: 0,
            protocol: None,
            sentinel_username: None,
            sentinel_password: None,
            tls: false,
            sentinel_tls: false,
            poll_interval: Duration::from_secs(10),
            ask_timeout: Duration::from_millis(500),
            address_map: None,
            read_from: ReadFrom::Primary,
            max_replica_lag: DEFAULT_MAX_LAG,
            replica_check_interval: DEFAULT_CHECK_INTERVAL,
        }
    }

    setters! {
        database: u32,
        tls: bool,
        sentinel_tls: bool,
        poll_interval: Duration,
        ask_timeout: Duration,
        read_from: ReadFrom,
        max_replica_lag: u64,
        replica_check_interval: Duration,
    }

    option_setters! {
        username: String,
        password: String,
        protocol: ProtocolVersion,
        sentinel_username: String,
        sentinel_password: String,
    }

    /// Dials `map(host, port)` for an address that a sentinel tells, where that is another one. It maps data nodes and
    /// sentinels that were found; given ones are dialled as they are. Status and errors show the told address; certificates are
    /// checked for it, too.
    #[must_use]
    pub fn address_map(mut self, map: impl Fn(&str, u16) -> Option<(String, u16)> + Send + Sync + 'static) -> Self {
        self.address_map = Some(AddressMap::new(map));
        self
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let refuse = |setting, value: &str, range: &str| {
            Err(ConfigError::OutOfRange { setting, value: String::from(value), range: String::from(range) })
        };
        if self.primary_name.trim().is_empty() {
            return refuse("sentinel_args.primary_name", "empty", "the name of a primary");
        }
        if self.sentinels.is_empty() || self.sentinels.len() > 64 {
            return refuse("sentinel_args.sentinels", &self.sentinels.len().to_string(), "1 to 64 addresses");
        }
        if self.username.is_some() && self.password.is_none() {
            return refuse("sentinel_args.username", "set", "set with password only");
        }
        if self.sentinel_username.is_some() && self.sentinel_password.is_none() {
            return refuse("sentinel_args.sentinel_username", "set", "set with sentinel_password only");
        }
        ConfigError::unless_within("sentinel_args.poll_interval", self.poll_interval, &NodeConfig::PERIODS)?;
        ConfigError::unless_within("sentinel_args.ask_timeout", self.ask_timeout, &NodeConfig::DURATIONS)?;
        ReplicaSettings::check_interval("sentinel_args.replica_check_interval", self.replica_check_interval)
    }

    pub(crate) fn replica_settings(&self) -> ReplicaSettings {
        ReplicaSettings {
            read_from: self.read_from.clone(),
            max_lag: self.max_replica_lag,
            check_interval: self.replica_check_interval,
            ask_timeout: self.ask_timeout,
        }
    }

    /// The rows of the table of settings.
    pub(crate) fn settings() -> Vec<Setting> {
        let args = Self::new("", [""; 0]);
        let text =
            |name, default: &str, range: &str, why| Setting::new(name, "text", String::from(default), String::from(range), why);
        let switch =
            |name, default: bool, why| Setting::new(name, "switch", default.to_string(), String::from("true or false"), why);
        let mut settings = vec![
            text("sentinel_args.primary_name", "must be given", "not empty", "the name in `sentinel monitor`"),
            text("sentinel_args.sentinels", "must be given", "1 to 64 addresses", "asked for the primary; others are found"),
            text("sentinel_args.username", "none", "none, or a user", "of the data nodes"),
            text("sentinel_args.password", "none", "none, or a password", "of the data nodes"),
            Setting::new(
                "sentinel_args.database",
                "number",
                args.database.to_string(),
                String::from("0 and more"),
                "of the data nodes",
            ),
            text("sentinel_args.protocol", "none", "none, RESP2 or RESP3", "with the data nodes; none: that of `pool_args`"),
            text("sentinel_args.sentinel_username", "none", "none, or a user", "of the sentinels"),
            text("sentinel_args.sentinel_password", "none", "none, or a password", "of the sentinels"),
            switch("sentinel_args.tls", args.tls, "with the data nodes, by `pool_args.tls`"),
            switch("sentinel_args.sentinel_tls", args.sentinel_tls, "with the sentinels, by `pool_args.tls`"),
            Setting::duration(
                "sentinel_args.poll_interval",
                args.poll_interval,
                &NodeConfig::PERIODS,
                "how often all sentinels are asked; sooner while dials fail",
            ),
            Setting::duration(
                "sentinel_args.ask_timeout",
                args.ask_timeout,
                &NodeConfig::DURATIONS,
                "how long one sentinel may take to answer",
            ),
            Setting::new(
                "sentinel_args.address_map",
                "function",
                String::from("none"),
                String::from("none, or host and port to host and port"),
                "where a told address is dialled",
            ),
        ];
        settings.extend(ReplicaSettings::settings([
            "sentinel_args.read_from",
            "sentinel_args.max_replica_lag",
            "sentinel_args.replica_check_interval",
        ]));
        settings
    }
}

/// Without passwords.
impl fmt::Debug for SentinelArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = |password: &Option<String>| password.as_ref().map(|_| "***");
        f.debug_struct("SentinelArgs")
            .field("primary_name", &self.primary_name)
            .field("sentinels", &self.sentinels)
            .field("username", &self.username)
            .field("password", &hidden(&self.password))
            .field("database", &self.database)
            .field("protocol", &self.protocol)
            .field("sentinel_username", &self.sentinel_username)
            .field("sentinel_password", &hidden(&self.sentinel_password))
            .field("tls", &self.tls)
            .field("sentinel_tls", &self.sentinel_tls)
            .field("poll_interval", &self.poll_interval)
            .field("ask_timeout", &self.ask_timeout)
            .field("address_map", &self.address_map)
            .field("read_from", &self.read_from)
            .field("max_replica_lag", &self.max_replica_lag)
            .field("replica_check_interval", &self.replica_check_interval)
            .finish()
    }
}
