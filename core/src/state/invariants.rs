//! What must hold after every input, checked in debug builds; each message is what a user may rely on.

use crate::state::deadlines::DeadlineKind;
use crate::state::node_state::{Lifecycle, NodeState};
use crate::state::phase::{Phase, PhaseCounts};
use crate::state::status::Health;
use crate::state::token::Loop;
use crate::state::wait_queue::WaitKind;
use crate::time::Instant;

impl<C> NodeState<C> {
    /// Seen to bite: without the grant in `dispatch` (I2); with a dial into a full pool (I1); without the probe in
    /// `arm_probe` (I9); with `rejoin` at the end of the queue (I6); with distrust that leaves out what is on loan (H6); with
    /// a change of the server that spares what idles, is on loan, or is being cleaned (H7).
    pub(super) fn assert_invariants(&self) {
        let mut sum = PhaseCounts::default();
        let mut idle_of = 0;
        for (index, pool) in self.connections.pools() {
            assert!(
                pool.counts.total() <= self.connections.limit(),
                "I1: a pool never has more connections than max_connection_size: pool {index} has {:?}",
                pool.counts
            );
            let idle = self.connections.idle_of(pool);
            assert_eq!(pool.counts.of(Phase::Idle), idle.len(), "I8: what is idle lies on the idle: pool {index}");
            for record in idle.iter().map(|id| self.connections.get(*id).expect("what lies on a idle has a record")) {
                assert_eq!((record.phase, record.pool), (Phase::Idle, index), "I8: what lies on the idle is idle: pool {index}");
            }
            idle_of += idle.len();
            sum = sum.plus(pool.counts);
        }
        assert_eq!(sum, self.connections.counts(), "I1: the counts of the pools add up to those of the node");
        assert_eq!(self.connections.records().count(), sum.total(), "I7: every connection that is counted has a slot");
        for (id, record) in self.connections.records() {
            assert!(
                record.phase != Phase::Idle || record.trust_epoch == self.trust_epoch || self.life != Lifecycle::Open,
                "H6: what idles has answered since something stayed silent: {id:?}"
            );
            assert!(
                !record.phase.is_in_use() || record.made_for == self.generation || record.retire.is_some(),
                "H7: what was made for another server is not lent again: {id:?}"
            );
        }
        self.assert_due();
        assert!(
            self.queue.is_empty(WaitKind::Loan) || idle_of == 0 || self.is_yielding(),
            "I2: nobody waits while a connection idles: {} wait, {idle_of} idle",
            self.queue.len(WaitKind::Loan)
        );
        assert!(
            !self.someone_waits() || self.queue.next_deadline().is_some(),
            "I4, I5: whoever waits will be served or told: a deadline is armed"
        );
        assert!(
            sum.total() <= self.connections.quota(),
            "I11: a node never has more connections than max_total_connections leaves it: {sum:?}, {:?}",
            self.sharing.given
        );
        let front = self.queue.front(WaitKind::Loan, 8);
        assert!(front.windows(2).all(|pair| pair[0].arrival < pair[1].arrival), "I6: nobody overtakes: {front:?}");
        assert!(
            self.life != Lifecycle::Open || self.evidence() != Health::Down || self.deadlines.is_armed(DeadlineKind::Probe),
            "I9: a node that is down always has the next probe armed"
        );
        assert!(
            self.life != Lifecycle::Closed || sum.total() == 0,
            "E1: a pool that says it is closed has no connection left: {sum:?}"
        );
    }

    /// The due index, the tree of pools and the queue of closes are kept beside the records: they must say the same.
    fn assert_due(&self) {
        self.connections.assert_due();
        self.connections.assert_least_active();
        if self.life == Lifecycle::Open {
            let due = |kind, by: Instant| self.deadlines.at(kind).is_some_and(|at| at <= by);
            assert!(
                self.checks == Loop::Stopped || self.connections.next_check().is_none_or(|at| due(DeadlineKind::Check, at)),
                "H2: what idles is checked when it is time: a deadline is armed"
            );
            assert!(
                self.connections.next_end().is_none() || self.deadlines.at(DeadlineKind::Lifetime).is_some(),
                "H12: what is open has an end: a deadline is armed"
            );
        }
        for (id, record) in self.connections.records().filter(|(_, record)| record.phase == Phase::Closing) {
            let queued = self.closes.contains(&(record.entered_at, id));
            let due = self.deadlines.at(DeadlineKind::CloseCutoff).is_some();
            assert!(queued && due, "C6: every close is cut off if it hangs: {id:?} is not among {:?}", self.closes);
        }
    }
}
