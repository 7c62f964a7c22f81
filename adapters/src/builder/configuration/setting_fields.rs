//! The settings that a file or the environment may have: one row for each, by its name in
//! [`RedisManager::settings`](crate::RedisManager::settings).

use redis::ProtocolVersion;
use redis_manager_core::OnNodeDown;

use super::setting_value::{Expected, SettingValue};
use crate::builder::RedisManagerBuilder;
#[cfg(feature = "cluster")]
use crate::deployment::ReadFrom;
#[cfg(feature = "cluster")]
use crate::deployment::cluster::ClusterArgs;
use crate::redis_node::{Handshake, PoolArgs, UnknownCommands};
use crate::tcp_options::Keepalive;
#[cfg(feature = "tls-rustls")]
use crate::tls::{ClientCertificate, Pem};

/// A builder whose arguments are still open.
pub(super) struct Draft {
    pub(super) builder: RedisManagerBuilder,
    pub(super) args: PoolArgs,
    #[cfg(feature = "cluster")]
    pub(super) cluster_args: Option<ClusterArgs>,
}

impl Draft {
    pub(super) fn of(builder: RedisManagerBuilder) -> Self {
        let args = builder.args.clone();
        Self {
            builder,
            args,
            #[cfg(feature = "cluster")]
            cluster_args: None,
        }
    }

    #[cfg(feature = "cluster")]
    fn cluster(mut self, set: impl FnOnce(ClusterArgs) -> Result<ClusterArgs, Expected>) -> Result<Self, Expected> {
        self.cluster_args = Some(set(self.cluster_args.take().unwrap_or_default())?);
        Ok(self)
    }

    pub(super) fn finish(self) -> RedisManagerBuilder {
        let builder = self.builder.pool_args(self.args);
        #[cfg(feature = "cluster")]
        if let Some(args) = self.cluster_args {
            return builder.cluster_args(args);
        }
        builder
    }
}

/// A setting that can be written as text.
pub(super) struct SettingField {
    pub(super) name: &'static str,
    /// Reads the value, and sets it.
    pub(super) set: fn(Draft, &SettingValue) -> Result<Draft, Expected>,
}

/// All of them.
pub(super) fn fields() -> impl Iterator<Item = &'static SettingField> {
    let fields = OF_MANAGER.iter().chain(OF_MANAGER_IN_WORDS).chain(OF_CONNECTIONS).chain(OF_CONNECTIONS_IN_WORDS);
    #[cfg(feature = "tls-rustls")]
    let fields = fields.chain(OF_TLS);
    #[cfg(feature = "tracing")]
    let fields = fields.chain(OF_TRACING);
    #[cfg(feature = "cluster")]
    let fields = fields.chain(OF_CLUSTERS);
    fields
}

/// A row for each method of the builder that takes one value.
macro_rules! of_builder {
    ($($name:ident: $read:ident,)*) => {
        &[$(SettingField {
            name: stringify!($name),
            set: |draft, value| Ok(Draft { builder: draft.builder.$name(value.$read()?), ..draft }),
        },)*]
    };
}

/// A row for each field of a struct of arguments.
macro_rules! of_args {
    ($prefix:literal, $draft:ident => $args:expr; $($name:ident: $read:ident,)*) => {
        &[$(SettingField {
            name: concat!($prefix, ".", stringify!($name)),
            set: |mut $draft, value| {
                $args.$name = value.$read()?;
                Ok($draft)
            },
        },)*]
    };
}

const OF_MANAGER: &[SettingField] = of_builder! {
    connection_pools_per_node_at_start: count,
    max_connection_size: count,
    max_pools_per_node: count,
    max_connections_per_node: count,
    min_idle: count,
    max_waiters: count,
    default_timeout: duration,
    health_check_interval: duration,
    health_check_timeout: duration,
    cleanup_interval: duration,
    max_idle_time: duration,
    max_lifetime: duration,
    use_time_sampling: count,
    max_total_connections: count,
    min_connections_per_node: count,
    shared_connections_per_node: count,
    event_buffer: count,
};

const OF_MANAGER_IN_WORDS: &[SettingField] = &[
    SettingField {
        name: "on_node_down",
        set: |draft, value| {
            let expected = "Wait or FailFast";
            let choice = match value.word(expected)?.as_str() {
                "wait" => OnNodeDown::Wait,
                "failfast" => OnNodeDown::FailFast,
                _ => return Err(expected),
            };
            Ok(Draft { builder: draft.builder.on_node_down(choice), ..draft })
        },
    },
    SettingField {
        name: "probe_backoff",
        set: |draft, value| {
            let [start, with_waiters, without] = value.three("three durations, such as \"50ms, 500ms, 5s\"")?;
            let builder = draft.builder.probe_backoff(start.duration()?, with_waiters.duration()?, without.duration()?);
            Ok(Draft { builder, ..draft })
        },
    },
];

#[cfg(feature = "tracing")]
const OF_TRACING: &[SettingField] = of_builder! {
    slow_acquire: duration,
};

const OF_CONNECTIONS: &[SettingField] = of_args! {
    "pool_args", draft => draft.args;
    connect_timeout: duration,
    dial_timeout: duration,
    command_timeout: duration,
    nodelay: switch,
    max_idle_buffer: count,
    max_reply_size: count,
};

const OF_CONNECTIONS_IN_WORDS: &[SettingField] = &[
    SettingField {
        name: "pool_args.keepalive",
        set: |draft, value| {
            let keepalive = if value.is_none() { None } else { Some(keepalive(value)?) };
            Ok(Draft { args: draft.args.keepalive(keepalive), ..draft })
        },
    },
    SettingField {
        name: "pool_args.tcp_user_timeout",
        set: |draft, value| {
            let timeout = if value.is_none() { None } else { Some(value.duration()?) };
            Ok(Draft { args: draft.args.tcp_user_timeout(timeout), ..draft })
        },
    },
    SettingField {
        name: "pool_args.protocol",
        set: |draft, value| {
            let expected = "RESP2 or RESP3";
            let protocol = match value.word(expected)?.as_str() {
                "resp2" | "2" => ProtocolVersion::RESP2,
                "resp3" | "3" => ProtocolVersion::RESP3,
                _ => return Err(expected),
            };
            Ok(Draft { args: draft.args.protocol(protocol), ..draft })
        },
    },
    SettingField {
        name: "pool_args.handshake",
        set: |draft, value| {
            let expected = "Full or Least";
            let handshake = match value.word(expected)?.as_str() {
                "full" => Handshake::Full,
                "least" => Handshake::Least,
                _ => return Err(expected),
            };
            Ok(Draft { args: draft.args.handshake(handshake), ..draft })
        },
    },
    SettingField {
        name: "pool_args.client_name",
        set: |mut draft, value| {
            draft.args.client_name = if value.is_none() { None } else { Some(value.string()?) };
            Ok(draft)
        },
    },
    SettingField {
        name: "pool_args.unknown_commands",
        set: |draft, value| {
            let expected = "Check, Trust or Refuse";
            let unknown_commands = match value.word(expected)?.as_str() {
                "check" => UnknownCommands::Check,
                "trust" => UnknownCommands::Trust,
                "refuse" => UnknownCommands::Refuse,
                _ => return Err(expected),
            };
            Ok(Draft { args: draft.args.unknown_commands(unknown_commands), ..draft })
        },
    },
];

fn keepalive(value: &SettingValue) -> Result<Keepalive, Expected> {
    let expected = "how long idle, the interval and the probes, such as \"60s / 10s / 3\", or none";
    let [idle, interval, probes] = value.three(expected)?;
    Ok(Keepalive { idle: idle.duration()?, interval: interval.duration()?, retries: probes.count_u32()? })
}

#[cfg(feature = "tls-rustls")]
const OF_TLS: &[SettingField] = &[
    SettingField {
        name: "allow_insecure_tls",
        set: |draft, value| Ok(Draft { builder: draft.builder.allow_insecure_tls(value.switch()?), ..draft }),
    },
    SettingField {
        name: "pool_args.tls.ca_certificates",
        set: |mut draft, value| {
            draft.args.tls.ca_certificates = if value.is_none() { None } else { Some(Pem::file(value.string()?)) };
            Ok(draft)
        },
    },
    SettingField {
        name: "pool_args.tls.client_certificate",
        set: |mut draft, value| {
            let expected = "the path of the certificate and that of its key, or none";
            draft.args.tls.client_certificate = match value.is_none() {
                true => None,
                false => {
                    let [certificates, key]: [String; 2] = value.items(expected)?.try_into().map_err(|_| expected)?;
                    Some(ClientCertificate::new(Pem::file(certificates), Pem::file(key)))
                }
            };
            Ok(draft)
        },
    },
    SettingField {
        name: "pool_args.tls.server_name",
        set: |mut draft, value| {
            draft.args.tls.server_name = if value.is_none() { None } else { Some(value.string()?) };
            Ok(draft)
        },
    },
];

#[cfg(feature = "cluster")]
const OF_CLUSTERS: &[SettingField] = &[
    SettingField {
        name: "use_cluster",
        set: |draft, value| Ok(Draft { builder: draft.builder.use_cluster(value.switch()?), ..draft }),
    },
    SettingField {
        name: "startup_nodes",
        set: |draft, value| Ok(Draft { builder: draft.builder.startup_nodes(value.items("one or more URLs")?), ..draft }),
    },
    SettingField {
        name: "cluster_args.require_full_coverage",
        set: |draft, value| draft.cluster(|args| Ok(args.require_full_coverage(value.switch()?))),
    },
    SettingField {
        name: "cluster_args.read_from_replicas",
        set: |draft, value| draft.cluster(|args| Ok(args.read_from_replicas(value.switch()?))),
    },
    SettingField {
        name: "cluster_args.read_from",
        set: |draft, value| draft.cluster(|args| Ok(args.read_from(read_from(value)?))),
    },
    SettingField { name: "cluster_args.retries", set: |draft, value| draft.cluster(|args| Ok(args.retries(value.count_u32()?))) },
    SettingField {
        name: "cluster_args.topology_refresh_interval",
        set: |draft, value| draft.cluster(|args| Ok(args.topology_refresh_interval(value.duration()?))),
    },
    SettingField {
        name: "cluster_args.node_check_interval",
        set: |draft, value| draft.cluster(|args| Ok(args.node_check_interval(value.duration()?))),
    },
];

#[cfg(feature = "cluster")]
fn read_from(value: &SettingValue) -> Result<ReadFrom, Expected> {
    let expected = "primary, prefer replica, replica, any, or zone and its name";
    let text = value.string()?;
    if let Some((word, zone)) = text.split_once(' ')
        && word.eq_ignore_ascii_case("zone")
        && !zone.trim().is_empty()
    {
        return Ok(ReadFrom::Zone(String::from(zone.trim())));
    }
    match value.word(expected)?.as_str() {
        "primary" => Ok(ReadFrom::Primary),
        "preferreplica" => Ok(ReadFrom::PreferReplica),
        "replica" => Ok(ReadFrom::Replica),
        "any" => Ok(ReadFrom::Any),
        _ => Err(expected),
    }
}
