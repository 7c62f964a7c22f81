//! What the README says of the knobs is what the code does.

use redis_manager::{Knob, RedisManager};

const README: &str = include_str!("../README.md");

/// Seen to bite: with another default in `NodeConfigBuilder`, and with a row too many.
#[test]
fn the_table_of_knobs_in_the_readme_is_that_of_the_code() {
    let row = |knob: &Knob| format!("| `{}` | {} | {} | {} | {} |", knob.name, knob.unit, knob.default, knob.range, knob.why);
    let expected: Vec<_> = RedisManager::knobs().iter().map(row).collect();
    let section = README.split("\n## Knobs\n").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("a section on knobs");
    let found: Vec<_> = section.lines().filter(|line| line.starts_with("| `")).map(String::from).collect();
    assert_eq!(found, expected, "the rows should be\n{}\n", expected.join("\n"));
}
