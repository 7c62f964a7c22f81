//! What is counted and timed of the requests, connects and subscriptions of a node. Decides nothing.

mod atomic_histogram;
pub(crate) mod command_label;
mod command_metrics;
pub(crate) mod counted_request;
pub(crate) mod node_counters;
pub(crate) mod request_result;
#[cfg(all(test, feature = "tokio"))]
mod tests;

pub use command_metrics::{CommandMetrics, ConnectPhaseTimes, RequestCounts, SubscriptionCounts};
pub(crate) use node_counters::NodeCounters;
pub use request_result::{RequestResult, RequestWay, ServerErrorCode};
