//! Races of several contenders, round by round, and what is printed of them.

use std::sync::Arc;
use std::time::Duration;

use redis_manager_tests::redis_server::RedisServer;

use crate::end_to_end::contenders::{RaceContender, user};
use crate::end_to_end::load::{Race, RaceSample};
use crate::measure::Spread;
use crate::runner::Runner;
use crate::table;

/// How long races are, and how many.
pub(crate) struct Contest {
    pub(crate) warm_up: Duration,
    pub(crate) window: Duration,
    pub(crate) rounds: usize,
    /// Where commands and connections are counted, if it is one server.
    pub(crate) server: Option<Arc<RedisServer>>,
}

impl Contest {
    /// A smoke run.
    pub(crate) fn quick(self) -> Contest {
        Contest { warm_up: Duration::from_millis(20), window: Duration::from_millis(60), rounds: 1, ..self }
    }
}

/// What was seen of one contender with one number of tasks, round by round.
pub(crate) struct RaceResults {
    tasks: usize,
    name: &'static str,
    samples: Vec<RaceSample>,
}

impl RaceResults {
    fn values(&self, value: impl Fn(&RaceSample) -> f64) -> Vec<f64> {
        self.samples.iter().map(value).collect()
    }
}

/// Races all of them, round by round, in an order that rotates.
pub(crate) fn race(runner: &Runner, contenders: Vec<RaceContender>, tasks: &[usize], contest: &Contest) -> Vec<RaceResults> {
    let mut cells: Vec<RaceResults> = (tasks.iter())
        .flat_map(|tasks| {
            contenders.iter().map(|contender| RaceResults { tasks: *tasks, name: contender.name, samples: Vec::new() })
        })
        .collect();
    for round in 0..contest.rounds {
        for (row, tasks) in tasks.iter().enumerate() {
            for turn in 0..contenders.len() {
                let column = (turn + round) % contenders.len();
                let contender = &contenders[column];
                let race = Race {
                    server: contest.server.clone(),
                    user: user(contender.name),
                    tasks: *tasks,
                    warm_up: contest.warm_up,
                    window: contest.window,
                };
                let sample = runner.run(contender.racer.race(&runner.handle, &race));
                cells[row * contenders.len() + column].samples.push(sample);
            }
        }
    }
    cells
}

fn find<'a>(cells: &'a [RaceResults], tasks: usize, name: &str) -> Option<&'a RaceResults> {
    cells.iter().find(|cell| cell.tasks == tasks && cell.name == name)
}

/// The ratio of operations per second, paired by round.
pub(crate) fn ratio(cells: &[RaceResults], tasks: usize, ours: &str, theirs: &str) -> Option<Spread> {
    let ours = find(cells, tasks, ours)?.values(|sample| sample.ops_per_second);
    let theirs = find(cells, tasks, theirs)?.values(|sample| sample.ops_per_second);
    Some(Spread::of_ratios(&ours, &theirs))
}

/// Prints a table, with ratios to one of them.
pub(crate) fn print(title: &str, cells: &[RaceResults], basis: &str) {
    let versus = format!("{basis} / this");
    let head = [
        "tasks, client",
        "ops/s",
        versus.as_str(),
        "p50 us",
        "p99 us",
        "p99.9 us",
        "Jain",
        "CPU us/op",
        "connections",
        "commands/op",
    ];
    let row = |cell: &RaceResults| {
        let median = |value: fn(&RaceSample) -> f64| Spread::of(&cell.values(value)).median;
        vec![
            format!("{}, {}", cell.tasks, cell.name),
            Spread::of(&cell.values(|sample| sample.ops_per_second)).to_string(),
            ratio(cells, cell.tasks, basis, cell.name).map(|ratio| ratio.to_string()).unwrap_or_default(),
            format!("{:.0}", median(|sample| sample.p50)),
            format!("{:.0}", median(|sample| sample.p99)),
            format!("{:.0}", median(|sample| sample.p999)),
            format!("{:.3}", median(|sample| sample.jain)),
            format!("{:.1}", median(|sample| sample.cpu)),
            format!("{:.0}", median(|sample| sample.connections)),
            format!("{:.2}", median(|sample| sample.commands)),
        ]
    };
    let rows: Vec<_> = cells.iter().map(row).collect();
    table::print(title, &head, &rows);
}

/// The ratio of CPU time for each operation, paired by round.
pub(crate) fn ratio_of_cpu(cells: &[RaceResults], tasks: usize, ours: &str, theirs: &str) -> Option<Spread> {
    let ours = find(cells, tasks, ours)?.values(|sample| sample.cpu);
    let theirs = find(cells, tasks, theirs)?.values(|sample| sample.cpu);
    Some(Spread::of_ratios(&ours, &theirs))
}
