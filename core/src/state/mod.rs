//! The pure part: plain values in, plain values out; no clock, no lock, no future, no thread.
//!
//! [`Ledger`] is the truth about one node. One call puts in one fact and the time ([`Ledger::handle`]), or asks for a
//! connection ([`Ledger::take_idle`], [`Ledger::acquire`]); then the polls say whom to wake and what to do
//! ([`Ledger::poll_wake`], [`Ledger::poll_action`], [`Ledger::next_deadline`]). It is public so that simulators and
//! model checkers can drive it; it is not covered by the promise of a stable interface.

mod balance;
pub(crate) mod chance;
mod deadlines;
mod facts;
mod health;
#[cfg(any(test, debug_assertions))]
mod invariants;
pub(crate) mod line;
mod node;
mod pool;
mod shelf;
pub(crate) mod status;
mod sweep;
pub(crate) mod token;

#[cfg(test)]
mod tests;

pub use line::{Place, WaiterId, Want};
pub use node::Ledger;
pub use status::{Health, NodeStatus, PoolStatus, Snapshot};
pub use token::{
    Acquired, Action, Checkup, Closing, ConnId, Failure, FailureKind, Finding, Input, Loan, Loop, Outcome, Refusal, Ticket,
    Verdict, WaitPhase,
};
