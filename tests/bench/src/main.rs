//! Measures redis-manager beside other pools and clients, in one run of one program.
//!
//! ```sh
//! cargo run --release -p redis-manager-bench                  # everything
//! cargo run --release -p redis-manager-bench -- hygiene       # one part, or several
//! cargo run --release -p redis-manager-bench -- --quick       # a smoke run: the numbers mean nothing
//! ```
//!
//! Wants a `redis-server` on the PATH for the parts that talk to one.

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
mod table;

use std::process::ExitCode;

use goals::Goals;
use options::{Options, Part};

/// Counts nothing unless a measurement asks it to.
#[global_allocator]
static HEAP: heap::CountingAllocator = heap::CountingAllocator;

fn main() -> ExitCode {
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
    if options.has(Part::Pools) {
        pools::run(&options, &mut goals);
    }
    if options.has(Part::Memory) {
        memory::run(&options);
    }
    goals.print();
    exit
}
