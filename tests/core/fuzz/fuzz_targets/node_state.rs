//! Any bytes, read as facts for a node's state; at the end every token goes back, and nothing may be left.
//!
//! The state's own invariants do most of the checking; here is checked that connections are handed out by one at a
//! time, closed once each, and that a drained state is finished.

#![no_main]

use std::collections::BTreeSet;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use redis_manager_core::state::{
    Acquired, Action, Checkup, Closing, ConnId, DialFailure, DialFailureKind, CheckResult, Input, NodeState, Loan, Outcome, Returned,
    Ticket, ReleaseKind, WaiterId, WaitKind,
};
use redis_manager_core::{CloseReason, Instant, NodeConfig, OnNodeDown};

const MS: Duration = Duration::from_millis(1);

struct FuzzHarness {
    state: NodeState<u32>,
    now: Instant,
    made: u32,
    /// Made and not ordered closed yet.
    open: BTreeSet<u32>,
    connects: Vec<Ticket>,
    checks: Vec<Checkup<u32>>,
    closes: Vec<Closing>,
    loans: Vec<Loan<u32>>,
    waiters: Vec<WaiterId>,
    seen: Vec<ConnId>,
}

impl FuzzHarness {
    fn new(settings: [u8; 4]) -> Self {
        let [pools, connections, idle, seed] = settings;
        let at_start = 1 + usize::from(pools % 2);
        let limit = 1 + usize::from(connections % 4);
        let config = NodeConfig::builder()
            .connection_pools_per_node_at_start(at_start)
            .max_pools_per_node(at_start + usize::from(pools / 2 % 2))
            .max_connection_size(limit)
            .min_idle(usize::from(idle % 4).min(limit))
            .max_waiters(1 + usize::from(idle / 4 % 8))
            .health_check_interval(1_000 * MS)
            .health_check_timeout(100 * MS)
            .max_lifetime(20_000 * MS)
            .max_idle_time(5_000 * MS)
            .cleanup_interval(2_000 * MS)
            .on_node_down(if idle >= 128 { OnNodeDown::FailFast } else { OnNodeDown::Wait })
            .build()
            .expect("within the ranges");
        let mut bench = Self {
            state: NodeState::new(config, seed.into()),
            now: Instant::ZERO,
            made: 0,
            open: BTreeSet::new(),
            connects: Vec::new(),
            checks: Vec::new(),
            closes: Vec::new(),
            loans: Vec::new(),
            waiters: Vec::new(),
            seen: Vec::new(),
        };
        bench.put(Input::Tick);
        bench
    }

    fn put(&mut self, input: Input<u32>) {
        self.state.handle(self.now, input);
        self.collect();
    }

    fn collect(&mut self) {
        while self.state.poll_wake().is_some() {}
        while let Some(action) = self.state.poll_action() {
            match action {
                Action::Connect(ticket) => self.connects.push(ticket),
                Action::Check(checkup) | Action::Clean(checkup) => self.checks.push(checkup),
                Action::Close(closing, conn, _) => {
                    assert!(self.open.remove(&conn), "I8: connection {conn} is closed twice");
                    self.closes.push(closing);
                }
                Action::Kill(closing) => self.closes.push(closing),
            }
        }
    }

    /// One fact: the first byte says what, the second which.
    fn step(&mut self, what: u8, which: u8) {
        let input = match what % 16 {
            0 | 1 => return self.acquire(which),
            2 => return self.try_acquire(),
            3 => return self.take_outcome(which),
            // As the node does it: the fast path where that is enough.
            4 => pick(&mut self.waiters, which).filter(|id| !self.state.leave_queue(*id)).map(Input::Cancel),
            5 => return self.put_back(which),
            6 => pick(&mut self.loans, which).map(|loan| Input::Release(loan, kind(which))),
            7 => return self.connect(which),
            8 => pick(&mut self.connects, which).map(|ticket| Input::ConnectFailed(ticket, failure(which))),
            9 => pick(&mut self.checks, which).map(|checkup| Input::Checked(checkup, result(which))),
            10 => pick(&mut self.closes, which).map(Input::Closed),
            11 => self.seen.get(usize::from(which / 4)).map(|id| word(*id, which)),
            12 => Some(Input::SetChecks(which % 2 == 0)),
            13 => Some(Input::SetCleanup(which % 2 == 0)),
            14 => {
                self.now = self.now + u32::from(which) * 10 * MS;
                (which % 8 != 0).then_some(Input::Tick)
            }
            _ => match which {
                0 => Some(Input::DriverLost),
                1..16 => Some(Input::Close { force_at: Some(self.now + u32::from(which) * 100 * MS) }),
                16..20 => Some(Input::Close { force_at: None }),
                20.. => return self.pass(),
            },
        };
        if let Some(input) = input {
            self.put(input);
        }
    }

    fn acquire(&mut self, which: u8) {
        let want = [WaitKind::Loan, WaitKind::Warm, WaitKind::Drained][usize::from(which >= 250) + usize::from(which == 255)];
        let acquired = self.state.wait_for(self.now, want, self.now + u32::from(which) * 20 * MS);
        self.collect();
        self.keep(acquired);
    }

    fn keep(&mut self, acquired: Acquired<u32>) {
        match acquired {
            Acquired::Loan(loan) => self.lend(loan),
            Acquired::Waiting(id) => self.waiters.push(id),
            Acquired::Saturated { .. } | Acquired::Down(_) | Acquired::Closed => {}
        }
    }

    fn lend(&mut self, loan: Loan<u32>) {
        assert!(self.loans.iter().all(|other| other.id() != loan.id()), "one connection, one borrower");
        self.seen.push(loan.id());
        self.loans.push(loan);
    }

    fn try_acquire(&mut self) {
        let tried = self.state.try_acquire(self.now);
        self.collect();
        if let Ok(loan) = tried {
            self.lend(loan);
        }
    }

    fn take_outcome(&mut self, which: u8) {
        let Some(id) = pick(&mut self.waiters, which) else { return };
        match self.state.take_outcome(self.now, id) {
            Some(Outcome::Granted(loan, place)) if which % 8 == 7 => {
                let again = self.state.refuse(self.now, loan, place);
                self.collect();
                self.keep(again);
            }
            Some(Outcome::Granted(loan, _)) => self.lend(loan),
            Some(Outcome::Ready | Outcome::Failed(_)) => {}
            None => self.waiters.push(id),
        }
    }

    fn put_back(&mut self, which: u8) {
        let Some(loan) = pick(&mut self.loans, which) else { return };
        match self.state.put_back(loan) {
            Returned::Idle | Returned::HandedOver(_) => {}
            Returned::Refused(loan) => self.put(Input::Release(loan, ReleaseKind::Sound)),
        }
    }

    fn connect(&mut self, which: u8) {
        let Some(ticket) = pick(&mut self.connects, which) else { return };
        self.made += 1;
        self.open.insert(self.made);
        self.put(Input::Connected(ticket, self.made));
    }

    /// A tick at the next deadline.
    fn pass(&mut self) {
        let Some(next) = self.state.next_deadline() else { return };
        self.now = self.now.max(next);
        self.put(Input::Tick);
        let next = self.state.next_deadline();
        assert!(next.is_none_or(|next| next > self.now), "I3: after a tick at {} the next is at {next:?}", self.now);
    }

    fn drain(mut self) {
        self.put(Input::Close { force_at: None });
        for id in std::mem::take(&mut self.waiters) {
            self.put(Input::Cancel(id));
        }
        for loan in std::mem::take(&mut self.loans) {
            self.put(Input::Release(loan, ReleaseKind::Sound));
        }
        while !self.connects.is_empty() {
            self.connect(0);
        }
        for checkup in std::mem::take(&mut self.checks) {
            self.put(Input::Checked(checkup, CheckResult::Sound));
        }
        for closing in std::mem::take(&mut self.closes) {
            self.put(Input::Closed(closing));
        }
        assert!(self.state.is_finished(), "C1: something is left: {:?}", self.state.status(self.now));
        assert_eq!(self.open, BTreeSet::new(), "I8: connections that were never closed");
        assert_eq!(self.state.next_deadline(), None);
    }
}

fn pick<T>(from: &mut Vec<T>, which: u8) -> Option<T> {
    (!from.is_empty()).then(|| from.swap_remove(usize::from(which) % from.len()))
}

fn kind(which: u8) -> ReleaseKind {
    match which / 51 {
        0 => ReleaseKind::Sound,
        1 => ReleaseKind::Broken(CloseReason::Broken),
        2 => ReleaseKind::Stale,
        3 => ReleaseKind::Silent,
        _ => ReleaseKind::Soiled,
    }
}

/// What is heard of a connection, wherever it is by now.
fn word(id: ConnId, which: u8) -> Input<u32> {
    match which % 4 {
        0 | 1 => Input::Died(id),
        2 => Input::Distrusted(id, String::from("not ready")),
        _ => Input::Outdated(id, String::from("a replica")),
    }
}

fn failure(which: u8) -> DialFailure {
    let kind = match which / 64 {
        0 | 1 => DialFailureKind::Passing,
        2 => DialFailureKind::TimedOut,
        _ => DialFailureKind::Permanent,
    };
    DialFailure::new(String::from("no"), kind)
}

fn result(which: u8) -> CheckResult {
    match which / 64 {
        0 | 1 => CheckResult::Sound,
        2 => CheckResult::Failed(String::from("no")),
        _ => CheckResult::Silent,
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((settings, steps)) = bytes.split_first_chunk::<4>() else { return };
    let mut bench = FuzzHarness::new(*settings);
    for step in steps.chunks_exact(2) {
        bench.step(step[0], step[1]);
    }
    bench.drain();
});
