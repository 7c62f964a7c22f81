//! Walks one path of the core as often as it is told to, for others to count the instructions. Measures nothing itself.

mod hand;
mod requests;
mod upkeep;

/// How the cost of a path may grow with what there is more of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Growth {
    /// Not at all.
    Constant,
    /// With its logarithm at most.
    Logarithmic,
    /// In proportion: one pass over everything, once in a while.
    Linear,
}

/// A path, walked among more and more of something.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    /// By which it is called for.
    pub name: &'static str,
    /// What it does, in the words of a table.
    pub what: &'static str,
    /// What there is more of.
    pub among: &'static str,
    /// What was promised.
    pub growth: Growth,
    /// How many of them, rising.
    pub sizes: &'static [usize],
    /// Walks it among so many, so often.
    pub walk: fn(size: usize, times: u64),
}

const CONNECTIONS: &[usize] = &[1, 10, 100, 1_000, 10_000];
/// As many as there may be.
const POOLS: &[usize] = &[1, 4, 16, 64, 256];
const NODES: &[usize] = &[1, 10, 100, 1_000, 10_000];
const WAITERS: &[usize] = &[10, 100, 1_000, 10_000, 100_000];

const fn path(
    name: &'static str,
    what: &'static str,
    (among, sizes): (&'static str, &'static [usize]),
    growth: Growth,
    walk: fn(usize, u64),
) -> Path {
    Path { name, what, among, growth, sizes, walk }
}

/// Every path.
pub const PATHS: [Path; 11] = {
    use Growth::{Constant, Linear, Logarithmic};
    let connections = ("connections in one pool", CONNECTIONS);
    let waiters = ("waiters", WAITERS);
    [
        path("uncontended", "a get that finds one, and its return", connections, Constant, requests::uncontended),
        path("among-pools", "the same", ("pools of one connection", POOLS), Logarithmic, requests::among_pools),
        path("by-name", "the same by name", ("nodes", NODES), Constant, requests::by_name),
        path("waited", "a get that waits in line and is served", waiters, Logarithmic, requests::waited),
        path("cancelled", "a get that waits in line and is dropped", waiters, Logarithmic, requests::cancelled),
        path("timed-out", "a wait that ends at its deadline", waiters, Logarithmic, upkeep::timed_out),
        path("checked", "the health check of one that idles", connections, Logarithmic, upkeep::checked),
        path("died", "the death of one that idles, and its successor", connections, Logarithmic, upkeep::died),
        path("expired", "the end of a lifetime, and its successor", connections, Logarithmic, upkeep::expired),
        path("cleaned-up", "a pass of the cleanup that closes none", connections, Linear, upkeep::cleaned_up),
        path("stamped", "a second in which one came back, cleanup on", connections, Linear, upkeep::stamped),
    ]
};

/// The path of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Path> {
    const ALL: &[Path] = &PATHS;
    ALL.iter().find(|path| path.name == name)
}
