//! Exports to a meter of OpenTelemetry, by observable instruments.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry::metrics::{AsyncInstrument, Meter};
use opentelemetry::{KeyValue, StringValue, Value};

use crate::export::names::{MetricKind, SECONDS};
use crate::export::reading::{ManagerReading, Sample, Series, bounds, buckets};
use crate::export::row::MetricRow;
use crate::export::source::ExportSource;
use crate::export::table::{MANAGER, rows, visit};

/// A reading is not used for longer: an instrument may not be asked in a collection of another reader.
const FRESH_FOR: Duration = Duration::from_secs(1);

/// Makes an observable instrument for each metric, which reads the managers when it is collected; a `&RedisManager` alone is
/// enough as a source. All instruments of one collection share one reading, which is at most 1 s old.
///
/// The instruments stay until the meter's provider ends. They do not keep the managers alive: of managers that are gone, nothing
/// is observed. To export several managers, name them in one [`ExportSource`] and register it once.
///
/// OpenTelemetry has no observable histogram. A histogram `name` is three observable counters: `name.bucket` with the attribute
/// `le`, cumulative and ending with `+Inf`, `name.count`, and `name.sum` in seconds. The SDK takes 2000 attribute sets for each
/// instrument by default, which is enough for the buckets of 125 nodes, of 3 with 33 names of commands each; for more, raise the
/// limit by a view.
///
#[cfg_attr(feature = "tokio", doc = "```no_run")]
#[cfg_attr(not(feature = "tokio"), doc = "```ignore")]
/// use redis_manager::RedisManager;
/// use redis_manager::export::{opentelemetry, register_on_meter};
///
/// fn observe(manager: &RedisManager) {
///     register_on_meter(&opentelemetry::global::meter("redis-manager"), manager);
/// }
/// ```
pub fn register_on_meter(meter: &Meter, source: impl Into<ExportSource>) {
    let source = source.into();
    let rows: Vec<_> = rows(source.has_seed_names()).collect();
    let shared = Arc::new(SharedReading { source, latest: Mutex::default() });
    let mut instruments = 0;
    let mut observer = |row, part| {
        instruments += 1;
        RowObserver { shared: Arc::clone(&shared), instrument: instruments - 1, row, part }
    };
    for row in rows {
        match row.kind {
            MetricKind::Counter if row.unit == SECONDS => {
                float_counter(meter, String::from(row.name), observer(row, RowPart::Value))
            }
            MetricKind::Counter => counter(meter, String::from(row.name), row.unit, observer(row, RowPart::Value)),
            MetricKind::UpDownCounter => {
                let observer = observer(row, RowPart::Value);
                let instrument = meter.i64_observable_up_down_counter(row.name).with_description(row.counts).with_unit(row.unit);
                let _ = instrument.with_callback(move |instrument| observer.observe(instrument, integer)).build();
            }
            MetricKind::Gauge => {
                let observer = observer(row, RowPart::Value);
                let instrument = meter.f64_observable_gauge(row.name).with_description(row.counts).with_unit(row.unit);
                let _ = instrument.with_callback(move |instrument| observer.observe(instrument, float)).build();
            }
            MetricKind::Histogram => {
                counter(meter, format!("{}.bucket", row.name), "1", observer(row, RowPart::Buckets));
                counter(meter, format!("{}.count", row.name), "1", observer(row, RowPart::Count));
                float_counter(meter, format!("{}.sum", row.name), observer(row, RowPart::Sum));
            }
        }
    }
}

fn counter(meter: &Meter, name: String, unit: &'static str, observer: RowObserver) {
    let instrument = meter.u64_observable_counter(name).with_description(observer.row.counts).with_unit(unit);
    let _ = instrument.with_callback(move |instrument| observer.observe(instrument, whole)).build();
}

fn float_counter(meter: &Meter, name: String, observer: RowObserver) {
    let instrument = meter.f64_observable_counter(name).with_description(observer.row.counts).with_unit(SECONDS);
    let _ = instrument.with_callback(move |instrument| observer.observe(instrument, float)).build();
}

/// What an instrument observes of a row.
#[derive(Clone, Copy)]
enum RowPart {
    Value,
    Buckets,
    Count,
    Sum,
}

/// The callback of one instrument.
struct RowObserver {
    shared: Arc<SharedReading>,
    /// Its number.
    instrument: usize,
    row: &'static MetricRow,
    part: RowPart,
}

impl RowObserver {
    fn observe<T>(&self, instrument: &dyn AsyncInstrument<T>, value: fn(Sample<'_>) -> T) {
        let readings = self.shared.read(self.instrument);
        let step = self.shared.source.bucket_step();
        let bounds = if let RowPart::Buckets = self.part { bounds(step) } else { Vec::new() };
        visit(&readings, self.row, |series, sample| {
            let observe = |sample, bound| instrument.observe(value(sample), &attributes(series, bound));
            match (self.part, sample) {
                (RowPart::Buckets, Sample::Times(histogram)) => {
                    let counts = buckets(histogram, step).map(|(_, up_to)| up_to).chain([histogram.count()]);
                    bounds.iter().zip(counts).for_each(|(bound, up_to)| observe(Sample::Count(up_to), Some(bound)));
                }
                (RowPart::Count, Sample::Times(histogram)) => observe(Sample::Count(histogram.count()), None),
                (RowPart::Sum, Sample::Times(histogram)) => observe(Sample::Seconds(histogram.sum().as_secs_f64()), None),
                (_, sample) => observe(sample, None),
            }
        });
    }
}

fn whole(sample: Sample<'_>) -> u64 {
    match sample {
        Sample::Count(count) => count,
        Sample::Seconds(seconds) => seconds as u64,
        Sample::Times(histogram) => histogram.count(),
    }
}

fn integer(sample: Sample<'_>) -> i64 {
    i64::try_from(whole(sample)).unwrap_or(i64::MAX)
}

fn float(sample: Sample<'_>) -> f64 {
    match sample {
        Sample::Seconds(seconds) => seconds,
        Sample::Count(_) | Sample::Times(_) => whole(sample) as f64,
    }
}

fn attributes(series: &Series<'_>, bound: Option<&Arc<str>>) -> Vec<KeyValue> {
    let text = |value: &Arc<str>| Value::String(StringValue::from(Arc::clone(value)));
    let manager = series.manager.map(|manager| KeyValue::new(MANAGER, text(manager)));
    let node = KeyValue::new(series.node.0, text(series.node.1));
    let label = series.label.map(|(key, value)| KeyValue::new(key, String::from(value)));
    let bound = bound.map(|bound| KeyValue::new("le", text(bound)));
    manager.into_iter().chain([node]).chain(label).chain(bound).collect()
}

/// The reading that the instruments of one collection share, so that their values add up.
struct SharedReading {
    source: ExportSource,
    latest: Mutex<Option<LatestReading>>,
}

struct LatestReading {
    taken_at: Instant,
    readings: Arc<Vec<ManagerReading>>,
    /// The instruments that have used it.
    used_by: Vec<usize>,
}

impl SharedReading {
    /// The latest reading, or a new one if this instrument has used it: then another collection has begun.
    fn read(&self, instrument: usize) -> Arc<Vec<ManagerReading>> {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(present) = &mut *latest
            && present.taken_at.elapsed() < FRESH_FOR
            && !present.used_by.contains(&instrument)
        {
            present.used_by.push(instrument);
            return Arc::clone(&present.readings);
        }
        let readings = Arc::new(self.source.read());
        *latest = Some(LatestReading { taken_at: Instant::now(), readings: Arc::clone(&readings), used_by: vec![instrument] });
        readings
    }
}
