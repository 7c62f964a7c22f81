//! The modules of a crate as its `mod` declarations make them: which files each has, and what the files define and import.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::files::{code_of, read, root, tokens};

/// A path of modules from the root of the crate, without the word `crate`.
pub(crate) type ModulePath = Vec<String>;

/// One import, or one path within an expression or a type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PathUse {
    pub(crate) path: Vec<String>,
    /// The name that it has here; None for `*` and for paths that are no import.
    pub(crate) name: Option<String>,
    pub(crate) kind: UseKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum UseKind {
    /// `use`
    Import,
    /// `pub use`, of any visibility
    Export,
    /// `crate::a::b()` within an expression or a type
    Inline,
}

#[derive(Debug)]
pub(crate) struct SourceFile {
    pub(crate) path: String,
    pub(crate) module: ModulePath,
    pub(crate) defines: BTreeSet<String>,
    pub(crate) uses: Vec<PathUse>,
}

/// A crate: its files, and which of them each module has. Alternatives by `#[cfg]` are several files of one module.
#[derive(Debug, Default)]
pub(crate) struct CrateModules {
    pub(crate) files: Vec<SourceFile>,
    pub(crate) modules: BTreeMap<ModulePath, Vec<usize>>,
}

impl CrateModules {
    /// Reads the crate whose `lib.rs` is in this folder.
    pub(crate) fn read(folder: &str) -> Self {
        let mut all = Self::default();
        all.add(format!("{folder}/lib.rs"), Vec::new());
        all
    }

    fn add(&mut self, path: String, module: ModulePath) {
        let text = read(&path);
        let code = without_tests(&code_of(&text));
        let words = tokens(&code);
        let index = self.files.len();
        self.modules.entry(module.clone()).or_default().push(index);
        for inline in inline_modules(&words) {
            self.modules.entry([module.clone(), vec![inline]].concat()).or_default().push(index);
        }
        let (defines, uses) = (definitions(&words), uses(&words));
        self.files.push(SourceFile { path: path.clone(), module: module.clone(), defines, uses });
        for (name, file) in children(&path, &text, &code) {
            self.add(file, [module.clone(), vec![name]].concat());
        }
    }
}

/// The modules that a file declares with `mod name;`, and their files.
fn children(path: &str, text: &str, code: &str) -> Vec<(String, String)> {
    let (folder, file) = path.rsplit_once('/').expect("a file in a folder");
    let below = match file.trim_end_matches(".rs") {
        "lib" | "mod" => folder.to_owned(),
        stem => format!("{folder}/{stem}"),
    };
    let mut found = Vec::new();
    let mut given_path = None;
    for (line, code) in text.lines().zip(code.lines()) {
        if let Some(given) = line.trim().strip_prefix("#[path = \"").and_then(|rest| rest.strip_suffix("\"]")) {
            given_path = Some(given.to_owned());
            continue;
        }
        let words = tokens(code);
        let Some(at) = words.iter().position(|word| *word == "mod") else { continue };
        if words.get(at + 2) != Some(&";") {
            continue;
        }
        let name = words[at + 1].to_owned();
        let places = match given_path.take() {
            Some(given) => vec![format!("{folder}/{given}")],
            None => vec![format!("{below}/{name}.rs"), format!("{below}/{name}/mod.rs")],
        };
        let file = places.iter().find(|place| Path::new(&root().join(place)).exists());
        found.push((name, file.unwrap_or_else(|| panic!("{path}: no file of {places:?}")).clone()));
    }
    found
}

/// The code without `#[cfg(test)] mod name { … }`: what tests import is no part of the graph.
fn without_tests(code: &str) -> String {
    const START: &str = "#[cfg(test)]\nmod ";
    let mut rest = code;
    let mut kept = String::new();
    while let Some(start) = rest.find(START) {
        let (before, module) = rest.split_at(start);
        kept.push_str(before);
        let header = &module[START.len()..];
        let end = if header.find('{') < header.find(';') && header.contains('{') {
            START.len() + end_of_braces(header)
        } else {
            START.len() + header.find(';').map_or(header.len(), |at| at + 1)
        };
        // The lines stay in number.
        kept.extend(module[..end].chars().filter(|char| *char == '\n'));
        rest = &module[end..];
    }
    kept + rest
}

fn end_of_braces(text: &str) -> usize {
    let mut depth = 0;
    for (at, char) in text.char_indices() {
        match char {
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    text.len()
}

fn inline_modules(words: &[&str]) -> Vec<String> {
    words.windows(3).filter(|three| three[0] == "mod" && three[2] == "{").map(|three| three[1].to_owned()).collect()
}

/// Everything that is defined in the file by a name.
fn definitions(words: &[&str]) -> BTreeSet<String> {
    const KEYWORDS: [&str; 9] = ["struct", "enum", "trait", "union", "type", "fn", "const", "static", "macro_rules"];
    let pairs = words.windows(2).filter(|pair| KEYWORDS.contains(&pair[0]));
    let mut found: BTreeSet<_> = pairs.map(|pair| pair[1].to_owned()).collect();
    found.extend(words.windows(3).filter(|three| three[..2] == ["macro_rules", "!"]).map(|three| three[2].to_owned()));
    found
}

fn uses(words: &[&str]) -> Vec<PathUse> {
    let (mut found, mut at) = (Vec::new(), 0);
    while at < words.len() {
        if words[at] == "use" {
            let is_export = at > 0 && matches!(words[at - 1], "pub" | ")");
            let kind = if is_export { UseKind::Export } else { UseKind::Import };
            at = tree(words, at + 1, &[], kind, &mut found);
        } else if words.get(at + 1) == Some(&"::") && (at == 0 || words[at - 1] != "::") {
            let start = at;
            let mut path = vec![words[at].to_owned()];
            while words.get(at + 1) == Some(&"::") && words.get(at + 2).is_some_and(|word| is_name(word)) {
                path.push(words[at + 2].to_owned());
                at += 2;
            }
            if is_name(words[start]) && path.len() > 1 {
                found.push(PathUse { path, name: None, kind: UseKind::Inline });
            }
            at += 1;
        } else {
            at += 1;
        }
    }
    found
}

fn is_name(word: &str) -> bool {
    word.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
}

/// Reads one tree of a `use`, and says where it ends.
fn tree(words: &[&str], mut at: usize, before: &[String], kind: UseKind, found: &mut Vec<PathUse>) -> usize {
    let mut path = before.to_vec();
    let mut name = None;
    while let Some(word) = words.get(at) {
        match *word {
            "::" => at += 1,
            "{" => {
                at += 1;
                while words.get(at).is_some_and(|word| *word != "}") {
                    at = tree(words, at, &path, kind, found);
                    if words.get(at) == Some(&",") {
                        at += 1;
                    }
                }
                return at + 1;
            }
            "as" => {
                name = words.get(at + 1).map(|word| (*word).to_owned());
                at += 2;
            }
            "," | ";" | "}" => break,
            word => {
                path.push(word.to_owned());
                at += 1;
            }
        }
    }
    match path.last().map(String::as_str) {
        Some("*") => {
            path.pop();
            found.push(PathUse { path, name: None, kind });
        }
        Some("self") if path.len() > 1 => {
            path.pop();
            found.push(PathUse { name: name.or_else(|| path.last().cloned()), path, kind });
        }
        Some(last) => {
            let name = name.or_else(|| Some(last.to_owned()));
            found.push(PathUse { path, name, kind });
        }
        None => {}
    }
    at
}

#[test]
fn trees_of_imports_are_read() {
    let code = "pub(crate) use a::{b::{C, D as E}, f::{self, *}}; fn g() { crate::h::i::<J>() }";
    let seen: Vec<_> = uses(&tokens(code)).into_iter().map(|seen| (seen.path.join("::"), seen.name, seen.kind)).collect();
    let export = |path: &str, name: Option<&str>| (path.to_owned(), name.map(str::to_owned), UseKind::Export);
    let expected = [
        export("a::b::C", Some("C")),
        export("a::b::D", Some("E")),
        export("a::f", Some("f")),
        export("a::f", None),
        (String::from("crate::h::i"), None, UseKind::Inline),
    ];
    assert_eq!(seen, expected);
}
