//! What stands for the module `cluster` where that feature is off: settings of which there are none.

use std::sync::Arc;

use redis::ProtocolVersion;
use redis_manager_core::{ConfigError, Setting};

use crate::deployment::interface::OpenByName;
use crate::redis_node::Tls;

/// The builder's settings about clusters: none.
#[derive(Clone, Debug, Default)]
pub(crate) struct NoClusters;

pub(crate) use NoClusters as ClusterConfig;

impl NoClusters {
    /// Cluster mode as the environment sets it.
    pub(crate) fn set_from_environment(&mut self, use_cluster: bool) -> Result<(), ConfigError> {
        let (setting, value) = ("USE_REDIS_CLUSTER", String::from("true"));
        match use_cluster {
            true => Err(ConfigError::Unreadable { setting, value, expected: "false: true needs the feature `cluster`" }),
            false => Ok(()),
        }
    }

    pub(crate) fn check(&self, _: ProtocolVersion, _: &Tls) -> Result<Option<Arc<dyn OpenByName>>, ConfigError> {
        Ok(None)
    }

    /// The rows of the table of settings.
    pub(crate) fn settings() -> Vec<Setting> {
        Vec::new()
    }
}
