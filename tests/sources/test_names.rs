//! The tests of the workspace with the rules that they show, and the rules that assertions cite.

use std::collections::{BTreeMap, BTreeSet};

use crate::files::{code_of, read, rust_files, tokens};

/// The letters of rules: an identifier such as `h16_…` begins with one.
const LETTERS: &str = "CWHLNPETFIS";
/// Macros whose entries are tests by the name of a function of the same file.
const MACROS: [&str; 2] = ["on_every_runtime", "stories"];

/// What one file has.
#[derive(Debug, Default)]
struct FileEvidence {
    /// By test: the rules that its name or the first words of its documentation cite.
    tests: BTreeMap<String, BTreeSet<String>>,
    /// Rules that its messages cite.
    asserted: BTreeSet<String>,
}

/// Where tests and assertions are.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    /// By rule: tests and their files.
    pub(crate) tests: BTreeMap<String, BTreeSet<(String, String)>>,
    /// By rule: files whose assertions cite it.
    pub(crate) asserted: BTreeMap<String, BTreeSet<String>>,
    /// All tests, also those that cite no rule, with their files.
    pub(crate) all: BTreeMap<String, BTreeSet<String>>,
}

impl Evidence {
    pub(crate) fn collect() -> Self {
        let mut evidence = Self::default();
        for path in rust_files(&["core", "adapters", "tests"]) {
            // These three say which rules there are, not what shows them.
            if path.starts_with("tests/sources/") {
                continue;
            }
            let shown = shown_by(&read(&path));
            for (test, rules) in shown.tests {
                for rule in rules {
                    evidence.tests.entry(rule).or_default().insert((test.clone(), path.clone()));
                }
                evidence.all.entry(test).or_default().insert(path.clone());
            }
            for rule in shown.asserted {
                evidence.asserted.entry(rule).or_default().insert(path.clone());
            }
        }
        evidence
    }
}

fn shown_by(text: &str) -> FileEvidence {
    let mut shown = FileEvidence::default();
    let code = code_of(text);
    let entries = macro_entries(&tokens(&code));
    let (mut doc, mut is_test) = (String::new(), false);
    for (line, code) in text.lines().zip(code.lines()) {
        let line = line.trim();
        if let Some(words) = line.strip_prefix("///") {
            doc.push_str(words);
            continue;
        }
        for rule in cited_in_message(line) {
            shown.asserted.insert(rule);
        }
        if line.starts_with("#[") || line.is_empty() {
            is_test |= line == "#[test]" || line.starts_with("#[tokio::test");
            continue;
        }
        let words = tokens(code);
        if let Some(at) = words.iter().position(|word| *word == "fn")
            && let Some(name) = words.get(at + 1)
            && (is_test || entries.contains(*name))
        {
            let mut rules = rules_of_name(name);
            rules.extend(leading_rules(&doc));
            shown.tests.insert((*name).to_owned(), rules);
        }
        doc.clear();
        is_test = false;
    }
    shown
}

/// The names that the macros of tests are given.
fn macro_entries(words: &[&str]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for start in 0..words.len().saturating_sub(2) {
        if !MACROS.contains(&words[start]) || words[start + 1..start + 3] != ["!", "{"] {
            continue;
        }
        let (mut depth, mut is_first) = (1, true);
        for word in &words[start + 3..] {
            match *word {
                "{" => depth += 1,
                "}" => depth -= 1,
                ";" if depth == 1 => {
                    is_first = true;
                    continue;
                }
                name if depth == 1 && is_first => {
                    found.insert(name.to_owned());
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
            is_first = false;
        }
    }
    found
}

/// `w6_w8_a_get_…` is about W6 and W8.
fn rules_of_name(name: &str) -> BTreeSet<String> {
    name.split('_').map(str::to_ascii_uppercase).take_while(|word| is_rule(word)).collect()
}

fn is_rule(word: &str) -> bool {
    let (letter, number) = word.split_at_checked(1).unwrap_or_default();
    LETTERS.contains(letter) && !letter.is_empty() && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// `L11: …`, `H7 and H3. …`, `H4, H5: …` at the beginning of a text.
fn leading_rules(text: &str) -> BTreeSet<String> {
    let words = text.split_whitespace().map(|word| word.trim_end_matches([',', ':', '.']));
    words.take_while(|word| is_rule(word) || *word == "and").filter(|word| is_rule(word)).map(String::from).collect()
}

/// `"I4, I5: …"` and `"seed {seed}: C1: …"`, as messages of assertions have it.
fn cited_in_message(line: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for message in line.split('"').skip(1).step_by(2) {
        for part in message.split(": ").take(2).take_while(|part| part.starts_with("seed") || is_rules(part)) {
            found.extend(leading_rules(part));
        }
    }
    found
}

fn is_rules(part: &str) -> bool {
    !part.is_empty() && part.split(", ").all(is_rule)
}

/// Seen to bite: with tests of `on_every_runtime!` that are not looked for.
#[test]
fn names_documentation_and_messages_cite_rules() {
    let text = "\
on_every_runtime! { t5_b; f2_c needs Tls { fn d() {} }; }
/// H7 and H3. Seen to bite.
#[test]
fn a() { assert!(x, \"seed {seed}: I4, I5: words\"); }
/// Of no rule, though it ends with C1
async fn t5_b() {}
async fn f2_c() {}
fn w1_no_test() {}
#[test]
fn w6_w8_e() { let nothing = \"10:30: C1\"; }
";
    let shown = shown_by(text);
    let tests: Vec<_> = shown.tests.iter().map(|(test, rules)| format!("{test} {rules:?}")).collect();
    let expected = [r#"a {"H3", "H7"}"#, r#"f2_c {"F2"}"#, r#"t5_b {"T5"}"#, r#"w6_w8_e {"W6", "W8"}"#];
    assert_eq!(tests, expected);
    assert_eq!(Vec::from_iter(shown.asserted), ["I4", "I5"]);
}
