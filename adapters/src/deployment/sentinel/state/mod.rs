//! Who is the primary, by the word of sentinels: plain values, without I/O, clock or lock.

pub(crate) mod answer;
pub(crate) mod election;
pub(crate) mod sentinel_io;
pub(crate) mod sentinel_state;
