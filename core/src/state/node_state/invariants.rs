//! What must hold after every input, checked in debug builds; each message is what a user may rely on.

use super::NodeState;
use crate::state::closing::Lifecycle;
use crate::state::connections::Phase;
use crate::state::deadlines::DeadlineKind;
use crate::state::status::Health;
use crate::state::wait_queue::WaitKind;
use crate::time::Instant;

impl<C> NodeState<C> {
    /// Seen to bite: without the grant in `dispatch` (I2); with a dial into a full pool (I1); without the probe in
    /// `arm_probe` (I9); with `rejoin` at the end of the queue (I6); with distrust that leaves out what is on loan (H6); with
    /// a change of the server that spares what idles, is on loan, or is being cleaned (H7).
    pub(super) fn assert_invariants(&self) {
        self.connections.assert_invariants();
        for (id, meta) in self.connections.iter() {
            assert!(
                meta.phase() != Phase::Idle || meta.trust_epoch() == self.trust.epoch() || !self.closes.is_open(),
                "H6: what idles has answered since something stayed silent: {id:?}"
            );
            assert!(
                !meta.phase().is_in_use()
                    || meta.server_generation() == self.trust.server_generation()
                    || meta.retire().is_some(),
                "H7: what was made for another server is not lent again: {id:?}"
            );
        }
        self.assert_deadlines();
        self.assert_metrics();
        let counts = self.connections.counts();
        assert!(
            self.queue.is_empty(WaitKind::Loan) || !self.connections.has_idle() || self.is_yielding(),
            "I2: nobody waits while a connection idles: {} wait, {counts:?}",
            self.queue.len(WaitKind::Loan)
        );
        assert!(
            !self.someone_waits() || self.queue.next_deadline().is_some(),
            "I4, I5: each waiter will get a connection or an error: a deadline is armed"
        );
        let front = self.queue.front(WaitKind::Loan, 8);
        assert!(front.windows(2).all(|pair| pair[0].arrival() < pair[1].arrival()), "I6: nobody overtakes: {front:?}");
        assert!(
            !self.closes.is_open() || self.evidence() != Health::Down || self.deadlines.is_armed(DeadlineKind::Probe),
            "I9: a node that is down always has the next probe armed"
        );
        assert!(
            self.closes.lifecycle() != Lifecycle::Closed || counts.total() == 0,
            "E1: a pool that says it is closed has no connection left: {counts:?}"
        );
    }

    /// What is counted is what was begun, less what has ended: in every history.
    ///
    /// Seen to bite: with a late dial that opens nothing, a check that is given up and stays open, a close that is counted twice,
    /// a grant that is not pending, a cancelled grant that is not counted (all T6).
    fn assert_metrics(&self) {
        let (metrics, counts) = (self.outbox.metrics().recorded(), self.connections.counts());
        let open = (counts.alive() + counts.of(Phase::Lost) + counts.examined()) as u64;
        assert_eq!(metrics.opened(), metrics.closed() + open, "T6: what was opened and not closed is open: {counts:?}");
        let connects = &metrics.connects;
        let ended = connects.succeeded + connects.failed.total() + connects.abandoned;
        assert_eq!(connects.started, ended + counts.dialled() as u64, "T6: each dial ends in one way: {connects:?}");
        let (asked, pending) = (self.outbox.metrics().asked(), self.pending_gets() as u64);
        assert_eq!(asked, metrics.acquires.total() + pending, "T6: each get ends in one way: {:?}", metrics.acquires);
        assert_eq!(metrics.wait_time.count(), metrics.acquires.waited, "T6: each wait that was served is timed");
        assert_eq!(metrics.connect_time.count(), connects.succeeded, "T6: each dial that has succeeded is timed");
        assert!(metrics.most_waiting >= self.queue.len(WaitKind::Loan), "T6: the longest queue is no shorter than this one");
        for (id, meta) in self.connections.iter().filter(|(_, meta)| meta.lent_at().is_some()) {
            assert!(
                matches!(meta.phase(), Phase::Leased | Phase::Lost),
                "T3: only a lease is timed: {id:?} is {:?}",
                meta.phase()
            );
        }
    }

    /// What is due has a deadline armed.
    fn assert_deadlines(&self) {
        if self.closes.is_open() {
            let due = |kind, by: Instant| self.deadlines.at(kind).is_some_and(|at| at <= by);
            assert!(
                !self.upkeep.checks() || self.connections.next_check().is_none_or(|at| due(DeadlineKind::Check, at)),
                "H2: what idles is checked when it is time: a deadline is armed"
            );
            assert!(
                self.connections.next_end().is_none() || self.deadlines.at(DeadlineKind::Lifetime).is_some(),
                "H12: what is open has an end: a deadline is armed"
            );
        }
        for (id, meta) in self.connections.iter().filter(|(_, meta)| meta.phase() == Phase::Closing) {
            let queued = self.closes.contains(meta.entered_at(), id);
            let due = self.deadlines.at(DeadlineKind::CloseCutoff).is_some();
            assert!(queued && due, "C6: every close is cut off if it hangs: {id:?} is not among {:?}", self.closes);
        }
    }
}
