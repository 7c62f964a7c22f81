//! One row of the table of metrics: its name, kind, unit, label, and how its values are read of a node.

use redis_manager_core::{CountBy, CountKey};

use crate::export::names::{MetricKind, MetricPresence, SECONDS};
use crate::export::reading::{NodeReading, Sample};

/// Takes the values of a node, each with the value of the row's label; empty without a label.
pub(crate) type Put<'a> = dyn FnMut(&str, Sample<'_>) + 'a;
type Read = fn(&NodeReading, &mut Put<'_>);

/// A metric of every node.
pub(crate) struct MetricRow {
    pub(crate) name: &'static str,
    pub(crate) kind: MetricKind,
    /// As UCUM writes it: `s`, `1`, or what is counted in braces.
    pub(crate) unit: &'static str,
    pub(crate) label: Option<RowLabel>,
    pub(crate) presence: MetricPresence,
    pub(crate) counts: &'static str,
    pub(crate) read: Read,
}

/// A label beside those of the manager and the node.
#[derive(Clone, Copy)]
pub(crate) struct RowLabel {
    pub(crate) name: &'static str,
    /// None if they are names of commands.
    pub(crate) values: fn() -> Vec<&'static str>,
}

impl MetricRow {
    pub(crate) const fn counter(name: &'static str, unit: &'static str, counts: &'static str, read: Read) -> Self {
        Self { name, kind: MetricKind::Counter, unit, label: None, presence: MetricPresence::Always, counts, read }
    }

    pub(crate) const fn up_down(name: &'static str, unit: &'static str, counts: &'static str, read: Read) -> Self {
        Self { name, kind: MetricKind::UpDownCounter, unit, label: None, presence: MetricPresence::Always, counts, read }
    }

    pub(crate) const fn gauge(name: &'static str, unit: &'static str, counts: &'static str, read: Read) -> Self {
        Self { name, kind: MetricKind::Gauge, unit, label: None, presence: MetricPresence::Always, counts, read }
    }

    pub(crate) const fn histogram(name: &'static str, counts: &'static str, read: Read) -> Self {
        Self { name, kind: MetricKind::Histogram, unit: SECONDS, label: None, presence: MetricPresence::Always, counts, read }
    }

    /// The same, without the series in which nothing was counted.
    pub(crate) const fn once_counted(mut self) -> Self {
        self.presence = MetricPresence::Counted;
        self
    }

    /// The same, of names of clusters alone.
    pub(crate) const fn of_clusters(mut self) -> Self {
        self.presence = MetricPresence::Cluster;
        self
    }

    /// The same, of names of primaries behind sentinels, or with replicas, alone.
    pub(crate) const fn of_primaries(mut self) -> Self {
        self.presence = MetricPresence::Primary;
        self
    }

    /// The same with a label, which has one of these values.
    pub(crate) const fn by(mut self, name: &'static str, values: fn() -> Vec<&'static str>) -> Self {
        self.label = Some(RowLabel { name, values });
        self
    }
}

/// The labels of all kinds of an enum.
pub(crate) fn labels<K: CountKey>() -> Vec<&'static str> {
    K::ALL.iter().map(|kind| kind.label()).collect()
}

pub(crate) fn put_count(count: usize, put: &mut Put<'_>) {
    put("", Sample::Count(count as u64));
}

pub(crate) fn put_total(count: u64, put: &mut Put<'_>) {
    put("", Sample::Count(count));
}

pub(crate) fn put_each<K: CountKey>(counts: &CountBy<K>, put: &mut Put<'_>) {
    counts.iter().for_each(|(kind, count)| put(kind.label(), Sample::Count(count)));
}
