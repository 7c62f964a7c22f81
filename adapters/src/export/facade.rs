//! Exports to the recorder of the facade `metrics`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use metrics::{Gauge, Key, Label, Level, Metadata, Recorder, SharedString, Unit};

use crate::export::names::{MetricKind, SECONDS};
use crate::export::reading::{Sample, Series, bounds, buckets};
use crate::export::row::MetricRow;
use crate::export::source::ExportSource;
use crate::export::table::{MANAGER, rows, visit};

const METADATA: &Metadata<'static> = &Metadata::new("redis_manager", Level::INFO, Some(module_path!()));

/// By manager, and by the label of the node and its value.
type GaugesOfNodes = BTreeMap<(Option<Arc<str>>, &'static str, Arc<str>), Vec<Gauge>>;

/// Sets the metrics of all nodes at the recorder of the facade `metrics`, each time that [`report`](MetricsReporter::report) is
/// called. Nothing is counted between two reports that the next one does not have.
///
/// Counters are set as a whole (`absolute`). Two things differ from the table of metrics, because the facade's counters have no
/// fractions and its histograms cannot be set:
///
/// - a counter of seconds is a gauge that only grows;
/// - a histogram `name` is the counters `name.bucket` with the label `le`, cumulative and ending with `+Inf`, and `name.count`,
///   and the gauge `name.sum` in seconds.
///
#[cfg_attr(feature = "tokio", doc = "```no_run")]
#[cfg_attr(not(feature = "tokio"), doc = "```ignore")]
/// use redis_manager::RedisManager;
/// use redis_manager::export::MetricsReporter;
/// use std::time::Duration;
///
/// async fn report_every_ten_seconds(manager: RedisManager) {
///     let reporter = MetricsReporter::new(&manager);
///     drop(manager);
///     loop {
///         reporter.report();
///         tokio::time::sleep(Duration::from_secs(10)).await;
///     }
/// }
/// ```
pub struct MetricsReporter {
    source: ExportSource,
    /// Those that the last report has set and that must not stay as they are when their node is gone.
    last: Mutex<GaugesOfNodes>,
}

impl MetricsReporter {
    /// A reporter of these managers; a `&RedisManager` alone is enough.
    #[must_use]
    pub fn new(source: impl Into<ExportSource>) -> Self {
        Self { source: source.into(), last: Mutex::default() }
    }

    /// Sets all counters and gauges as they are now. The recorder is the global one, or that of the thread.
    ///
    /// Of nodes that are gone since the last report, gauges are set to 0; counters, and gauges that only grow, stay as they were.
    /// The same for all nodes of a manager whose last handle was dropped.
    pub fn report(&self) {
        metrics::with_recorder(|recorder| self.report_to(recorder));
    }

    fn report_to(&self, recorder: &dyn Recorder) {
        let readings = self.source.read();
        let step = self.source.bucket_step();
        let bounds = bounds(step);
        let mut set = GaugesOfNodes::new();
        for row in rows(self.source.has_seed_names()) {
            let target = RowTarget::describe(recorder, row);
            visit(&readings, row, |series, sample| match sample {
                Sample::Count(count) if row.kind == MetricKind::Counter => target.count(&target.name, series, None, count),
                Sample::Seconds(seconds) if row.kind == MetricKind::Counter => target.gauge(&target.name, series).set(seconds),
                Sample::Count(count) => keep(&mut set, series, target.gauge(&target.name, series), count as f64),
                Sample::Seconds(seconds) => keep(&mut set, series, target.gauge(&target.name, series), seconds),
                Sample::Times(histogram) => {
                    let counts = buckets(histogram, step).map(|(_, up_to)| up_to).chain([histogram.count()]);
                    for (bound, up_to) in bounds.iter().zip(counts) {
                        target.count(&target.bucket, series, Some(bound), up_to);
                    }
                    target.count(&target.count, series, None, histogram.count());
                    target.gauge(&target.sum, series).set(histogram.sum().as_secs_f64());
                }
            });
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = last.iter().filter(|(node, _)| !set.contains_key(*node));
        gone.flat_map(|(_, gauges)| gauges).for_each(|gauge| gauge.set(0.0));
        *last = set;
    }
}

fn keep(set: &mut GaugesOfNodes, series: &Series<'_>, gauge: Gauge, value: f64) {
    gauge.set(value);
    let (label, node) = series.node;
    set.entry((series.manager.cloned(), label, Arc::clone(node))).or_default().push(gauge);
}

impl fmt::Debug for MetricsReporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsReporter").field("source", &self.source).finish_non_exhaustive()
    }
}

/// A metric at a recorder, by the names of its parts.
struct RowTarget<'a> {
    recorder: &'a dyn Recorder,
    name: SharedString,
    bucket: SharedString,
    count: SharedString,
    sum: SharedString,
}

impl<'a> RowTarget<'a> {
    fn describe(recorder: &'a dyn Recorder, row: &MetricRow) -> Self {
        let part = |suffix: &str| SharedString::from(Arc::<str>::from(format!("{}{suffix}", row.name)));
        let target = Self {
            recorder,
            name: SharedString::const_str(row.name),
            bucket: part(".bucket"),
            count: part(".count"),
            sum: part(".sum"),
        };
        let unit = |name: &str| Some(if name == SECONDS { Unit::Seconds } else { Unit::Count });
        let counts = SharedString::const_str(row.counts);
        match row.kind {
            MetricKind::Counter if row.unit != SECONDS => {
                recorder.describe_counter(target.name.clone().into(), unit(row.unit), counts);
            }
            MetricKind::Counter | MetricKind::UpDownCounter | MetricKind::Gauge => {
                recorder.describe_gauge(target.name.clone().into(), unit(row.unit), counts);
            }
            MetricKind::Histogram => {
                recorder.describe_counter(target.bucket.clone().into(), Some(Unit::Count), counts.clone());
                recorder.describe_counter(target.count.clone().into(), Some(Unit::Count), counts.clone());
                recorder.describe_gauge(target.sum.clone().into(), Some(Unit::Seconds), counts);
            }
        }
        target
    }

    fn count(&self, name: &SharedString, series: &Series<'_>, bound: Option<&Arc<str>>, count: u64) {
        self.recorder.register_counter(&key(name, series, bound), METADATA).absolute(count);
    }

    fn gauge(&self, name: &SharedString, series: &Series<'_>) -> Gauge {
        self.recorder.register_gauge(&key(name, series, None), METADATA)
    }
}

fn key(name: &SharedString, series: &Series<'_>, bound: Option<&Arc<str>>) -> Key {
    let manager = series.manager.map(|manager| Label::new(MANAGER, Arc::clone(manager)));
    let node = Label::new(series.node.0, Arc::clone(series.node.1));
    let label = series.label.map(|(key, value)| Label::new(key, String::from(value)));
    let bound = bound.map(|bound| Label::new("le", Arc::clone(bound)));
    let labels: Vec<_> = manager.into_iter().chain([node]).chain(label).chain(bound).collect();
    Key::from_parts(name.clone(), labels)
}
