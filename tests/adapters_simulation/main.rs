//! The adapters in the simulator: whole managers over fake servers, seed by seed, with bad borrowers, bad servers and bad networks.
//!
//! `SIMULATION_SEEDS=2000 SIMULATION_FIRST=1 cargo test --profile test-release -p redis-manager-tests --all-features
//! --test adapters_simulation`. Each failure prints its seed; `SIMULATION_FIRST=SEED SIMULATION_SEEDS=1` shows it again.

mod borrower;
mod ledger;
mod plan;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use plan::SimulatedSeed;
use world::{SeedReport, simulate};

/// Every so many seeds are lived through twice.
const TWICE: u64 = 20;

fn main() -> ExitCode {
    let first = number("SIMULATION_FIRST", 1);
    let seeds = number("SIMULATION_SEEDS", 10);
    let (next, begun_at) = (AtomicU64::new(first), Instant::now());
    let totals = Mutex::new(SeedReport::default());
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds {
                        break;
                    }
                    match live(seed) {
                        Ok(report) => add(&mut totals.lock().expect("no panic"), &report),
                        Err(what) => {
                            println!("seed {seed}: {what}");
                            failures.lock().expect("no panic").push(seed);
                        }
                    }
                }
            });
        }
    });
    let totals = totals.into_inner().expect("no panic");
    let seconds = begun_at.elapsed().as_secs_f64();
    let failed = failures.into_inner().expect("no panic").len();
    println!(
        "adapters simulated: {seeds} seeds from {first}, {failed} failed, {:.1} s, {:.0} steps a second; {} operations, {} failed, {} cancelled",
        seconds,
        totals.steps as f64 / seconds,
        totals.operations,
        totals.failures,
        totals.cancels
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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
