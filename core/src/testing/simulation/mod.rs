//! A whole life of a pool in virtual time: the real driver, door and ledger between borrowers with all bad habits and a
//! server with all faults, drawn from one seed and watched at every step.
//!
//! ```
//! use redis_manager_core::testing::simulation::{Plan, simulate};
//!
//! let report = simulate(&Plan::from_seed(7)).expect("no rule is broken");
//! assert!(report.tally.oks > 0);
//! assert_eq!(report.hash, simulate(&Plan::from_seed(7)).expect("the same again").hash);
//! ```

mod borrower;
mod checker;
mod fault;
mod liveness;
mod neighbours;
mod plan;
mod world;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub use borrower::Tally;
pub use fault::{Fault, Trigger};
pub use plan::{Ending, Plan};

use crate::state::Marks;
use crate::testing::fake_runtime::words_of;
use crate::testing::simulation::world::World;
use crate::time::Instant;

/// What a run has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Polls of the runtime.
    pub steps: u64,
    /// What the borrowers did and got.
    pub tally: Tally,
    /// Dials that the server has seen.
    pub dials: usize,
    /// Health checks that the server has seen.
    pub checks: usize,
    /// Faults that struck.
    pub faults: usize,
    /// Rare turns that were taken.
    pub marks: Marks,
    /// How much virtual time has passed.
    pub ended_at: Instant,
    /// Of all that was seen at every step: the same plan gives the same hash.
    pub hash: u64,
}

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// The plan's seed.
    pub seed: u64,
    /// Which rule, and how.
    pub rule: String,
    /// When.
    pub at: Instant,
    /// What happened last, oldest first.
    pub timeline: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {} at {}: {}", self.seed, self.at, self.rule)?;
        self.timeline.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

impl std::error::Error for Failure {}

/// Lives through a plan.
///
/// # Errors
///
/// The first rule that was broken; a panic, of an invariant or of anything else, is told as one.
pub fn simulate(plan: &Plan) -> Result<Report, Box<Failure>> {
    let mut world = World::new(plan);
    let lived = catch_unwind(AssertUnwindSafe(|| world.live()));
    let report = lived.unwrap_or_else(|payload| world.fail(words_of(&*payload)));
    if report.is_err() {
        // It is in ruins: to take it down could panic once more.
        std::mem::forget(world);
    }
    report
}

/// Leaves out faults of a plan that fails, as long as it still fails; returns the shortest plan found and its failure.
#[must_use]
pub fn shrink(plan: &Plan, failure: Box<Failure>) -> (Plan, Box<Failure>) {
    let (mut best, mut failure) = (plan.clone(), failure);
    let mut at = 0;
    while at < best.faults.len() {
        let mut shorter = best.clone();
        shorter.faults.remove(at);
        match simulate(&shorter) {
            Err(still) => (best, failure) = (shorter, still),
            Ok(_) => at += 1,
        }
    }
    (best, failure)
}
