//! The metrics of all nodes for Prometheus, the crate `metrics` and OpenTelemetry.
//!
//! [`ExportSource`] names the managers and says how their nodes are labelled; a `&RedisManager` alone is one, too. The
//! exporters, each with the feature of its name:
//!
//! - `prometheus`: `PrometheusCollector`, a `Collector` of the crate `prometheus-client`, and `TextFormat` for the text.
//! - `metrics`: `MetricsReporter`, whose `report()` sets counters and gauges of the facade `metrics`.
//! - `opentelemetry`: `register_on_meter`, which makes observable instruments.
//!
//! All of them export the same table, [`MetricDefinition::all`]. They read the manager when they are asked, one consistent
//! picture of each node, and cost nothing otherwise. None of them keeps a manager alive. No output contains a password.

mod clusters;
mod commands;
mod error;
#[cfg(feature = "metrics")]
mod facade;
mod names;
#[cfg(feature = "opentelemetry")]
mod open_telemetry;
mod primaries;
#[cfg(feature = "prometheus")]
mod prometheus;
mod reading;
mod row;
mod seed;
mod source;
mod standard;
mod table;
#[cfg(all(test, feature = "smol"))]
mod tests;

pub use crate::export::error::ExportError;
#[cfg(feature = "metrics")]
pub use crate::export::facade::MetricsReporter;
pub use crate::export::names::{MetricKind, MetricPresence};
#[cfg(feature = "opentelemetry")]
pub use crate::export::open_telemetry::register_on_meter;
#[cfg(feature = "prometheus")]
pub use crate::export::prometheus::{PrometheusCollector, TextFormat};
pub use crate::export::source::ExportSource;
pub use crate::export::table::MetricDefinition;
/// The facade of [`MetricsReporter`]. A recorder that is installed by another major version of it gets nothing.
#[cfg(feature = "metrics")]
pub use ::metrics;
/// The crate of that name. Its types are in signatures here: its version is part of this interface.
#[cfg(feature = "opentelemetry")]
pub use ::opentelemetry;
/// The crate of that name. Its types are in signatures here: its version is part of this interface.
#[cfg(feature = "prometheus")]
pub use ::prometheus_client;
