//! Commands that cannot be sent to a cluster as they are. Nothing of them was sent.

use thiserror::Error;

/// Why a command or a transaction goes nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum RouteError {
    /// The keys belong to several nodes, or may do so at any time, and the command cannot be split.
    #[error(
        "{command} has keys of two slots, {first_key:?} of slot {first_slot} and {other_key:?} of slot {other_slot}: nothing was \
         sent; keys with the same {{hash tag}} are of one slot"
    )]
    CrossSlot {
        /// The command of `other_key`.
        command: String,
        /// Shortened to 64 characters, and what is no text is replaced.
        first_key: String,
        first_slot: u16,
        /// As `first_key`.
        other_key: String,
        other_slot: u16,
    },
    /// The caller must say which node is meant.
    #[error("{command} is about one node, and the cluster has several: nothing was sent; {way}")]
    NeedsOneNode {
        command: String,
        /// What to call instead.
        way: &'static str,
    },
    /// The command goes to several nodes, and a transaction to one.
    #[error("{command} goes to several nodes, and a transaction to one: nothing was sent; send it by itself")]
    NotInATransaction { command: String },
    /// The command has keys of several slots and not as many arguments as its keys need.
    #[error("{command} cannot be split by slot, its number of arguments is wrong: nothing was sent")]
    WrongNumberOfArguments { command: String },
}
