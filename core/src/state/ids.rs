//! Identities: which connection, which waiter. Plain values that own nothing.

use std::fmt;

/// Which connection: a slot of the node's state and how often that slot has been reused. An identity, not a token.
///
/// One word, so that a loan of a boxed connection travels in two registers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(u64);

impl ConnId {
    pub(crate) fn new(slot: u32, generation: u32) -> Self {
        Self(u64::from(slot) << 32 | u64::from(generation))
    }

    pub(crate) fn slot(self) -> u32 {
        (self.0 >> 32) as u32
    }

    pub(crate) fn generation(self) -> u32 {
        self.0 as u32
    }
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnId").field("slot", &self.slot()).field("generation", &self.generation()).finish()
    }
}

/// Which waiter: a slot of the wait queue and how often that slot has been reused. An identity, not a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WaiterId {
    slot: u32,
    generation: u32,
}

impl WaiterId {
    pub(crate) fn new(slot: u32, generation: u32) -> Self {
        Self { slot, generation }
    }

    pub(crate) fn slot(self) -> u32 {
        self.slot
    }

    pub(crate) fn generation(self) -> u32 {
        self.generation
    }
}
