//! Tests of the table of metrics and of what is read for it.

use std::collections::BTreeSet;

use crate::export::error::ExportError;
use crate::export::names::{MetricKind, MetricPresence};
use crate::export::reading::Sample;
use crate::export::source::ExportSource;
use crate::export::table::{MetricDefinition, rows, visit};
use crate::export::tests::manager_of;

/// Seen to bite: with `cancelled` left out of the values of the gets that are read.
#[test]
fn each_metric_has_the_values_of_its_label_and_the_samples_of_its_kind() {
    let manager = manager_of(&["redis://127.0.0.1:1"]);
    let readings = ExportSource::from(&manager).read();
    for (row, definition) in rows(true).zip(MetricDefinition::all()) {
        let mut values = Vec::new();
        visit(&readings, row, |series, sample| {
            assert_eq!(series.node.0, definition.node_label);
            assert_eq!(series.label.map(|label| label.0), definition.label, "{}", row.name);
            values.extend(series.label.map(|label| label.1.to_owned()));
            let is_histogram = matches!(sample, Sample::Times(_));
            assert_eq!(is_histogram, row.kind == MetricKind::Histogram, "{}", row.name);
            assert_eq!(matches!(sample, Sample::Seconds(_)) || is_histogram, row.unit == "s", "{}", row.name);
        });
        match definition.presence {
            MetricPresence::Always => assert_eq!(values, definition.label_values, "{}", row.name),
            // The look-up of a name may have ended.
            MetricPresence::Counted => assert!(values.is_empty() || values == ["resolve"], "{} {values:?}", row.name),
            MetricPresence::Cluster | MetricPresence::Primary => assert!(values.is_empty(), "{} {values:?}", row.name),
        }
        // Those in which nothing was counted, too.
        let mut all = Vec::new();
        let node = &readings[0].nodes[0];
        (row.read)(node, &mut |label, _| all.extend((!label.is_empty()).then(|| label.to_owned())));
        let is_of_a_name = matches!(definition.presence, MetricPresence::Cluster | MetricPresence::Primary);
        assert!(is_of_a_name || all == definition.label_values, "{} {all:?}", row.name);
        assert_eq!(BTreeSet::from_iter(&definition.label_values).len(), definition.label_values.len(), "{}", row.name);
    }
}

/// Seen to bite: with `_total` left at the end of a stem. Guards against: a row that comes twice.
#[test]
fn names_are_unique_and_those_for_prometheus_have_its_units_and_ends() {
    let all = MetricDefinition::all();
    for names in [
        all.iter().map(|metric| metric.name.to_owned()).collect::<BTreeSet<_>>(),
        all.iter().map(|metric| metric.prometheus_name.clone()).collect(),
    ] {
        assert_eq!(names.len(), all.len());
    }
    let prometheus = |name: &str| all.iter().find(|metric| metric.name == name).map(|metric| metric.prometheus_name.as_str());
    for (name, expected) in [
        ("db.client.connection.count", "db_client_connection_count"),
        ("db.client.connection.timeouts", "db_client_connection_timeouts_total"),
        ("db.client.connection.wait_time", "db_client_connection_wait_time_seconds"),
        ("redis.client.node.time_not_up", "redis_client_node_time_not_up_seconds_total"),
    ] {
        assert_eq!(prometheus(name), Some(expected));
    }
    let is_of_form = |name: &str| name.bytes().all(|byte| byte.is_ascii_lowercase() || b"_.".contains(&byte));
    for metric in &all {
        assert!(is_of_form(metric.name) && is_of_form(&metric.prometheus_name.replace('_', ".")), "{}", metric.name);
        assert!(
            !metric.counts.ends_with('.') && !metric.counts.contains('|') && !metric.counts.contains('\n'),
            "{}",
            metric.name
        );
        // The short names are for Prometheus as they are.
        assert!(!metric.is_seed_name || metric.prometheus_name == metric.name, "{} {}", metric.name, metric.prometheus_name);
    }
}

/// Guards against: a name that is taken, or empty, accepted; a manager that is kept alive; labels that are the same.
#[test]
fn a_source_has_each_name_once_keeps_no_manager_and_numbers_equal_labels() {
    let manager = manager_of(&["redis://127.0.0.1:1", "redis://127.0.0.1:2", "redis://127.0.0.1:3"]);
    let source = || ExportSource::new().manager("one", &manager).expect("a new name");
    let taken = source().manager("one", &manager).expect_err("it is taken");
    assert_eq!(taken, ExportError::ManagerNameTaken { name: String::from("one") });
    assert_eq!(ExportSource::new().manager("", &manager).expect_err("no name"), ExportError::EmptyManagerName);
    let labelled = source().pool_label(|url| String::from(if url.ends_with('3') { "x #2" } else { "x" }));
    let readings = labelled.read();
    assert_eq!(readings[0].manager.as_deref(), Some("one"));
    let pools: Vec<_> = readings[0].nodes.iter().map(|node| &*node.pool).collect();
    assert_eq!(pools, ["x", "x #2", "x #2 #2"]);
    assert_eq!(&*readings[0].nodes[1].node, "redis://127.0.0.1:2");
    let limits = readings[0].nodes[0].limits;
    assert_eq!((limits.max_connections, limits.min_idle), (200, 1));
    let closed = manager.closed();
    drop(manager);
    ::smol::block_on(closed);
    assert!(labelled.read().is_empty());
    assert_eq!(
        format!("{:?}", labelled.seed_names(true)),
        "ExportSource { managers: [Some(\"one\")], seed_names: true, all_buckets: false, .. }"
    );
}

/// Guards against: a source that keeps the cluster, and clusters without their own metrics.
#[cfg(feature = "cluster")]
#[test]
fn a_source_of_a_cluster_has_its_names_and_keeps_nothing_alive() {
    use crate::manager::RedisManager;
    use crate::smol::SmolRuntime;

    let manager = RedisManager::builder().use_cluster(true).startup_nodes(["redis://127.0.0.1:1"]);
    // Its tasks are never polled: no node of the cluster is ever found.
    let executor = std::sync::Arc::new(::smol::Executor::new());
    let manager = manager.build(SmolRuntime::with_executor(&executor)).expect("valid");
    let handle = manager.add_node_pool_lazy("redis://u:secret@cluster").expect("a name");
    let source = ExportSource::from(&manager);
    let names = |source: &ExportSource| -> Vec<String> {
        source.read().iter().flat_map(|reading| &reading.nodes).map(|node| node.pool.to_string()).collect()
    };
    assert_eq!(names(&source), ["redis://u:***@cluster"]);
    assert_eq!(manager.metrics().into_keys().collect::<Vec<_>>(), names(&source));
    assert_eq!(manager.status_and_metrics().into_keys().collect::<Vec<_>>(), names(&source));
    assert_eq!(handle.metrics().open(), 0);
    let readings = source.read();
    let mut of_cluster = Vec::new();
    for row in rows(false).filter(|row| row.presence == MetricPresence::Cluster) {
        visit(&readings, row, |series, sample| of_cluster.push((row.name, series.label.is_some(), sample.is_none())));
    }
    let changes = [("topology_changes", true); 3];
    let expected: Vec<_> = changes.into_iter().chain([("failovers", false), ("time_impaired", false)]).collect();
    let found: Vec<_> =
        of_cluster.iter().map(|(name, has_label, _)| (&name["redis.client.cluster.".len()..], *has_label)).collect();
    assert_eq!(found, expected);
    assert!(of_cluster.iter().take(4).all(|(.., is_none)| *is_none), "no topology is known: {of_cluster:?}");
    // The handle keeps the cluster.
    drop(manager);
    assert!(source.read().is_empty());
}

/// Guards against: a primary without its own metrics, and a state of its sentinels that is left out.
#[test]
fn a_primary_behind_sentinels_has_its_own_metrics() {
    use crate::manager::RedisManager;
    use crate::smol::SmolRuntime;

    // Its tasks are never polled: no sentinel ever answers.
    let executor = std::sync::Arc::new(::smol::Executor::new());
    let manager = RedisManager::builder().build(SmolRuntime::with_executor(&executor)).expect("valid");
    let url = "redis+sentinel://:secret@127.0.0.1:1,127.0.0.1:2/orders";
    let _handle = manager.add_node_pool_lazy(url).expect("a URL");
    let metrics = manager.primary_metrics(url).expect("it is there");
    assert_eq!((metrics.failovers, metrics.sentinels_reached, metrics.sentinels_unreached), (0, 0, 2));
    let readings = ExportSource::from(&manager).read();
    let mut found = Vec::new();
    for row in rows(false).filter(|row| row.presence == MetricPresence::Primary) {
        visit(&readings, row, |series, sample| {
            let label = series.label.map_or("", |(_, label)| label).to_owned();
            found.push((&row.name["redis.client.primary.".len()..], label, sample.is_none()));
            assert!(!series.node.1.contains("secret"), "{}", series.node.1);
        });
    }
    let expected = [
        ("failovers", "", true),
        ("time_impaired", "", false),
        ("sentinels", "reached", true),
        ("sentinels", "unreached", false),
        ("replicas", "fit", true),
        ("replicas", "unfit", true),
    ];
    let found: Vec<_> = found.iter().map(|(name, label, is_none)| (*name, label.as_str(), *is_none)).collect();
    // Whether it has been impaired for a while by now is of no matter.
    let named = |rows: &[(&'static str, &'static str, bool)]| {
        rows.iter().map(|(name, label, _)| format!("{name} {label}")).collect::<Vec<_>>()
    };
    assert_eq!(found.iter().map(|(name, label, _)| format!("{name} {label}")).collect::<Vec<_>>(), named(&expected));
    assert_eq!(found[2..].iter().map(|row| row.2).collect::<Vec<_>>(), expected[2..].iter().map(|row| row.2).collect::<Vec<_>>());
}
