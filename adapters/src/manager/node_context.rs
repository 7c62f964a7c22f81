//! What the nodes of a manager have in common: how they are dialled, and the connections of the shared clients of plain ones.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use redis::ProtocolVersion;
use redis_manager_core::{Manager, NodeConfig, NodePool, Runtime};

use crate::deployment::DeploymentParts;
use crate::error::AddNodeError;
use crate::network::Network;
use crate::redis_node::{Address, Hooks, PoolArgs, RedisConnector, Session, SharedConnections, Tls};

/// By the key of the node.
type SharedConnectionsOfNodes = HashMap<String, Weak<SharedConnections>>;

/// What a manager and the handles of its nodes have in common. Keeps neither the manager nor a pool alive.
pub(crate) struct NodeContext {
    network: Arc<dyn Network>,
    args: PoolArgs,
    hooks: Hooks,
    tls: Tls,
    shared_connections_per_node: usize,
    /// The shared connections of each node, while there is a shared client.
    shared_connections: Mutex<SharedConnectionsOfNodes>,
}

impl NodeContext {
    pub(crate) fn new(
        network: Arc<dyn Network>,
        args: PoolArgs,
        hooks: Hooks,
        tls: Tls,
        shared_connections_per_node: usize,
    ) -> Self {
        Self { network, args, hooks, tls, shared_connections_per_node, shared_connections: Mutex::default() }
    }

    /// The address in a URL.
    pub(super) fn address(&self, url: &str) -> Result<Address, AddNodeError> {
        Address::parse(url, self.args.protocol, &self.tls)
    }

    /// The connector of a node.
    pub(super) fn connector(&self, address: Address, config: &NodeConfig) -> RedisConnector {
        RedisConnector::new(Arc::clone(&self.network), address, self.args.clone(), self.hooks.clone(), config)
    }

    pub(super) fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::clone(&self.network) as Arc<dyn Runtime>
    }

    pub(super) fn has_ended(&self) -> bool {
        self.network.has_ended()
    }

    /// What a deployment is made of, beside its settings.
    pub(super) fn deployment_parts(&self, nodes: Manager<RedisConnector>) -> DeploymentParts {
        let (network, args, hooks) = (Arc::clone(&self.network), self.args.clone(), self.hooks.clone());
        DeploymentParts { nodes, network, args, hooks, lanes: self.shared_connections_per_node }
    }

    /// What the settings of a deployment are checked with.
    pub(super) fn protocol_and_tls(&self) -> (ProtocolVersion, &Tls) {
        (self.args.protocol, &self.tls)
    }

    /// The shared connections of a node; made for the first shared client.
    pub(super) fn connections(&self, key: &str, pool: &NodePool<RedisConnector>) -> Result<Arc<SharedConnections>, AddNodeError> {
        let known =
            |all: &SharedConnectionsOfNodes| all.get(key).and_then(Weak::upgrade).filter(|connections| connections.is_of(pool));
        let found = known(&self.shared_connections());
        if let Some(connections) = found {
            return Ok(connections);
        }
        let login = self.address(key)?.login;
        let session = Session::fresh(&self.args, login.protocol(), login.db());
        let runtime = Arc::clone(&self.network) as Arc<dyn Runtime>;
        let made = Arc::new(SharedConnections::new(pool.clone(), runtime, self.shared_connections_per_node, session));
        let mut all = self.shared_connections();
        // Another call may have made them meanwhile.
        let connections = known(&all);
        // A handle of a node that was closed must not detach the connections of the node that was added since.
        if connections.is_none() && pool.is_open() {
            all.insert(String::from(key), Arc::downgrade(&made));
        }
        drop(all);
        Ok(connections.unwrap_or(made))
    }

    /// Returns the leases of the shared clients of a node.
    pub(super) fn close_shared(&self, key: &str) {
        let connections = self.shared_connections().remove(key);
        close(connections);
    }

    /// The same, if the connections belong to this pool.
    pub(super) fn close_shared_of(&self, key: &str, pool: &NodePool<RedisConnector>) {
        let connections = {
            let mut all = self.shared_connections();
            let is_of = all.get(key).and_then(Weak::upgrade).is_some_and(|connections| connections.is_of(pool));
            if is_of { all.remove(key) } else { None }
        };
        close(connections);
    }

    /// The same for all nodes.
    pub(super) fn close_all_shared(&self) {
        let connections = std::mem::take(&mut *self.shared_connections());
        close(connections.into_values());
    }

    fn shared_connections(&self) -> MutexGuard<'_, SharedConnectionsOfNodes> {
        self.shared_connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn close(connections: impl IntoIterator<Item = Weak<SharedConnections>>) {
    connections.into_iter().filter_map(|connections| connections.upgrade()).for_each(|connections| connections.close());
}
