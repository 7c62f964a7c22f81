//! Walks one hot path of the core as often as it is told to, for `run.sh` to count the instructions.
//!
//! `redis-manager-instructions NAME TIMES` walks what is written down under this name, `… PATH SIZE TIMES` any path among
//! any number; without arguments, the names.

use std::process::ExitCode;

use redis_manager_instructions::{PATHS, find};

/// The paths whose counts are written down: by which name, and which of them among how many.
const WRITTEN_DOWN: [(&str, &str, usize); 6] = [
    ("uncontended", "uncontended", 8),
    ("by-name", "by-name", 100),
    ("waited", "waited", 0),
    ("waited-behind-1000", "waited", 1_000),
    ("cancelled", "cancelled", 0),
    ("cancelled-among-1000", "cancelled", 1_000),
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match &words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => {
            WRITTEN_DOWN.iter().for_each(|(name, _, _)| println!("{name}"));
            ExitCode::SUCCESS
        }
        [name, times] => match WRITTEN_DOWN.iter().find(|(known, _, _)| known == name) {
            Some((_, path, size)) => walk(path, Some(*size), times),
            None => help(),
        },
        [path, size, times] => walk(path, size.parse().ok(), times),
        [_, ..] => help(),
    }
}

fn walk(path: &str, size: Option<usize>, times: &str) -> ExitCode {
    match (find(path), size, times.parse()) {
        (Some(path), Some(size), Ok(times)) => {
            (path.walk)(size, times);
            ExitCode::SUCCESS
        }
        (_, _, _) => help(),
    }
}

fn help() -> ExitCode {
    eprintln!("redis-manager-instructions [NAME TIMES | PATH SIZE TIMES], where PATH is one of these:");
    PATHS.iter().for_each(|path| eprintln!("  {:<12} {}; SIZE counts {}", path.name, path.what, path.among));
    ExitCode::from(2)
}
