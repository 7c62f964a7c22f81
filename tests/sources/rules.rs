//! `tests/RULES.md` is what the tests show.

use std::fmt::Write as _;
use std::fs;

use crate::files::{read, root};
use crate::rule_table::{NOT_SHOWN, OTHER_NAMES, SECTIONS};
use crate::test_names::Evidence;

const FILE: &str = "tests/RULES.md";
const HEAD: &str = "\
# Rules

What the pool promises, each rule with the tests that show it. A test is named after its rule, or its documentation begins
with the rule, or it is listed in `tests/sources/rule_table.rs`. *Asserted* means: checked in debug builds or by the simulator
at every step, with the rule in the message.

This file is written by `UPDATE_RULES=1 cargo test -p redis-manager-tests --test sources rules`. Without the variable the same
test fails if the file is not what would be written, if a rule has neither a test nor a reason, or if a test names a rule that
the table does not have.
";

fn numbered(rule: &str) -> bool {
    SECTIONS.iter().any(|section| section.rules.iter().any(|(id, _)| *id == rule))
}

/// The file as it should be, and what is wrong with the table or the tests.
fn rendered(evidence: &Evidence) -> (String, Vec<String>) {
    let (mut text, mut wrong) = (String::from(HEAD), Vec::new());
    for section in SECTIONS {
        write!(text, "\n## {}\n\n", section.title).expect("a string takes all");
        for (rule, words) in section.rules {
            writeln!(text, "- **{rule}** {words}").expect("a string takes all");
            let mut tests = evidence.tests.get(*rule).cloned().unwrap_or_default();
            for (_, other) in OTHER_NAMES.iter().filter(|(of, _)| of == rule) {
                match evidence.all.get(*other) {
                    Some(paths) => tests.extend(paths.iter().map(|path| ((*other).to_owned(), path.clone()))),
                    None => wrong.push(format!("{rule}: no test is called {other}")),
                }
            }
            for (test, path) in &tests {
                writeln!(text, "  - `{test}` in {path}").expect("a string takes all");
            }
            let asserted = evidence.asserted.get(*rule);
            if let Some(paths) = asserted {
                writeln!(text, "  - asserted in {}", Vec::from_iter(paths.iter().cloned()).join(", "))
                    .expect("a string takes all");
            }
            let reason = NOT_SHOWN.iter().find(|(of, _)| of == rule);
            match (reason, tests.is_empty() && asserted.is_none()) {
                (Some((_, reason)), true) => writeln!(text, "  - no test: {reason}").expect("a string takes all"),
                (None, true) => wrong.push(format!("{rule} has neither a test nor a reason")),
                (Some(_), false) => wrong.push(format!("{rule} has tests and a reason to have none")),
                (None, false) => {}
            }
        }
    }
    let cited = evidence.tests.iter().map(|(rule, tests)| (rule, format!("{tests:?}")));
    let cited = cited.chain(evidence.asserted.iter().map(|(rule, paths)| (rule, format!("{paths:?}"))));
    wrong.extend(cited.filter(|(rule, _)| !numbered(rule)).map(|(rule, places)| format!("no rule is {rule}: {places}")));
    (text, wrong)
}

/// Seen to bite: with `l1_…` renamed to `l21_…` (no rule is L21, L1 has no test), and with a line of the file changed.
#[test]
fn the_list_of_rules_is_what_the_tests_show() {
    let (text, wrong) = rendered(&Evidence::collect());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    if std::env::var_os("UPDATE_RULES").is_some() {
        fs::write(root().join(FILE), &text).expect("a file that can be written");
    }
    let written = read(FILE);
    let differs = written.lines().zip(text.lines()).find(|(written, line)| written != line);
    assert!(written == text, "{FILE} is not what the tests show, run with UPDATE_RULES=1; the first line: {differs:?}");
}
