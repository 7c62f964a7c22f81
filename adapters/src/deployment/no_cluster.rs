//! What stands for the module `cluster` where that feature is off: settings of which there are none.

use std::sync::Arc;

use redis::ProtocolVersion;
use redis_manager_core::{ConfigError, Setting};

use crate::deployment::interface::OpenByName;
use crate::redis_node::Tls;
use crate::setting_value::{Expected, SettingValue};

/// The builder's settings about clusters: none.
#[derive(Clone, Debug, Default)]
pub(crate) struct NoClusters;

pub(crate) use NoClusters as ClusterConfig;

impl NoClusters {
    /// The settings that can be written as text.
    pub(crate) fn names() -> &'static [&'static str] {
        &["use_cluster"]
    }

    /// Sets the one of this name, if there is one.
    pub(crate) fn set_by_name(&mut self, name: &str, value: &SettingValue) -> Option<Result<(), Expected>> {
        let is_off = || if value.switch()? { Err("false: true needs the feature `cluster`") } else { Ok(()) };
        (name == "use_cluster").then(is_off)
    }

    pub(crate) fn check(&self, _: ProtocolVersion, _: &Tls) -> Result<Option<Arc<dyn OpenByName>>, ConfigError> {
        Ok(None)
    }

    /// The rows of the table of settings.
    pub(crate) fn settings() -> Vec<Setting> {
        Vec::new()
    }
}
