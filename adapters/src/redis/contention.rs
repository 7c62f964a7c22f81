//! How transactions on the same key avoid conflicts with each other.
//!
//! A transaction that starts again at once would disturb all others forever: its EXEC always comes before theirs. So a
//! transaction pauses after a conflict, longer each time. While one of this process has conflicts on a key, all transactions of
//! this process on that key run one after the other, mostly in order of arrival.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_lock::{Mutex, MutexGuardArc};
use redis::{Arg, Cmd};

/// The longest pause after the first conflict; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(1);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Number of places that keys are hashed into. Keys in the same place only wait for each other.
const PLACES: usize = 64;

/// The transactions on the keys of a node.
#[derive(Debug)]
pub(crate) struct Contention {
    places: [KeyQueue; PLACES],
}

#[derive(Debug, Default)]
struct KeyQueue {
    /// Transactions that had a conflict and have not ended.
    disturbed: AtomicUsize,
    /// Held by the transaction that runs, while there are conflicts.
    turn: Arc<Mutex<()>>,
}

impl Default for Contention {
    fn default() -> Self {
        Self { places: std::array::from_fn(|_| KeyQueue::default()) }
    }
}

/// One transaction on the keys of a node.
#[derive(Debug)]
pub(crate) struct Contender {
    contention: Arc<Contention>,
    place: usize,
    conflicts: u32,
    turn: Option<MutexGuardArc<()>>,
}

impl Contender {
    /// The longest wait for a turn. The other transactions may take any time between WATCH and EXEC, and may even wait for this
    /// one.
    pub(crate) const LONGEST_WAIT: Duration = Duration::from_millis(500);

    /// A transaction that begins with `watch`.
    pub(crate) fn new(contention: Arc<Contention>, watch: &Cmd) -> Self {
        let hash = match watch.args_iter().nth(1) {
            Some(Arg::Simple(key)) => key.iter().fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| fnv1a(hash, *byte)),
            Some(Arg::Cursor | _) | None => 0,
        };
        Self { contention, place: (hash % PLACES as u64) as usize, conflicts: 0, turn: None }
    }

    fn place(&self) -> &KeyQueue {
        &self.contention.places[self.place]
    }

    /// Whether it must wait for its turn.
    pub(crate) fn is_in_line(&self) -> bool {
        self.turn.is_none() && self.place().disturbed.load(Ordering::SeqCst) > 0
    }

    /// Its turn; it is over when the transaction ends or has a conflict.
    pub(crate) fn next_turn(&self) -> impl Future<Output = MutexGuardArc<()>> + use<> {
        self.place().turn.lock_arc()
    }

    pub(crate) fn begin(&mut self, turn: Option<MutexGuardArc<()>>) {
        self.turn = turn;
    }

    /// The pause after a conflict: a random time from half the limit to the limit.
    pub(crate) fn after_conflict(&mut self, seed: u64) -> Duration {
        self.turn = None;
        if self.conflicts == 0 {
            self.place().disturbed.fetch_add(1, Ordering::SeqCst);
        }
        let most = (FIRST_PAUSE * 2_u32.saturating_pow(self.conflicts.min(16))).min(LONGEST_PAUSE);
        self.conflicts += 1;
        most.mul_f64(0.5 + share(seed, self.conflicts) / 2.0)
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        if self.conflicts > 0 {
            self.place().disturbed.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

fn fnv1a(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
}

/// The draw of this number from 0 to 1, by SplitMix64 as in the core.
fn share(seed: u64, draw: u32) -> f64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(u64::from(draw)));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contender(contention: &Arc<Contention>, key: &str) -> Contender {
        Contender::new(Arc::clone(contention), redis::cmd("WATCH").arg(key))
    }

    /// Guards against: with a count that is not taken back, and with one place for all keys.
    #[test]
    fn pauses_grow_up_to_a_bound_and_only_those_on_a_key_that_is_fought_for_wait_for_each_other() {
        let contention = Arc::new(Contention::default());
        let mut disturbed = contender(&contention, "stock");
        assert!(!disturbed.is_in_line());
        let mut most = FIRST_PAUSE;
        for seed in 0..20 {
            let pause = disturbed.after_conflict(seed);
            assert!(pause >= most / 2 && pause <= most, "{pause:?} of {most:?}");
            most = (most * 2).min(LONGEST_PAUSE);
        }
        let other = contender(&contention, "stock");
        assert!(disturbed.is_in_line() && other.is_in_line());
        assert!(!contender(&contention, "another key").is_in_line());
        let turn = disturbed.place().turn.try_lock_arc();
        assert!(turn.is_some());
        disturbed.begin(turn);
        assert!(!disturbed.is_in_line() && other.place().turn.try_lock().is_none());
        disturbed.after_conflict(0);
        assert!(other.place().turn.try_lock().is_some(), "a conflict ends the turn");
        drop(disturbed);
        assert!(!other.is_in_line());
    }
}
