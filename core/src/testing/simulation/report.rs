//! What comes out of a simulated run: what it has seen, or the rule that was broken.

use std::fmt;

use crate::state::Coverage;
use crate::testing::simulation::borrower::OutcomeCounts;
use crate::time::Instant;

/// What a run has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Polls of the runtime.
    pub steps: u64,
    /// What the borrowers did and got.
    pub counts: OutcomeCounts,
    /// Dials that the server has seen.
    pub dials: usize,
    /// Health checks that the server has seen.
    pub checks: usize,
    /// Faults that struck.
    pub faults: usize,
    /// Rare turns that were taken.
    pub coverage: Coverage,
    /// How much virtual time has passed.
    pub ended_at: Instant,
    /// Of all that was seen at every step: the same plan gives the same hash.
    pub hash: u64,
}

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SeedFailure {
    /// The plan's seed.
    pub seed: u64,
    /// Which rule, and how.
    pub rule: String,
    /// When.
    pub at: Instant,
    /// What happened last, oldest first.
    pub timeline: Vec<String>,
}

impl fmt::Display for SeedFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {} at {}: {}", self.seed, self.at, self.rule)?;
        self.timeline.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

impl std::error::Error for SeedFailure {}
