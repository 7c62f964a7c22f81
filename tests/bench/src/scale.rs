//! How cost grows with connections, pools, nodes and waiters: instructions of a path among more and more of them.
//!
//! This program runs itself under callgrind, once with few walks and once with many, so that the start, the end and the
//! making of the crowd cancel out. Instructions repeat, so growth can be judged on any machine; what the caches make of a
//! large crowd is in the tables of waiters and of names.

use std::env;
use std::process::Command;

use redis_manager_instructions::{Growth, PATHS, Path, find};

use crate::goals::{Goals, Want};
use crate::measure::Spread;
use crate::options::Options;
use crate::table;

/// The word by which this program, run by itself under callgrind, knows what it is to do.
const WALK: &str = "walk";
const FEW: u64 = 200;
const MANY: u64 = 600;

/// A smoke run goes no further, which is enough to see a path that grows in proportion.
const QUICK_LIMIT: usize = 1_000;

/// Instructions that are not the path's own: a hash that needs a second look, a table that is fuller than another.
const CONSTANT: f64 = 1.05;

/// Walks a path and says so, if that is what the command line asks for.
pub(crate) fn walk_if_told() -> bool {
    let words: Vec<String> = env::args().skip(1).collect();
    let [word, path, size, times] = &words[..] else { return false };
    if word != WALK {
        return false;
    }
    let path = find(path).expect("this program asks itself for its own paths");
    (path.walk)(size.parse().expect("a size is a number"), times.parse().expect("times are a number"));
    true
}

/// Counts and prints how every path grows; false if one grows more than was promised.
pub(crate) fn run(options: &Options, goals: &mut Goals) -> bool {
    if instructions(&PATHS[0], 1, 1).is_none() {
        println!("\nThere is no valgrind on the PATH: how cost grows is not known.");
    }
    let mut as_promised = true;
    for promised in [Growth::Constant, Growth::Logarithmic, Growth::Linear] {
        let mut rows = Vec::new();
        for path in PATHS.iter().filter(|path| path.growth == promised) {
            let counts = count(path, options);
            rows.push(row(path, &counts));
            as_promised &= judge(path, &counts, goals);
        }
        let cells = rows.iter().map(Vec::len).max().unwrap_or(0);
        rows.iter_mut().for_each(|row| row.resize(cells, String::new()));
        let mut head = vec!["path, among", "least"];
        head.resize(cells - 1, "more");
        head.push("last / one before");
        table::print(title(promised), &head, &rows);
    }
    as_promised
}

fn title(growth: Growth) -> &'static str {
    match growth {
        Growth::Constant => "Instructions that must not grow",
        Growth::Logarithmic => "Instructions that may grow with the logarithm",
        Growth::Linear => "Instructions of a pass over everything, once in a while",
    }
}

/// How many there were, and the instructions of each walk among them.
type Count = (usize, f64);

fn count(path: &Path, options: &Options) -> Vec<Count> {
    let sizes = path.sizes.iter().filter(|size| !options.quick || **size <= QUICK_LIMIT);
    sizes.filter_map(|size| Some((*size, each(path, *size)?))).collect()
}

fn each(path: &Path, size: usize) -> Option<f64> {
    let [few, many] = [instructions(path, size, FEW)?, instructions(path, size, MANY)?];
    Some((many - few) / (MANY - FEW) as f64)
}

/// All instructions of a process that walks the path; None if there is no valgrind.
fn instructions(path: &Path, size: usize, times: u64) -> Option<f64> {
    let program = env::current_exe().expect("a program that runs has a file");
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program);
    let output = valgrind.args([WALK, path.name, &size.to_string(), &times.to_string()]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{} among {size} ends with {}:\n{text}", path.name, output.status);
    let collected = text.lines().find_map(|line| line.split_once("Collected : "));
    collected.and_then(|(_, count)| count.trim().parse().ok())
}

fn row(path: &Path, counts: &[Count]) -> Vec<String> {
    let mut row = vec![format!("{}; {}", path.what, path.among)];
    row.extend(counts.iter().map(|(size, instructions)| format!("{size}: {instructions:.0}")));
    row.push(last_step(counts).map(|step| format!("{step:.2}")).unwrap_or_default());
    row
}

/// The instructions among the most, as a multiple of those among the next fewer.
fn last_step(counts: &[Count]) -> Option<f64> {
    let [.., (_, before), (_, last)] = counts else { return None };
    Some(last / before)
}

/// Whether the path grows no more than was promised, as far as is known.
fn judge(path: &Path, counts: &[Count], goals: &mut Goals) -> bool {
    let name = format!("instructions, {} ({})", path.what, path.among);
    let (most, of_what, seen) = match (path.growth, counts) {
        (Growth::Linear, _) => return true,
        (Growth::Constant, [(fewest, first), .., (most, last)]) => (CONSTANT, format!("{most} to {fewest}"), Some(last / first)),
        (Growth::Logarithmic, [.., (fewer, before), (most, last)]) => {
            // Even a path that is nothing but a search takes no more.
            let logarithm = (*most as f64).ln() / (*fewer as f64).ln();
            ((logarithm * 100.0).round() / 100.0, format!("{most} to {fewer}"), Some(last / before))
        }
        (Growth::Constant, [] | [_]) => (CONSTANT, String::from("most to least"), None),
        (Growth::Logarithmic, [] | [_]) => (1.33, String::from("most to fewer"), None),
    };
    let seen = seen.map(|seen| Spread::of(&[seen]));
    goals.judge(&format!("{name}: {of_what}"), Want::AtMost(most), seen);
    seen.is_none_or(|seen| seen.median <= most)
}
