//! Whether the pool lends, and which connections are being closed since when.

use std::collections::VecDeque;
use std::time::Duration;

use crate::state::ids::ConnId;
use crate::time::Instant;

/// How long a close may hang before its connection is counted no more.
const CLOSE_CUTOFF: Duration = Duration::from_secs(1);

/// Whether the pool lends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifecycle {
    Open,
    /// Nothing is lent any more; what is out is closed as it comes back.
    Closing,
    /// No connection is left.
    Closed,
}

/// The lifecycle of the pool, and closes in the order in which they began; those that have ended are dropped when they come
/// to the front, a second later at most.
#[derive(Debug)]
pub(crate) struct Closes {
    lifecycle: Lifecycle,
    under_way: VecDeque<(Instant, ConnId)>,
}

impl Closes {
    pub(crate) fn new() -> Self {
        Self { lifecycle: Lifecycle::Open, under_way: VecDeque::new() }
    }

    #[inline]
    pub(crate) fn lifecycle(&self) -> Lifecycle {
        self.lifecycle
    }

    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.lifecycle == Lifecycle::Open
    }

    pub(crate) fn enter(&mut self, lifecycle: Lifecycle) {
        self.lifecycle = lifecycle;
    }

    /// The close of a connection begins; returns when it is cut off.
    pub(crate) fn begin(&mut self, now: Instant, id: ConnId) -> Instant {
        self.under_way.push_back((now, id));
        now + CLOSE_CUTOFF
    }

    /// The close that has been under way for longest and when it is cut off. `is_under_way` says whether one that began then
    /// has not ended: that of a connection that was aborted on loan begins anew on its return.
    pub(crate) fn oldest(&mut self, is_under_way: impl Fn(ConnId, Instant) -> bool) -> Option<(Instant, ConnId)> {
        while let Some((began_at, id)) = self.under_way.front().copied() {
            if is_under_way(id, began_at) {
                return Some((began_at + CLOSE_CUTOFF, id));
            }
            self.under_way.pop_front();
        }
        None
    }

    /// The oldest one is cut off, or gets its time anew.
    pub(crate) fn take_oldest(&mut self) {
        self.under_way.pop_front();
    }

    #[cfg(any(test, debug_assertions, feature = "testing"))]
    pub(crate) fn contains(&self, began_at: Instant, id: ConnId) -> bool {
        self.under_way.contains(&(began_at, id))
    }

    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &(Instant, ConnId)> {
        self.under_way.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_close_that_is_under_way_is_cut_off_first() {
        let at = Instant::from_nanos;
        let mut closes = Closes::new();
        let ids = [0, 1, 2].map(|slot| ConnId::new(slot, 0));
        let cutoffs = [1, 2, 3].map(|n| closes.begin(at(n), ids[n as usize - 1]));
        assert_eq!(closes.oldest(|id, _| id != ids[0]), Some((cutoffs[1], ids[1])));
        closes.take_oldest();
        assert_eq!(closes.oldest(|_, began_at| began_at == at(3)), Some((cutoffs[2], ids[2])));
        assert_eq!(closes.oldest(|_, _| false), None);
    }
}
