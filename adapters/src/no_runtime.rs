//! The placeholder for `RedisManager` in a build without a runtime. Its deprecation note names the missing feature.

/// Not available in this build: it needs the feature `tokio` (on by default) or `smol` of the package `redis-manager`.
///
/// Without a runtime only [`pool`](crate::pool) and [`runtime`](crate::runtime) are available.
#[deprecated(note = "this build of redis-manager has no runtime: switch on its feature `tokio` (the default) or `smol`")]
#[derive(Clone, Copy, Debug)]
pub enum RedisManager {}
