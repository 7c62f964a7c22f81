//! One type name has one definition in the workspace, and a source file can be read in one go.

use std::collections::BTreeMap;

use crate::files::{code_of, is_type_name, read, rust_files, tokens};

const FOLDERS: [&str; 4] = ["core/src", "adapters/src", "tests", "examples"];

/// The same thing for builds with and without TLS: each has these two definitions.
const ALTERNATIVES: [&str; 4] = ["Tls", "TlsError", "TlsPeer", "TlsVerdict"];
const WITHOUT_TLS: &str = "adapters/src/redis/no_tls.rs";
const WITH_TLS: &str = "adapters/src/redis/tls/";

/// A build without a runtime says there what is missing.
const WITHOUT_RUNTIME: &str = "adapters/src/no_runtime.rs";

/// Definitions that go with the redis crate's own connection.
const GOING: [(&str, [&str; 2]); 1] = [("InFlight", ["adapters/src/redis/shared_handle.rs", "adapters/src/redis/socket.rs"])];

const MOST_LINES: usize = 400;

/// Files that may be longer, and why.
const LONG_FILES: &[(&str, &str)] = &[];

/// Structs, enums, traits, unions, and aliases that are no part of a trait or an `impl`.
fn type_names(code: &str) -> Vec<String> {
    let words = tokens(code);
    let (mut found, mut depth) = (Vec::new(), 0);
    for (at, word) in words.iter().enumerate() {
        match *word {
            "{" => depth += 1,
            "}" => depth -= 1,
            "struct" | "enum" | "trait" | "union" => found.extend(words.get(at + 1).copied()),
            "type" if depth == 0 => found.extend(words.get(at + 1).copied()),
            _ => {}
        }
    }
    found.into_iter().filter(|name| is_type_name(name)).map(str::to_owned).collect()
}

/// Seen to bite: with a second `Lease`, an alias in a test.
#[test]
fn no_type_name_is_defined_twice() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in rust_files(&FOLDERS) {
        for name in type_names(&code_of(&read(&path))) {
            places.entry(name).or_default().push(path.clone());
        }
    }
    let is_alternative = |name: &str, places: &[String]| {
        ALTERNATIVES.contains(&name)
            && places.len() == 2
            && places.iter().any(|path| path == WITHOUT_TLS)
            && places.iter().any(|path| path.starts_with(WITH_TLS))
    };
    let is_placeholder = |name: &str, places: &[String]| {
        name == "RedisManager" && places.len() == 2 && places.iter().any(|path| path == WITHOUT_RUNTIME)
    };
    let is_going = |name: &str, places: &[String]| GOING.iter().any(|(going, of)| *going == name && of[..] == *places);
    let is_allowed =
        |name: &str, places: &[String]| is_alternative(name, places) || is_placeholder(name, places) || is_going(name, places);
    let twice = places.iter().filter(|(name, places)| places.len() > 1 && !is_allowed(name, places));
    let twice: Vec<_> = twice.map(|(name, places)| format!("{name}: {}", places.join(", "))).collect();
    assert!(twice.is_empty(), "names with more than one definition:\n{}", twice.join("\n"));
}

/// Seen to bite: with the rules of healing in one file.
#[test]
fn no_source_file_is_too_long() {
    let lines = |path: &str| read(path).lines().count();
    for (file, _) in LONG_FILES {
        assert!(lines(file) > MOST_LINES, "{file} is no longer than others: take it off the list");
    }
    let is_long = |path: &String| lines(path) > MOST_LINES && !LONG_FILES.iter().any(|(file, _)| file == path);
    let long: Vec<_> = rust_files(&FOLDERS).into_iter().filter(is_long).collect();
    let words: Vec<_> = long.iter().map(|path| format!("{path}: {}", lines(path))).collect();
    assert!(long.is_empty(), "files of more than {MOST_LINES} lines:\n{}", words.join("\n"));
}

#[test]
fn associated_types_are_no_names_of_their_own() {
    let code = "struct A; impl B for A { type C = D; } enum E<F> { G } trait H { type I; } type J = K; fn f() { union L {} }";
    assert_eq!(type_names(code), ["A", "E", "H", "J", "L"]);
}
