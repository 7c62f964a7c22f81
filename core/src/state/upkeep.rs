//! How long connections live, when they are checked, and which of the background loops run.

use std::time::Duration;

use crate::config::NodeConfig;
use crate::state::rng::Rng;
use crate::time::Instant;

/// Health checks run from the start, cleanup when it is asked for.
#[derive(Debug)]
pub(crate) struct Upkeep {
    checks: bool,
    cleanup: bool,
    check_interval: Duration,
    cleanup_interval: Duration,
    max_idle_time: Duration,
    max_lifetime: Duration,
    idle_at_start: usize,
}

impl Upkeep {
    pub(crate) fn new(config: &NodeConfig) -> Self {
        Self {
            checks: true,
            cleanup: false,
            check_interval: config.health_check_interval(),
            cleanup_interval: config.cleanup_interval(),
            max_idle_time: config.max_idle_time(),
            max_lifetime: config.max_lifetime(),
            idle_at_start: config.min_idle() * config.connection_pools_per_node_at_start(),
        }
    }

    /// How many connections the pools at start keep idle together.
    #[inline]
    pub(crate) fn idle_at_start(&self) -> usize {
        self.idle_at_start
    }

    pub(crate) fn checks(&self) -> bool {
        self.checks
    }

    #[inline]
    pub(crate) fn cleanup(&self) -> bool {
        self.cleanup
    }

    /// Returns whether that is a change.
    pub(crate) fn set_checks(&mut self, run: bool) -> bool {
        std::mem::replace(&mut self.checks, run) != run
    }

    /// Returns whether that is a change.
    pub(crate) fn set_cleanup(&mut self, run: bool) -> bool {
        std::mem::replace(&mut self.cleanup, run) != run
    }

    /// How long a connection born now will live.
    pub(crate) fn lifetime(&self, rng: &mut Rng) -> Duration {
        self.max_lifetime - rng.up_to(self.max_lifetime / 4)
    }

    /// When a connection that has just answered is asked again.
    pub(crate) fn next_check(&self, now: Instant, rng: &mut Rng) -> Instant {
        now + self.check_interval + rng.up_to(self.check_interval / 4)
    }

    /// When a connection whose check was due while it was on loan is looked at again.
    pub(crate) fn put_off_check(&self, now: Instant) -> Instant {
        now + self.check_interval / 16
    }

    pub(crate) fn next_cleanup(&self, now: Instant) -> Instant {
        now + self.cleanup_interval
    }

    /// Whether what has been idle since then has been so for too long.
    pub(crate) fn is_too_old(&self, now: Instant, since: Instant) -> bool {
        now.saturating_duration_since(since) >= self.max_idle_time
    }

    /// When connections that came back without a look at the clock get a time.
    pub(crate) fn next_idle_times(&self, now: Instant) -> Instant {
        now + (self.max_idle_time / 16).clamp(Duration::from_millis(1), Duration::from_secs(1))
    }

    /// Between two connections that expire: three in a second at most, unless there are so many of them that their lifetimes
    /// would not be kept.
    pub(crate) fn pause_between_expiries(&self, connections: usize) -> Duration {
        let spread = self.max_lifetime / 4;
        let connections = u32::try_from(connections.max(1)).unwrap_or(u32::MAX);
        (spread / connections).min(Duration::from_millis(334)).max(Duration::from_micros(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_end_in_their_last_quarter_and_many_of_them_end_closer_together() {
        let config = NodeConfig::builder().max_lifetime(Duration::from_secs(100)).build().expect("valid");
        let (upkeep, mut rng) = (Upkeep::new(&config), Rng::new(3));
        let lives: Vec<_> = (0..1_000).map(|_| upkeep.lifetime(&mut rng).as_secs_f64()).collect();
        assert!(lives.iter().all(|life| (75.0..=100.0).contains(life)));
        assert!(lives.iter().any(|life| *life < 77.0) && lives.iter().any(|life| *life > 98.0));
        assert_eq!(upkeep.pause_between_expiries(0), Duration::from_millis(334));
        assert_eq!(upkeep.pause_between_expiries(250), Duration::from_millis(100));
    }
}
