//! How subscribers of the manager's nodes are made.

use crate::error::GetClientError;
use crate::manager::node_key::node_key;
use crate::manager::{RedisManager, hide_password};
use crate::subscriber::{LeaseSource, Subscriber, SubscriberError, SubscriberOptions};

impl RedisManager {
    /// Makes a subscriber of a node, or of a cluster by its name, with the default settings. It returns at once, and takes a
    /// connection in the background.
    ///
    /// In a cluster the connection is to the owner of slot 0, and to the next owner after a failover: each node gets the
    /// messages of all of them. Sharded channels have connections to the owners of their slots beside it. Behind sentinels the
    /// connection is to the primary, and to the next one after a failover.
    ///
    /// # Errors
    ///
    /// At once: [`UnknownNode`](GetClientError::UnknownNode) if the node was never added or has been closed,
    /// [`Closed`](GetClientError::Closed), [`RuntimeEnded`](GetClientError::RuntimeEnded). That the server cannot be reached is
    /// no error: the subscriber waits for it.
    pub fn subscriber(&self, url: &str) -> Result<Subscriber, GetClientError> {
        self.start_subscriber(url, SubscriberOptions::default())
    }

    /// The same with other settings.
    ///
    /// # Errors
    ///
    /// [`Options`](SubscriberError::Options) if a setting is out of its range; else as
    /// [`subscriber`](RedisManager::subscriber).
    pub fn subscriber_with(&self, url: &str, options: SubscriberOptions) -> Result<Subscriber, SubscriberError> {
        options.check()?;
        Ok(self.start_subscriber(url, options)?)
    }

    fn start_subscriber(&self, url: &str, options: SubscriberOptions) -> Result<Subscriber, GetClientError> {
        let (source, node) = match self.deployments.find(url) {
            Some(deployment) => {
                let name = String::from(deployment.name());
                (LeaseSource::Deployment(deployment), name)
            }
            None => {
                let pool = self.nodes.node(&node_key(url)).map_err(hide_password)?;
                let name = String::from(pool.name());
                (LeaseSource::Node(pool), name)
            }
        };
        let runtime = self.context.runtime();
        if runtime.has_ended() {
            return Err(GetClientError::RuntimeEnded { node });
        }
        Ok(Subscriber::start(runtime, source, self.nodes.config(), node, options))
    }
}
