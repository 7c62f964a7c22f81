//! Chance for tests: the same seed draws the same.

use std::time::Duration;

use crate::state::rng::Rng;

/// A seeded generator, for schedules and plans of tests; not for secrets.
#[derive(Clone, Debug)]
pub struct SeededRng(Rng);

impl SeededRng {
    /// A generator with this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Rng::new(seed))
    }

    /// A number below `count`, which must not be 0.
    pub fn index(&mut self, count: usize) -> usize {
        self.0.index(count)
    }

    /// A length drawn evenly from zero up to `most`.
    pub fn up_to(&mut self, most: Duration) -> Duration {
        self.0.up_to(most)
    }
}
