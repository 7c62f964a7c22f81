//! One connection to a server: what is said on it, in which order, and how it ends.

pub(crate) mod resp;
