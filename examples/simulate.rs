//! Whole lives of a pool in virtual time, seed after seed; a seed that breaks a rule is shrunk and told as a timeline.
//!
//! `cargo run --release --example simulate -- [--seed N] [--seeds N] [--check-determinism]`

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use redis_manager::testing::Coverage;
use redis_manager::testing::simulation::{Fault, OutcomeCounts, Report, SeedPlan, shrink, simulate};

struct Arguments {
    first: u64,
    seeds: u64,
    check_determinism: bool,
}

fn arguments() -> Result<Arguments, String> {
    let mut arguments = Arguments { first: 0, seeds: 1_000, check_determinism: false };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || words.next().and_then(|word| word.parse().ok()).ok_or(format!("{word} needs a number"));
        match word.as_str() {
            "--seed" => (arguments.first, arguments.seeds) = (number()?, 1),
            "--seeds" => arguments.seeds = number()?,
            "--check-determinism" => arguments.check_determinism = true,
            _ => return Err(format!("unknown argument {word}; known are --seed N, --seeds N and --check-determinism")),
        }
    }
    Ok(arguments)
}

/// What all seeds together have seen.
#[derive(Default)]
struct Sum {
    steps: u64,
    counts: OutcomeCounts,
    dials: usize,
    checks: usize,
    faults: BTreeMap<String, usize>,
    coverage: Coverage,
    virtual_time: Duration,
    hash: u64,
}

impl Sum {
    fn add(&mut self, plan: &SeedPlan, report: &Report) {
        self.steps += report.steps;
        self.counts = self.counts.plus(report.counts);
        self.dials += report.dials;
        self.checks += report.checks;
        for (_, fault) in plan.faults.iter().take(report.faults) {
            *self.faults.entry(kind(fault)).or_default() += 1;
        }
        self.coverage = self.coverage.and(report.coverage);
        self.virtual_time += Duration::from_nanos(report.ended_at.as_nanos());
        self.hash = self.hash.rotate_left(7) ^ report.hash;
    }
}

/// The name of a fault without its numbers.
fn kind(fault: &Fault) -> String {
    let text = format!("{fault:?}");
    match text.split_once('(') {
        Some(("Mode", mode)) => format!("mode {}", mode.trim_end_matches(')').to_lowercase()),
        Some((name, _)) => String::from(name),
        None => text,
    }
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    // Borrowers panic on purpose; the runtime catches it.
    std::panic::set_hook(Box::new(|_| {}));
    let (began_at, mut told_at) = (Instant::now(), Instant::now());
    let mut sum = Sum::default();
    for seed in arguments.first..arguments.first + arguments.seeds {
        let plan = SeedPlan::from_seed(seed);
        let report = match simulate(&plan) {
            Ok(report) => report,
            Err(failure) => {
                println!("\n{failure}\nshrinking its {} faults ...", plan.faults.len());
                let (shortest, failure) = shrink(&plan, failure);
                println!("\n{failure}");
                println!("with {} of its {} faults: {:?}", shortest.faults.len(), plan.faults.len(), shortest.faults);
                println!("again: cargo run --release --example simulate -- --seed {seed}");
                return ExitCode::FAILURE;
            }
        };
        if arguments.check_determinism && simulate(&plan).map(|again| again.hash) != Ok(report.hash) {
            println!("seed {seed}: two runs differ");
            return ExitCode::FAILURE;
        }
        sum.add(&plan, &report);
        if told_at.elapsed() > Duration::from_secs(5) {
            told_at = Instant::now();
            eprintln!("{} seeds, {} gets, {:.0?}", seed + 1 - arguments.first, sum.counts.gets, began_at.elapsed());
        }
    }
    let wall = began_at.elapsed();
    println!("seeds        {}", arguments.seeds);
    println!("steps        {} ({:.0} a second)", sum.steps, sum.steps as f64 / wall.as_secs_f64());
    println!(
        "gets         {}: {} ok, {} refused, {} cancelled",
        sum.counts.gets, sum.counts.oks, sum.counts.refused, sum.counts.cancels
    );
    println!("dials        {}", sum.dials);
    println!("checks       {}", sum.checks);
    println!("faults       {:?}", sum.faults);
    println!("virtual time {:.0?}", sum.virtual_time);
    println!("wall time    {wall:.1?}");
    println!("not covered {:?}", sum.coverage.missing());
    println!("hash         {:016x}", sum.hash);
    ExitCode::SUCCESS
}
