//! Tests of the collector for Prometheus and of its text.

use std::time::Instant;

use prometheus_client::collector::Collector;
use prometheus_client::registry::Registry;
use redis_manager_tests::exposition::Exposition;
use redis_manager_tests::tasks::wait_until;

use crate::export::error::ExportError;
use crate::export::names::MetricPresence;
use crate::export::prometheus::{PrometheusCollector, TextFormat};
use crate::export::source::ExportSource;
use crate::export::table::MetricDefinition;
use crate::export::tests::manager_of;
use crate::manager::RedisManager;

const POOL: &str = "db_client_connection_pool_name";

fn parsed(text: &str) -> Exposition {
    Exposition::parse(text).unwrap_or_else(|why| panic!("{why} in\n{text}"))
}

/// Seen to bite: with `+Inf` left out, and with the short names exported unasked.
#[test]
fn both_texts_have_every_metric_of_every_node_and_the_same_values() {
    let manager = manager_of(&["redis://127.0.0.1:1", "redis://u:secret@127.0.0.1:1/7"]);
    // The look-up of the name is the one phase that ends well.
    let resolved = |commands: &crate::CommandMetrics| commands.connect_phases.resolve.count() > 0;
    wait_until("both were dialled", || manager.command_metrics().values().all(resolved));
    let source = || ExportSource::from(&manager).seed_names(true);
    let texts = [TextFormat::OpenMetrics, TextFormat::Prometheus].map(|format| format.encode(source()).expect("no error"));
    assert!(texts[0].ends_with("# EOF\n") && texts[0].contains("# UNIT db_client_connection_wait_time_seconds seconds\n"));
    assert!(texts[1].contains("# TYPE db_client_connection_timeouts_total counter\n"));
    let [open_metrics, prometheus] = texts.each_ref().map(|text| parsed(text));
    let names = |read: &Exposition| read.values().keys().cloned().collect::<Vec<_>>();
    assert!(names(&open_metrics) == names(&prometheus), "{}\n{}", texts[0], texts[1]);
    for node in ["redis://127.0.0.1:1", "redis://u:***@127.0.0.1:1/7"] {
        assert_eq!(prometheus.value("db_client_connection_max", &[(POOL, node)]), 200.0);
        assert_eq!(prometheus.value("redis_pool_active", &[("node_redis_url", node)]), 0.0);
        assert_eq!(prometheus.value("redis_client_node_health", &[(POOL, node), ("health", "down")]), 1.0);
        assert_eq!(prometheus.sum("redis_client_node_health", &[(POOL, node)]), 1.0);
        for metric in MetricDefinition::all() {
            let end = if metric.kind.to_string() == "histogram" { "_count" } else { "" };
            let (name, node_label) = (metric.prometheus_name + end, metric.node_label.replace('.', "_"));
            let series = names(&prometheus);
            let of_node = series
                .iter()
                .filter(|(of_series, labels)| *of_series == name && labels.get(&node_label).is_some_and(|of| of == node));
            let (most, count) = (metric.label_values.len().max(1), of_node.count());
            let is_counted = (metric.name, count) == ("redis.client.connection.phase_time", 1);
            let expected = if metric.presence == MetricPresence::Always { most } else { usize::from(is_counted) };
            assert_eq!(count, expected, "{name} of {node}");
        }
    }
    let buckets = |text: &str| text.matches("db_client_connection_wait_time_seconds_bucket{").count();
    assert_eq!(buckets(&texts[0]), 2 * 16);
    assert_eq!(buckets(&TextFormat::OpenMetrics.encode(source().all_buckets(true)).expect("no error")), 2 * 44);
    assert!(!TextFormat::OpenMetrics.encode(&manager).expect("no error").contains("redis_pool_active"));
}

/// Guards against: a label that is written as it is.
#[test]
fn quotes_backslashes_and_newlines_in_a_label_are_escaped() {
    let manager = manager_of(&["redis://127.0.0.1:1"]);
    let label = "a\"b\\c\nd}, e{ #é";
    let source = ExportSource::new().manager(label, &manager).expect("a name");
    let text = TextFormat::Prometheus.encode(source.pool_label(move |_| String::from(label))).expect("no error");
    let read = parsed(&text);
    assert_eq!(read.value("db_client_connection_max", &[(POOL, label), ("manager", label)]), 200.0);
}

/// Guards against: a collector that keeps its manager, and one that writes headers of nothing.
#[test]
fn a_collector_that_outlives_its_manager_or_its_registry_exports_nothing() {
    let manager = manager_of(&["redis://127.0.0.1:1"]);
    let collector = PrometheusCollector::new(&manager);
    let mut registry = Registry::default();
    collector.clone().register(&mut registry).expect("the first one");
    let encode = |registry: &Registry| TextFormat::OpenMetrics.encode_registry(registry).expect("no error");
    assert!(encode(&registry).contains("db_client_connection_max"));
    let closed = manager.closed();
    drop(manager);
    ::smol::block_on(closed);
    assert_eq!(encode(&registry), "# EOF\n");
    drop(registry);
    let mut other = Registry::default();
    collector.register(&mut other).expect("the first one there");
    assert_eq!(encode(&other), "# EOF\n");
    assert_eq!(encode(&Registry::default()), "# EOF\n");
}

/// A collector of the user's that fails.
#[derive(Debug)]
struct FailingCollector;

impl Collector for FailingCollector {
    fn encode(&self, _: prometheus_client::encoding::DescriptorEncoder<'_>) -> std::fmt::Result {
        Err(std::fmt::Error)
    }
}

/// Guards against: a look for another collector that is forgotten, that is never over, or that takes another registry's for it.
#[test]
fn two_managers_share_a_registry_by_names_and_a_second_collector_is_refused() {
    let (one, two) = (manager_of(&["redis://127.0.0.1:1"]), manager_of(&["redis://127.0.0.1:1"]));
    let both = ExportSource::new().manager("one", &one).and_then(|source| source.manager("two", &two)).expect("two names");
    let collector = PrometheusCollector::new(both);
    let mut registry = Registry::default();
    collector.clone().register(&mut registry).expect("the first one");
    let second = PrometheusCollector::new(&two).register(&mut registry);
    assert_eq!(second, Err(ExportError::CollectorPresent));
    let read = parsed(&TextFormat::Prometheus.encode_registry(&registry).expect("no error"));
    for manager in ["one", "two"] {
        assert_eq!(read.value("db_client_connection_max", &[("manager", manager)]), 200.0);
    }
    // The headers of two would come twice.
    registry.register_collector(Box::new(collector.clone()));
    let text = TextFormat::Prometheus.encode_registry(&registry).expect("no error");
    assert!(Exposition::parse(&text).is_err_and(|why| why.contains("a second help")));
    let mut registry = Registry::default();
    collector.clone().register(registry.sub_registry_with_prefix("a")).expect("the first one there");
    collector.clone().register(registry.sub_registry_with_prefix("b")).expect("the first one there");
    assert_eq!(collector.clone().register(&mut registry), Err(ExportError::CollectorPresent));
    parsed(&TextFormat::Prometheus.encode_registry(&registry).expect("no error"));
    let mut registry = Registry::default();
    registry.register_collector(Box::new(FailingCollector));
    collector.register(&mut registry).expect("the first one of ours");
    assert!(TextFormat::Prometheus.encode_registry(&registry).is_err());
}

/// How long a scrape takes; run with `--release -- --ignored --nocapture`.
#[test]
#[ignore = "prints a number that means something in a release build alone"]
fn how_long_a_scrape_of_a_thousand_nodes_takes() {
    // Its tasks are never polled: nothing is dialled.
    let executor = std::sync::Arc::new(::smol::Executor::new());
    let manager = RedisManager::builder().build(crate::smol::SmolRuntime::with_executor(&executor)).expect("valid");
    for node in 0..1_000 {
        manager.add_node_pool_lazy(&format!("redis://clerk:secret@redis-{node}.example.com:6379")).expect("a URL");
    }
    let source = ExportSource::from(&manager);
    for what in ["reading", "text", "text with all buckets"] {
        let mut times: Vec<_> = (0..20)
            .map(|_| {
                let start = Instant::now();
                let size = match what {
                    "reading" => source.read()[0].nodes.len(),
                    "text" => TextFormat::OpenMetrics.encode(source.clone()).expect("no error").len(),
                    _ => TextFormat::OpenMetrics.encode(source.clone().all_buckets(true)).expect("no error").len(),
                };
                (start.elapsed(), size)
            })
            .collect();
        times.sort_unstable();
        println!("{what} of 1000 nodes: least {:?}, median {:?}, size {}", times[0].0, times[10].0, times[0].1);
    }
}
