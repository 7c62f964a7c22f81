//! The settings of a sentinel deployment, checked.

use redis::{ProtocolVersion, RedisConnectionInfo};
use redis_manager_core::ConfigError;

use crate::deployment::host_port::HostPort;
use crate::deployment::replicas::PrimaryArgs;
use crate::deployment::sentinel::args::SentinelArgs;
use crate::redis_node::{Address, Tls, redact};

/// Who is asked for the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WitnessKind {
    Sentinels,
    /// The given servers themselves.
    Servers,
}

/// What a sentinel deployment is made of: checked settings.
#[derive(Clone)]
pub(crate) struct SentinelPlan {
    pub(crate) args: SentinelArgs,
    pub(crate) witnesses: WitnessKind,
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
                value: redact(text),
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
        Ok(Self { args, witnesses: WitnessKind::Sentinels, given, data, sentinel })
    }

    /// The same for a primary and replicas that are given, without sentinels.
    pub(crate) fn of_servers(args: &PrimaryArgs, protocol: ProtocolVersion, tls: &Tls) -> Result<Self, ConfigError> {
        const SETTING: &str = "primary_args.servers";
        args.check()?;
        let (mut given, mut data): (Vec<HostPort>, Option<Address>) = (Vec::new(), None);
        for url in &args.servers {
            let unusable = |reason: String| ConfigError::Unusable { setting: SETTING, value: redact(url), reason };
            let address = Address::parse(url, protocol, tls).map_err(|error| unusable(error.to_string()))?;
            let (host, port) =
                address.host_and_port().ok_or_else(|| unusable(String::from("a server with replicas is not a unix socket")))?;
            let place = HostPort::new(host, port).map_err(|reason| unusable(String::from(reason)))?;
            if data.as_ref().is_some_and(|first| !first.has_login_of(&address)) {
                return Err(unusable(String::from("its login, database, protocol or TLS is not that of the first one")));
            }
            if !given.contains(&place) {
                given.push(place);
            }
            data.get_or_insert(address);
        }
        let empty =
            || ConfigError::OutOfRange { setting: SETTING, value: String::from("0"), range: String::from("1 to 64 URLs") };
        let data = data.ok_or_else(empty)?;
        let places: Vec<String> = given.iter().map(ToString::to_string).collect();
        let as_sentinels = SentinelArgs::new("", places)
            .poll_interval(args.poll_interval)
            .ask_timeout(args.ask_timeout)
            .read_from(args.read_from.clone())
            .max_replica_lag(args.max_replica_lag)
            .replica_check_interval(args.replica_check_interval);
        Ok(Self { args: as_sentinels, witnesses: WitnessKind::Servers, given, sentinel: data.clone(), data })
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
