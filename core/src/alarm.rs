//! The alarm of a connection: how a connector tells the pool what nobody asked about.

use std::fmt;
use std::sync::{Arc, Weak};

use crate::connector::Connector;
use crate::door::Door;
use crate::state::ConnId;

/// Tells the pool what a connector learns by the way: that a connection is dead, that the node is not ready, that another
/// server has taken its place. Given to [`Connector::watch`].
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

    /// The node has said that it is not ready, in the words of `why`, which must hold no secret: its connections are
    /// checked before they are lent again, and a dial finds out how it is.
    pub fn distrust(&self, why: &str) {
        if let Some(door) = self.door.upgrade() {
            door.distrusted(self.id, why);
        }
    }

    /// The server at the other end is no longer the one that is wanted: all connections that were made before now are
    /// replaced, idle ones at once, those on loan when they come back. Words of connections that are being replaced
    /// already, and more than one a second, change nothing.
    pub fn renew(&self, why: &str) {
        if let Some(door) = self.door.upgrade() {
            door.outdated(self.id, why);
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
    fn distrusted(&self, id: ConnId, why: &str);
    fn outdated(&self, id: ConnId, why: &str);
}
