//! A whole life of a pool in virtual time: the real driver, node and state between borrowers with all bad habits and a
//! server with all faults, drawn from one seed and watched at every step.
//!
//! ```
//! use redis_manager_core::testing::simulation::{SeedPlan, simulate};
//!
//! let report = simulate(&SeedPlan::from_seed(7)).expect("no rule is broken");
//! assert!(report.counts.oks > 0);
//! assert_eq!(report.hash, simulate(&SeedPlan::from_seed(7)).expect("the same again").hash);
//! ```

mod borrower;
mod checker;
mod fault;
mod liveness;
mod metrics_checker;
mod neighbours;
mod plan;
mod report;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use borrower::OutcomeCounts;
pub use fault::{Fault, Trigger};
pub use plan::{Ending, SeedPlan};
pub use report::{Report, SeedFailure};

use crate::testing::fake_runtime::words_of;
use crate::testing::simulation::world::SimulatedWorld;

/// Lives through a plan.
///
/// # Errors
///
/// The first rule that was broken; a panic, of an invariant or of anything else, is reported as one.
pub fn simulate(plan: &SeedPlan) -> Result<Report, Box<SeedFailure>> {
    let mut world = SimulatedWorld::new(plan);
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
pub fn shrink(plan: &SeedPlan, failure: Box<SeedFailure>) -> (SeedPlan, Box<SeedFailure>) {
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
