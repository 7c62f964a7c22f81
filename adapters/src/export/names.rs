//! The kinds of metrics, and how the name of a metric is written for Prometheus.

use std::fmt;

/// The unit of seconds, as UCUM writes it.
pub(crate) const SECONDS: &str = "s";

/// What the values of a metric do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MetricKind {
    /// It only grows, from the moment at which the node was added.
    Counter,
    /// It grows and falls, and that of several nodes may be added up. A gauge for Prometheus and the crate `metrics`.
    UpDownCounter,
    /// It grows and falls.
    Gauge,
    /// Lengths of time by how long they were.
    Histogram,
}

impl fmt::Display for MetricKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Counter => "counter",
            Self::UpDownCounter => "up-down counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        })
    }
}

/// Which series of a metric are exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MetricPresence {
    /// One for each node and value of the label, whatever was counted.
    Always,
    /// Those in which something was counted.
    Counted,
    /// All of those whose node is the name of a cluster.
    Cluster,
    /// All of those whose node is the name of a primary behind sentinels, or of one with replicas.
    Primary,
}

/// A name for Prometheus, without the unit and without `_total`, which its format adds.
pub(crate) fn prometheus_stem(name: &str, kind: MetricKind, unit: &str) -> String {
    let name = underscored(name);
    let name = if kind == MetricKind::Counter { name.strip_suffix("_total").unwrap_or(&name) } else { &name };
    String::from(if unit == SECONDS { name.strip_suffix("_seconds").unwrap_or(name) } else { name })
}

/// The whole name for Prometheus.
pub(crate) fn prometheus_name(name: &str, kind: MetricKind, unit: &str) -> String {
    let unit_suffix = if unit == SECONDS { "_seconds" } else { "" };
    let kind_suffix = if kind == MetricKind::Counter { "_total" } else { "" };
    prometheus_stem(name, kind, unit) + unit_suffix + kind_suffix
}

/// The name of a metric or a label with underscores for dots.
pub(crate) fn underscored(name: &str) -> String {
    name.replace('.', "_")
}
