//! The adapters in the simulator: whole managers over fake servers, seed by seed, with bad borrowers, bad servers and bad networks.
//!
//! `SIMULATION_SEEDS=2000 SIMULATION_FIRST=1 cargo test --profile test-release -p redis-manager-tests --all-features
//! --test adapters_simulation`. Each failure prints its seed; `SIMULATION_FIRST=SEED SIMULATION_SEEDS=1` shows it again, with
//! `SIMULATION_TELLS=1` what the server saw of the connection.

mod bad_habits;
mod borrower;
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

use plan::SimulatedSeed;
use world::{SeedReport, simulate};

/// Every so many seeds are lived through twice.
const TWICE: u64 = 20;

/// The test, as the harness would list it.
const NAME: &str = "no_seed_breaks_a_rule";

/// Seeds that once broke a rule, each with a name, and what was wrong.
const FOUND: &[(&str, u64)] = &[
    ("a_reply_of_no_known_type_that_arrives_alone", 4_107),
    ("a_reply_of_no_known_type_between_others", 5_702),
    ("a_reply_of_no_known_type_before_a_restart", 6_984),
    ("a_command_that_timed_out_beside_one_that_was_answered", 23_386),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let filters: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let is_wanted = |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()));
    let found: Vec<_> = FOUND.iter().filter(|(name, _)| is_wanted(name)).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        for name in found.iter().map(|(name, _)| *name).chain(is_wanted(NAME).then_some(NAME)) {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    let mut failed = 0;
    for (name, seed) in found {
        match live(*seed) {
            Ok(_) => println!("test {name} ... ok"),
            Err(what) => {
                println!("test {name}: seed {seed}: {what} ... FAILED");
                failed += 1;
            }
        }
    }
    if is_wanted(NAME) {
        failed += live_through(number("SIMULATION_FIRST", 1), number("SIMULATION_SEEDS", 10));
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// So many seeds, on two threads; how many of them broke a rule.
fn live_through(first: u64, seeds: u64) -> usize {
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
                    match live(seed) {
                        Ok(report) => add(&mut totals.lock().expect("no panic"), &report),
                        Err(what) => {
                            println!("test {NAME}: seed {seed}: {what} ... FAILED");
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
        "adapters simulated: {seeds} seeds from {first}, {failed} failed, {:.1} s, {:.0} steps a second; {} operations, {} failed, {} cancelled",
        seconds,
        totals.steps as f64 / seconds,
        totals.operations,
        totals.failures,
        totals.cancels
    );
    failed
}

/// A seed, now and then twice: the second life must be the same, byte by byte.
fn live(seed: u64) -> Result<SeedReport, String> {
    let plan = SimulatedSeed::new(seed);
    let once = || {
        catch_unwind(AssertUnwindSafe(|| simulate(&plan))).unwrap_or_else(|panic| {
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

fn add(totals: &mut SeedReport, report: &SeedReport) {
    totals.steps += report.steps;
    totals.operations += report.operations;
    totals.failures += report.failures;
    totals.cancels += report.cancels;
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
