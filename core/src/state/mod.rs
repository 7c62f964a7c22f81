//! The pure part: plain values in, plain values out; no clock, no lock, no future, no thread.
//!
//! [`Ledger`] is the truth about one node. One call puts in one fact and the time ([`Ledger::handle`]), or asks for a
//! connection ([`Ledger::take_idle`], [`Ledger::acquire`]); then the polls say whom to wake and what to do
//! ([`Ledger::poll_wake`], [`Ledger::poll_action`], [`Ledger::next_deadline`]). It is public so that simulators and
//! model checkers can drive it; it is not covered by the promise of a stable interface.

/// Notes a rare turn; nothing outside of tests.
macro_rules! mark {
    ($ledger:expr, $mark:ident) => {
        #[cfg(feature = "testing")]
        $ledger.marks.hit(crate::state::marks::Mark::$mark);
    };
}

mod agenda;
pub(crate) mod allowance;
mod balance;
pub(crate) mod chance;
mod deadlines;
mod facts;
mod health;
#[cfg(any(test, debug_assertions, feature = "testing"))]
mod invariants;
pub(crate) mod line;
#[cfg(feature = "testing")]
pub(crate) mod marks;
mod node;
mod phase;
mod pool;
mod ranking;
mod record;
mod shelf;
pub(crate) mod status;
mod sweep;
pub(crate) mod token;

#[cfg(test)]
mod tests;

pub use allowance::{Allowance, Appetite, Stance};
pub use line::{Place, WaiterId, Want};
#[cfg(feature = "testing")]
pub use marks::{Mark, Marks};
pub use node::Ledger;
#[cfg(feature = "testing")]
pub(crate) use status::Counts;
pub use status::{Health, NodeStatus, PoolStatus, Snapshot};
pub use token::{
    Acquired, Action, Checkup, Closing, ConnId, Failure, FailureKind, Finding, Input, Loan, Loop, Outcome, Refusal, Returned,
    Ticket, Verdict, WaitPhase,
};
