//! The machine that counts: fed with every event, and by the fast paths with what is no event.

use std::time::Duration;

use crate::state::event::{Event, GrantRevoked};
use crate::state::metrics::node_metrics::NodeMetrics;
use crate::state::outcome::WaitPhase;
use crate::state::status::Health;

/// Counts and times what happens in a node. It only grows, allocates nothing and reads no clock.
#[derive(Debug)]
pub(crate) struct MetricsRecorder {
    recorded: NodeMetrics,
    /// Which leases are timed: those whose number ends with `sampled_end` in the bits of `sampled_bits`.
    sampled_bits: u64,
    sampled_end: u64,
    /// Gets counted where they begin, to be compared with how they ended.
    #[cfg(any(test, debug_assertions, feature = "testing"))]
    asked: u64,
}

impl MetricsRecorder {
    /// Times one lease of each `use_time_sampling`: none, or a power of two.
    pub(crate) fn new(use_time_sampling: usize) -> Self {
        // The first one of each; no number has an end of 1 in no bits.
        let (sampled_bits, sampled_end) = match use_time_sampling as u64 {
            0 => (0, 1),
            1 => (0, 0),
            leases => (leases - 1, 1),
        };
        Self {
            recorded: NodeMetrics { use_time_sampling, ..NodeMetrics::default() },
            sampled_bits,
            sampled_end,
            #[cfg(any(test, debug_assertions, feature = "testing"))]
            asked: 0,
        }
    }

    /// Something has happened.
    pub(crate) fn note(&mut self, event: &Event) {
        let recorded = &mut self.recorded;
        match event {
            Event::DialStarted { probe, .. } => {
                recorded.connects.started += 1;
                recorded.connects.probes += u64::from(*probe);
            }
            Event::Connected { took, .. } => {
                recorded.connects.succeeded += 1;
                recorded.connect_time.record(*took);
            }
            Event::ConnectFailed { kind, .. } => recorded.connects.failed.add(*kind),
            Event::DialOverdue { .. } => recorded.connects.overdue += 1,
            Event::DialOutlivedPool => recorded.connects.abandoned += 1,
            Event::Closed { reason, .. } => recorded.closes.add(*reason),
            Event::Died { during } => recorded.deaths.add(*during),
            Event::GrantRevoked { why } => {
                recorded.grants_revoked.add(*why);
                recorded.acquires.cancelled += u64::from(*why == GrantRevoked::Cancelled);
            }
            Event::TimedOut { phase, .. } => recorded.acquires.timed_out.add(*phase),
            Event::Unavailable { .. } => recorded.acquires.unavailable += 1,
            Event::Saturated { .. } => recorded.acquires.saturated += 1,
            Event::HealthChanged { from, to, lasted, .. } => {
                recorded.health_changes.add(*to);
                add_time(recorded, *from, *lasted);
            }
            Event::Suspected { .. } => recorded.suspicions += 1,
            Event::FailedOver { .. } => recorded.failovers += 1,
            Event::Checked(outcome) => recorded.checks.add(*outcome),
            Event::Cleaned(outcome) => recorded.cleanings.add(*outcome),
            Event::PoolAdded { .. } => recorded.pools_added += 1,
            Event::PoolsRemoved { count } => recorded.pools_removed += *count as u64,
            // A grant is counted when it is taken.
            Event::Granted { .. }
            | Event::ProbePostponed
            | Event::ProbeAllowed
            | Event::ProbeHasRoom
            | Event::LoanOutlivedPool
            | Event::Aborted
            | Event::DeadLoanAbandoned
            | Event::CloseCutOff
            | Event::LostEarly
            | Event::ExpiredOnLoan
            | Event::CommandUnanswered
            | Event::DoubtfulReturn
            | Event::UncleanReturn
            | Event::KeptForMinimum
            | Event::ClockJumped { .. } => {}
        }
    }

    /// A get begins.
    #[inline(always)]
    pub(crate) fn note_asked(&mut self) {
        #[cfg(any(test, debug_assertions, feature = "testing"))]
        {
            self.asked += 1;
        }
    }

    /// A get has found an idle connection.
    #[inline]
    pub(crate) fn note_at_once(&mut self) {
        self.recorded.acquires.at_once += 1;
    }

    /// Whether the lease that was counted last by `note_at_once` is to be timed.
    #[inline]
    pub(crate) fn is_use_timed(&self) -> bool {
        self.is_sampled(self.recorded.acquires.at_once)
    }

    /// A get has taken a connection after a wait of so many nanoseconds; says whether its lease is to be timed.
    pub(crate) fn note_waited(&mut self, waited_nanos: u64) -> bool {
        self.recorded.acquires.waited += 1;
        self.recorded.wait_time.record_nanos(waited_nanos);
        self.is_sampled(self.recorded.acquires.waited)
    }

    #[inline]
    fn is_sampled(&self, number: u64) -> bool {
        number & self.sampled_bits == self.sampled_end
    }

    /// A lease that is timed has ended after so many nanoseconds.
    pub(crate) fn note_use(&mut self, length_nanos: u64) {
        self.recorded.use_time.record_nanos(length_nanos);
    }

    /// So many callers are in the queue.
    #[inline]
    pub(crate) fn note_waiting(&mut self, waiting: usize) {
        self.recorded.most_waiting = self.recorded.most_waiting.max(waiting);
    }

    /// A caller has left the queue.
    pub(crate) fn note_cancelled(&mut self) {
        self.recorded.acquires.cancelled += 1;
    }

    /// A get has failed because the pool is closed.
    pub(crate) fn note_refused_by_close(&mut self) {
        self.recorded.acquires.closed += 1;
    }

    /// A get that does not wait has found nothing; none: because the node is down.
    pub(crate) fn note_tried_in_vain(&mut self, phase: Option<WaitPhase>) {
        match phase {
            Some(phase) => self.recorded.acquires.timed_out.add(phase),
            None => self.recorded.acquires.unavailable += 1,
        }
    }

    /// A connection was found broken before its use.
    pub(crate) fn note_found_broken(&mut self) {
        self.recorded.acquires.found_broken += 1;
    }

    #[inline]
    pub(crate) fn note_returned_idle(&mut self) {
        self.recorded.returns.idle += 1;
    }

    #[inline]
    pub(crate) fn note_handed_over(&mut self) {
        self.recorded.returns.handed_over += 1;
    }

    /// The pool closes while the node has been in this health for so long.
    pub(crate) fn note_last_health(&mut self, health: Health, lasted: Duration) {
        add_time(&mut self.recorded, health, lasted);
    }

    /// All of it, with so many gets that have not ended, and with how long the present health has lasted, unless the pool is
    /// closed.
    pub(crate) fn read(&self, pending: usize, present: Option<(Health, Duration)>) -> NodeMetrics {
        let mut read = self.recorded.clone();
        read.acquires.pending = pending;
        if let Some((health, lasted)) = present {
            add_time(&mut read, health, lasted);
        }
        read
    }

    /// What is counted, without what is true of the moment alone.
    #[cfg(any(test, debug_assertions, feature = "testing"))]
    pub(crate) fn recorded(&self) -> &NodeMetrics {
        &self.recorded
    }

    /// The gets that have begun.
    #[cfg(any(test, debug_assertions, feature = "testing"))]
    pub(crate) fn asked(&self) -> u64 {
        self.asked
    }
}

fn add_time(recorded: &mut NodeMetrics, health: Health, lasted: Duration) {
    let total = match health {
        Health::Up => return,
        Health::Suspect => &mut recorded.time_suspect,
        Health::Down => &mut recorded.time_down,
    };
    *total = total.saturating_add(lasted);
}
