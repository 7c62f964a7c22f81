//! All that the node's state knows of one connection, and the slot in which it keeps that.

use crate::close_reason::CloseReason;
use crate::state::phase::Phase;
use crate::state::token::ConnId;
use crate::state::wait_queue::WaiterId;
use crate::time::Instant;

/// All that the node's state knows of one connection.
#[derive(Debug)]
pub(crate) struct ConnectionMeta {
    pub(crate) pool: usize,
    pub(crate) phase: Phase,
    /// The node's epoch when the connection last showed a sign of life.
    pub(crate) trust_epoch: u64,
    /// The node's generation when the connection was made.
    pub(crate) made_for: u64,
    /// Set when it must not be lent again, while it is out of reach.
    pub(crate) retire: Option<CloseReason>,
    /// When its present phase began: of use while it is connecting or closing.
    pub(crate) entered_at: Instant,
    pub(crate) born_at: Instant,
    /// When its lifetime ends and when it is to be checked, by the due index's clock; None: not in the due index, which alone
    /// changes them.
    pub(super) expires_at: Option<Instant>,
    pub(super) check_at: Option<Instant>,
    /// Since when it has been unused. None: it came back without a look at the clock, not long ago.
    pub(crate) idle_since: Option<Instant>,
    /// The waiter that it was granted to.
    pub(crate) granted_to: Option<WaiterId>,
}

impl ConnectionMeta {
    pub(crate) fn of_dial(pool: usize, now: Instant) -> Self {
        Self {
            pool,
            phase: Phase::Connecting,
            trust_epoch: 0,
            made_for: 0,
            retire: None,
            entered_at: now,
            born_at: now,
            expires_at: None,
            check_at: None,
            idle_since: None,
            granted_to: None,
        }
    }
}

/// A place for a connection, used by one after another.
#[derive(Debug)]
pub(crate) struct ConnectionSlot<C> {
    /// How often it has been used before.
    pub(crate) generation: u32,
    pub(crate) record: Option<ConnectionMeta>,
    /// The connection itself while nobody else has it: it idles, or is granted and its waiter has not collected it.
    pub(crate) conn: Option<C>,
    /// Its neighbours on the idle stack, while it idles.
    pub(super) above: Option<u32>,
    pub(super) below: Option<u32>,
}

impl<C> ConnectionSlot<C> {
    pub(crate) fn vacant() -> Self {
        Self { generation: 0, record: None, conn: None, above: None, below: None }
    }

    /// The identity of the connection that is in it, by the number that it has itself.
    pub(crate) fn id(&self, slot: u32) -> ConnId {
        ConnId::new(slot, self.generation)
    }
}
