//! What the README and the guide say of the settings is what the code does, and of the servers, what the tests run against.

use std::fs;
use std::path::{Path, PathBuf};

use redis_manager::export::{MetricDefinition, MetricPresence};
use redis_manager::{RedisManager, Setting};

const README: &str = include_str!("../README.md");
const METRICS: &str = include_str!("../adapters/src/guide/metrics.md");
const CONFIGURATION: &str = include_str!("../adapters/src/guide/configuration.md");

/// Seen to bite: with another default in `NodeConfigBuilder`, and with a row too many.
#[test]
fn the_table_of_settings_in_the_guide_is_that_of_the_code() {
    let row = |setting: &Setting| {
        format!("| `{}` | {} | {} | {} | {} |", setting.name, setting.unit, setting.default, setting.range, setting.why)
    };
    let expected: Vec<_> = RedisManager::settings().iter().map(row).collect();
    let section =
        CONFIGURATION.split("\n## Settings\n").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("a section on settings");
    let found: Vec<_> = section.lines().filter(|line| line.starts_with("| `")).map(String::from).collect();
    assert_eq!(found, expected, "the rows should be\n{}\n", expected.join("\n"));
}

/// Seen to bite: with another text in a row, with a row in the section of the other names, and with a value of a label too few.
#[test]
fn the_tables_of_metrics_in_the_guide_are_those_of_the_code() {
    let row = |metric: &MetricDefinition| {
        let values: Vec<_> = metric.label_values.iter().map(|value| format!("`{value}`")).collect();
        let values = if values.is_empty() { String::from("the names") } else { values.join(", ") };
        let label = metric.label.map_or(String::new(), |label| format!("`{label}`: {values}"));
        let MetricDefinition { name, prometheus_name, kind, unit, counts, .. } = metric;
        let mark = match metric.presence {
            MetricPresence::Always => "",
            MetricPresence::Counted => " ¹",
            MetricPresence::Primary => " ³",
            MetricPresence::Cluster | _ => " ²",
        };
        format!("| `{name}`{mark} | `{prometheus_name}` | {kind} | `{unit}` | {label} | {counts} |")
    };
    for (title, is_seed_name) in [("Table", false), ("Short names", true)] {
        let all = MetricDefinition::all();
        let expected: Vec<_> = all.iter().filter(|metric| metric.is_seed_name == is_seed_name).map(row).collect();
        let section = METRICS.split(&format!("\n## {title}\n")).nth(1).and_then(|rest| rest.split("\n## ").next());
        let section = section.unwrap_or_else(|| panic!("no section {title}"));
        let found: Vec<_> = section.lines().filter(|line| line.starts_with("| `")).map(String::from).collect();
        assert_eq!(found, expected, "the rows should be\n{}\n", expected.join("\n"));
    }
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

/// Seen to bite: with a page without a row in the README, and with a page of another name in a link of another one.
#[test]
fn every_link_of_the_readme_and_the_guide_leads_to_a_file_and_the_readme_to_every_page() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is in a folder of the workspace");
    let guide = root.join("adapters/src/guide");
    let pages: Vec<_> = fs::read_dir(&guide).expect("the guide is there").map(|entry| entry.expect("an entry").path()).collect();
    assert!(!pages.is_empty(), "no pages in {}", guide.display());
    for page in pages.iter().chain([&root.join("README.md")]) {
        let text = fs::read_to_string(page).expect("a page is text");
        for link in links(&text) {
            assert!(page.with_file_name(&link).exists(), "{}: no file {link}", page.display());
        }
    }
    let linked: Vec<PathBuf> = links(README).iter().map(|link| root.join(link)).collect();
    for page in &pages {
        assert!(linked.contains(page), "the README has no link to {}", page.display());
    }
}

/// The paths of links within the repository, without what follows `#`.
fn links(text: &str) -> Vec<String> {
    let inline = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let definitions = text.lines().filter(|line| line.starts_with('[')).filter_map(|line| Some(line.split_once("]: ")?.1));
    let paths = inline.chain(definitions).filter(|link| !link.starts_with("https://"));
    paths.filter_map(|link| link.split('#').next()).filter(|path| !path.is_empty()).map(String::from).collect()
}

#[test]
fn the_readme_can_be_read_in_one_go() {
    assert!(README.lines().count() <= 250, "{} lines", README.lines().count());
}
