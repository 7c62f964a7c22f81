//! What the clients of one name of a cluster have in common.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redis::RedisResult;

use crate::error::{CommandFailure, Outage};
use crate::redis_node::parts::NodeCounters;

pub(crate) struct NameState {
    /// Without secrets.
    pub(crate) shown: Arc<str>,
    pub(crate) counters: NodeCounters,
    closed: AtomicBool,
}

impl NameState {
    pub(crate) fn new(shown: Arc<str>, counters: NodeCounters) -> Self {
        Self { shown, counters, closed: AtomicBool::new(false) }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// True for the first call.
    pub(crate) fn close(&self) -> bool {
        !self.closed.swap(true, Ordering::SeqCst)
    }

    /// An error after the name was closed.
    pub(crate) fn check_open(&self) -> RedisResult<()> {
        if self.is_closed() {
            let why = "the pools of this client are closed";
            return Err(CommandFailure::not_sent(Some(&self.shown), Outage::Ours, why).lost());
        }
        Ok(())
    }
}
