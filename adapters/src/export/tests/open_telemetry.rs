//! Tests of the observable instruments, with the SDK and an exporter that keeps what it gets.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics};
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider, Temporality};

use crate::export::open_telemetry::register_on_meter;
use crate::export::source::ExportSource;
use crate::export::tests::manager_of;

/// By name and attributes; the values with the kind and the unit.
pub(super) type ObservedValues = BTreeMap<(String, BTreeMap<String, String>), (&'static str, String, f64)>;

/// Keeps the values of the last collection.
#[derive(Clone, Debug, Default)]
struct KeepingExporter {
    values: Arc<Mutex<ObservedValues>>,
}

fn attributes<'a>(attributes: impl Iterator<Item = &'a KeyValue>) -> BTreeMap<String, String> {
    attributes.map(|attribute| (attribute.key.to_string(), attribute.value.to_string())).collect()
}

/// Attributes and a value.
type Point = (BTreeMap<String, String>, f64);

fn points<T: Copy>(data: &MetricData<T>, float: impl Fn(T) -> f64) -> (&'static str, Vec<Point>) {
    match data {
        MetricData::Sum(sum) => {
            assert_eq!(sum.temporality(), Temporality::Cumulative);
            let kind = if sum.is_monotonic() { "counter" } else { "up-down counter" };
            (kind, sum.data_points().map(|point| (attributes(point.attributes()), float(point.value()))).collect())
        }
        MetricData::Gauge(gauge) => {
            ("gauge", gauge.data_points().map(|point| (attributes(point.attributes()), float(point.value()))).collect())
        }
        MetricData::Histogram(_) | MetricData::ExponentialHistogram(_) => panic!("nothing is observed as a histogram"),
    }
}

impl PushMetricExporter for KeepingExporter {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let mut values = ObservedValues::new();
        for metric in metrics.scope_metrics().flat_map(|scope| scope.metrics()) {
            let (kind, points) = match metric.data() {
                AggregatedMetrics::F64(data) => points(data, |value| value),
                AggregatedMetrics::U64(data) => points(data, |value| value as f64),
                AggregatedMetrics::I64(data) => points(data, |value| value as f64),
            };
            for (attributes, value) in points {
                let series = (metric.name().to_owned(), attributes);
                assert!(values.insert(series.clone(), (kind, metric.unit().to_owned(), value)).is_none(), "{series:?} twice");
            }
        }
        *self.values.lock().expect("not poisoned") = values;
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}

/// A provider whose instruments are collected by hand.
pub(super) struct Collected {
    provider: SdkMeterProvider,
    exporter: KeepingExporter,
}

impl Collected {
    pub(super) fn of(source: impl Into<ExportSource>) -> Self {
        let exporter = KeepingExporter::default();
        let reader = PeriodicReader::builder(exporter.clone()).with_interval(Duration::from_secs(3_600)).build();
        let provider = SdkMeterProvider::builder().with_reader(reader).build();
        register_on_meter(&provider.meter("test"), source);
        Self { provider, exporter }
    }

    pub(super) fn collect(&self) -> ObservedValues {
        self.exporter.values.lock().expect("not poisoned").clear();
        self.provider.force_flush().expect("the reader runs");
        self.exporter.values.lock().expect("not poisoned").clone()
    }
}

/// Guards against: a reading that is used by a second collection, a callback that keeps the manager.
#[test]
fn each_collection_reads_anew_and_nothing_is_observed_of_a_manager_that_is_gone() {
    let manager = manager_of(&["redis://127.0.0.1:1"]);
    let collected = Collected::of(&manager);
    let nodes = |values: ObservedValues| values.keys().filter(|(name, _)| name == "db.client.connection.max").count();
    let values = collected.collect();
    let (series, value) = values.iter().find(|((name, _), _)| name == "db.client.connection.max").expect("one node");
    assert_eq!(series.1, BTreeMap::from([("db.client.connection.pool.name".into(), "redis://127.0.0.1:1".into())]));
    assert_eq!(*value, ("up-down counter", String::from("{connection}"), 200.0));
    manager.add_node_pool_lazy("redis://127.0.0.1:2").expect("a URL");
    assert_eq!(nodes(collected.collect()), 2);
    ::smol::block_on(manager.close_node_pools("redis://127.0.0.1:1"));
    assert_eq!(nodes(collected.collect()), 1);
    drop(manager);
    assert_eq!(collected.collect(), ObservedValues::new());
}
