//! The pool alone: connections that cost nothing, so that what is left is the pool.
//!
//! Contenders are measured in rounds, as the crate says.

mod allocations;
mod cancels;
pub(crate) mod contenders;
mod cycles;
mod names;
mod subject;
mod waiters;
mod wakes;

use std::time::Duration;

use crate::goals::{Goals, Want};
use crate::measure::Spread;
use crate::options::Options;
use crate::runner::{BenchExecutor, Runner};
use crate::table;
use cycles::{SCENARIOS, Scenario};
use subject::{DEADPOOL, OURS, STD_FLOOR, Subject};

const KINDS: [BenchExecutor; 3] = [BenchExecutor::TokioTwoWorkers, BenchExecutor::TokioOneThread, BenchExecutor::SmolTwoThreads];

/// What was seen of one contender, round by round.
struct PoolResults<S> {
    name: &'static str,
    samples: Vec<S>,
}

impl<S> PoolResults<S> {
    fn values(&self, value: impl Fn(&S) -> f64) -> Vec<f64> {
        self.samples.iter().map(value).collect()
    }

    fn spread(&self, value: impl Fn(&S) -> f64) -> Spread {
        Spread::of(&self.values(value))
    }
}

/// The ratio of one contender's values to another's, paired by round.
fn ratio<S>(cells: &[PoolResults<S>], ours: &str, theirs: &str, value: impl Fn(&S) -> f64) -> Option<Spread> {
    let find = |name| cells.iter().find(|cell| cell.name == name);
    Some(Spread::of_ratios(&find(ours)?.values(&value), &find(theirs)?.values(&value)))
}

/// Measures every subject once in each round, in an order that rotates.
fn in_rounds<S>(subjects: &[Subject], rounds: usize, mut measure: impl FnMut(usize) -> S) -> Vec<PoolResults<S>> {
    let mut cells: Vec<_> = subjects.iter().map(|subject| PoolResults { name: subject.name, samples: Vec::new() }).collect();
    for round in 0..rounds {
        for turn in 0..subjects.len() {
            let column = (turn + round) % subjects.len();
            cells[column].samples.push(measure(column));
        }
    }
    cells
}

/// Measures and prints the pools alone.
pub(crate) fn run(options: &Options, goals: &mut Goals) {
    for kind in KINDS {
        for scenario in SCENARIOS {
            race(kind, scenario, options, goals);
        }
    }
    wakes::run(options);
    names::run(options, goals);
    crowds(options, goals);
    give_up(options, goals);
    count_allocations(goals);
}

fn start(kind: BenchExecutor, scenario: Scenario) -> (Runner, Vec<Subject>) {
    let runner = Runner::start(kind);
    let handle = runner.handle.clone();
    let subjects = runner.run(async move { subject::pools_and_floors(kind, &handle, scenario).await });
    (runner, subjects)
}

fn race(kind: BenchExecutor, scenario: Scenario, options: &Options, goals: &mut Goals) {
    let (rounds, window) = if options.quick { (1, 20) } else { (9, 100) };
    let (runner, subjects) = start(kind, scenario);
    let window = Duration::from_millis(window);
    let cells = in_rounds(&subjects, rounds, |column| runner.run(subjects[column].pool.race(&runner.handle, scenario, window)));
    let head = [
        "pool",
        "cycles/s, 1 000s",
        "ns/cycle",
        "redis-manager / this",
        "p50 ns",
        "p99 ns",
        "p99.9 ns",
        "least",
        "most",
        "Jain",
        "hung",
    ];
    let row = |cell: &PoolResults<cycles::CycleSample>| {
        let median = |value: fn(&cycles::CycleSample) -> f64| format!("{:.0}", cell.spread(value).median);
        vec![
            String::from(cell.name),
            cell.spread(|sample| sample.cycles_per_second / 1e3).to_string(),
            cell.spread(|sample| 1e9 / sample.cycles_per_second).to_string(),
            ratio(&cells, OURS, cell.name, |sample| sample.cycles_per_second).map(|ratio| ratio.to_string()).unwrap_or_default(),
            median(|sample| sample.p50),
            median(|sample| sample.p99),
            median(|sample| sample.p999),
            median(|sample| sample.least),
            median(|sample| sample.most),
            format!("{:.3}", cell.spread(|sample| sample.jain).median),
            format!("{:.0}", cell.spread(|sample| sample.hung).max),
        ]
    };
    let rows: Vec<_> = cells.iter().map(row).collect();
    table::print(&format!("{}, {kind}", scenario.name), &head, &rows);
    judge_race(kind, scenario, &cells, goals);
}

fn judge_race(kind: BenchExecutor, scenario: Scenario, cells: &[PoolResults<cycles::CycleSample>], goals: &mut Goals) {
    let time = |sample: &cycles::CycleSample| 1.0 / sample.cycles_per_second;
    let speed = |sample: &cycles::CycleSample| sample.cycles_per_second;
    let mut judge = |what: &str, want, seen| goals.judge(&format!("{}, {kind}: {what}", scenario.name), want, seen);
    match (kind, scenario.tasks) {
        (BenchExecutor::TokioTwoWorkers, 1) => {
            judge("time to deadpool", Want::AtMost(0.25), ratio(cells, OURS, DEADPOOL, time));
            judge("time to two locks", Want::AtMost(1.3), ratio(cells, OURS, STD_FLOOR, time));
        }
        (BenchExecutor::TokioTwoWorkers, 16) => {
            judge("cycles/s to deadpool", Want::AtLeast(4.0), ratio(cells, OURS, DEADPOOL, speed))
        }
        (BenchExecutor::TokioTwoWorkers | BenchExecutor::TokioOneThread, 64 | 1_000) => {
            let bound = match (kind, scenario.tasks) {
                (BenchExecutor::TokioOneThread, _) => 1.7,
                (_, 64) => 1.35,
                (_, _) => 1.25,
            };
            judge("cycles/s to deadpool", Want::AtLeast(bound), ratio(cells, OURS, DEADPOOL, speed));
            judge("p99 to deadpool", Want::AtMost(1.0), ratio(cells, OURS, DEADPOOL, |sample| sample.p99));
            let ours = cells.iter().find(|cell| cell.name == OURS);
            judge("Jain", Want::AtLeast(0.99), ours.map(|cell| cell.spread(|sample| sample.jain)));
            judge("hung", Want::AtMost(0.0), ours.map(|cell| cell.spread(|sample| sample.hung)));
        }
        (_, _) => {}
    }
}

fn crowds(options: &Options, goals: &mut Goals) {
    let (rounds, crowds) = if options.quick { (1, [1_000, 10_000]) } else { (3, [10_000, 100_000]) };
    for kind in KINDS {
        for waiters in crowds {
            let one = Scenario { size: 1, hold: cycles::Hold::OneYield, ..SCENARIOS[0] };
            let (runner, subjects) = start(kind, one);
            let cells = in_rounds(&subjects, rounds, |column| {
                // A fresh pool each time: one that has had a crowd before has room for the next.
                let handle = runner.handle.clone();
                let fresh = runner.run(async move { subject::pools(kind, &handle, 1).await });
                runner.run(fresh[column].pool.park(&runner.handle, waiters))
            });
            let bare = runner.run(waiters::bare_task(&runner.handle, waiters));
            let row = |cell: &PoolResults<waiters::WaiterSample>| {
                let [bytes, drain] = [cell.spread(|sample| sample.bytes), cell.spread(|sample| sample.drain)];
                vec![String::from(cell.name), format!("{:.0}", bytes.median), drain.to_string()]
            };
            let mut rows: Vec<_> = cells.iter().map(row).collect();
            let chains: Vec<f64> = (0..rounds).map(|_| runner.run(waiters::bare_chain(&runner.handle, waiters))).collect();
            rows.push(vec![String::from("floor: a parked bare task"), format!("{bare:.0}"), Spread::of(&chains).to_string()]);
            let head = ["pool", "heap bytes each, with the task", "ms to serve them all"];
            table::print(&format!("{waiters} parked waiters on a pool of one, {kind}"), &head, &rows);
            if kind == BenchExecutor::TokioTwoWorkers {
                let bytes = cells.iter().find(|cell| cell.name == OURS).map(|cell| cell.spread(|sample| sample.bytes));
                let what = format!("heap bytes of each of {waiters} parked waiters, task included ({bare:.0} bare)");
                goals.judge(&what, Want::AtMost(320.0), bytes);
            }
        }
    }
}

fn give_up(options: &Options, goals: &mut Goals) {
    for kind in KINDS {
        let cells = give_up_on(kind, options);
        if kind == BenchExecutor::TokioTwoWorkers {
            goals.judge(
                "cancel alone: time to deadpool",
                Want::AtMost(0.5),
                ratio(&cells, OURS, DEADPOOL, |sample| sample.alone),
            );
            let what = format!("cancel among {}: time to deadpool", cancels::CROWD);
            goals.judge(&what, Want::AtMost(0.5), ratio(&cells, OURS, DEADPOOL, |sample| sample.among));
        }
    }
}

fn give_up_on(kind: BenchExecutor, options: &Options) -> Vec<PoolResults<cancels::CancelSample>> {
    let (rounds, times) = if options.quick { (1, 1_600) } else { (9, 100_000) };
    let one = Scenario { size: 1, hold: cycles::Hold::OneYield, ..SCENARIOS[0] };
    let (runner, alone) = start(kind, one);
    let handle = runner.handle.clone();
    let racing = runner.run(async move { subject::pools(kind, &handle, 2).await });
    let cells = in_rounds(&alone, rounds, |column| runner.run(alone[column].pool.cancel(&racing[column], &runner.handle, times)));
    let row = |cell: &PoolResults<cancels::CancelSample>| {
        vec![
            String::from(cell.name),
            cell.spread(|sample| sample.alone).to_string(),
            cell.spread(|sample| sample.among).to_string(),
            cell.spread(|sample| sample.racing / 1e3).to_string(),
            format!("{:.0} %", 100.0 * cell.spread(|sample| sample.given_up).median),
            format!("{:.0}", cell.spread(|sample| sample.lost).max),
        ]
    };
    let rows: Vec<_> = cells.iter().map(row).collect();
    let among = format!("ns among {}", cancels::CROWD);
    let head = ["pool", "ns alone", &among, "racing: gets/s, 1 000s", "given up", "connections lost"];
    table::print(&format!("Waits that are given up, {kind}"), &head, &rows);
    cells
}

fn count_allocations(goals: &mut Goals) {
    let eight = Scenario { hold: cycles::Hold::OneYield, ..SCENARIOS[0] };
    let (runner, subjects) = start(BenchExecutor::TokioOneThread, eight);
    let cells = in_rounds(&subjects, 1, |column| runner.run(subjects[column].pool.count_allocations(&runner.handle)));
    let row = |cell: &PoolResults<allocations::AllocationSample>| {
        vec![
            String::from(cell.name),
            format!("{:.2}", cell.samples[0].uncontended),
            match cell.samples[0].waiting {
                hung if hung.is_nan() => String::from("hung"),
                waiting => format!("{waiting:.2}"),
            },
            format!("{:.0}", cell.samples[0].future_bytes),
        ]
    };
    let rows: Vec<_> = cells.iter().map(row).collect();
    let head = ["pool", "of a cycle that finds one", "of a cycle that waits", "bytes of the future of get"];
    table::print("Allocations", &head, &rows);
    let ours = cells.iter().find(|cell| cell.name == OURS);
    goals.judge(
        "allocations of an uncontended cycle",
        Want::AtMost(0.0),
        ours.map(|cell| cell.spread(|sample| sample.uncontended)),
    );
    goals.judge("bytes of the future of get", Want::AtMost(128.0), ours.map(|cell| cell.spread(|sample| sample.future_bytes)));
}
