//! What is drawn from a seed before a run begins: settings, schedule, borrowers, faults and ending.

use std::time::Duration;

use crate::config::{NodeConfig, OnNodeDown};
use crate::state::rng::Rng;
use crate::testing::schedule::Schedule;
use crate::testing::simulation::fault::{Fault, Trigger};

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The pool is closed with a deadline, while borrowers hold on.
    Close(Duration),
    /// The last handle is dropped.
    Drop,
    /// The runtime ends first.
    ShutDown,
}

/// A run before it is run. The same plan gives the same run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SeedPlan {
    /// Where everything else was drawn from, and where the run's own random numbers begin.
    pub seed: u64,
    /// The settings of the pool.
    pub config: NodeConfig,
    /// How tasks are ordered and time is rounded.
    pub schedule: Schedule,
    /// Whether cleanup runs.
    pub cleanup: bool,
    /// Whether other nodes live beside the one that is watched.
    pub neighbours: bool,
    /// How many borrowers there are.
    pub borrowers: usize,
    /// How long each of them goes on.
    pub rounds: usize,
    /// What goes wrong, in order.
    pub faults: Vec<(Trigger, Fault)>,
    /// Whether tasks of the pool itself may be killed: it may be closed for good then.
    pub may_kill_tasks: bool,
    /// How it ends.
    pub ending: Ending,
}

impl SeedPlan {
    /// The plan of a seed.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x51A1_71A7_E000);
        let millis = |rng: &mut Rng, of: &[u64]| Duration::from_millis(of[rng.index(of.len())]);
        let limit = 1 + rng.index(4);
        let at_start = 1 + rng.index(2);
        let config = NodeConfig::builder()
            .connection_pools_per_node_at_start(at_start)
            .max_pools_per_node(at_start + rng.index(2))
            .max_connection_size(limit)
            .min_idle(rng.index(limit + 1))
            .max_waiters([2, 5, 1_000][rng.index(3)])
            .default_timeout(Duration::from_secs(10))
            .connect_timeout(millis(&mut rng, &[300, 1_000, 5_000]))
            .health_check_interval(millis(&mut rng, &[50, 500, 60_000]))
            .health_check_timeout(millis(&mut rng, &[20, 100, 1_000]))
            .cleanup_interval(millis(&mut rng, &[30, 300, 120_000]))
            .max_idle_time(millis(&mut rng, &[40, 400, 180_000]))
            .max_lifetime(millis(&mut rng, &[200, 3_000, 1_800_000]))
            .on_node_down([OnNodeDown::Wait, OnNodeDown::Wait, OnNodeDown::FailFast][rng.index(3)])
            .use_time_sampling([0, 1, 4, 64][(seed % 4) as usize])
            .build()
            .expect("every draw is within its range");
        let may_kill_tasks = rng.index(5) == 0;
        let faults = (0..rng.index(24)).map(|_| {
            let fault = Fault::draw(&mut rng, may_kill_tasks);
            let trigger = if fault == Fault::KillTask { Trigger::draw_for_a_kill(&mut rng) } else { Trigger::draw(&mut rng) };
            (trigger, fault)
        });
        let faults = faults.collect();
        let ending = match rng.index(4) {
            0 | 1 => Ending::Close(millis(&mut rng, &[10, 100, 3_000])),
            2 => Ending::Drop,
            _ => Ending::ShutDown,
        };
        Self {
            seed,
            config,
            schedule: Schedule::from_seed(seed),
            neighbours: rng.index(4) == 0,
            cleanup: [true, true, false][rng.index(3)],
            borrowers: 1 + rng.index(9),
            rounds: 72,
            faults,
            may_kill_tasks,
            ending,
        }
    }

    /// How many connections there may be.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.config.max_connections_per_node()
    }
}
