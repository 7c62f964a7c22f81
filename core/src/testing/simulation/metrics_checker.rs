//! The metrics, watched from outside at every step: they add up with the counts of the node, agree with what the server and
//! the callers see, and never go back.

use std::time::Duration;

use crate::state::{CheckerCounts, NodeMetrics};
use crate::testing::fake_server::FakeServer;
use crate::testing::simulation::borrower::OutcomeCounts;
use crate::time::Instant;

pub(super) struct MetricsChecker {
    last: NodeMetrics,
    /// Whether the borrowers' gets are all there are.
    knows_all_gets: bool,
}

impl MetricsChecker {
    pub(super) fn new() -> Self {
        Self { last: NodeMetrics::default(), knows_all_gets: true }
    }

    /// From now on there are other gets than those of the borrowers.
    pub(super) fn expect_other_gets(&mut self) {
        self.knows_all_gets = false;
    }

    /// After every step.
    ///
    /// Seen to bite: with a retry that is not told apart (T6), with a number that is set back (T6), with bad health that is
    /// counted twice (T6).
    pub(super) fn step(
        &mut self,
        now: Instant,
        counts: &CheckerCounts,
        metrics: NodeMetrics,
        server: &FakeServer,
        borrowers: &OutcomeCounts,
    ) -> Result<(), String> {
        let acquires = &metrics.acquires;
        let open = (counts.idle + counts.granted + counts.leased + counts.checking) as u64;
        if metrics.opened() != metrics.closed() + open {
            let (opened, closed) = (metrics.opened(), metrics.closed());
            return Err(format!("T6: {opened} were opened and {closed} closed, {open} are open: {counts:?}"));
        }
        if metrics.opened() > server.accepted() as u64 {
            return Err(format!("T6: {} were opened, the server has accepted {}", metrics.opened(), server.accepted()));
        }
        if acquires.pending != counts.waiting + counts.granted || metrics.most_waiting < counts.waiting {
            return Err(format!("T6: the state says {counts:?}, the metrics {acquires:?}, most {}", metrics.most_waiting));
        }
        let (asked, served) =
            (acquires.total() - acquires.found_broken, acquires.at_once + acquires.waited - acquires.found_broken);
        if self.knows_all_gets && (asked, served) != (borrowers.gets, borrowers.oks) {
            return Err(format!("T6: {asked} gets were counted, {served} of them served, the borrowers say {borrowers:?}"));
        }
        // Some have not been polled since.
        if acquires.timed_out.total() + acquires.unavailable < borrowers.refused {
            return Err(format!("T6: borrowers were refused more often than was counted: {borrowers:?}, {acquires:?}"));
        }
        if metrics.time_down + metrics.time_suspect > now.saturating_duration_since(Instant::ZERO) {
            let (down, suspect) = (metrics.time_down, metrics.time_suspect);
            return Err(format!("T6: down for {down:?} and suspect for {suspect:?} at {now}"));
        }
        let went_back = numbers(&self.last).into_iter().zip(numbers(&metrics)).any(|(before, after)| before > after);
        if went_back {
            return Err(format!("T6: a counter went back, from {:?} to {metrics:?}", self.last));
        }
        self.last = metrics;
        Ok(())
    }
}

/// All that only grows.
fn numbers(metrics: &NodeMetrics) -> [u64; 24] {
    let NodeMetrics { acquires, connects, .. } = metrics;
    let nanos = |length: Duration| length.as_nanos() as u64;
    [
        acquires.at_once,
        acquires.waited,
        acquires.timed_out.total(),
        acquires.unavailable,
        acquires.saturated,
        acquires.closed,
        acquires.cancelled,
        acquires.found_broken,
        connects.started,
        connects.succeeded,
        connects.failed.total(),
        connects.abandoned,
        metrics.closes.total(),
        metrics.deaths.total(),
        metrics.checks.total(),
        metrics.cleanings.total(),
        metrics.grants_revoked.total(),
        metrics.health_changes.total(),
        metrics.use_time.count(),
        metrics.returns.idle + metrics.returns.handed_over,
        metrics.most_waiting as u64,
        nanos(metrics.wait_time.sum()),
        nanos(metrics.time_down),
        nanos(metrics.time_suspect),
    ]
}
