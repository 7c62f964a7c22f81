//! Settings from the environment.

use redis_manager_core::ConfigError;

use super::{NODES, RedisManagerConfig, names};
use crate::builder::RedisManagerBuilder;
use crate::setting_value::SettingValue;

const PREFIX: &str = "REDIS_MANAGER_";
const URL: &str = "REDIS_URL";

/// Variables without the prefix, and what they set.
const SHORT: [(&str, &str); 3] =
    [(URL, NODES), ("MAX_CONNECTION_SIZE", "max_connection_size"), ("USE_REDIS_CLUSTER", "use_cluster")];
/// The same, of lengths in seconds.
const SECONDS: [(&str, &str); 3] = [
    ("HEALTH_CHECK_INTERVAL", "health_check_interval"),
    ("CLEANUP_INTERVAL", "cleanup_interval"),
    ("MAX_IDLE_TIME", "max_idle_time"),
];

impl RedisManagerConfig {
    /// What the environment sets.
    ///
    /// - `REDIS_MANAGER_` and the name of a setting in upper case, with `_` in the place of a dot:
    ///   `REDIS_MANAGER_MAX_CONNECTION_SIZE`, `REDIS_MANAGER_POOL_ARGS_COMMAND_TIMEOUT`. `REDIS_MANAGER_NODES` is a list of URLs
    ///   with spaces between them.
    /// - `REDIS_URL`: the URL of the node, if there is no `REDIS_MANAGER_NODES`.
    /// - `MAX_CONNECTION_SIZE` (a count), `HEALTH_CHECK_INTERVAL`, `CLEANUP_INTERVAL` and `MAX_IDLE_TIME` (seconds, decimals
    ///   allowed) and `USE_REDIS_CLUSTER` (true or false; true needs the feature `cluster`), where the variable with the prefix is
    ///   not set.
    ///
    /// An empty variable is not set.
    ///
    /// # Errors
    ///
    /// [`At`](ConfigError::At) the variable: [`UnknownSetting`](ConfigError::UnknownSetting) for a name with the prefix that is
    /// none, [`Unreadable`](ConfigError::Unreadable) for a value that is not of the kind of the setting.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_variables(
            std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))),
        )
    }

    pub(super) fn from_variables(variables: impl IntoIterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let (mut config, mut plain) = (Self::default(), Self::default());
        for (variable, value) in variables {
            if value.trim().is_empty() {
                continue;
            }
            let text = SettingValue::Text(value);
            if let Some(rest) = variable.strip_prefix(PREFIX) {
                config.set_value(&setting_of(rest), text, Some(variable))?;
            } else if let Some((_, name)) = SHORT.iter().find(|(known, _)| *known == variable) {
                plain.set_value(name, text, Some(variable))?;
            } else if let Some((_, name)) = SECONDS.iter().find(|(known, _)| *known == variable) {
                let is_bare = text.to_string().parse::<f64>().is_ok();
                let length = if is_bare { SettingValue::Text(format!("{text}s")) } else { text };
                plain.set_value(name, length, Some(variable))?;
            }
        }
        Ok(plain.merge(config))
    }
}

/// The setting of a variable, without the prefix; a name that is none stays as it is, in lower case.
fn setting_of(rest: &str) -> String {
    let name = rest.to_ascii_lowercase();
    let known = names().find(|known| known.replace('.', "_") == name);
    known.map_or(name, String::from)
}

impl RedisManagerBuilder {
    /// Takes settings from the environment, where they are set; see [`RedisManagerConfig::from_env`]. The URLs of nodes are not
    /// used. What cannot be read is said by [`build`](RedisManagerBuilder::build).
    pub fn from_env(self) -> Self {
        let taken = RedisManagerConfig::from_env().and_then(|config| config.apply(self.clone()));
        taken.unwrap_or_else(|error| Self { unreadable: self.unreadable.clone().or(Some(error)), ..self })
    }
}
