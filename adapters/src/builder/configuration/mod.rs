//! Settings as text: from the environment, and with the feature `serde` from any format of a file.

#[cfg(feature = "serde")]
mod deserialize;
mod environment;
mod setting_fields;

use std::collections::BTreeMap;
use std::fmt;

use redis_manager_core::ConfigError;

use crate::builder::RedisManagerBuilder;
use crate::manager::RedisManager;
use crate::network::Network;
use crate::redis_node::redact;
use crate::setting_value::SettingValue;
use setting_fields::{names, set};

/// The name of the entry with the nodes.
const NODES: &str = "nodes";

/// The settings of a manager as text, with where each came from, and the URLs of its nodes.
///
/// Every setting of [`RedisManager::settings`] has a key of its name; those of `pool_args` and `cluster_args` are tables of these
/// names, or keys with a dot. The key `nodes` is a list of URLs. Settings that are functions, and those of single deployments
/// (`sentinel_args`, `primary_args`), are set in code or by the URL. A key that is not known is refused.
///
/// - Numbers and switches are written as such, or as text. Sizes are in bytes.
/// - Durations have a unit: `"250ms"`, `"10s"`, `"2m"`, `"1.5h"`, `"7d"`; `"never"` where the table allows it.
/// - Lists are lists, or text with commas. `none` or a null is no value, where a setting may have none.
/// - Certificates and keys are paths.
///
/// With the feature `serde` it is read from TOML, YAML, JSON, or by config and figment, like any type with `Deserialize`.
/// [`from_env`](RedisManagerConfig::from_env) reads the environment.
///
/// ```
/// use redis_manager::{RedisManager, RedisManagerConfig};
///
/// let mut config = RedisManagerConfig::default();
/// config.set("max_connection_size", "20")?;
/// config.set("pool_args.command_timeout", "250ms")?;
/// println!("{config}");
/// let builder: redis_manager::RedisManagerBuilder = config.builder()?;
///
/// let error = config.set("max_conection_size", "20").unwrap_err();
/// assert_eq!(error.to_string(), "unknown setting max_conection_size: did you mean max_connection_size?");
/// # Ok::<(), redis_manager::ConfigError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RedisManagerConfig {
    entries: BTreeMap<&'static str, ConfigEntry>,
}

#[derive(Clone, PartialEq, Eq)]
struct ConfigEntry {
    value: SettingValue,
    /// A file, or a variable.
    origin: Option<String>,
}

impl RedisManagerConfig {
    /// Sets a setting by its name; see [`RedisManager::settings`].
    ///
    /// # Errors
    ///
    /// [`UnknownSetting`](ConfigError::UnknownSetting), and [`Unreadable`](ConfigError::Unreadable) for a value that is not of
    /// the kind of the setting. Ranges are checked by [`build`](RedisManagerConfig::build).
    pub fn set(&mut self, name: &str, value: impl Into<String>) -> Result<(), ConfigError> {
        self.set_value(name, SettingValue::Text(value.into()), None)
    }

    /// Says where what was set so far comes from, the name of a file say. Entries that have an origin keep theirs.
    #[must_use]
    pub fn origin(mut self, origin: impl Into<String>) -> Self {
        let origin = origin.into();
        for entry in self.entries.values_mut() {
            entry.origin.get_or_insert_with(|| origin.clone());
        }
        self
    }

    /// Both of them; where both have a value, that of `other`.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.entries.extend(other.entries);
        self
    }

    /// The URLs of the nodes to be added: the entry `nodes`, or `REDIS_URL` of the environment.
    #[must_use]
    pub fn nodes(&self) -> Vec<String> {
        self.entries.get(NODES).and_then(|entry| urls(&entry.value)).unwrap_or_default()
    }

    /// A builder with these settings, and all others at their defaults.
    ///
    /// # Errors
    ///
    /// None that [`set`](RedisManagerConfig::set) would not have returned.
    pub fn builder(&self) -> Result<RedisManagerBuilder, ConfigError> {
        self.apply(RedisManager::builder())
    }

    /// A manager with these settings. Nothing is connected yet: add its [`nodes`](RedisManagerConfig::nodes).
    ///
    /// # Errors
    ///
    /// As [`RedisManagerBuilder::build`]; with where the value comes from, if that is known.
    pub fn build(&self, runtime: impl Network) -> Result<RedisManager, ConfigError> {
        self.builder()?.build(runtime).map_err(|error| self.located(error))
    }

    /// The same with settings of a builder, which those of this configuration replace.
    pub(super) fn apply(&self, builder: RedisManagerBuilder) -> Result<RedisManagerBuilder, ConfigError> {
        self.entries.iter().filter(|(name, _)| **name != NODES).try_fold(builder, |builder, (name, entry)| {
            read(builder, name, &entry.value).map_err(|error| located(error, entry.origin.as_deref()))
        })
    }

    fn set_value(&mut self, name: &str, value: SettingValue, origin: Option<String>) -> Result<(), ConfigError> {
        let known = names().chain([NODES]).find(|known| *known == name);
        let checked = match known {
            None => Err(unknown(name)),
            Some(NODES) if urls(&value).is_some() => Ok(()),
            Some(NODES) => {
                let (value, expected) = (shown(NODES, &value), "a list of URLs");
                Err(ConfigError::Unreadable { setting: NODES, value, expected })
            }
            Some(name) => read(RedisManager::builder(), name, &value).map(|_| ()),
        };
        checked.map_err(|error| located(error, origin.as_deref()))?;
        self.entries.extend(known.map(|name| (name, ConfigEntry { value, origin })));
        Ok(())
    }

    /// An error of `build`, with the origin of the setting that it names.
    fn located(&self, error: ConfigError) -> ConfigError {
        let (ConfigError::OutOfRange { setting, .. }
        | ConfigError::Contradiction { setting, .. }
        | ConfigError::Unreadable { setting, .. }
        | ConfigError::Unusable { setting, .. }) = &error
        else {
            return error;
        };
        // Those of the connections are named without `pool_args`.
        let entry = self.entries.iter().find(|(name, _)| *name == setting || name.strip_prefix("pool_args.") == Some(setting));
        let origin = entry.and_then(|(_, entry)| entry.origin.clone());
        located(error, origin.as_deref())
    }
}

/// All settings that can be written as text, with what is in force and where it comes from; secrets are hidden.
impl fmt::Display for RedisManagerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for setting in RedisManager::settings() {
            if names().all(|name| name != setting.name) {
                continue;
            }
            match self.entries.get(setting.name) {
                Some(ConfigEntry { value, origin }) => {
                    let origin = origin.as_deref().unwrap_or("set");
                    writeln!(f, "{} = {}  ({origin})", setting.name, shown(setting.name, value))?;
                }
                None => writeln!(f, "{} = {}  (default)", setting.name, setting.default)?,
            }
        }
        match self.entries.get(NODES) {
            Some(ConfigEntry { value, origin }) => {
                writeln!(f, "{NODES} = {}  ({})", shown(NODES, value), origin.as_deref().unwrap_or("set"))
            }
            None => writeln!(f, "{NODES} = none  (default)"),
        }
    }
}

/// What was set, without secrets.
impl fmt::Debug for RedisManagerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.entries.iter().map(|(name, entry)| (name, shown(name, &entry.value)))).finish()
    }
}

fn read(builder: RedisManagerBuilder, name: &'static str, value: &SettingValue) -> Result<RedisManagerBuilder, ConfigError> {
    let set = set(builder, name, value).ok_or_else(|| unknown(name))?;
    set.map_err(|expected| ConfigError::Unreadable { setting: name, value: shown(name, value), expected })
}

/// URLs stand between spaces: those of sentinels have commas.
fn urls(value: &SettingValue) -> Option<Vec<String>> {
    match value {
        SettingValue::List(urls) => Some(urls.clone()),
        SettingValue::Text(text) => Some(text.split_whitespace().map(String::from).collect()),
        SettingValue::Absent => None,
    }
}

/// Without secrets: the passwords of URLs, and a key where the path of one should be.
fn shown(name: &str, value: &SettingValue) -> String {
    let urls = match name {
        NODES => urls(value),
        "startup_nodes" => value.items("").ok(),
        _ => None,
    };
    match urls {
        Some(urls) => urls.iter().map(|url| redact(url)).collect::<Vec<_>>().join(" "),
        None if value.to_string().contains("-----BEGIN") => String::from("a text, not a path"),
        // A URL in a wrong place.
        None if value.to_string().contains("://") => redact(&value.to_string()),
        None => value.to_string(),
    }
}

fn located(error: ConfigError, origin: Option<&str>) -> ConfigError {
    match origin {
        Some(origin) => ConfigError::At { origin: String::from(origin), error: Box::new(error) },
        None => error,
    }
}

fn unknown(name: &str) -> ConfigError {
    let closest = names()
        .chain([NODES])
        .map(|known| (distance(name, known), known))
        .min()
        .filter(|(distance, _)| *distance <= 1 + name.len() / 4);
    ConfigError::UnknownSetting { setting: String::from(name), closest: closest.map(|(_, known)| known) }
}

/// How many letters are to be changed, added or left out to make one of the other.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, letter) in one.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, compared) in other.bytes().enumerate() {
            let changed = diagonal + usize::from(letter != compared);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests;
