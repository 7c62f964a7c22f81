//! What an exporter has read of the managers, and the series of a metric in it.

use std::sync::Arc;

use redis_manager_core::Histogram;

use crate::manager::NodePicture;

/// The nodes of one manager.
pub(crate) struct ManagerReading {
    /// The name of the manager, if it has one.
    pub(crate) manager: Option<Arc<str>>,
    pub(crate) nodes: Vec<NodeReading>,
}

/// One node at one moment.
pub(crate) struct NodeReading {
    /// The value of `db.client.connection.pool.name`.
    pub(crate) pool: Arc<str>,
    /// The name of the node in statuses, password hidden.
    pub(crate) node: Arc<str>,
    pub(crate) picture: Box<NodePicture>,
    pub(crate) limits: NodeLimits,
}

/// What the settings allow a node.
#[derive(Clone, Copy)]
pub(crate) struct NodeLimits {
    pub(crate) max_connections: usize,
    pub(crate) min_idle: usize,
}

/// One value of a metric.
#[derive(Clone, Copy)]
pub(crate) enum Sample<'a> {
    Count(u64),
    Seconds(f64),
    Times(&'a Histogram),
}

impl Sample<'_> {
    /// Whether nothing was counted.
    pub(crate) fn is_none(self) -> bool {
        match self {
            Self::Count(count) => count == 0,
            Self::Seconds(seconds) => seconds == 0.0,
            Self::Times(histogram) => histogram.count() == 0,
        }
    }
}

/// Which of a metric's values it is.
pub(crate) struct Series<'a> {
    pub(crate) manager: Option<&'a Arc<str>>,
    /// The label with the name of the node, and its value.
    pub(crate) node: (&'static str, &'a Arc<str>),
    pub(crate) label: Option<(&'static str, &'a str)>,
}

/// The parts of a histogram: those of the bounds that are exported, with how many lengths did not exceed each.
///
/// Of the six bounds of each decade every `step`th; the counts are cumulative, so those between are not missed.
pub(crate) fn buckets(histogram: &Histogram, step: usize) -> impl Iterator<Item = (f64, u64)> + '_ {
    histogram.buckets().step_by(step).map(|(bound, up_to)| (bound.as_secs_f64(), up_to))
}

/// The values of the label `le` for these buckets, and the last one for all lengths.
#[cfg(any(feature = "metrics", feature = "opentelemetry"))]
pub(crate) fn bounds(step: usize) -> Vec<Arc<str>> {
    let none = Histogram::default();
    buckets(&none, step).map(|(bound, _)| bound.to_string()).chain([String::from("+Inf")]).map(Arc::from).collect()
}
