//! The rules, watched from outside at every step: what the ledger says against what the server and the callers see.

use std::time::Duration;

use crate::door::Counts;
use crate::state::Health;
use crate::testing::{FakeMode, FakeServer};
use crate::time::Instant;

/// A window for the count of dials.
const WINDOW: Duration = Duration::from_secs(15);
/// Dials in that window at most, of a node that refuses all of them.
const MOST_DIALS: usize = 80;

pub(super) struct Checker {
    limit: usize,
    before: Option<Counts>,
    /// Since when the server has refused every dial, and how many it had seen by then.
    refusing: Option<(Instant, usize)>,
    hash: u64,
}

impl Checker {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, before: None, refusing: None, hash: 0xCBF2_9CE4_8422_2325 }
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    /// After every step.
    ///
    /// Seen to bite: with a dial into a full pool (C1), with a slot freed before its close (C6), with a release that
    /// shelves beside a waiter (I2), without a pause between probes (H4).
    pub(super) fn step(&mut self, now: Instant, counts: Counts, server: &FakeServer) -> Result<(), String> {
        self.note(now, &counts);
        let held = server.held();
        let booked = counts.idle + counts.granted + counts.leased + counts.checking;
        let transient = counts.connecting + counts.closing;
        if counts.total() > self.limit {
            return Err(format!("C1: {} connections, the limit is {}: {counts:?}", counts.total(), self.limit));
        }
        // After a close by force there are loans that the ledger counts no more.
        if held < booked || (counts.open && held > booked + transient) {
            return Err(format!("T1: the server's side counts {held} connections, the ledger says {counts:?}"));
        }
        if counts.waiting > 0 && counts.idle > 0 {
            return Err(format!("I2: {} wait beside {} idle", counts.waiting, counts.idle));
        }
        if counts.health == Health::Down && counts.open && counts.connecting == 0 && !counts.probe_armed {
            return Err(String::from("I9: the node is down and no probe is armed"));
        }
        if !counts.open && counts.idle > 0 {
            return Err(String::from("E1: a closed pool keeps idle connections"));
        }
        self.before = Some(counts);
        self.count_dials(now, server)
    }

    /// Whenever nothing is ready to run.
    ///
    /// Seen to bite: with a hand-over that wakes nobody (W2), with a driver that is not woken (W6).
    pub(super) fn at_rest(&self, now: Instant, waits: impl Iterator<Item = Instant>) -> Result<(), String> {
        match waits.min() {
            Some(due) if due < now => Err(format!("W6: a get() was due at {due} and has not heard")),
            Some(_) | None => Ok(()),
        }
    }

    fn count_dials(&mut self, now: Instant, server: &FakeServer) -> Result<(), String> {
        let dials = server.dial_count();
        if server.mode() != FakeMode::Refusing {
            self.refusing = None;
            return Ok(());
        }
        let (since, before) = *self.refusing.get_or_insert((now, dials));
        if now.saturating_duration_since(since) > WINDOW {
            self.refusing = Some((now, dials));
        }
        match dials - before {
            many if many > MOST_DIALS => Err(format!("H4: {many} dials within {WINDOW:?} of a node that refuses them")),
            _ => Ok(()),
        }
    }

    fn note(&mut self, now: Instant, counts: &Counts) {
        let Counts { idle, granted, leased, connecting, checking, closing, waiting, .. } = *counts;
        let words = [now.as_nanos() as usize, idle, granted, leased, connecting, checking, closing, waiting];
        for word in words {
            self.hash = (self.hash ^ word as u64).wrapping_mul(0x0000_0100_0000_01B3).rotate_left(5);
        }
    }
}
