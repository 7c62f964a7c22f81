//! The node's own deadlines, one for each kind; callers' deadlines are kept by the wait queue.

use crate::time::Instant;

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeadlineKind {
    /// When to order the next dial of a node whose last one failed.
    Probe,
    /// When to look for idle connections whose health check is due.
    Check,
    /// When to close what has been idle for too long and to drop empty surplus pools.
    Cleanup,
    /// When to retire connections that have reached their lifetime.
    Lifetime,
    /// When to note the time for connections that came back without a look at the clock.
    IdleTimes,
    /// When to stop counting a connection whose close hangs.
    CloseCutoff,
    /// When to end connections on loan of a pool that is closing.
    Force,
}

impl DeadlineKind {
    pub(crate) const ALL: [Self; 7] =
        [Self::Probe, Self::Check, Self::Cleanup, Self::Lifetime, Self::IdleTimes, Self::CloseCutoff, Self::Force];
}

const WEAR: [DeadlineKind; 4] = [DeadlineKind::Check, DeadlineKind::Cleanup, DeadlineKind::Lifetime, DeadlineKind::IdleTimes];

/// The table of armed deadlines. It may be early, never late.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    at: [Option<Instant>; DeadlineKind::ALL.len()],
    /// The soonest of them: asked for after every input, while the table seldom changes.
    next: Option<Instant>,
}

impl Deadlines {
    /// Arms `kind` for `at`, unless it is armed for an earlier time.
    pub(crate) fn arm(&mut self, kind: DeadlineKind, at: Instant) {
        let slot = &mut self.at[kind as usize];
        *slot = Some(slot.map_or(at, |armed| armed.min(at)));
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }

    pub(crate) fn disarm(&mut self, kind: DeadlineKind) {
        if self.at[kind as usize].take().is_some() {
            self.look();
        }
    }

    pub(crate) fn is_armed(&self, kind: DeadlineKind) -> bool {
        self.at[kind as usize].is_some()
    }

    /// When `kind` is due.
    #[cfg(any(test, debug_assertions, feature = "testing"))]
    pub(crate) fn at(&self, kind: DeadlineKind) -> Option<Instant> {
        self.at[kind as usize]
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Disarms `kind` and says whether it was due.
    pub(crate) fn take_due(&mut self, kind: DeadlineKind, now: Instant) -> bool {
        let due = self.at[kind as usize].is_some_and(|at| at <= now);
        if due {
            self.disarm(kind);
        }
        due
    }

    /// The first of the deadlines that measure wear, not promises.
    pub(crate) fn first_of_wear(&self) -> Option<Instant> {
        WEAR.iter().filter_map(|kind| self.at[*kind as usize]).min()
    }

    /// Moves the deadlines that measure wear into the future.
    pub(crate) fn forgive(&mut self, by: std::time::Duration) {
        for kind in WEAR {
            let slot = &mut self.at[kind as usize];
            *slot = slot.map(|at| at + by);
        }
        self.look();
    }

    fn look(&mut self) {
        self.next = self.at.iter().flatten().min().copied();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arming_keeps_the_earlier_time_and_a_due_one_is_taken_once() {
        let mut deadlines = Deadlines::default();
        deadlines.arm(DeadlineKind::Check, Instant::from_nanos(20));
        deadlines.arm(DeadlineKind::Check, Instant::from_nanos(30));
        deadlines.arm(DeadlineKind::Probe, Instant::from_nanos(25));
        assert_eq!(deadlines.next(), Some(Instant::from_nanos(20)));
        assert!(!deadlines.take_due(DeadlineKind::Check, Instant::from_nanos(19)));
        assert!(deadlines.take_due(DeadlineKind::Check, Instant::from_nanos(20)));
        assert!(!deadlines.take_due(DeadlineKind::Check, Instant::from_nanos(20)));
        assert_eq!(deadlines.next(), Some(Instant::from_nanos(25)));
    }
}
