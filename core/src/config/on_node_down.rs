//! The choice between waiting for a node that is down and failing at once.

use std::fmt;

/// What a new caller gets while a node is down and nothing can be lent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnNodeDown {
    /// It waits until its deadline: the node may be back by then.
    #[default]
    Wait,
    /// It gets `NoHealthyPools` at once, and so do those in the queue when the node goes down.
    FailFast,
}

impl fmt::Display for OnNodeDown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Wait => "Wait",
            Self::FailFast => "FailFast",
        })
    }
}
