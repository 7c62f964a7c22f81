//! The alphabet of the searches.

use super::model::Word;

/// What can happen. A number says which of several: the oldest is 0; beyond the last it means the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    /// Asks, with a deadline so many beats away.
    Acquire {
        beats: u32,
    },
    /// Asks without waiting.
    Try,
    Cancel(usize),
    /// The n-th waiter that has an outcome takes it.
    Collect(usize),
    /// The n-th waiter that has a grant takes it, finds it dead, and takes its place again.
    Refuse(usize),
    Release(usize, Word),
    /// The same by the fast path, if that is open to it.
    PutBack(usize),
    Connected(usize),
    ConnectFailed(usize),
    /// Refused in a way that another attempt will not change.
    ConnectRefused(usize),
    Checked(usize, Word),
    /// A socket that was to be closed is closed.
    Closed(usize),
    DiedIdle(usize),
    DiedGranted(usize),
    /// On loan, or out for a check.
    DiedOut(usize),
    /// The n-th borrower hears that the node is not ready.
    NotReady(usize),
    /// The n-th borrower hears that another server is wanted.
    Outdated(usize),
    /// A beat passes, with a tick at each deadline.
    Pass,
    /// A beat passes and the driver is late: no tick.
    Drowse,
    /// The pool closes, by force after so many beats.
    Close {
        beats: u32,
    },
}
