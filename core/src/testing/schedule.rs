//! How a fake runtime orders its tasks and rounds its time: drawn from a seed, or chosen.

use std::time::Duration;

use crate::state::rng::Rng;
use crate::time::Instant;

/// Which of several ready tasks runs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// Any of them, evenly.
    Uniform,
    /// The one that was woken first.
    Fifo,
    /// The one that was woken last: the others may starve for a while.
    Lifo,
    /// The one with the highest priority, drawn once for each task.
    Priority,
}

/// The schedule of a [`FakeRuntime`](crate::testing::FakeRuntime).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Which of several ready tasks runs next.
    pub pick: Pick,
    /// Sleeps end at multiples of this, rounded up: a coarse grid makes timers collide.
    pub grid: Duration,
    /// How long one poll takes: more than nothing lets deadlines pass while a task is queued.
    pub poll_cost: Duration,
}

impl Default for Schedule {
    /// Any order, exact timers, polls that take no time.
    fn default() -> Self {
        Self { pick: Pick::Uniform, grid: Duration::from_nanos(1), poll_cost: Duration::ZERO }
    }
}

impl Schedule {
    /// A schedule drawn from `seed`: any pick; a grid of 1 ns, 1 ms or 10 ms; polls that take no time, 1 µs or 50 µs.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x5C4E_D01E);
        let pick = [Pick::Uniform, Pick::Uniform, Pick::Fifo, Pick::Lifo, Pick::Priority][rng.index(5)];
        let grid = [Duration::from_nanos(1), Duration::from_millis(1), Duration::from_millis(10)][rng.index(3)];
        let poll_cost = [Duration::ZERO, Duration::from_micros(1), Duration::from_micros(50)][rng.index(3)];
        Self { pick, grid, poll_cost }
    }

    /// `at`, or the next point of the grid after it.
    pub(crate) fn round_up(&self, at: Instant) -> Instant {
        let grid = u64::try_from(self.grid.as_nanos()).unwrap_or(u64::MAX).max(1);
        let nanos = at.as_nanos();
        Instant::from_nanos(nanos.div_ceil(grid).saturating_mul(grid))
    }
}
