//! A graph of files, and the groups of them that reach each other.

use std::collections::{BTreeMap, BTreeSet};

/// From a file to another one, with the names for which it does so.
#[derive(Debug, Default)]
pub(crate) struct FileGraph(pub(crate) BTreeMap<String, BTreeMap<String, BTreeSet<String>>>);

impl FileGraph {
    pub(crate) fn add(&mut self, from: &str, to: &str, name: &str) {
        if from != to {
            let edges = self.0.entry(from.to_owned()).or_default();
            edges.entry(to.to_owned()).or_default().insert(name.to_owned());
        }
    }

    /// The same without these files.
    pub(crate) fn without(&self, files: &[&str]) -> Self {
        let mut rest = Self::default();
        for (from, to, names) in self.edges() {
            if !files.contains(&from) && !files.contains(&to) {
                names.iter().for_each(|name| rest.add(from, to, name));
            }
        }
        rest
    }

    fn edges(&self) -> impl Iterator<Item = (&str, &str, &BTreeSet<String>)> {
        self.0.iter().flat_map(|(from, to)| to.iter().map(move |(to, names)| (from.as_str(), to.as_str(), names)))
    }

    fn reached_from(&self, start: &str) -> BTreeSet<String> {
        let (mut seen, mut open) = (BTreeSet::new(), vec![start.to_owned()]);
        while let Some(file) = open.pop() {
            for to in self.0.get(&file).into_iter().flat_map(BTreeMap::keys) {
                if seen.insert(to.clone()) {
                    open.push(to.clone());
                }
            }
        }
        seen
    }

    /// The groups of files that reach each other, largest first.
    pub(crate) fn circles(&self) -> Vec<BTreeSet<String>> {
        let reached: BTreeMap<_, _> = self.0.keys().map(|file| (file, self.reached_from(file))).collect();
        let circle_of = |file: &String| -> BTreeSet<String> {
            let back = |other: &&String| reached.get(other).is_some_and(|from_there| from_there.contains(file));
            reached[file].iter().filter(back).cloned().collect()
        };
        let circles: BTreeSet<_> = self.0.keys().map(circle_of).filter(|circle| !circle.is_empty()).collect();
        let mut circles: Vec<_> = circles.into_iter().collect();
        circles.sort_by_key(|circle| std::cmp::Reverse(circle.len()));
        circles
    }

    /// Every edge within these files, a line for each file.
    pub(crate) fn lines_within(&self, files: &BTreeSet<String>) -> Vec<String> {
        let within = self.edges().filter(|(from, to, _)| files.contains(*from) && files.contains(*to));
        within.map(|(from, to, names)| format!("{from} -> {to}: {}", Vec::from_iter(names.iter().cloned()).join(", "))).collect()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let all = self.edges().flat_map(|(from, to, _)| [from.to_owned(), to.to_owned()]).collect();
        self.lines_within(&all)
    }
}

#[test]
fn files_that_reach_each_other_are_a_circle() {
    let mut graph = FileGraph::default();
    for (from, to) in [("a", "b"), ("b", "c"), ("c", "b"), ("c", "d")] {
        graph.add(from, to, "Name");
    }
    assert_eq!(graph.circles(), [BTreeSet::from(["b".to_owned(), "c".to_owned()])]);
    assert_eq!(graph.without(&["c"]).circles(), [] as [BTreeSet<String>; 0]);
}
