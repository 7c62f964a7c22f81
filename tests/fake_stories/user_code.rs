//! Code of users that a cluster calls: an observer and an address map. They may panic, and may call the manager.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use redis_manager::redis::AsyncCommands;
use redis_manager::testing::{ClusterShape, FakeCluster, FakeNetwork, FakeRuntime};
use redis_manager::{ClusterArgs, Event, Health, Observer, RedisManager};

use crate::story::{SECOND, quiet_builder};

const NAME: &str = "orders";

/// Calls the manager, and panics.
#[derive(Default)]
struct UnsoundObserver {
    manager: OnceLock<RedisManager>,
    seen: AtomicUsize,
}

impl Observer for UnsoundObserver {
    fn event(&self, node: &str, event: &Event) {
        if let Some(manager) = self.manager.get() {
            let _ = (manager.fetch_pool_status(), manager.cluster_status(NAME));
        }
        if node == NAME && matches!(event, Event::HealthChanged { .. }) {
            self.seen.fetch_add(1, Ordering::Relaxed);
            panic!("an observer that panics at a change of the cluster");
        }
    }
}

/// Guards against: a panic that ends a question to a node, which is then never asked again; code of users that is called under a
/// lock which its own calls need.
#[test]
fn w4_an_observer_and_an_address_map_that_panic_and_call_the_manager_stop_nothing() {
    let runtime = FakeRuntime::new(7);
    let network = FakeNetwork::new(&runtime);
    let cluster = FakeCluster::start(&network, ClusterShape::default()).expect("free addresses");
    let observer = Arc::new(UnsoundObserver::default());
    let manager = quiet_builder(8).observer(Arc::clone(&observer) as Arc<dyn Observer>).build(network).expect("valid settings");
    assert!(observer.manager.set(manager.clone()).is_ok());
    let asking = manager.clone();
    let args = ClusterArgs::default().address_map(move |_, _| {
        let _ = (asking.fetch_pool_status(), asking.cluster_status(NAME));
        panic!("a map that panics")
    });
    runtime.block_on(manager.add_cluster(NAME, cluster.urls(), args)).expect("the cluster is up");
    let mut shared = runtime.block_on(manager.get_shared_client(NAME)).expect("a client");
    let () = runtime.block_on(shared.set("b", 1)).expect("SET");
    cluster.kill(0);
    runtime.advance(10 * SECOND);
    let () = runtime.block_on(shared.set("b", 2)).expect("the promotion was seen");
    assert_eq!(manager.cluster_status(NAME).expect("it is there").health, Health::Up);
    assert!(observer.seen.load(Ordering::Relaxed) >= 2, "up, and suspect at least");
    runtime.block_on(manager.close_all_pools());
}
