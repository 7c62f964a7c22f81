//! How a manager is watched: the events of its nodes, and their health.

use std::collections::BTreeMap;

use crate::deployment::insert_numbered;
use crate::health_report::HealthReport;
use crate::manager::RedisManager;
use crate::observe::{EventReader, EventSource, ObserveSettings};
use redis_manager_core::{ConfigError, NodePool};

impl RedisManager {
    /// Adds what makes readers, if it is on.
    pub(crate) fn with_events(mut self, events: Option<EventSource>) -> Self {
        self.events = events;
        self
    }

    /// A reader of the events of all nodes from now on; also those of the nodes of a cluster. Any number of readers may exist,
    /// each with its own position. They delay no pool, and may outlive the manager. See [`EventReader`].
    ///
    /// # Errors
    ///
    /// [`ConfigError::OutOfRange`] if [`event_buffer`](crate::RedisManagerBuilder::event_buffer) is 0, its default: then no
    /// event is made.
    pub fn events(&self) -> Result<EventReader, ConfigError> {
        self.events.as_ref().map(EventSource::reader).ok_or_else(ObserveSettings::off)
    }

    /// How every node is doing, for how long, and the last error; for readiness probes. It asks no server: the health of a node
    /// follows from its dials, checks and commands. Nodes that are being added are down until they have answered; closed nodes
    /// are not included. Of a cluster the report has the name and each of its nodes.
    #[must_use]
    pub fn health(&self) -> HealthReport {
        let mut added = self.nodes.status();
        for deployment in self.deployments.all() {
            insert_numbered(&mut added, String::from(deployment.name()), deployment.status());
        }
        let mut of_clusters = BTreeMap::new();
        self.deployments.read_nodes(&mut of_clusters, NodePool::status);
        HealthReport::new(added, of_clusters)
    }
}

#[cfg(all(test, feature = "smol"))]
mod tests {
    use crate::smol::SmolRuntime;

    use super::*;

    /// Seen to bite: with the range of the builder in the error.
    #[test]
    fn without_a_buffer_there_is_no_reader_and_the_error_names_the_setting() {
        let manager = RedisManager::builder().build(SmolRuntime::new()).expect("valid");
        let error = manager.events().map(drop).expect_err("it is off");
        assert_eq!(error.to_string(), "event_buffer is 0: must be 1 to 65536 for events()");
        assert_eq!(manager.nodes.config().observer().is_some(), cfg!(feature = "tracing"), "no events are made");
        let manager = RedisManager::builder().event_buffer(1).build(SmolRuntime::new()).expect("valid");
        assert!(manager.events().is_ok());
        let error = RedisManager::builder().event_buffer(65_537).build(SmolRuntime::new()).map(drop).expect_err("too many");
        assert_eq!(error.to_string(), "event_buffer is 65537: must be 0 to 65536");
    }

    /// Seen to bite: with an empty report taken for a good one.
    #[test]
    fn a_manager_is_not_ready_before_its_first_node_answers_nor_without_nodes_nor_after_its_end() {
        ::smol::block_on(async {
            let manager = RedisManager::builder().build(SmolRuntime::new()).expect("valid");
            assert!(!manager.health().is_ready());
            manager.add_node_pool_lazy("redis://user:secret@127.0.0.1:1").expect("a URL");
            let health = manager.health();
            assert!(!health.is_ready());
            assert!(health.to_string().starts_with("redis://user:***@127.0.0.1:1: down for "), "{health}");
            manager.close_all_pools().await;
            assert_eq!(manager.health().to_string(), "no nodes");
            assert!(!manager.health().is_ready());
        });
    }
}
