//! The pure part: plain values in, plain values out; no clock, no lock, no future, no thread.
//!
//! [`NodeState`] is the truth about one node. One call puts in one fact and the time ([`NodeState::handle`]), or asks for a
//! connection ([`NodeState::take_idle`], [`NodeState::acquire`]); then the polls say which waiters to wake, what to do and
//! what has happened ([`NodeState::poll_wake`], [`NodeState::poll_action`], [`NodeState::poll_event`],
//! [`NodeState::next_deadline`]). It is public so that simulators and model checkers can drive it; it is not covered by the
//! promise of a stable interface.
//!
//! It is composed of machines with private state, each of which can be read by itself: the connections, the wait queue, the
//! dialer, trust, upkeep, closes, the quota, deadlines and the outbox. Only [`NodeState`] touches two of them.

mod action;
mod closing;
mod connections;
#[cfg(feature = "testing")]
pub(crate) mod coverage;
mod deadlines;
mod dialer;
mod event;
mod ids;
mod input;
mod metrics;
mod node_state;
mod outbox;
mod outcome;
pub(crate) mod quota;
pub(crate) mod rng;
mod status;
mod token;
mod trust;
mod upkeep;
mod wait_queue;

pub use action::Action;
#[cfg(feature = "testing")]
pub use coverage::{CoverPoint, Coverage};
pub use event::{CheckOutcome, ConnectionUse, Event, GrantRevoked};
pub use ids::{ConnId, WaiterId};
pub use input::{CheckResult, DialFailure, DialFailureKind, Input, ReleaseKind};
pub use metrics::{AcquireCounts, ConnectCounts, CountBy, CountKey, Histogram, NodeMetrics, ReturnCounts};
pub use node_state::NodeState;
pub use outcome::{Acquired, Outcome, Returned, WaitError, WaitFailure, WaitPhase};
pub use quota::{Demand, Quota, SharingMode};
#[cfg(feature = "testing")]
pub(crate) use status::CheckerCounts;
pub use status::{Health, NodeStatus, PoolStatus, Snapshot};
pub use token::{Checkup, Closing, Loan, Ticket};
pub use wait_queue::{QueuePosition, WaitKind};
