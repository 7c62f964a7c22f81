//! The public surface as it can be kept: what may cross threads, what a glob import brings, which crates it shows.

#![allow(unused_imports, reason = "the glob imports are what is tested")]

use redis_manager::export::{ExportError, ExportSource, MetricDefinition, MetricsReporter, PrometheusCollector};
use redis_manager::pool::{Acquire, Lease, Manager, NodeConfig, NodePool};
use redis_manager::prelude::*;
use redis_manager::pub_sub::{self, SubscribeError, Subscriber, SubscriberError, SubscriberOptions, SubscriberReceiver};
use redis_manager::runtime::{Instant, Network, Runtime, Task};
use redis_manager::testing::{FakeConnector, FakeRuntime, FakeServer};
use redis_manager::tls::TlsArgs;
use redis_manager::{
    ClusterArgs, ClusterStatus, ConfigError, Event, EventReader, HealthReport, MissedEvents, NodeEvent, PoolStatus, PubSub,
    TotalConnections, TransactionError,
};

fn is_send_and_sync<T: Send + Sync + ?Sized>() {}

fn is_send<T: Send + ?Sized>() {}

#[test]
fn what_users_hold_may_cross_threads() {
    is_send_and_sync::<RedisManager>();
    is_send_and_sync::<RedisManagerBuilder>();
    is_send_and_sync::<NodeHandle>();
    is_send_and_sync::<SharedClient>();
    is_send::<Client>();
    is_send::<PubSub>();
    is_send_and_sync::<(Subscriber, SubscriberReceiver, SubscriberOptions)>();
    is_send_and_sync::<(SubscribeError, SubscriberError, pub_sub::Event)>();
    is_send_and_sync::<EventReader>();
    is_send_and_sync::<(Event, NodeEvent, MissedEvents, HealthReport)>();
    is_send_and_sync::<PoolArgs>();
    is_send_and_sync::<TlsArgs>();
    is_send_and_sync::<ClusterArgs>();
    is_send_and_sync::<TokioRuntime>();
    is_send_and_sync::<SmolRuntime>();
    is_send_and_sync::<dyn Network>();
    is_send_and_sync::<dyn Runtime>();
    is_send::<Task>();
    is_send_and_sync::<NodePool<FakeConnector>>();
    is_send_and_sync::<Manager<FakeConnector>>();
    is_send_and_sync::<Lease<FakeConnector>>();
    is_send_and_sync::<Acquire<'_, FakeConnector>>();
    is_send_and_sync::<NodeConfig>();
    is_send_and_sync::<(NodeStatus, PoolStatus, ClusterStatus, TotalConnections, Instant)>();
    is_send_and_sync::<(ExportSource, PrometheusCollector, MetricsReporter, ExportError, MetricDefinition)>();
    is_send_and_sync::<(GetClientError, AddNodeError, ConfigError, TransactionError)>();
}

/// Guards against: `tokio` or `smol` in the prelude, which makes this attribute ambiguous.
#[tokio::test]
async fn the_prelude_may_be_imported_whole_beside_the_crates_of_the_runtimes() {
    let _runtime = TokioRuntime::current().expect("a tokio runtime");
    tokio::task::yield_now().await;
    smol::future::yield_now().await;
}

#[tokio::test]
async fn the_short_start_says_what_is_wrong_with_a_url() {
    let error = RedisManager::connect("http://localhost").await.expect_err("no URL of a node");
    assert!(matches!(error, AddNodeError::InvalidUrl { .. }), "{error}");
}
