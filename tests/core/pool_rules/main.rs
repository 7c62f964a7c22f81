//! The rules of a pool, each as a test by its number: a `NodePool` on a virtual clock and a scripted server.

mod adding;
mod capacity;
mod closing;
mod ending;
mod events;
mod fleet;
mod healing;
mod lease;
mod leaving;
mod limits;
mod metrics;
mod server_words;
mod support;
mod waiting;
mod wear;
