//! The settings of a sentinel deployment, checked.

use redis::{ProtocolVersion, RedisConnectionInfo};
use redis_manager_core::ConfigError;

use crate::deployment::sentinel::args::SentinelArgs;
use crate::deployment::sentinel::state::host_port::HostPort;
use crate::redis_node::{Address, Tls};

/// What a sentinel deployment is made of: checked settings.
#[derive(Clone)]
pub(crate) struct SentinelPlan {
    pub(crate) args: SentinelArgs,
    /// At least one, no two the same.
    pub(crate) given: Vec<HostPort>,
    /// The login to the data nodes, with TLS or without; its host is that of the first sentinel.
    pub(crate) data: Address,
    /// The same for the sentinels.
    pub(crate) sentinel: Address,
}

impl SentinelPlan {
    /// Checks what a sentinel deployment is made of.
    pub(crate) fn new(args: SentinelArgs, protocol: ProtocolVersion, tls: &Tls) -> Result<Self, ConfigError> {
        args.check()?;
        let mut given: Vec<HostPort> = Vec::new();
        for text in &args.sentinels {
            let unusable = |reason: String| ConfigError::Unusable {
                setting: "sentinel_args.sentinels",
                // It may be a URL with a password.
                value: crate::redis_node::redact(text),
                reason,
            };
            let place = HostPort::parse(text.trim());
            let place = place.map_err(|reason| unusable(format!("{reason}; expected host or host:port")))?;
            if !given.contains(&place) {
                given.push(place);
            }
        }
        let first = &given[0];
        let template = |uses_tls: bool, setting: &'static str| {
            let scheme = if uses_tls { "rediss" } else { "redis" };
            let parsed = Address::parse(&format!("{scheme}://{first}"), protocol, tls);
            parsed.map_err(|error| ConfigError::Unusable { setting, value: first.to_string(), reason: error.to_string() })
        };
        let mut data = template(args.tls, "sentinel_args.tls")?;
        let mut sentinel = template(args.sentinel_tls, "sentinel_args.sentinel_tls")?;
        data.demands_resp3 = args.protocol == Some(ProtocolVersion::RESP3);
        data.login = login(args.username.as_deref(), args.password.as_deref())
            .set_db(i64::from(args.database))
            .set_protocol(args.protocol.unwrap_or(protocol));
        // So that they can announce changes on a connection of their own protocol; older ones fall back by themselves.
        sentinel.login =
            login(args.sentinel_username.as_deref(), args.sentinel_password.as_deref()).set_protocol(ProtocolVersion::RESP3);
        Ok(Self { args, given, data, sentinel })
    }
}

fn login(username: Option<&str>, password: Option<&str>) -> RedisConnectionInfo {
    let mut login = RedisConnectionInfo::default();
    if let Some(username) = username {
        login = login.set_username(username);
    }
    if let Some(password) = password {
        login = login.set_password(password);
    }
    login
}
