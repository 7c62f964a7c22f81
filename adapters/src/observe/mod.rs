//! What users get of the events of all nodes: a buffer with readers, and log lines. The events come from the core.

mod channel;
mod event_ring;
mod fan_out;
#[cfg(feature = "tracing")]
mod log;
mod node_event;
mod settings;

pub use channel::EventReader;
pub(crate) use channel::EventSource;
pub use node_event::{MissedEvents, NodeEvent};
pub(crate) use settings::ObserveSettings;
