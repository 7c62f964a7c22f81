//! What must hold of the sources themselves: which rule has which tests, which file imports which, names and lengths.
//!
//! `cargo test -p redis-manager-tests --test sources -- --nocapture` prints the import graph.

mod external;
mod files;
mod gates;
mod graph;
mod imports;
mod limits;
mod modules;
mod rule_table;
mod rules;
mod test_names;
