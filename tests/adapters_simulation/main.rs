//! The adapters in the simulator: whole managers over fake servers, seed by seed, with bad borrowers, bad servers and bad networks,
//! and over fake clusters.
//!
//! `SIMULATION_SEEDS=2000 SIMULATION_FIRST=1 cargo test --profile test-release -p redis-manager-tests --all-features
//! --test adapters_simulation`. Each failure prints its seed; `SIMULATION_FIRST=SEED SIMULATION_SEEDS=1` shows it again, with
//! `SIMULATION_TELLS=1` what the server saw of the connection. Behind these the name of a test, or a part of it, leaves out the others.

mod bad_habits;
mod borrower;
mod cluster;
mod journal;
mod ledger;
mod plan;
mod traces;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use cluster::simulate_cluster;
use plan::SimulatedSeed;
use world::{SeedReport, simulate};

/// Every so many seeds are lived through twice.
const TWICE: u64 = 20;

type FoundSeeds = &'static [(&'static str, u64)];

/// Lives through seeds; each failure is a rule that was broken.
struct Simulator {
    /// The test, as the harness would list it.
    name: &'static str,
    simulate: fn(u64) -> Result<SeedReport, String>,
    /// So many of them, if nothing else is asked for.
    seeds: u64,
    /// Seeds that once broke a rule, each with a name that says what was wrong.
    found: FoundSeeds,
}

const SIMULATORS: [Simulator; 2] = [
    Simulator {
        name: "no_seed_breaks_a_rule",
        simulate: |seed| simulate(&SimulatedSeed::new(seed)),
        seeds: 10,
        found: &[
            ("a_reply_of_no_known_type_that_arrives_alone", 4_107),
            ("a_reply_of_no_known_type_between_others", 5_702),
            ("a_reply_of_no_known_type_before_a_restart", 6_984),
            ("a_command_that_timed_out_beside_one_that_was_answered", 23_386),
        ],
    },
    Simulator {
        name: "no_seed_of_a_cluster_breaks_a_rule",
        simulate: simulate_cluster,
        seeds: 4,
        found: &[("a_part_of_a_request_that_was_refused_and_then_lost", 1_881)],
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let filters: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let is_wanted = |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()));
    let is_list = arguments.iter().any(|argument| argument == "--list");
    let mut failed = 0;
    for simulator in &SIMULATORS {
        for (name, seed) in simulator.found.iter().filter(|(name, _)| is_wanted(name)) {
            if is_list {
                println!("{name}: test");
            } else if let Err(what) = simulator.live(*seed) {
                println!("test {name}: seed {seed}: {what} ... FAILED");
                failed += 1;
            } else {
                println!("test {name} ... ok");
            }
        }
        if is_list && is_wanted(simulator.name) {
            println!("{}: test", simulator.name);
        } else if is_wanted(simulator.name) {
            failed += simulator.live_through(number("SIMULATION_FIRST", 1), number("SIMULATION_SEEDS", simulator.seeds));
        }
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Simulator {
    /// So many seeds, on two threads; how many of them broke a rule.
    fn live_through(&self, first: u64, seeds: u64) -> usize {
        let (next, begun_at) = (AtomicU64::new(first), Instant::now());
        let totals = Mutex::new(SeedReport::default());
        let failures = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..number("SIMULATION_THREADS", 2) {
                scope.spawn(|| {
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= first + seeds {
                            break;
                        }
                        match self.live(seed) {
                            Ok(report) => totals.lock().expect("no panic").add(&report),
                            Err(what) => {
                                println!("test {}: seed {seed}: {what} ... FAILED", self.name);
                                failures.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                    }
                });
            }
        });
        let totals = totals.into_inner().expect("no panic");
        let seconds = begun_at.elapsed().as_secs_f64();
        let failed = failures.into_inner();
        println!(
            "{}: {seeds} seeds from {first}, {failed} failed, {seconds:.1} s, {:.0} steps a second; {} operations, {} failed, {} cancelled, {} lost by the servers",
            self.name,
            totals.steps as f64 / seconds,
            totals.operations,
            totals.failures,
            totals.cancels,
            totals.lost
        );
        failed
    }

    /// A seed, now and then twice: the second life must be the same, byte by byte.
    fn live(&self, seed: u64) -> Result<SeedReport, String> {
        let once = || {
            catch_unwind(AssertUnwindSafe(|| (self.simulate)(seed))).unwrap_or_else(|panic| {
                let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
                Err(format!("a panic: {}", text.unwrap_or("without words")))
            })
        };
        let report = once()?;
        if seed.is_multiple_of(TWICE) && once()? != report {
            return Err(String::from("the same seed gave another run"));
        }
        Ok(report)
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
