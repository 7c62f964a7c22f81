//! How a node ends, and its connections with it.

use crate::close_reason::CloseReason;
use crate::connector::Connector;
use crate::guard::{discard, guarded, wake};
use crate::node::handshake::DriverEnd;
use crate::node::{Effects, Node};
use crate::state::{Closing, Input};
use crate::time::Instant;

impl<K: Connector> Node<K> {
    /// The last handle is gone: idle connections are closed here and now. A close that is under way goes on to its
    /// deadline.
    pub(crate) fn abandon(&self) {
        // The driver is not needed any more: the calls that come through the node do the rest. In one step, so that no dial
        // that was ordered is given up as failed before the pool is closed.
        let driver = self.enter(|inner, now| inner.drop_handles().then(|| inner.end_driver(now, DriverEnd::Retired)).flatten());
        driver.into_iter().for_each(wake);
    }

    /// The driver was dropped before its end, because its runtime has ended: the pool closes, and its callers get an error
    /// that says so, unless it was closing already.
    pub(crate) fn lose_driver(&self) {
        self.end_driver(DriverEnd::RuntimeEnded);
    }

    fn end_driver(&self, end: DriverEnd) {
        self.enter(|inner, now| inner.end_driver(now, end)).into_iter().for_each(wake);
    }

    /// Whether the pool has closed because its runtime has ended.
    pub(crate) fn has_lost_runtime(&self) -> bool {
        self.inner.lock().has_lost_runtime()
    }

    /// The first step of a close: the pool lends nothing any more. What follows from it is left for
    /// [`tell_close`](Self::tell_close), so that other pools can be closed before anything comes back.
    pub(crate) fn begin_close(&self, force_at: Instant) -> Effects<K::Connection> {
        let now = self.runtime.now();
        let mut effects = Effects::new();
        let mut inner = self.inner.lock();
        inner.handle(now, Input::Close { force_at: Some(force_at) });
        inner.collect(now, self.membership.get(), &mut effects);
        self.note_waiters(&inner);
        effects
    }

    /// The second step of a close.
    pub(crate) fn tell_close(&self, effects: Effects<K::Connection>) {
        self.run(effects);
        // A panic costs nothing but what the call was to end.
        let _ = guarded(|| self.connector.pool_closing());
    }

    /// Closes a connection and says so to the node's state.
    pub(crate) fn close(&self, closing: Closing, conn: K::Connection, reason: CloseReason) {
        // A panic costs nothing but the connection.
        let _ = guarded(|| self.connector.close(conn, reason));
        discard(self.enter(|inner, now| inner.closed(now, closing)));
    }

    /// Ends a connection that is on loan and says so to the node's state.
    pub(crate) fn kill(&self, closing: Closing) {
        let abort_handle = closing.id.and_then(|id| self.inner.lock().take_abort_handle(id));
        if let Some(kill) = abort_handle {
            let _ = guarded(kill);
        }
        self.put(Input::Closed(closing));
    }
}
