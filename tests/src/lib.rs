//! What the tests share: a real Redis server that they start and stop themselves.

pub mod redis_server;
