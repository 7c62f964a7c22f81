//! Exports to the registry of the crate `prometheus-client`, and writes its text formats.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabel, EncodeLabelSet, LabelSetEncoder, MetricEncoder, NoLabelSet, prometheus_text, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use crate::export::error::ExportError;
use crate::export::names::{MetricKind, SECONDS, prometheus_stem, underscored};
use crate::export::reading::{ManagerReading, Sample, Series, buckets};
use crate::export::row::MetricRow;
use crate::export::source::ExportSource;
use crate::export::table::{MANAGER, node_label, rows, visit};

/// The metrics of all nodes as a collector of the crate `prometheus-client`. Cheap to clone.
///
/// It reads the managers at each scrape and does not keep them alive: of managers that are gone, nothing is exported.
///
#[cfg_attr(feature = "tokio", doc = "```no_run")]
#[cfg_attr(not(feature = "tokio"), doc = "```ignore")]
/// use redis_manager::RedisManager;
/// use redis_manager::export::prometheus_client::registry::Registry;
/// use redis_manager::export::{ExportError, PrometheusCollector, TextFormat};
///
/// fn registry(manager: &RedisManager) -> Result<Registry, ExportError> {
///     let mut registry = Registry::default();
///     PrometheusCollector::new(manager).register(&mut registry)?;
///     Ok(registry)
/// }
///
/// fn scrape(registry: &Registry) -> Result<String, std::fmt::Error> {
///     TextFormat::OpenMetrics.encode_registry(registry)
/// }
/// ```
#[derive(Clone, Debug)]
pub struct PrometheusCollector {
    source: Arc<ExportSource>,
}

thread_local! {
    /// While a registry is asked whether it has a collector: whether it has one.
    static FOUND: Cell<Option<bool>> = const { Cell::new(None) };
}

impl PrometheusCollector {
    /// A collector of these managers; a `&RedisManager` alone is enough.
    pub fn new(source: impl Into<ExportSource>) -> Self {
        Self { source: Arc::new(source.into()) }
    }

    /// Adds the collector to a registry.
    ///
    /// `registry.register_collector(Box::new(collector))` does the same without the look for another one. The look runs the other
    /// collectors of the registry once.
    ///
    /// # Errors
    ///
    /// [`CollectorPresent`](ExportError::CollectorPresent) if the registry, or one below it, has a collector of redis-manager,
    /// whose managers may be gone.
    pub fn register(self, registry: &mut Registry) -> Result<(), ExportError> {
        if has_collector(registry) {
            return Err(ExportError::CollectorPresent);
        }
        registry.register_collector(Box::new(self));
        Ok(())
    }
}

/// Whether a collector of redis-manager is called when the registry is encoded.
fn has_collector(registry: &Registry) -> bool {
    let before = FOUND.replace(Some(false));
    // An error of another collector is seen at the next scrape, too.
    let _ = text::encode_registry(&mut Discarded, registry);
    FOUND.replace(before) == Some(true)
}

/// Writes nothing.
struct Discarded;

impl fmt::Write for Discarded {
    fn write_str(&mut self, _: &str) -> fmt::Result {
        Ok(())
    }
}

impl Collector for PrometheusCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        if FOUND.get().is_some() {
            FOUND.set(Some(true));
            return Ok(());
        }
        let readings = self.source.read();
        if readings.iter().all(|reading| reading.nodes.is_empty()) {
            return Ok(());
        }
        rows(self.source.has_seed_names()).try_for_each(|row| encode_row(&mut encoder, row, &readings, self.source.bucket_step()))
    }
}

fn encode_row(encoder: &mut DescriptorEncoder<'_>, row: &MetricRow, readings: &[ManagerReading], step: usize) -> fmt::Result {
    let name = prometheus_stem(row.name, row.kind, row.unit);
    let unit = (row.unit == SECONDS).then_some(Unit::Seconds);
    let metric_type = match row.kind {
        MetricKind::Counter => MetricType::Counter,
        MetricKind::UpDownCounter | MetricKind::Gauge => MetricType::Gauge,
        MetricKind::Histogram => MetricType::Histogram,
    };
    let mut encoder = encoder.encode_descriptor(&name, row.counts, unit.as_ref(), metric_type)?;
    let keys = RowKeys::of(row);
    let mut outcome = Ok(());
    visit(readings, row, |series, sample| {
        if outcome.is_ok() {
            let labels = SeriesLabels { keys: &keys, series };
            outcome = encoder.encode_family(&labels).and_then(|encoder| encode_sample(encoder, row.kind, sample, step));
        }
    });
    outcome
}

fn encode_sample(mut encoder: MetricEncoder<'_>, kind: MetricKind, sample: Sample<'_>, step: usize) -> fmt::Result {
    let is_counter = kind == MetricKind::Counter;
    match sample {
        Sample::Count(count) if is_counter => encoder.encode_counter::<NoLabelSet, _, u64>(&count, None),
        Sample::Count(count) => encoder.encode_gauge(&count),
        Sample::Seconds(seconds) if is_counter => encoder.encode_counter::<NoLabelSet, _, f64>(&seconds, None),
        Sample::Seconds(seconds) => encoder.encode_gauge(&seconds),
        Sample::Times(histogram) => {
            let mut before = 0;
            let up_to = buckets(histogram, step).chain([(f64::INFINITY, histogram.count())]);
            // The encoder adds them up again.
            let each: Vec<_> = up_to.map(|(bound, up_to)| (bound, up_to - std::mem::replace(&mut before, up_to))).collect();
            encoder.encode_histogram::<NoLabelSet>(histogram.sum().as_secs_f64(), histogram.count(), &each, None)
        }
    }
}

/// The keys of a row's labels, with underscores.
struct RowKeys {
    node: String,
    label: String,
}

impl RowKeys {
    fn of(row: &MetricRow) -> Self {
        Self { node: underscored(node_label(row)), label: underscored(row.label.map_or("", |label| label.name)) }
    }
}

/// The labels of one series.
struct SeriesLabels<'a> {
    keys: &'a RowKeys,
    series: &'a Series<'a>,
}

impl EncodeLabelSet for SeriesLabels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        if let Some(manager) = self.series.manager {
            (MANAGER, &**manager).encode(encoder.encode_label())?;
        }
        (self.keys.node.as_str(), &**self.series.node.1).encode(encoder.encode_label())?;
        if let Some((_, value)) = self.series.label {
            (self.keys.label.as_str(), value).encode(encoder.encode_label())?;
        }
        Ok(())
    }
}

/// How metrics are written as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TextFormat {
    /// OpenMetrics 1.0, which Prometheus asks for first.
    OpenMetrics,
    /// The text format 0.0.4 of Prometheus.
    Prometheus,
}

impl TextFormat {
    /// The value of the header `Content-Type`.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// All metrics of a registry.
    ///
    /// # Errors
    ///
    /// The error of a metric or a collector of the registry; those of redis-manager have none.
    pub fn encode_registry(self, registry: &Registry) -> Result<String, fmt::Error> {
        let mut written = String::new();
        match self {
            Self::OpenMetrics => text::encode(&mut written, registry)?,
            Self::Prometheus => prometheus_text::encode(&mut written, registry)?,
        }
        Ok(written)
    }

    /// The metrics of these managers alone, for a program without a registry; a `&RedisManager` is enough.
    ///
    /// # Errors
    ///
    /// None that is known; the encoder's type has one.
    pub fn encode(self, source: impl Into<ExportSource>) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(PrometheusCollector::new(source)));
        self.encode_registry(&registry)
    }
}
