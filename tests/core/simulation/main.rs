//! Whole lives of a pool, seed after seed: what `cargo run --example simulate` does, as a test and without dependencies.
//!
//! `SIMULATION_FIRST` (0) and `SIMULATION_SEEDS` (300) say which seeds are lived through, and `SIMULATION_HANGS_AFTER` (20)
//! how many seconds one may take: usually it takes some milliseconds, so that one that takes so long has lost its way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis_manager_core::state::Coverage;
use redis_manager_core::testing::simulation::{SeedPlan, simulate};

/// With fewer seeds than this, a rare turn may be missed without anything being wrong.
const ENOUGH_FOR_ALL_MARKS: u64 = 2_000;

/// How often a seed is looked at before it is said to hang.
const LOOKS: u32 = 20;

#[test]
fn no_seed_breaks_a_rule() {
    let (first, seeds) = (number("SIMULATION_FIRST", 0), number("SIMULATION_SEEDS", 300));
    let at = Arc::new(AtomicU64::new(first));
    name_the_seed_of_a_panic(&at);
    watch_for_hangs(&at);
    let mut coverage = Coverage::default();
    for seed in first..first + seeds {
        at.store(seed, Ordering::Relaxed);
        match simulate(&SeedPlan::from_seed(seed)) {
            Ok(report) => coverage = coverage.and(report.coverage),
            Err(failure) => panic!("{failure}"),
        }
    }
    if seeds >= ENOUGH_FOR_ALL_MARKS {
        assert_eq!(coverage.missing(), [], "turns that no seed has taken");
    }
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

/// A panic during another one ends the process; then this line is all that is left. Borrowers that panic on purpose do it
/// without a word.
fn name_the_seed_of_a_panic(at: &Arc<AtomicU64>) {
    let at = Arc::clone(at);
    std::panic::set_hook(Box::new(move |panic| {
        let payload = panic.payload();
        let words = payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied());
        let words = words.unwrap_or("a panic without words");
        if words.starts_with("seed ") {
            eprintln!("{words}");
        } else {
            eprintln!("seed {}: {words}", at.load(Ordering::Relaxed));
        }
    }));
}

fn watch_for_hangs(at: &Arc<AtomicU64>) {
    let at = Arc::clone(at);
    let pause = Duration::from_secs(number("SIMULATION_HANGS_AFTER", 20)) / LOOKS;
    std::thread::spawn(move || {
        let (mut seed, mut looks) = (None, 0);
        while looks < LOOKS {
            std::thread::sleep(pause);
            let seen = Some(at.load(Ordering::Relaxed));
            looks = if seen == seed { looks + 1 } else { 0 };
            seed = seen;
        }
        eprintln!("seed {}: it hangs", at.load(Ordering::Relaxed));
        std::process::abort();
    });
}
