//! Tests of the reporter for the facade `metrics`, with a recorder that keeps what is set.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use metrics::{Counter, CounterFn, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

use crate::export::facade::MetricsReporter;
use crate::export::source::ExportSource;
use crate::export::tests::manager_of;

/// By name and labels; the values with the kind.
pub(super) type RecordedValues = BTreeMap<(String, BTreeMap<String, String>), (&'static str, f64)>;

/// Keeps the values that are set.
#[derive(Clone, Debug, Default)]
pub(super) struct KeepingRecorder {
    pub(super) values: Arc<Mutex<RecordedValues>>,
    described: Arc<Mutex<BTreeMap<String, Option<Unit>>>>,
}

/// One value of it.
struct KeptValue {
    recorder: KeepingRecorder,
    kind: &'static str,
    key: Key,
}

impl KeptValue {
    fn set_to(&self, value: f64) {
        let labels = self.key.labels().map(|label| (label.key().to_owned(), label.value().to_owned())).collect();
        let mut values = self.recorder.values.lock().expect("not poisoned");
        values.insert((self.key.name().to_owned(), labels), (self.kind, value));
    }
}

impl CounterFn for KeptValue {
    fn increment(&self, _: u64) {
        panic!("a counter is set as a whole");
    }

    fn absolute(&self, value: u64) {
        self.set_to(value as f64);
    }
}

impl GaugeFn for KeptValue {
    fn increment(&self, _: f64) {
        panic!("a gauge is set as a whole");
    }

    fn decrement(&self, _: f64) {
        panic!("a gauge is set as a whole");
    }

    fn set(&self, value: f64) {
        self.set_to(value);
    }
}

impl KeepingRecorder {
    fn kept(&self, kind: &'static str, key: &Key) -> Arc<KeptValue> {
        assert!(self.described.lock().expect("not poisoned").contains_key(key.name()), "{key} is not described");
        Arc::new(KeptValue { recorder: self.clone(), kind, key: key.clone() })
    }

    fn describe(&self, name: &KeyName, unit: Option<Unit>) {
        self.described.lock().expect("not poisoned").insert(name.as_str().to_owned(), unit);
    }

    fn value(&self, name: &str, labels: &[(&str, &str)]) -> (&'static str, f64) {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let values = self.values.lock().expect("not poisoned");
        *values.get(&(name.to_owned(), labels)).unwrap_or_else(|| panic!("no {name} in {values:#?}"))
    }
}

impl Recorder for KeepingRecorder {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(&name, unit);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(&name, unit);
    }

    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        panic!("{name:?} cannot be set");
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.kept("counter", key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.kept("gauge", key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        panic!("{key} cannot be set");
    }
}

/// Guards against: gauges of a node that is gone left as they were, and its counters set to 0.
#[test]
fn a_report_sets_all_and_the_next_one_the_gauges_of_nodes_that_are_gone_to_zero() {
    let manager = manager_of(&["redis://127.0.0.1:1", "redis://127.0.0.1:2"]);
    let source = ExportSource::new().manager("one", &manager).expect("a name");
    let reporter = MetricsReporter::new(source);
    let recorder = KeepingRecorder::default();
    let report = || metrics::with_local_recorder(&recorder, || reporter.report());
    let max = |port: usize| {
        let node = format!("redis://127.0.0.1:{port}");
        recorder.value("db.client.connection.max", &[("manager", "one"), ("db.client.connection.pool.name", &node)])
    };
    report();
    assert_eq!((max(1), max(2)), (("gauge", 200.0), ("gauge", 200.0)));
    assert_eq!(recorder.described.lock().expect("not poisoned")["redis.client.node.down_for"], Some(Unit::Seconds));
    ::smol::block_on(manager.close_node_pools("redis://127.0.0.1:1"));
    report();
    assert_eq!((max(1), max(2)), (("gauge", 0.0), ("gauge", 200.0)));
    let grown = |name: &str| -> Vec<f64> {
        let values = recorder.values.lock().expect("not poisoned");
        values.iter().filter(|((of, _), _)| of == name).map(|(_, (_, value))| *value).collect()
    };
    let before = (grown("redis.client.connection.dials_started"), grown("redis.client.node.time_not_up"));
    assert!(before.1.iter().sum::<f64>() > 0.0);
    drop(manager);
    report();
    report();
    assert_eq!((max(1), max(2)), (("gauge", 0.0), ("gauge", 0.0)));
    assert_eq!((grown("redis.client.connection.dials_started"), grown("redis.client.node.time_not_up")), before);
    assert!(format!("{reporter:?}").starts_with("MetricsReporter"));
}
