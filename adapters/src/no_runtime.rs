//! What stands in the place of `RedisManager` in a build without a runtime: a name that says what is missing.

/// Not in this build: it needs one of the features `tokio` (on by default) and `smol` of the package `redis-manager`.
///
/// Without a runtime only [`pool`](crate::pool) and [`runtime`](crate::runtime) are here.
#[deprecated(note = "this build of redis-manager has no runtime: switch on its feature `tokio` (the default) or `smol`")]
#[derive(Clone, Copy, Debug)]
pub enum RedisManager {}
