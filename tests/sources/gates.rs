//! What the adapters have at most of what is easily written and hard to see: items of the whole process, and gates of one feature.

use crate::files::{code_of, read, rust_files, tokens};

const ADAPTERS: [&str; 1] = ["adapters/src"];

/// Clusters are compiled behind one gate; this many words beside it, for the public interface and its documentation.
const MOST_CLUSTER_GATES: usize = 10;
const CLUSTER: &str = "adapters/src/deployment/cluster/";

/// How many items of the process there are. Those of one thread are none.
fn statics(code: &str) -> usize {
    let words = tokens(code);
    let (mut found, mut depth, mut of_thread) = (0, 0, None);
    for (at, word) in words.iter().enumerate() {
        match *word {
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                of_thread = of_thread.filter(|outside| *outside < depth);
            }
            "thread_local" => of_thread = of_thread.or(Some(depth)),
            // Not a lifetime.
            "static" if of_thread.is_none() && words[at.saturating_sub(1)] != "'" => found += 1,
            _ => {}
        }
    }
    found
}

/// Guards against: a number of threads that is counted in a static; a table of metrics that is one.
#[test]
fn the_adapters_have_nothing_of_the_whole_process() {
    let of_file = |path: String| (statics(&code_of(&read(&path))), path);
    let found: Vec<_> = rust_files(&ADAPTERS).into_iter().map(of_file).filter(|(count, _)| *count > 0).collect();
    assert!(found.is_empty(), "statics: {found:?}");
    let code = "static A: B = C; thread_local! { static D: E = { F }; } fn g(h: &'static str) { static I: J = K; }";
    assert_eq!(statics(code), 2);
}

/// Guards against: a gate at each field and method of the builder and the manager that clusters use.
#[test]
fn clusters_have_few_gates_outside_of_their_folder() {
    let gates = |path: &String| read(path).lines().filter(|line| line.contains("feature = \"cluster\"")).count();
    let found: Vec<_> = rust_files(&ADAPTERS).into_iter().filter(|path| !path.starts_with(CLUSTER)).collect();
    let found: Vec<_> = found.iter().map(|path| (gates(path), path)).filter(|(count, _)| *count > 0).collect();
    assert!(found.iter().map(|(count, _)| count).sum::<usize>() <= MOST_CLUSTER_GATES, "{found:?}");
}
