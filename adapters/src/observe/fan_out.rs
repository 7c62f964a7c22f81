//! One observer of all nodes that passes each event on: to the readers, to the log, to the user's observer. It decides nothing.

use std::sync::Arc;

use redis_manager_core::{Event, Observer};

use crate::observe::channel::EventSender;
#[cfg(feature = "tracing")]
use crate::observe::log::EventLog;

pub(super) struct FanOut {
    pub(super) sender: Option<EventSender>,
    #[cfg(feature = "tracing")]
    pub(super) log: EventLog,
    pub(super) observer: Option<Arc<dyn Observer>>,
}

impl Observer for FanOut {
    fn event(&self, node: &str, event: &Event) {
        if let Some(sender) = &self.sender {
            sender.send(node, event);
        }
        #[cfg(feature = "tracing")]
        self.log.event(node, event);
        // Last: a panic of it, which the core catches, costs the others nothing.
        if let Some(observer) = &self.observer {
            observer.event(node, event);
        }
    }
}
