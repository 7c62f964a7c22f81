//! The table of metrics: the one source of names, kinds, units, labels and values for all exporters.

use crate::export::clusters::CLUSTERS;
use crate::export::commands::COMMANDS;
use crate::export::names::{MetricKind, MetricPresence, prometheus_name};
use crate::export::primaries::PRIMARIES;
use crate::export::reading::{ManagerReading, Sample, Series};
use crate::export::row::MetricRow;
use crate::export::seed::SEED;
use crate::export::standard::STANDARD;

/// The label with the name of the node.
const POOL_NAME: &str = "db.client.connection.pool.name";
/// The same beside the short names.
const NODE_URL: &str = "node_redis_url";
/// The label with the name of the manager.
pub(crate) const MANAGER: &str = "manager";

/// One metric as it is exported, for documentation and dashboards.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MetricDefinition {
    /// The name for OpenTelemetry and the crate `metrics`.
    pub name: &'static str,
    /// The name for Prometheus; a histogram has `_bucket`, `_sum` and `_count` behind it.
    pub prometheus_name: String,
    /// What its values do.
    pub kind: MetricKind,
    /// The unit as UCUM writes it: `s`, `1`, or in braces what is counted.
    pub unit: &'static str,
    /// The label with the name of the node.
    pub node_label: &'static str,
    /// Another label, if there is one.
    pub label: Option<&'static str>,
    /// All values of that label; none if they are the names of commands.
    pub label_values: Vec<&'static str>,
    /// Which of its series are exported.
    pub presence: MetricPresence,
    /// What it counts.
    pub counts: &'static str,
    /// Whether it is exported with [`seed_names`](crate::export::ExportSource::seed_names) only.
    pub is_seed_name: bool,
}

impl MetricDefinition {
    /// All metrics in the order in which they are exported.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let define = |row: &MetricRow| Self {
            name: row.name,
            prometheus_name: prometheus_name(row.name, row.kind, row.unit),
            kind: row.kind,
            unit: row.unit,
            node_label: node_label(row),
            label: row.label.map(|label| label.name),
            label_values: row.label.map(|label| (label.values)()).unwrap_or_default(),
            presence: row.presence,
            counts: row.counts,
            is_seed_name: is_seed_name(row),
        };
        rows(true).map(define).collect()
    }
}

/// The rows that are exported.
pub(crate) fn rows(with_seed_names: bool) -> impl Iterator<Item = &'static MetricRow> {
    let all = STANDARD.iter().chain(COMMANDS);
    let all = all.chain(CLUSTERS);
    let all = all.chain(PRIMARIES);
    all.chain(SEED.iter().filter(move |_| with_seed_names))
}

/// All values of a metric.
pub(crate) fn visit(readings: &[ManagerReading], row: &MetricRow, mut value: impl FnMut(&Series<'_>, Sample<'_>)) {
    let (is_seed_name, node_label) = (is_seed_name(row), node_label(row));
    for ManagerReading { manager, nodes } in readings {
        for node in nodes {
            let name = if is_seed_name { &node.node } else { &node.pool };
            (row.read)(node, &mut |label, sample| {
                if row.presence == MetricPresence::Counted && sample.is_none() {
                    return;
                }
                let label = row.label.map(|of_row| (of_row.name, label));
                value(&Series { manager: manager.as_ref(), node: (node_label, name), label }, sample);
            });
        }
    }
}

fn is_seed_name(row: &MetricRow) -> bool {
    SEED.iter().any(|seed| seed.name == row.name)
}

/// The key of the label with the name of the node.
pub(crate) fn node_label(row: &MetricRow) -> &'static str {
    if is_seed_name(row) { NODE_URL } else { POOL_NAME }
}
