//! The state that a borrower has left on a session, as a set of flags.

use std::ops::{BitOr, BitOrAssign};

/// The state that the commands so far have left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DirtyFlags(u16);

impl DirtyFlags {
    pub(crate) const NONE: Self = Self(0);
    /// Keys are watched.
    pub(crate) const WATCH: Self = Self(1);
    /// A transaction is open.
    pub(crate) const MULTI: Self = Self(2);
    /// Another database is selected.
    pub(crate) const DATABASE: Self = Self(4);
    /// Something that only a new connection undoes.
    pub(crate) const LASTING: Self = Self(8);
    /// It is not known whether a transaction is open: a command that begins or ends one failed.
    pub(crate) const UNSURE: Self = Self(16);
    /// Nothing known, but the connection must be checked before it is lent again.
    pub(crate) const CHECK: Self = Self(32);
    /// Left by an unknown command, if unknown commands are refused on shared connections.
    pub(crate) const UNKNOWN: Self = Self(64);
    /// The connection has subscriptions.
    pub(crate) const LISTENS: Self = Self(128);
    /// The protocol may have changed.
    pub(crate) const PROTOCOL: Self = Self(256);
    /// Data on the stream may belong to no command.
    pub(crate) const ASTRAY: Self = Self(512);

    pub(crate) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) fn is_none(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl BitOr for DirtyFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for DirtyFlags {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}
