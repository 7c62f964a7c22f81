//! A seeded random walk: any input at any time, every token held here and given back exactly once; the node's state's own
//! invariants do most of the checking.

use std::collections::BTreeSet;

use super::{Bench, MS, SECOND};
use crate::close_reason::CloseReason;
use crate::config::{NodeConfig, OnNodeDown};
use crate::state::{
    Acquired, CheckResult, ConnId, DialFailure, DialFailureKind, Input, Loan, Outcome, ReleaseKind, WaitKind, WaiterId,
};
use crate::time::Instant;

/// SplitMix64, so that a seed means the same walk for ever.
struct Dice(u64);

impl Dice {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % count as u64) as usize
    }

    fn pick<T>(&mut self, from: &mut Vec<T>) -> Option<T> {
        if from.is_empty() {
            return None;
        }
        let index = self.below(from.len());
        Some(from.swap_remove(index))
    }
}

struct Walk {
    bench: Bench,
    dice: Dice,
    seed: u64,
    loans: Vec<Loan<u32>>,
    waiters: Vec<(WaiterId, Instant)>,
    seen: Vec<ConnId>,
    /// Connections made and not ordered closed yet.
    open: BTreeSet<u32>,
    /// How many of `bench.closes` were looked at.
    looked_at: usize,
}

impl Walk {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let at_start = 1 + dice.below(2);
        let settings = NodeConfig::builder()
            .connection_pools_per_node_at_start(at_start)
            .max_pools_per_node(at_start + dice.below(3))
            .max_connection_size(2 + dice.below(4))
            .min_idle(dice.below(3))
            .max_waiters(20)
            .health_check_interval(SECOND)
            .health_check_timeout(100 * MS)
            .max_lifetime(20 * SECOND)
            .max_idle_time(5 * SECOND)
            .cleanup_interval(2 * SECOND)
            .on_node_down(if dice.below(4) == 0 { OnNodeDown::FailFast } else { OnNodeDown::Wait });
        let bench = Bench::seeded(settings, seed);
        Self { bench, dice, seed, loans: Vec::new(), waiters: Vec::new(), seen: Vec::new(), open: BTreeSet::new(), looked_at: 0 }
    }

    fn step(&mut self) {
        match self.dice.below(20) {
            0..=3 => self.acquire(),
            4..=6 => self.give_back(),
            7 => self.connect(),
            8 => self.fail_to_connect(),
            9 => self.check(),
            10 => self.closed(),
            11..=12 => self.collect_or_cancel(),
            13 => self.die(),
            14 => {
                let state = self.dice.below(2) == 0;
                let input = if self.dice.below(2) == 0 { Input::SetChecks(state) } else { Input::SetCleanup(state) };
                self.bench.put(input);
            }
            15 => {
                let tried = self.bench.state.try_acquire(self.bench.now);
                self.bench.collect();
                self.loans.extend(tried);
            }
            16 => {
                // Late: beyond a second the node's state takes it for a jump.
                let late = self.dice.below(1_500) as u32 * MS * if self.dice.below(20) == 0 { 100 } else { 1 };
                self.bench.now = self.bench.now + late;
                self.tick();
            }
            _ => {
                let pause = self.dice.below(400) as u32 * MS;
                self.bench.pass(pause);
                self.tick();
            }
        }
        self.look();
    }

    fn tick(&mut self) {
        self.bench.tick();
        let now = self.bench.now;
        for (id, deadline) in &self.waiters {
            if *deadline <= now {
                let placed = self.bench.state.queue.position(*id).is_some_and(|position| position.deadline() <= now);
                assert!(placed, "seed {}: a waiter is forgotten", self.seed);
            }
        }
        assert!(self.bench.state.queue.due(now).is_none(), "seed {}: I5: a wait outlived its deadline", self.seed);
    }

    fn acquire(&mut self) {
        let timeout = self.dice.below(3_000) as u32 * MS;
        let deadline = self.bench.now + timeout;
        let want = if self.dice.below(20) == 0 { WaitKind::Warm } else { WaitKind::Loan };
        let acquired = self.bench.state.wait_for(self.bench.now, want, deadline);
        self.bench.collect();
        match acquired {
            Acquired::Loan(loan) => self.loans.push(loan),
            Acquired::Waiting(id) => self.waiters.push((id, deadline)),
            Acquired::Saturated { waiting } => assert!(waiting >= 20),
            Acquired::Down(_) | Acquired::Closed => {}
        }
    }

    fn give_back(&mut self) {
        let Some(loan) = self.dice.pick(&mut self.loans) else { return };
        self.seen.push(loan.id);
        let kind = match self.dice.below(8) {
            0 => ReleaseKind::Silent,
            1 => ReleaseKind::Broken(CloseReason::Broken),
            _ => ReleaseKind::Sound,
        };
        let rest = if kind == ReleaseKind::Sound { self.bench.put_back(loan) } else { Some(loan) };
        match rest {
            Some(loan) => self.bench.put(Input::Release(loan, kind)),
            None => self.bench.collect(),
        }
    }

    fn connect(&mut self) {
        let Some(ticket) = self.dice.pick(&mut self.bench.connects) else { return };
        self.seen.push(ticket.id);
        self.bench.made += 1;
        self.open.insert(self.bench.made);
        self.bench.put(Input::Connected(ticket, self.bench.made));
    }

    fn fail_to_connect(&mut self) {
        let kinds = [DialFailureKind::Passing, DialFailureKind::Passing, DialFailureKind::TimedOut, DialFailureKind::Permanent];
        let kind = kinds[self.dice.below(4)];
        if let Some(ticket) = self.dice.pick(&mut self.bench.connects) {
            self.bench.put(Input::ConnectFailed(ticket, DialFailure::new(String::from("no"), kind)));
        }
    }

    fn check(&mut self) {
        let findings = [CheckResult::Sound, CheckResult::Sound, CheckResult::Silent, CheckResult::Failed(String::from("no"))];
        let result = findings[self.dice.below(4)].clone();
        if let Some(checkup) = self.dice.pick(&mut self.bench.checks) {
            self.bench.put(Input::Checked(checkup, result));
        }
    }

    fn closed(&mut self) {
        if self.dice.below(2) == 0 && !self.bench.kills.is_empty() {
            let kill = self.bench.kills.swap_remove(0);
            self.bench.put(Input::Closed(kill));
        } else if let Some((closing, ..)) = self.dice.pick(&mut self.bench.closes) {
            self.looked_at -= 1;
            self.bench.put(Input::Closed(closing));
        }
    }

    fn collect_or_cancel(&mut self) {
        if self.waiters.is_empty() {
            return;
        }
        let index = self.dice.below(self.waiters.len());
        let (id, _) = self.waiters[index];
        if self.dice.below(3) == 0 {
            self.waiters.swap_remove(index);
            // As the node does it: the fast path where that is enough.
            if !self.bench.state.leave_queue(id) {
                self.bench.put(Input::Cancel(id));
            }
            return;
        }
        let Some(outcome) = self.bench.state.take_outcome(self.bench.now, id) else { return };
        let (_, deadline) = self.waiters.swap_remove(index);
        match outcome {
            Outcome::Granted(loan, place) if self.dice.below(5) == 0 => {
                let refused = self.bench.state.refuse(self.bench.now, loan, place);
                self.bench.collect();
                if let Acquired::Waiting(id) = refused {
                    self.waiters.push((id, deadline));
                }
            }
            Outcome::Granted(loan, _) => self.loans.push(loan),
            Outcome::Ready | Outcome::Failed(_) => {}
        }
    }

    fn die(&mut self) {
        if !self.seen.is_empty() {
            let index = self.dice.below(self.seen.len());
            self.bench.put(Input::Died(self.seen[index]));
        }
    }

    /// I8: each connection is ordered closed once.
    fn look(&mut self) {
        for (_, conn, reason) in &self.bench.closes[self.looked_at..] {
            assert!(self.open.remove(conn), "seed {}: I8: connection {conn} was closed twice, now {reason:?}", self.seed);
        }
        self.looked_at = self.bench.closes.len();
    }

    /// Gives everything back, in any order; time passes meanwhile.
    fn drain(&mut self) {
        for _ in 0..2_000 {
            match self.dice.below(7) {
                0 => self.give_back(),
                1 => self.connect(),
                2 => self.fail_to_connect(),
                3 => self.check(),
                4 => self.closed(),
                5 => self.collect_or_cancel(),
                _ => {
                    self.bench.pass(50 * MS);
                    self.tick();
                }
            }
            self.look();
        }
    }
}

#[test]
fn a_random_walk_keeps_every_invariant_and_ends_with_nothing_left() {
    for seed in 0..200 {
        let mut walk = Walk::new(seed);
        for _ in 0..500 {
            walk.step();
        }
        let force_at = match walk.dice.below(3) {
            0 => None,
            _ => Some(walk.bench.now + SECOND),
        };
        walk.bench.put(Input::Close { force_at });
        walk.look();
        walk.drain();
        let Walk { bench, loans, waiters, open, .. } = walk;
        assert!(loans.is_empty() && waiters.is_empty(), "seed {seed}: {} loans, {} waiters", loans.len(), waiters.len());
        assert!(bench.connects.is_empty() && bench.checks.is_empty(), "seed {seed}: {:?} {:?}", bench.connects, bench.checks);
        assert!(bench.closes.is_empty() && bench.kills.is_empty(), "seed {seed}: {:?} {:?}", bench.closes, bench.kills);
        assert!(bench.state.is_finished(), "seed {seed}: not finished: {:?}", bench.status());
        assert_eq!(open, BTreeSet::new(), "seed {seed}: I8: connections that were never closed");
    }
}
