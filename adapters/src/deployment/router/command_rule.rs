//! What the table says of a command: whether it reads, where its keys are, and where it goes.

use crate::deployment::router::key_spec::KeySpec;

/// Which nodes may carry a command out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// A replica, too: servers say that the command only reads.
    Read,
    /// A primary only.
    Write,
}

/// The nodes that all get the same command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NodeSet {
    /// Primaries and replicas.
    All,
    /// The primaries, each with keys of its own.
    Primaries,
}

/// How the replies of several nodes become one. No command of today wants the greatest of numbers or a logical or.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gather {
    /// The items of the replies, each in the place of its key.
    ByPosition,
    /// The first reply, if all have succeeded.
    AllSucceeded,
    /// The first reply that is no error.
    OneSucceeded,
    /// The sum of numbers.
    Sum,
    /// The least number, or the least at each place of arrays.
    Min,
    /// 1 where all have a number above 0, else 0.
    LogicalAnd,
    /// The items of all arrays in one array.
    Concatenated,
    /// Names, each followed by the sum of its numbers.
    SummedPairs,
    /// A reply that is not nil; nil if all are.
    AnyNonNil,
    /// A map from the address of a node to its reply.
    ByNode,
}

/// Where a command goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SentTo {
    /// To the node of its keys, which must be of one slot; to any node if it has none.
    ToKeys,
    /// By slot: each node gets the part with its keys. The keys are of one `KeySpec::UpToEnd`.
    Split(Gather),
    /// As it is to several nodes.
    ToNodes(NodeSet, Gather),
    /// To the node of the slot whose number is at this position.
    ToSlot(usize),
    /// Nowhere: which node is for the caller to say, in this way.
    ByCaller(&'static str),
    /// Where its subcommand goes; to any node with one that the table does not have.
    AsSubcommand,
}

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CommandRule {
    pub(super) access: Access,
    pub(super) keys: &'static [KeySpec],
    pub(super) sent: SentTo,
}

/// Commands with the same rule: their names in upper case with blanks between them, subcommands as `CONTAINER|NAME`.
#[derive(Debug)]
pub(super) struct CommandGroup {
    pub(super) rule: CommandRule,
    pub(super) names: &'static str,
}
