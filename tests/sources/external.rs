//! Which crates show their types in public signatures: a new major version of one of these is a new one of ours.

use std::collections::{BTreeMap, BTreeSet};

use crate::files::{code_of, read, tokens};
use crate::modules::CrateModules;

/// By package: the crates, beside std. Too many rather than too few: a public item of a private module counts. `Stream` is built on tokio's traits for bytes on smol, too.
const SHOWN: [(&str, &[&str]); 2] = [
    (
        "adapters/src",
        &[
            "futures_core",
            "metrics",
            "opentelemetry",
            "prometheus_client",
            "redis",
            "redis_manager_core",
            "rustls",
            "serde",
            "smol",
            "socket2",
            "tokio",
        ],
    ),
    ("core/src", &[]),
];

/// The words of the public signatures, fields, traits, aliases and `impl`s of a file.
fn words_of_signatures(code: &str) -> BTreeSet<String> {
    let words = tokens(code);
    let mut found = BTreeSet::new();
    for (at, word) in words.iter().enumerate() {
        let is_public = *word == "pub" && words.get(at + 1) != Some(&"(") && words.get(at + 1) != Some(&"use");
        if is_public || *word == "impl" {
            let rest = words[at..].iter().take_while(|word| !["{", ";", "="].contains(*word));
            found.extend(rest.map(|word| (*word).to_owned()));
        }
    }
    found
}

/// The crates that a package depends on.
fn dependencies_of(manifest: &str) -> BTreeSet<String> {
    let text = read(manifest);
    let section = text.split("\n[dependencies]\n").nth(1).and_then(|rest| rest.split("\n[").next()).unwrap_or_default();
    let names = section.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split([' ', '.']).next());
    names.filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

/// Guards against: a type of another crate in a signature, and a crate on the list that shows none any more.
#[test]
fn the_crates_whose_types_are_public_are_on_the_list() {
    let mut all = BTreeMap::new();
    for (folder, _) in SHOWN {
        let found: &mut BTreeSet<String> = all.entry(folder).or_default();
        let dependencies = dependencies_of(&folder.replace("src", "Cargo.toml"));
        for file in CrateModules::read(folder).files {
            let words = words_of_signatures(&code_of(&read(&file.path)));
            // Those that are named by their whole path.
            found.extend(dependencies.intersection(&words).filter(|name| *name == "smol").cloned());
            for import in file.uses {
                let (Some(first), Some(name)) = (import.path.first(), &import.name) else { continue };
                if dependencies.contains(first) && words.contains(name) {
                    found.insert(first.clone());
                }
            }
        }
    }
    let expected: BTreeMap<_, BTreeSet<_>> =
        SHOWN.into_iter().map(|(folder, crates)| (folder, crates.iter().map(|name| String::from(*name)).collect())).collect();
    assert_eq!(all, expected);
}
