//! Containers that the machines share: a slab whose slots are reused with a generation, and a list through its slots.

pub(crate) mod list;
pub(crate) mod slab;
