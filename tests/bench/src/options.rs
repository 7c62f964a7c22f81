//! What the command line asks for.

/// A part of the benchmark, by the word that selects it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// What a borrower can leave behind for the next one.
    Hygiene,
    /// Exclusive and shared clients of a real server.
    Redis,
    /// Clients of a real cluster.
    Cluster,
    /// Subscribers of a real server.
    Subscriptions,
    /// The pool alone.
    Pools,
    /// What is there while nobody asks for anything.
    Memory,
    /// How cost grows with connections, pools, nodes and waiters.
    Scale,
    /// Connects with TLS, with sessions and without.
    Tls,
}

impl Part {
    const ALL: [(Part, &'static str, &'static str); 8] = [
        (Part::Hygiene, "hygiene", "what a borrower leaves behind for the next one"),
        (Part::Redis, "redis", "end to end: exclusive and shared clients of a real server"),
        (Part::Cluster, "cluster", "end to end: clients of a real cluster of three primaries"),
        (Part::Subscriptions, "subscriptions", "end to end: one subscriber of 100 000 messages a second"),
        (Part::Pools, "pools", "the pool alone: cycles, wake-ups, waiters, cancels, allocations, look-ups, floors"),
        (Part::Memory, "memory", "idle nodes and connections: heap, tasks, wake-ups"),
        (Part::Scale, "scale", "how cost grows: instructions among more and more of everything, by callgrind"),
        (Part::Tls, "tls", "connects with TLS: sessions that are resumed, fresh configurations"),
    ];
}

/// The parts to run, and how long.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    parts: Vec<Part>,
    /// A smoke run: one short round of everything.
    pub(crate) quick: bool,
}

impl Options {
    /// The words of the command line; without a part, all of them.
    ///
    /// # Errors
    ///
    /// The help text, for a word that is none of ours.
    pub(crate) fn parse(words: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut options = Options { parts: Vec::new(), quick: false };
        for word in words {
            match Part::ALL.iter().find(|(_, name, _)| *name == word) {
                Some((part, _, _)) => options.parts.push(*part),
                None if word == "--quick" => options.quick = true,
                None => return Err(help(&word)),
            }
        }
        if options.parts.is_empty() {
            options.parts.extend(Part::ALL.iter().map(|(part, _, _)| *part));
        }
        Ok(options)
    }

    /// Whether a part was asked for.
    pub(crate) fn has(&self, part: Part) -> bool {
        self.parts.contains(&part)
    }
}

fn help(word: &str) -> String {
    let mut text = format!("{word:?} is none of these:\n");
    for (_, name, what) in Part::ALL {
        text += &format!("  {name:<13} {what}\n");
    }
    text + "  --quick       a smoke run: one short round of everything"
}
