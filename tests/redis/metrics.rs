//! What the exporters say after a known story, beside the status and what the server sees.

use std::io::Write;
use std::process::{Command, Stdio};

use redis_manager::export::{ExportSource, MetricDefinition, TextFormat};
use redis_manager::runtime::Network;
use redis_manager::{GetClientError, RedisManager};
use redis_manager_tests::exposition::Exposition;
use redis_manager_tests::on_every_runtime;
use redis_manager_tests::redis_server::RedisServer;
use redis_manager_tests::tasks::{spawn, until};

use crate::{MS, one_pool, until_settled};

on_every_runtime! {
    values_add_up_with_the_status_after_gets_waits_timeouts_and_a_kill;
    nodes_that_are_closed_are_exported_no_more_and_begin_anew;
}

fn scrape(manager: &RedisManager) -> Exposition {
    let text = TextFormat::OpenMetrics.encode(ExportSource::from(manager).seed_names(true)).expect("no error");
    Exposition::parse(&text).unwrap_or_else(|why| panic!("{why} in\n{text}"))
}

const GETS: &str = "redis_client_connection_gets_total";

/// Seen to bite: with `waited` put as `at_once`, with `active` for `idle`, and with the deaths left out.
async fn values_add_up_with_the_status_after_gets_waits_timeouts_and_a_kill(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = one_pool(2).use_time_sampling(1).min_idle(0).build(runtime.clone()).expect("valid settings");
    let node = manager.add_node_pool(&server.url()).await.expect("the server is up");
    let start = scrape(&manager);
    assert_eq!(start.sum(GETS, &[]), 0.0);
    assert_eq!(start.value("db_client_connection_max", &[]), 2.0);
    let first = node.get_client().await.expect("the one that idles");
    let second = node.get_client().await.expect("dialled for it");
    let timeout = node.get_client_timeout(30 * MS).await;
    assert!(matches!(timeout, Err(GetClientError::Timeout { .. })), "{timeout:?}");
    assert!(node.try_get_client().is_err());
    let waiting = spawn(&runtime, {
        let node = node.clone();
        async move { node.get_client().await.map(drop) }
    });
    until(&runtime, "the caller is in the queue", || node.status().waiting == 1).await;
    let held = scrape(&manager);
    assert_eq!(held.value("db_client_connection_count", &[("db_client_connection_state", "used")]), 2.0);
    assert_eq!(held.value("db_client_connection_pending_requests", &[]), 1.0);
    assert_eq!(held.value("redis_pool_active", &[("node_redis_url", node.url())]), 2.0);
    drop(first);
    waiting.await.expect("the first one's");
    drop(second);
    until_settled(&manager, &server, &runtime).await;
    server.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    until(&runtime, "both are dead", || node.metrics().deaths.total() == 2).await;
    until_settled(&manager, &server, &runtime).await;

    let (read, (status, metrics)) = (scrape(&manager), node.status_and_metrics());
    let gets = |result: &str| read.value(GETS, &[("result", result)]);
    assert_eq!((gets("at_once"), gets("waited"), gets("timed_out")), (1.0, 2.0, 2.0), "{metrics:?}");
    assert_eq!(read.value("db_client_connection_timeouts_total", &[("phase", "leases_held")]), 2.0);
    assert_eq!(read.sum(GETS, &[]), 5.0);
    assert_eq!(read.value("db_client_connection_wait_time_seconds_count", &[]), gets("waited"));
    assert_eq!(read.value("db_client_connection_use_time_seconds_count", &[]), 3.0);
    assert_eq!(read.value("redis_client_connection_most_waiting", &[]), 1.0);
    assert_eq!(read.value("redis_client_connection_deaths_total", &[("use", "idle")]), 2.0);
    assert_eq!(read.value("redis_client_connection_closed_total", &[("reason", "broken")]), 2.0);
    // What was opened is open or closed, and is what the status and the server see.
    let open = read.value("redis_client_connection_opened_total", &[]) - read.sum("redis_client_connection_closed_total", &[]);
    assert_eq!(open, server.client_count() as f64);
    assert_eq!(read.sum("db_client_connection_count", &[]), open);
    assert_eq!(read.value("redis_pool_size", &[]), open);
    assert_eq!(read.value("db_client_connection_count", &[("db_client_connection_state", "idle")]), status.idle as f64);
    assert_eq!(
        read.value("db_client_connection_create_time_seconds_count", &[]),
        read.value("redis_client_connection_dials_total", &[("result", "succeeded")])
    );
    assert_eq!(read.value("redis_connections_created_total", &[]), metrics.opened() as f64);
    assert_eq!(read.value("redis_client_node_health", &[("health", "up")]), 1.0);
    assert_eq!(manager.metrics().into_values().next().expect("one node").closes, metrics.closes);
    for metric in MetricDefinition::all() {
        let end = if metric.kind.to_string() == "histogram" { "_count" } else { "" };
        let name = metric.prometheus_name + end;
        let (before, after) = (start.sum(&name, &[]), read.sum(&name, &[]));
        assert!(!name.ends_with("_total") && end.is_empty() || before <= after, "{name} fell from {before} to {after}");
    }
}

/// Guards against: counters of a closed node that are kept for the next one of its name.
async fn nodes_that_are_closed_are_exported_no_more_and_begin_anew(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = one_pool(1).build(runtime).expect("valid settings");
    let opened = |manager: &RedisManager| scrape(manager).sum("redis_client_connection_opened_total", &[]);
    for _ in 0..2 {
        let node = manager.add_node_pool(&server.url()).await.expect("the server is up");
        assert_eq!(opened(&manager), 1.0);
        node.close().await;
        assert_eq!(scrape(&manager), Exposition::default());
    }
}

/// Skipped, with a note, where there is no `promtool` on the PATH.
#[test]
fn promtool_finds_nothing_wrong_with_the_text() {
    let runtime = tokio::runtime::Runtime::new().expect("tokio starts");
    let manager = one_pool(1).build(redis_manager::tokio::TokioRuntime::new(runtime.handle().clone())).expect("valid settings");
    for url in ["redis://127.0.0.1:1", "redis://clerk:secret@127.0.0.1:1/3"] {
        manager.add_node_pool_lazy(url).expect("a URL");
    }
    let text = TextFormat::Prometheus.encode(ExportSource::from(&manager).seed_names(true)).expect("no error");
    let started = Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Ok(mut promtool) = started else {
        eprintln!("skipped: no promtool on the PATH");
        return;
    };
    promtool.stdin.take().expect("it is piped").write_all(text.as_bytes()).expect("promtool reads");
    let output = promtool.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // 3 are remarks on style: a gauge without a unit, say.
    assert!(output.status.success() || output.status.code() == Some(3), "{said}");
}
