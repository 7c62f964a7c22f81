//! What a borrower has left on a session, as a set.

use std::ops::{BitOr, BitOrAssign};

/// What is left of the commands so far.
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
    /// Something that only a new connection is rid of.
    pub(crate) const LASTING: Self = Self(8);
    /// Whether the transaction is still open, or ever was, is not known: what was to begin or end it went wrong.
    pub(crate) const UNSURE: Self = Self(16);
    /// Nothing that is known; but it is to show a sign of life before it is lent again.
    pub(crate) const CHECK: Self = Self(32);
    /// What an unknown command has left, where those are to be refused if others would notice.
    pub(crate) const UNKNOWN: Self = Self(64);
    /// It is subscribed to something.
    pub(crate) const LISTENS: Self = Self(128);
    /// The protocol may be another one.
    pub(crate) const PROTOCOL: Self = Self(256);
    /// What comes on the stream may be the reply to no command.
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
