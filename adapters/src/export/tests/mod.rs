//! Tests of the exporters with nodes whose server is not there.

#[cfg(all(feature = "metrics", feature = "opentelemetry", feature = "prometheus"))]
mod agreement;
#[cfg(feature = "metrics")]
mod facade;
#[cfg(feature = "opentelemetry")]
mod open_telemetry;
#[cfg(feature = "prometheus")]
mod prometheus;
#[cfg(all(feature = "metrics", feature = "opentelemetry", feature = "prometheus", feature = "serde", feature = "tracing"))]
mod secrets;
mod table;

use crate::manager::RedisManager;
use crate::smol::SmolRuntime;

/// A manager of nodes at ports that refuse.
fn manager_of(urls: &[&str]) -> RedisManager {
    let manager = RedisManager::builder().build(SmolRuntime::new()).expect("valid");
    for url in urls {
        manager.add_node_pool_lazy(url).expect("a URL");
    }
    manager
}
