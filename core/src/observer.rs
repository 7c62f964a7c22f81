//! Who learns of what happens in a node.

use std::fmt;
use std::sync::Arc;

use crate::state::Event;

/// Learns of what happens in nodes: for logs, metrics and alarms. Set by
/// [`NodeConfigBuilder::observer`](crate::NodeConfigBuilder::observer).
///
/// It is called outside of all locks of the pool, by the task or thread in which the event came up, often that of a caller
/// (also while a lease is dropped): it must not block, nor wait for a lock that a caller may hold. The events of one call come
/// in their order, after the wakes of that call; those of calls that run at the same time on several threads may arrive in
/// another order than they happened, so ask for the status where the latest state matters. It may call the pool, whose events
/// then come before the rest of those under way. A panic in it is caught and costs nothing but that event. An observer that
/// owns a handle of the pool keeps the pool open: hold it weakly.
pub trait Observer: Send + Sync + 'static {
    /// Something has happened in the node of this [name](crate::Connector::name).
    fn event(&self, node: &str, event: &Event);
}

/// The observer of a configuration, if there is one. Two are alike if they are the same object.
#[derive(Clone, Default)]
pub(crate) struct ObserverSlot(Option<Arc<dyn Observer>>);

impl ObserverSlot {
    pub(crate) fn new(observer: Arc<dyn Observer>) -> Self {
        Self(Some(observer))
    }

    pub(crate) fn get(&self) -> Option<&dyn Observer> {
        self.0.as_deref()
    }
}

impl PartialEq for ObserverSlot {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, Some(_)) | (Some(_), None) => false,
        }
    }
}

impl Eq for ObserverSlot {}

impl fmt::Debug for ObserverSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Some(..)" } else { "None" })
    }
}
