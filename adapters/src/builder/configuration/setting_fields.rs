//! The settings that a file or the environment may have: one row for each, by its name in
//! [`RedisManager::settings`](crate::RedisManager::settings).

use redis::ProtocolVersion;
use redis_manager_core::OnNodeDown;

use crate::builder::RedisManagerBuilder;
use crate::deployment::cluster::ClusterConfig;
use crate::redis_node::{Handshake, UnknownCommands};
use crate::setting_value::{Expected, SettingValue};
use crate::tcp_options::Keepalive;
#[cfg(feature = "tls-rustls")]
use crate::tls::{ClientCertificate, Pem};

/// A setting that can be written as text.
struct SettingField {
    name: &'static str,
    /// Reads the value, and sets it.
    set: fn(RedisManagerBuilder, &SettingValue) -> Result<RedisManagerBuilder, Expected>,
}

/// The names of all of them.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    fields().map(|field| field.name).chain(ClusterConfig::names().iter().copied())
}

/// Sets the one of this name, if there is one.
pub(super) fn set(
    mut builder: RedisManagerBuilder,
    name: &str,
    value: &SettingValue,
) -> Option<Result<RedisManagerBuilder, Expected>> {
    match fields().find(|field| field.name == name) {
        Some(field) => Some((field.set)(builder, value)),
        None => builder.cluster.set_by_name(name, value).map(|set| set.map(|()| builder)),
    }
}

fn fields() -> impl Iterator<Item = &'static SettingField> {
    let fields = OF_MANAGER.iter().chain(OF_MANAGER_IN_WORDS).chain(OF_CONNECTIONS).chain(OF_CONNECTIONS_IN_WORDS);
    #[cfg(feature = "tls-rustls")]
    let fields = fields.chain(OF_TLS);
    #[cfg(feature = "tracing")]
    let fields = fields.chain(OF_TRACING);
    fields
}

/// A row for each method of the builder that takes one value.
macro_rules! of_builder {
    ($($name:ident: $read:ident,)*) => {
        &[$(SettingField {
            name: stringify!($name),
            set: |builder, value| Ok(builder.$name(value.$read()?)),
        },)*]
    };
}

/// A row for each field of `PoolArgs` that takes one value.
macro_rules! of_args {
    ($($name:ident: $read:ident,)*) => {
        &[$(SettingField {
            name: concat!("pool_args.", stringify!($name)),
            set: |mut builder, value| {
                builder.args.$name = value.$read()?;
                Ok(builder)
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
        set: |builder, value| {
            let expected = "Wait or FailFast";
            let choice = match value.word(expected)?.as_str() {
                "wait" => OnNodeDown::Wait,
                "failfast" => OnNodeDown::FailFast,
                _ => return Err(expected),
            };
            Ok(builder.on_node_down(choice))
        },
    },
    SettingField {
        name: "probe_backoff",
        set: |builder, value| {
            let [start, with_waiters, without] = value.three("three durations, such as \"50ms, 500ms, 5s\"")?;
            Ok(builder.probe_backoff(start.duration()?, with_waiters.duration()?, without.duration()?))
        },
    },
];

#[cfg(feature = "tracing")]
const OF_TRACING: &[SettingField] = of_builder! {
    slow_acquire: duration,
};

const OF_CONNECTIONS: &[SettingField] = of_args! {
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
        set: |mut builder, value| {
            let keepalive = if value.is_none() { None } else { Some(keepalive(value)?) };
            builder.args.keepalive = keepalive;
            Ok(builder)
        },
    },
    SettingField {
        name: "pool_args.tcp_user_timeout",
        set: |mut builder, value| {
            let timeout = if value.is_none() { None } else { Some(value.duration()?) };
            builder.args.tcp_user_timeout = timeout;
            Ok(builder)
        },
    },
    SettingField {
        name: "pool_args.protocol",
        set: |mut builder, value| {
            let expected = "RESP2 or RESP3";
            let protocol = match value.word(expected)?.as_str() {
                "resp2" | "2" => ProtocolVersion::RESP2,
                "resp3" | "3" => ProtocolVersion::RESP3,
                _ => return Err(expected),
            };
            builder.args.protocol = protocol;
            Ok(builder)
        },
    },
    SettingField {
        name: "pool_args.handshake",
        set: |mut builder, value| {
            let expected = "Full or Least";
            let handshake = match value.word(expected)?.as_str() {
                "full" => Handshake::Full,
                "least" => Handshake::Least,
                _ => return Err(expected),
            };
            builder.args.handshake = handshake;
            Ok(builder)
        },
    },
    SettingField {
        name: "pool_args.client_name",
        set: |mut builder, value| {
            builder.args.client_name = if value.is_none() { None } else { Some(value.string()?) };
            Ok(builder)
        },
    },
    SettingField {
        name: "pool_args.unknown_commands",
        set: |mut builder, value| {
            let expected = "Check, Trust or Refuse";
            let unknown_commands = match value.word(expected)?.as_str() {
                "check" => UnknownCommands::Check,
                "trust" => UnknownCommands::Trust,
                "refuse" => UnknownCommands::Refuse,
                _ => return Err(expected),
            };
            builder.args.unknown_commands = unknown_commands;
            Ok(builder)
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
    SettingField { name: "allow_insecure_tls", set: |builder, value| Ok(builder.allow_insecure_tls(value.switch()?)) },
    SettingField {
        name: "pool_args.tls.ca_certificates",
        set: |mut builder, value| {
            builder.args.tls.ca_certificates = if value.is_none() { None } else { Some(Pem::file(value.string()?)) };
            Ok(builder)
        },
    },
    SettingField {
        name: "pool_args.tls.client_certificate",
        set: |mut builder, value| {
            let expected = "the path of the certificate and that of its key, or none";
            builder.args.tls.client_certificate = match value.is_none() {
                true => None,
                false => {
                    let [certificates, key]: [String; 2] = value.items(expected)?.try_into().map_err(|_| expected)?;
                    Some(ClientCertificate::new(Pem::file(certificates), Pem::file(key)))
                }
            };
            Ok(builder)
        },
    },
    SettingField {
        name: "pool_args.tls.server_name",
        set: |mut builder, value| {
            builder.args.tls.server_name = if value.is_none() { None } else { Some(value.string()?) };
            Ok(builder)
        },
    },
];
