//! The clusters of this process by number.
//!
//! The redis crate makes a connection to a node from a `ConnectionInfo` and nothing else. The user name in it is the one word
//! that is ours to choose: it is the number of the cluster whose member the connection is to be. The real login is with the
//! cluster.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::cluster::nodes::Cluster;

static NEXT: AtomicU64 = AtomicU64::new(1);
static CLUSTERS: Mutex<BTreeMap<u64, Weak<Cluster>>> = Mutex::new(BTreeMap::new());

pub(crate) fn next_key() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

pub(crate) fn enter(cluster: &Arc<Cluster>) {
    clusters().insert(cluster.key, cluster.weak());
}

pub(crate) fn leave(key: u64) {
    clusters().remove(&key);
}

/// `None` if it does not exist any more.
pub(crate) fn find(key: u64) -> Option<Arc<Cluster>> {
    let found = clusters().get(&key).cloned();
    found?.upgrade()
}

fn clusters() -> MutexGuard<'static, BTreeMap<u64, Weak<Cluster>>> {
    CLUSTERS.lock().unwrap_or_else(PoisonError::into_inner)
}
