//! What the README says of the settings is what the code does, and of the servers, what the tests run against.

use redis_manager::{RedisManager, Setting};

const README: &str = include_str!("../README.md");

/// Seen to bite: with another default in `NodeConfigBuilder`, and with a row too many.
#[test]
fn the_table_of_settings_in_the_readme_is_that_of_the_code() {
    let row = |setting: &Setting| {
        format!("| `{}` | {} | {} | {} | {} |", setting.name, setting.unit, setting.default, setting.range, setting.why)
    };
    let expected: Vec<_> = RedisManager::settings().iter().map(row).collect();
    let section =
        README.split("\n## Settings\n").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("a section on settings");
    let found: Vec<_> = section.lines().filter(|line| line.starts_with("| `")).map(String::from).collect();
    assert_eq!(found, expected, "the rows should be\n{}\n", expected.join("\n"));
}

/// Seen to bite: with another version in `servers.sh`.
#[test]
fn the_servers_in_the_readme_are_those_that_are_fetched() {
    let script = include_str!("servers.sh");
    let versions: Vec<_> = script.lines().filter_map(|line| line.split_once("version='")?.1.split_once(" '")).collect();
    let expected = versions.iter().map(|(words, _)| {
        let (product, version) = words.split_once(" server v=").expect("as --version says it");
        let (major, _) = version.rsplit_once('.').expect("three numbers");
        format!("| {product} {major} | {version} |")
    });
    let rows: Vec<_> = expected.collect();
    assert_eq!(rows.len(), 3, "{script}");
    for row in rows {
        assert!(README.contains(&row), "the README has no row of {row}");
    }
}
