//! The pure part: plain values in, plain values out; no clock, no lock, no future, no thread.
//!
//! [`NodeState`] is the truth about one node. One call puts in one fact and the time ([`NodeState::handle`]), or asks for a
//! connection ([`NodeState::take_idle`], [`NodeState::acquire`]); then the polls say whom to wake and what to do
//! ([`NodeState::poll_wake`], [`NodeState::poll_action`], [`NodeState::next_deadline`]). It is public so that simulators and
//! model checkers can drive it; it is not covered by the promise of a stable interface.

/// Notes a rare turn; nothing outside of tests.
macro_rules! mark {
    ($state:expr, $mark:ident) => {
        #[cfg(feature = "testing")]
        $state.marks.hit(crate::state::coverage::CoverPoint::$mark);
    };
}

mod connection_meta;
mod connection_table;
#[cfg(feature = "testing")]
pub(crate) mod coverage;
mod deadlines;
mod dialer;
mod dispatch;
mod due_index;
mod idle_stack;
mod inputs;
#[cfg(any(test, debug_assertions, feature = "testing"))]
mod invariants;
mod least_active_tree;
mod node_state;
mod phase;
pub(crate) mod quota;
pub(crate) mod rng;
pub(crate) mod status;
mod timers;
pub(crate) mod token;
pub(crate) mod wait_queue;

#[cfg(test)]
mod tests;

#[cfg(feature = "testing")]
pub use coverage::{CoverPoint, Coverage};
pub use node_state::NodeState;
pub use quota::{Demand, Quota, SharingMode};
#[cfg(feature = "testing")]
pub(crate) use status::CheckerCounts;
pub use status::{Health, NodeStatus, PoolStatus, Snapshot};
pub use token::{
    Acquired, Action, CheckResult, Checkup, Closing, ConnId, DialFailure, DialFailureKind, Input, Loan, Loop, Outcome,
    ReleaseKind, Returned, Ticket, WaitFailure, WaitPhase,
};
pub use wait_queue::{QueuePosition, WaitKind, WaiterId};
