//! What is counted and timed of a node: histograms, counters by kind, the public picture of them, and the machine that keeps
//! them.

mod count_by;
mod histogram;
mod node_metrics;
mod recorder;

pub use count_by::{CountBy, CountKey};
pub use histogram::Histogram;
pub use node_metrics::{AcquireCounts, ConnectCounts, NodeMetrics, ReturnCounts};
pub(crate) use recorder::MetricsRecorder;
