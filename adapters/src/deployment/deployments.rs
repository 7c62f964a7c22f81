//! The deployments of a manager, by name.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use redis_manager_core::{Manager, NodePool};

use crate::deployment::interface::{ClosingDeployment, Deployment};
use crate::error::GetClientError;
use crate::redis_node::RedisConnector;

/// The deployments of a manager. Their nodes close with the last handle of the manager, unless a client or a handle of them is
/// left.
#[derive(Default)]
pub(crate) struct Deployments {
    by_name: RwLock<BTreeMap<String, Arc<dyn Deployment>>>,
    /// How many there are: most managers have none, and look at nothing else.
    count: AtomicUsize,
}

impl Deployments {
    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// The deployment of a name, unless it was closed.
    pub(crate) fn find(&self, name: &str) -> Option<Arc<dyn Deployment>> {
        if self.is_empty() {
            return None;
        }
        self.by_name().get(name).filter(|deployment| !deployment.is_closed()).cloned()
    }

    /// Adds a deployment and waits until it serves. One that is there already is left as it is. If it does not serve in time, it
    /// is closed and forgotten when the last call that waits for it has ended.
    pub(crate) async fn add(
        self: &Arc<Self>,
        name: &str,
        make: impl FnOnce() -> Arc<dyn Deployment>,
        timeout: Duration,
    ) -> Result<Arc<dyn Deployment>, GetClientError> {
        let deployment = self.find_or_insert(name, make);
        if !deployment.phase().join() {
            return Ok(deployment);
        }
        let mut adding = AddingGuard { deployments: self, name, deployment: &deployment, succeeded: false, timeout };
        deployment.ready(timeout).await?;
        adding.succeeded = true;
        drop(adding);
        Ok(deployment)
    }

    /// Adds a deployment without waiting for it.
    pub(crate) fn open(&self, name: &str, make: impl FnOnce() -> Arc<dyn Deployment>) -> Arc<dyn Deployment> {
        let deployment = self.find_or_insert(name, make);
        deployment.phase().settle();
        deployment
    }

    fn find_or_insert(&self, name: &str, make: impl FnOnce() -> Arc<dyn Deployment>) -> Arc<dyn Deployment> {
        let mut by_name = self.by_name_mut();
        if let Some(known) = by_name.get(name).filter(|known| !known.is_closed()) {
            return Arc::clone(known);
        }
        let made = make();
        let replaced = by_name.insert(String::from(name), Arc::clone(&made));
        self.count.store(by_name.len(), Ordering::Release);
        drop(by_name);
        drop(replaced);
        made
    }

    /// Forgets a deployment; not a later one of the same name.
    pub(crate) fn remove(&self, name: &str, which: &Arc<dyn Deployment>) {
        let mut by_name = self.by_name_mut();
        let is_it = by_name.get(name).is_some_and(|known| Arc::ptr_eq(known, which));
        let removed = if is_it { by_name.remove(name) } else { None };
        self.count.store(by_name.len(), Ordering::Release);
        drop(by_name);
        drop(removed);
    }

    /// All of them that are open, in the order of their names.
    pub(crate) fn all(&self) -> Vec<Arc<dyn Deployment>> {
        if self.is_empty() {
            return Vec::new();
        }
        self.by_name().values().filter(|deployment| !deployment.is_closed()).cloned().collect()
    }

    /// Begins to close all of them. The future ends when all is closed.
    pub(crate) fn begin_close(&self, timeout: Duration) -> ClosingDeployment {
        let closed = std::mem::take(&mut *self.by_name_mut());
        self.count.store(0, Ordering::Release);
        let closing: Vec<ClosingDeployment> = closed.values().map(|deployment| deployment.begin_close(timeout)).collect();
        Box::pin(async move {
            // Each of them ends by itself, whichever is waited for first.
            for one in closing {
                one.await;
            }
        })
    }

    /// Adds what is `read` of the nodes of each deployment, by host and port.
    pub(crate) fn read_nodes<T>(&self, into: &mut BTreeMap<String, T>, read: impl Fn(&NodePool<RedisConnector>) -> T) {
        for deployment in self.all() {
            for (node, picture) in deployment.nodes().read_nodes(&read) {
                insert_numbered(into, node, picture);
            }
        }
    }

    pub(crate) fn for_each_manager(&self, act: impl Fn(&Manager<RedisConnector>)) {
        self.all().iter().for_each(|deployment| act(deployment.nodes()));
    }

    fn by_name(&self) -> RwLockReadGuard<'_, BTreeMap<String, Arc<dyn Deployment>>> {
        self.by_name.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn by_name_mut(&self) -> RwLockWriteGuard<'_, BTreeMap<String, Arc<dyn Deployment>>> {
        self.by_name.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that adds a deployment, also when it is dropped.
struct AddingGuard<'a> {
    deployments: &'a Deployments,
    name: &'a str,
    deployment: &'a Arc<dyn Deployment>,
    succeeded: bool,
    timeout: Duration,
}

impl Drop for AddingGuard<'_> {
    fn drop(&mut self) {
        if self.deployment.phase().leave(self.succeeded) {
            self.deployments.remove(self.name, self.deployment);
            self.deployment.close_in_background(self.timeout);
        }
    }
}

/// Two deployments may have a node at the same address: the second one is numbered, as nodes are that differ only in what is
/// hidden.
pub(crate) fn insert_numbered<T>(into: &mut BTreeMap<String, T>, name: String, value: T) {
    let mut shown = name.clone();
    let mut number = 1;
    while into.contains_key(&shown) {
        number += 1;
        shown = format!("{name} #{number}");
    }
    into.insert(shown, value);
}
