//! Measures redis-manager beside other pools and clients, in one run of one program.
//!
//! ```sh
//! cargo run --release -p redis-manager-bench                  # everything
//! cargo run --release -p redis-manager-bench -- hygiene       # one part, or several
//! cargo run --release -p redis-manager-bench -- --quick       # a smoke run: the numbers mean nothing
//! ```
//!
//! Wants a `redis-server` on the PATH, except for the parts `memory` and `scale`, and `valgrind` for the part `scale`. It
//! fails if a borrower of redis-manager leaves anything behind, or if the instructions of a path grow more than was
//! promised; any other goal that is missed is printed, and fails nothing: figures are of the machine as well.
//!
//! Contenders are measured in turn within a round, in an order that rotates, for several rounds. Tables show the median
//! over the rounds with the least and the most. A ratio is taken within each round, and then its median, so that both
//! sides had the same machine in the same second.

mod cluster;
mod end_to_end;
mod goals;
mod heap;
mod hygiene;
mod measure;
mod memory;
mod options;
mod peers;
mod pools;
mod runner;
mod scale;
mod subscriptions;
mod table;
mod tls;

use std::process::ExitCode;

use goals::Goals;
use options::{Options, Part};

/// Counts nothing unless a measurement asks it to.
#[global_allocator]
static HEAP: heap::CountingAllocator = heap::CountingAllocator;

fn main() -> ExitCode {
    if scale::walk_if_told() {
        return ExitCode::SUCCESS;
    }
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(help) => {
            eprintln!("{help}");
            return ExitCode::from(2);
        }
    };
    let mut exit = ExitCode::SUCCESS;
    if options.has(Part::Hygiene) && !hygiene::run() {
        exit = ExitCode::FAILURE;
    }
    let mut goals = Goals::default();
    if options.has(Part::Redis) {
        end_to_end::run(&options, &mut goals);
    }
    if options.has(Part::Cluster) {
        cluster::run(&options, &mut goals);
    }
    if options.has(Part::Subscriptions) {
        subscriptions::run(&options, &mut goals);
    }
    if options.has(Part::Pools) {
        pools::run(&options, &mut goals);
    }
    if options.has(Part::Memory) {
        memory::run(&options);
    }
    if options.has(Part::Tls) {
        tls::run(&options, &mut goals);
    }
    if options.has(Part::Scale) && !scale::run(&options, &mut goals) {
        exit = ExitCode::FAILURE;
    }
    goals.print();
    exit
}
