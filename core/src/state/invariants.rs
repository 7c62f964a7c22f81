//! What must hold after every input, checked in debug builds; each message is what a user may rely on.

use crate::state::deadlines::Kind;
use crate::state::line::Want;
use crate::state::node::{Ledger, Life};
use crate::state::phase::{Phase, Tally};
use crate::state::status::Health;
use crate::state::token::Loop;
use crate::time::Instant;

impl<C> Ledger<C> {
    /// Seen to bite: without the grant in `settle` (I2); with a dial into a full pool (I1); without the probe in
    /// `arm_probe` (I9); with `rejoin` at the end of the line (I6); with distrust that leaves out what is on loan (H6); with
    /// a change of the server that spares what idles, is on loan, or is being cleaned (H7).
    pub(super) fn assert_invariants(&self) {
        let mut sum = Tally::default();
        let mut shelved = 0;
        for (index, pool) in self.roster.pools() {
            assert!(
                pool.tally.total() <= self.roster.limit(),
                "I1: a pool never has more connections than max_connection_size: pool {index} has {:?}",
                pool.tally
            );
            let idle = self.roster.shelved(pool);
            assert_eq!(pool.tally.of(Phase::Idle), idle.len(), "I8: what is idle lies on the shelf: pool {index}");
            for record in idle.iter().map(|id| self.roster.get(*id).expect("what lies on a shelf has a record")) {
                assert_eq!((record.phase, record.pool), (Phase::Idle, index), "I8: what lies on the shelf is idle: pool {index}");
            }
            shelved += idle.len();
            sum = sum.plus(pool.tally);
        }
        assert_eq!(sum, self.roster.tally(), "I1: the counts of the pools add up to those of the node");
        assert_eq!(self.roster.records().count(), sum.total(), "I7: every connection that is counted has a slot");
        for (id, record) in self.roster.records() {
            assert!(
                record.phase != Phase::Idle || record.epoch == self.epoch || self.life != Life::Open,
                "H6: what idles has answered since something stayed silent: {id:?}"
            );
            assert!(
                !record.phase.is_in_use() || record.made_for == self.generation || record.retire.is_some(),
                "H7: what was made for another server is not lent again: {id:?}"
            );
        }
        self.assert_agenda();
        assert!(
            self.line.is_empty(Want::Loan) || shelved == 0 || self.is_yielding(),
            "I2: nobody waits while a connection idles: {} wait, {shelved} idle",
            self.line.len(Want::Loan)
        );
        assert!(
            !self.someone_waits() || self.line.next_deadline().is_some(),
            "I4, I5: whoever waits will be served or told: a deadline is armed"
        );
        assert!(
            sum.total() <= self.roster.allowance(),
            "I11: a node never has more connections than max_total_connections leaves it: {sum:?}, {:?}",
            self.share.given
        );
        let front = self.line.front(Want::Loan, 8);
        assert!(front.windows(2).all(|pair| pair[0].arrival < pair[1].arrival), "I6: nobody overtakes: {front:?}");
        assert!(
            self.life != Life::Open || self.evidence() != Health::Down || self.deadlines.is_armed(Kind::Probe),
            "I9: a node that is down always has the next probe armed"
        );
        assert!(
            self.life != Life::Closed || sum.total() == 0,
            "E1: a pool that says it is closed has no connection left: {sum:?}"
        );
    }

    /// The agenda, the ranking of pools and the queue of closes are kept beside the records: they must say the same.
    fn assert_agenda(&self) {
        self.roster.assert_agenda();
        self.roster.assert_ranking();
        if self.life == Life::Open {
            let due = |kind, by: Instant| self.deadlines.at(kind).is_some_and(|at| at <= by);
            assert!(
                self.checks == Loop::Stopped || self.roster.next_check().is_none_or(|at| due(Kind::Check, at)),
                "H2: what idles is checked when it is time: a deadline is armed"
            );
            assert!(
                self.roster.next_end().is_none() || self.deadlines.at(Kind::Lifetime).is_some(),
                "H12: what is open has an end: a deadline is armed"
            );
        }
        for (id, record) in self.roster.records().filter(|(_, record)| record.phase == Phase::Closing) {
            let queued = self.closes.contains(&(record.entered_at, id));
            let due = self.deadlines.at(Kind::CloseCutoff).is_some();
            assert!(queued && due, "C6: every close is cut off if it hangs: {id:?} is not among {:?}", self.closes);
        }
    }
}
