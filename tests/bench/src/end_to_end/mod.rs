//! End to end: tasks that GET 100 bytes from a real server on this machine, through exclusive and shared clients.
//!
//! Each round races all contenders of a kind one after the other, in an order that rotates from round to round; each race
//! is a warm-up and then a window in which every operation is timed. What is printed is the median over the rounds with
//! the least and the most; a ratio is the median of the rounds' own ratios. Connections and commands are the server's
//! own counts, CPU is what this process used. Peers are as they come; only the size of their pools is set.

mod contenders;
mod idle;
mod load;
mod server_ceiling;

use std::sync::Arc;
use std::time::Duration;

use redis_manager_tests::redis_server::RedisServer;

use crate::goals::{Goals, Want};
use crate::measure::Spread;
use crate::options::Options;
use crate::runner::{BenchExecutor, Runner};
use crate::table;
use contenders::{
    BB8, BB8_UNCHECKED, CONNECTION_MANAGER, DEADPOOL, FRED_EXCLUSIVE, FRED_POOL, FRED_POOL_16, MULTIPLEXED, OURS, OURS_SHARED,
    PIPELINE_LENGTH, POOL_SIZE, RUSTIS, RaceContender,
};
use load::{Race, RaceSample};

/// What is asked for, of 100 bytes.
const KEY: &str = "bench";
const TASKS: [usize; 4] = [1, 16, 64, 512];
/// Tasks that send pipelines.
const PIPELINING_TASKS: [usize; 1] = [16];

/// What was seen of one contender with one number of tasks, round by round.
struct RaceResults {
    tasks: usize,
    name: &'static str,
    samples: Vec<RaceSample>,
}

impl RaceResults {
    fn values(&self, value: impl Fn(&RaceSample) -> f64) -> Vec<f64> {
        self.samples.iter().map(value).collect()
    }
}

/// Measures and prints everything end to end.
pub(crate) fn run(options: &Options, goals: &mut Goals) {
    let server = Arc::new(RedisServer::start());
    server.command(&["SET", KEY, &"x".repeat(100)]);
    contenders::add_users(&server);
    server_ceiling::print(server.port(), &TASKS, options);
    idle::run(server.port());
    for kind in [BenchExecutor::TokioTwoWorkers, BenchExecutor::SmolTwoThreads] {
        let runner = Runner::start(kind);
        let handle = runner.handle.clone();
        let port = server.port();
        let contenders = runner.run(async move { contenders::exclusive(kind, &handle, port).await });
        let contenders = contenders.expect("a sound server on this machine accepts connections");
        let cells = race(&runner, contenders, &TASKS, &server, options);
        print(&format!("Exclusive clients, pools of {POOL_SIZE}, {kind}"), &cells, OURS);
        if kind == BenchExecutor::TokioTwoWorkers {
            judge_exclusive(&cells, goals);
        }
        let handle = runner.handle.clone();
        let contenders = runner.run(async move { contenders::shared(kind, &handle, port).await });
        let contenders = contenders.expect("a sound server on this machine accepts connections");
        let cells = race(&runner, contenders, &TASKS, &server, options);
        print(&format!("Shared clients, {kind}"), &cells, MULTIPLEXED);
        if kind == BenchExecutor::TokioTwoWorkers {
            judge_shared(&cells, goals);
        }
        let handle = runner.handle.clone();
        let contenders = runner.run(async move { contenders::pipelining(&handle, port).await });
        let contenders = contenders.expect("a sound server on this machine accepts connections");
        let cells = race(&runner, contenders, &PIPELINING_TASKS, &server, options);
        print(&format!("Shared clients, pipelines of {PIPELINE_LENGTH} GETs, {kind}"), &cells, MULTIPLEXED);
        if kind == BenchExecutor::TokioTwoWorkers {
            judge_pipelines(&cells, goals);
        }
    }
}

fn race(
    runner: &Runner,
    contenders: Vec<RaceContender>,
    tasks: &[usize],
    server: &Arc<RedisServer>,
    options: &Options,
) -> Vec<RaceResults> {
    let rounds = if options.quick { 1 } else { 9 };
    let (warm_up, window) = if options.quick { (20, 60) } else { (50, 250) };
    let mut cells: Vec<RaceResults> = (tasks.iter())
        .flat_map(|tasks| {
            contenders.iter().map(|contender| RaceResults { tasks: *tasks, name: contender.name, samples: Vec::new() })
        })
        .collect();
    for round in 0..rounds {
        for (row, tasks) in tasks.iter().enumerate() {
            for turn in 0..contenders.len() {
                let column = (turn + round) % contenders.len();
                let contender = &contenders[column];
                let race = Race {
                    server: Arc::clone(server),
                    user: contenders::user(contender.name),
                    tasks: *tasks,
                    warm_up: Duration::from_millis(warm_up),
                    window: Duration::from_millis(window),
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
fn ratio(cells: &[RaceResults], tasks: usize, ours: &str, theirs: &str) -> Option<Spread> {
    let ours = find(cells, tasks, ours)?.values(|sample| sample.ops_per_second);
    let theirs = find(cells, tasks, theirs)?.values(|sample| sample.ops_per_second);
    Some(Spread::of_ratios(&ours, &theirs))
}

fn print(title: &str, cells: &[RaceResults], basis: &str) {
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
fn ratio_of_cpu(cells: &[RaceResults], tasks: usize, ours: &str, theirs: &str) -> Option<Spread> {
    let ours = find(cells, tasks, ours)?.values(|sample| sample.cpu);
    let theirs = find(cells, tasks, theirs)?.values(|sample| sample.cpu);
    Some(Spread::of_ratios(&ours, &theirs))
}

fn judge_exclusive(cells: &[RaceResults], goals: &mut Goals) {
    // For each number of tasks.
    let wanted = [(DEADPOOL, [2.2; 4]), (BB8, [2.2; 4]), (BB8_UNCHECKED, [1.0, 1.15, 1.15, 1.15]), (FRED_EXCLUSIVE, [1.05; 4])];
    for (peer, bounds) in wanted {
        for (tasks, bound) in TASKS.into_iter().zip(bounds) {
            let what = format!("exclusive client, get + GET + drop, {tasks} tasks on {POOL_SIZE}: ops/s to {peer}");
            goals.judge(&what, Want::AtLeast(bound), ratio(cells, tasks, OURS, peer));
        }
    }
}

fn judge_shared(cells: &[RaceResults], goals: &mut Goals) {
    let wanted = [
        (MULTIPLEXED, [1.0, 1.1, 1.3, 1.9]),
        (CONNECTION_MANAGER, [1.0; 4]),
        (FRED_POOL, [1.0; 4]),
        (FRED_POOL_16, [1.0; 4]),
        (RUSTIS, [1.0; 4]),
    ];
    for (peer, bounds) in wanted {
        for (tasks, bound) in TASKS.into_iter().zip(bounds) {
            let what = format!("shared client, {tasks} tasks: ops/s to {peer}");
            goals.judge(&what, Want::AtLeast(bound), ratio(cells, tasks, OURS_SHARED, peer));
        }
    }
    for peer in [FRED_POOL, RUSTIS] {
        for tasks in TASKS {
            let what = format!("shared client, {tasks} tasks: CPU for each command to {peer}");
            goals.judge(&what, Want::AtMost(1.0), ratio_of_cpu(cells, tasks, OURS_SHARED, peer));
        }
    }
}

fn judge_pipelines(cells: &[RaceResults], goals: &mut Goals) {
    for tasks in PIPELINING_TASKS {
        let what = format!("shared client, pipelines of {PIPELINE_LENGTH}, {tasks} tasks: ops/s to {MULTIPLEXED}");
        goals.judge(&what, Want::AtLeast(1.3), ratio(cells, tasks, OURS_SHARED, MULTIPLEXED));
    }
}
