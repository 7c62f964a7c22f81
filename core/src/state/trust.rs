//! Which connections are believed to be of use: those that have answered since the last silence, and that were made to the
//! server that is wanted.

use std::time::Duration;

use crate::time::Instant;

/// The connections of a node are replaced for another server's sake once in so long at most: a server that stays a
/// replica must not be dialled in a loop.
const BETWEEN_GENERATIONS: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Trust {
    /// Grows when something stayed silent: connections that have not answered since then are checked before use.
    epoch: u64,
    /// Grows when another server takes the place of the one that the connections were made to.
    server_generation: u64,
    /// When it may grow again.
    next_generation_at: Instant,
}

impl Trust {
    pub(crate) fn new() -> Self {
        Self { epoch: 0, server_generation: 0, next_generation_at: Instant::ZERO }
    }

    #[inline]
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(crate) fn server_generation(&self) -> u64 {
        self.server_generation
    }

    /// Something that was trusted since `epoch` stayed silent; returns whether that is new.
    pub(crate) fn withdraw(&mut self, epoch: u64) -> bool {
        let is_new = epoch == self.epoch;
        self.epoch += u64::from(is_new);
        is_new
    }

    /// Another server is wanted from now on.
    pub(crate) fn replace(&mut self) {
        self.server_generation += 1;
    }

    /// A connection of this generation says that its server is not the one that is wanted; returns whether all of that
    /// generation are to be replaced.
    pub(crate) fn fail_over(&mut self, now: Instant, server_generation: u64) -> bool {
        let is_new = server_generation == self.server_generation && now >= self.next_generation_at;
        if is_new {
            self.server_generation += 1;
            self.next_generation_at = now + BETWEEN_GENERATIONS;
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_evidence_is_none_and_generations_change_once_a_second() {
        let (mut trust, now) = (Trust::new(), Instant::ZERO);
        assert!(trust.withdraw(0));
        assert!(!trust.withdraw(0));
        assert_eq!(trust.epoch(), 1);
        assert!(trust.fail_over(now, 0));
        assert!(!trust.fail_over(now, 0), "of a former generation");
        assert!(!trust.fail_over(now, 1), "too soon");
        assert!(trust.fail_over(now + BETWEEN_GENERATIONS, 1));
        assert_eq!(trust.server_generation(), 2);
    }
}
