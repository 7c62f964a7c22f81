//! The alarm of a connection: how a connector tells the pool of a death that nobody asked about.

use std::fmt;
use std::sync::{Arc, Weak};

use crate::connector::Connector;
use crate::door::Door;
use crate::state::ConnId;

/// Tells the pool that a connection is dead; given to [`Connector::watch`].
///
/// It may be raised from any thread, at any time, also long after the connection or the pool is gone.
#[derive(Clone)]
pub struct Alarm {
    door: Weak<dyn Alarmed>,
    id: ConnId,
}

impl Alarm {
    pub(crate) fn new<K: Connector>(door: &Arc<Door<K>>, id: ConnId) -> Self {
        let door: Weak<Door<K>> = Arc::downgrade(door);
        Self { door, id }
    }

    /// The connection is dead: an idle one is closed and replaced at once, one on loan is closed on its return.
    pub fn raise(self) {
        if let Some(door) = self.door.upgrade() {
            door.died(self.id);
        }
    }
}

impl fmt::Debug for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alarm").field("id", &self.id).finish_non_exhaustive()
    }
}

pub(crate) trait Alarmed: Send + Sync {
    fn died(&self, id: ConnId);
}
