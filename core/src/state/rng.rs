//! Chance as a value: a seeded generator for jitter, so that the same seed gives the same history.

use std::time::Duration;

/// SplitMix64: one word of state, good enough for jitter; not for secrets.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// One of `count` things.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn index(&mut self, count: usize) -> usize {
        (self.next() % count as u64) as usize
    }

    /// A length drawn evenly from zero up to `most`.
    pub(crate) fn up_to(&mut self, most: Duration) -> Duration {
        // 53 bits are what an f64 holds exactly.
        let sharing = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        most.mul_f64(sharing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_lengths_within_the_bound() {
        let most = Duration::from_millis(500);
        let draw = |seed| {
            let mut rng = Rng::new(seed);
            (0..1_000).map(|_| rng.up_to(most)).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert!(draw(7).iter().all(|length| *length <= most));
        let mean = draw(7).iter().sum::<Duration>() / 1_000;
        assert!(mean > most * 4 / 10 && mean < most * 6 / 10, "{mean:?}");
    }
}
