//! The three exporters export the same, and none of them a password.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis_manager_tests::exposition::Exposition;
use redis_manager_tests::redis_server::RedisServer;
use redis_manager_tests::tasks::wait_until;

use crate::export::facade::MetricsReporter;
use crate::export::prometheus::{PrometheusCollector, TextFormat};
use crate::export::source::ExportSource;
use crate::export::table::MetricDefinition;
use crate::export::tests::facade::KeepingRecorder;
use crate::export::tests::manager_of;
use crate::export::tests::open_telemetry::Collected;
use crate::manager::RedisManager;
use crate::smol::SmolRuntime;

type SeriesName = (String, BTreeMap<String, String>);

/// The name for Prometheus, by the name of a metric or of a part of a histogram.
fn prometheus_names() -> BTreeMap<String, String> {
    let parts = |metric: MetricDefinition| {
        let parts: &[_] = if metric.kind.to_string() == "histogram" { &["bucket", "count", "sum"] } else { &[] };
        let of_parts = parts.iter().map(|part| (format!("{}.{part}", metric.name), format!("{}_{part}", metric.prometheus_name)));
        let whole = parts.is_empty().then(|| (String::from(metric.name), metric.prometheus_name.clone()));
        of_parts.chain(whole).collect::<Vec<_>>()
    };
    MetricDefinition::all().into_iter().flat_map(parts).collect()
}

/// A series of another exporter by its names for Prometheus.
fn for_prometheus((name, labels): &SeriesName) -> SeriesName {
    let name = prometheus_names().remove(name).unwrap_or_else(|| panic!("{name} is not in the table"));
    (name, labels.iter().map(|(key, value)| (key.replace('.', "_"), value.clone())).collect())
}

/// Seen to bite: with zeros exported of the phases of connects, with a label left out of the attributes, with half of each bucket for the facade, and with buckets that Prometheus
/// gets added up already.
#[test]
fn all_exporters_have_the_same_series_and_values() {
    let server = RedisServer::start();
    let manager = RedisManager::builder().max_pools_per_node(1).max_connection_size(2).use_time_sampling(1);
    let manager = manager.build(SmolRuntime::new()).expect("valid");
    ::smol::block_on(async {
        let node = manager.add_node_pool(&server.url()).await.expect("the server is up");
        for _ in 0..3 {
            drop(node.get_client().await.expect("a client"));
        }
        let held = [node.get_client().await, node.get_client().await];
        assert!(node.get_client_timeout(Duration::from_millis(20)).await.is_err());
        drop(held);
        let mut client = node.get_client().await.expect("a client");
        for name in ["GET", "get", "SET", "no-such-command"] {
            let _ = redis::cmd(name).arg("key").query_async::<redis::Value>(&mut client).await;
        }
        let mut shared = node.get_shared_client().await.expect("a shared client");
        let mut pipeline = redis::pipe();
        pipeline.get("a").get("b").cmd("INCRBY").arg("a").arg("x");
        let _ = pipeline.query_async::<redis::Value>(&mut shared).await;
        drop((client, shared));
    });
    // Nothing happens any more.
    wait_until("both idle", || manager.fetch_pool_status().values().all(|status| status.idle == 2));
    let source = || ExportSource::new().manager("one", &manager).expect("a name").seed_names(true);
    let text = TextFormat::OpenMetrics.encode(source()).expect("no error");
    let prometheus = Exposition::parse(&text).unwrap_or_else(|why| panic!("{why} in\n{text}"));
    assert_eq!(prometheus.value("redis_pool_size", &[]), 2.0);
    let of_commands = |name: &str, label: (&str, &str)| prometheus.sum(name, &[label]);
    let timed = |name| of_commands("db_client_operation_duration_seconds_count", ("db_operation_name", name));
    assert_eq!([timed("get"), timed("set"), timed("other"), timed("pipeline")], [2.0, 1.0, 1.0, 1.0]);
    let results = ["ok", "server_error"].map(|result| of_commands("redis_client_requests_total", ("result", result)));
    assert_eq!((results, of_commands("redis_client_errors_total", ("error_type", "err"))), ([2.0, 3.0], 3.0));
    let series = prometheus.values();
    let phases = series.keys().filter(|(name, _)| name == "redis_client_connection_phase_time_seconds_count");
    assert_eq!(phases.count(), 3, "neither TLS nor a hook");
    assert_eq!(prometheus.sum("redis_client_commands_total", &[]), 7.0);
    let prometheus = prometheus.values();
    let recorder = KeepingRecorder::default();
    metrics::with_local_recorder(&recorder, || MetricsReporter::new(source()).report());
    let recorded = recorder.values.lock().expect("not poisoned").clone();
    let recorded: BTreeMap<_, _> = recorded.iter().map(|(series, (_, value))| (for_prometheus(series), *value)).collect();
    let observed = Collected::of(source()).collect();
    let observed: BTreeMap<_, _> = observed.iter().map(|(series, (.., value))| (for_prometheus(series), *value)).collect();
    for (who, others) in [("facade", recorded), ("OpenTelemetry", observed)] {
        let differences: Vec<_> = prometheus.iter().filter(|(series, value)| others.get(series) != Some(value)).collect();
        assert!(differences.is_empty(), "{who} has not {differences:#?}");
        assert_eq!(others.len(), prometheus.len(), "{who}");
    }
}

/// Seen to bite: with the URL of a node as it was given for its name.
#[test]
fn no_exporter_shows_a_password() {
    const SECRETS: [&str; 4] = ["Zq8xJv5k", "%5Aq8x%4Av5k", "p%40ss%2Fw0rd", "p@ss/w0rd"];
    let urls: Vec<_> = SECRETS[..3]
        .iter()
        .flat_map(|secret| {
            [
                format!("redis://:{secret}@127.0.0.1:1"),
                format!("redis://clerk:{secret}@127.0.0.1:1/3?protocol=resp2"),
                format!("unix:///no/such?user=clerk&pass={secret}"),
            ]
        })
        .collect();
    let manager = manager_of(&urls.iter().map(String::as_str).collect::<Vec<_>>());
    let source = || ExportSource::new().manager("one", &manager).expect("a name").seed_names(true);
    let recorder = KeepingRecorder::default();
    let reporter = MetricsReporter::new(source());
    metrics::with_local_recorder(&recorder, || reporter.report());
    let seen = Arc::new(Mutex::new(String::new()));
    let labels = Arc::clone(&seen);
    let labelled = source().pool_label(move |node| {
        labels.lock().expect("not poisoned").push_str(node);
        String::from(node)
    });
    let mut shown = vec![
        TextFormat::OpenMetrics.encode(source()).expect("no error"),
        TextFormat::Prometheus.encode(labelled).expect("no error"),
        format!("{recorder:?}"),
        format!("{:?}", Collected::of(source()).collect()),
        format!("{:?} {:?} {reporter:?}", source(), PrometheusCollector::new(source())),
        format!("{:?}", manager.status_and_metrics()),
    ];
    shown.push(seen.lock().expect("not poisoned").clone());
    for text in &shown {
        for secret in SECRETS {
            assert!(!text.contains(secret), "{secret} is in {text}");
        }
    }
    let nodes = manager.fetch_pool_status().len();
    assert_eq!(shown[0].matches("\ndb_client_connection_max{").count(), nodes);
    assert_eq!(nodes, urls.len());
}
