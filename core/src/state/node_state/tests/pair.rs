//! A node's state and the reference model side by side: the same operation goes to both, then all that can be seen of them is
//! compared. Used by the exhaustive search and by the random machine.

use std::time::Duration;

use super::model::{At, BEAT, Model, Said, Scope, Told, Word};
use super::op::Op;
use super::{Bench, one_pool};
use crate::close_reason::CloseReason;
use crate::config::OnNodeDown;
use crate::state::{
    Acquired, CheckResult, Checkup, Closing, ConnId, DialFailure, DialFailureKind, Input, Loan, Outcome, ReleaseKind, Ticket,
    WaitError, WaitFailure, WaiterId,
};

const WEEK: Duration = Duration::from_secs(7 * 24 * 3_600);

pub(super) struct Pair {
    pub(super) bench: Bench,
    pub(super) model: Model,
    /// In the order of arrival.
    pub(super) waiters: Vec<(u32, WaiterId)>,
    pub(super) loans: Vec<Loan<u32>>,
    pub(super) connects: Vec<Ticket>,
    pub(super) checks: Vec<Checkup<u32>>,
    /// Kills, too.
    pub(super) closes: Vec<(Closing, u32)>,
    /// The number of each connection: the lowest that was free.
    conns: Vec<(ConnId, u32)>,
    /// Waiters that were or are in the queue during the present operation.
    names: Vec<(u32, WaiterId)>,
}

impl Pair {
    /// With settings that leave out what the model leaves out: wear by age, checks by the clock, dials that hang.
    pub(super) fn new(scope: Scope, seed: u64) -> Self {
        let half = BEAT / 2;
        let settings = one_pool(scope.limit)
            .min_idle(scope.min_idle)
            .max_waiters(scope.max_waiters)
            .on_node_down(if scope.fail_fast { OnNodeDown::FailFast } else { OnNodeDown::Wait })
            .probe_backoff(half, half, half)
            .connect_timeout(WEEK)
            .health_check_timeout(WEEK)
            .health_check_interval(WEEK)
            .max_lifetime(WEEK);
        let (mut bench, mut model) = (Bench::seeded(settings, seed), Model::new(scope));
        assert_eq!(bench.connects.len(), model.take_said().len());
        let connects = std::mem::take(&mut bench.connects);
        Self {
            bench,
            model,
            waiters: Vec::new(),
            loans: Vec::new(),
            connects,
            checks: Vec::new(),
            closes: Vec::new(),
            conns: Vec::new(),
            names: Vec::new(),
        }
    }

    /// Whether the operation can happen now.
    pub(super) fn allows(&self, op: Op) -> bool {
        match op {
            Op::Acquire { .. } | Op::Try | Op::Pass | Op::Drowse => true,
            Op::Cancel(_) => !self.waiters.is_empty(),
            Op::Collect(_) => self.decided().next().is_some(),
            Op::Refuse(_) => self.granted().next().is_some(),
            Op::Release(..) | Op::PutBack(_) | Op::NotReady(_) | Op::Outdated(_) => !self.loans.is_empty(),
            Op::Connected(_) | Op::ConnectFailed(_) | Op::ConnectRefused(_) => !self.connects.is_empty(),
            Op::Checked(..) => !self.checks.is_empty(),
            Op::Closed(_) => !self.closes.is_empty(),
            Op::DiedIdle(_) => !self.model.those(At::Idle).is_empty(),
            Op::DiedGranted(_) => !self.model.those(At::Granted).is_empty(),
            Op::DiedOut(_) => !self.loans.is_empty() || !self.checks.is_empty(),
            Op::Close { .. } => self.model.is_open(),
        }
    }

    /// Does it to both, and compares what they say.
    pub(super) fn apply(&mut self, op: Op) {
        self.names.clone_from(&self.waiters);
        let (says, expected) = self.do_both(op);
        assert_eq!(says, expected, "what the caller is told");
        self.hear();
        let mut said = self.take_said();
        let mut due = self.model.take_said();
        said.sort_unstable();
        due.sort_unstable();
        assert_eq!(said, due, "what the state says unasked");
    }

    fn do_both(&mut self, op: Op) -> (Option<Told>, Option<Told>) {
        let now = self.bench.now;
        match op {
            Op::Acquire { beats } => return self.acquire(beats),
            Op::Try => {
                let tried = self.bench.state.try_acquire(now);
                self.bench.collect();
                let says = match tried {
                    Ok(loan) => self.lend(loan),
                    Err(outcome) => self.told(Outcome::Failed(outcome)),
                };
                return (Some(says), Some(self.model.try_acquire()));
            }
            Op::Cancel(n) => {
                let (waiter, id) = self.waiters.remove(n.min(self.waiters.len() - 1));
                // As the node does it: the fast path where that is enough.
                if !self.bench.state.leave_queue(id) {
                    self.bench.put(Input::Cancel(id));
                }
                self.model.cancel(waiter);
            }
            Op::Collect(n) => {
                let index = nth(self.decided(), n);
                let (waiter, id) = self.waiters.remove(index);
                let outcome = self.bench.state.take_outcome(self.bench.now, id).expect("the model says that there is an outcome");
                return (Some(self.told(outcome)), Some(self.model.collect(waiter)));
            }
            Op::Refuse(n) => return self.refuse(n),
            Op::Release(n, word) => {
                let loan = self.loans.remove(n.min(self.loans.len() - 1));
                self.model.release(loan.conn, word);
                self.bench.put(Input::Release(loan, kind(word)));
            }
            Op::PutBack(n) => {
                let loan = self.loans.remove(n.min(self.loans.len() - 1));
                self.model.put_back(loan.conn);
                if let Some(loan) = self.bench.put_back(loan) {
                    self.bench.put(Input::Release(loan, ReleaseKind::Sound));
                }
            }
            Op::Connected(n) => {
                let nth = n.min(self.connects.len() - 1);
                let ticket = self.connects.remove(nth);
                let conn = self.fresh_conn();
                self.conns.retain(|(_, other)| *other != conn);
                self.conns.push((ticket.id, conn));
                self.bench.put(Input::Connected(ticket, conn));
                self.model.connected(conn, nth);
            }
            Op::ConnectFailed(n) => self.fail(n, DialFailureKind::Passing),
            Op::ConnectRefused(n) => self.fail(n, DialFailureKind::Permanent),
            Op::Checked(n, word) => {
                let checkup = self.checks.remove(n.min(self.checks.len() - 1));
                self.model.checked(checkup.conn, word);
                self.bench.put(Input::Checked(checkup, result(word)));
            }
            Op::Closed(n) => {
                let (closing, conn) = self.closes.remove(n.min(self.closes.len() - 1));
                self.bench.put(Input::Closed(closing));
                self.model.closed(conn);
            }
            Op::DiedIdle(n) => self.die(self.model.those(At::Idle), n),
            Op::DiedGranted(n) => self.die(self.model.those(At::Granted), n),
            Op::DiedOut(n) => {
                let out = self.loans.iter().map(|loan| loan.conn).chain(self.checks.iter().map(|check| check.conn));
                self.die(out.collect(), n);
            }
            Op::NotReady(n) => {
                let Loan { id, conn } = self.loans[n.min(self.loans.len() - 1)];
                self.bench.put(Input::Distrusted(id, String::from("loading")));
                self.model.not_ready(conn);
            }
            Op::Outdated(n) => {
                let Loan { id, conn } = self.loans[n.min(self.loans.len() - 1)];
                self.bench.put(Input::Outdated(id, String::from("a replica")));
                self.model.outdated(conn);
            }
            Op::Pass => {
                self.bench.pass(BEAT);
                let order: Vec<_> = self.bench.wakes.iter().map(|id| self.name(*id)).collect();
                self.model.pass(&order);
            }
            Op::Drowse => {
                self.bench.now = now + BEAT;
                self.model.drowse();
            }
            Op::Close { beats } => {
                self.bench.put(Input::Close { force_at: Some(now + beats * BEAT) });
                self.model.close(now + beats * BEAT);
            }
        }
        (None, None)
    }

    fn acquire(&mut self, beats: u32) -> (Option<Told>, Option<Told>) {
        let taken = |waiter: &u32| self.waiters.iter().any(|(other, _)| other == waiter);
        let waiter = (1..).find(|waiter| !taken(waiter)).expect("numbers do not end");
        let says = match self.bench.acquire(beats * BEAT) {
            Acquired::Loan(loan) => self.lend(loan),
            Acquired::Waiting(id) => {
                self.waiters.push((waiter, id));
                self.names.push((waiter, id));
                Told::Waiting
            }
            Acquired::Saturated { waiting } => {
                assert_eq!(waiting, self.model.queued());
                Told::Saturated
            }
            Acquired::Down(failure) => Told::Down { beats: waited(&failure) },
            Acquired::Closed => Told::Closed,
        };
        (Some(says), Some(self.model.acquire(waiter, beats * BEAT)))
    }

    fn refuse(&mut self, n: usize) -> (Option<Told>, Option<Told>) {
        let index = nth(self.granted(), n);
        let (waiter, id) = self.waiters[index];
        let Some(Outcome::Granted(loan, place)) = self.bench.state.take_outcome(self.bench.now, id) else {
            panic!("a grant was expected")
        };
        let again = self.bench.state.refuse(self.bench.now, loan, place);
        self.bench.collect();
        let Acquired::Waiting(id) = again else { panic!("a place in queue was expected: {again:?}") };
        self.waiters[index].1 = id;
        self.names.push((waiter, id));
        self.model.refuse(waiter);
        (None, None)
    }

    fn fail(&mut self, n: usize, kind: DialFailureKind) {
        let nth = n.min(self.connects.len() - 1);
        let ticket = self.connects.remove(nth);
        self.bench.put(Input::ConnectFailed(ticket, DialFailure::new(String::from("no"), kind)));
        self.model.connect_failed(kind == DialFailureKind::Permanent, nth);
    }

    fn die(&mut self, among: Vec<u32>, n: usize) {
        let conn = among[n.min(among.len() - 1)];
        let (id, _) = *self.conns.iter().find(|(_, other)| *other == conn).expect("every connection has an identity");
        self.bench.put(Input::Died(id));
        if self.model.knows(conn) {
            self.model.died(conn);
        }
    }

    fn lend(&mut self, loan: Loan<u32>) -> Told {
        let conn = loan.conn;
        self.loans.push(loan);
        Told::Loan(conn)
    }

    fn told(&mut self, outcome: Outcome<u32>) -> Told {
        match outcome {
            Outcome::Granted(loan, _) => self.lend(loan),
            Outcome::Failed(WaitError::TimedOut(failure)) => Told::TimedOut { beats: waited(&failure) },
            Outcome::Failed(WaitError::Down(failure)) => Told::Down { beats: waited(&failure) },
            Outcome::Failed(WaitError::Closed) => Told::Closed,
            Outcome::Ready => panic!("nobody waits for that here"),
        }
    }

    /// Compares the state of both: every count, who has an outcome, and when the next tick is wanted.
    pub(super) fn compare(&mut self) {
        let (status, model) = (self.bench.status(), &self.model);
        let seen = [status.active, status.idle, status.connecting, status.checking, status.closing, status.waiting];
        let expected = [
            model.count(|at| matches!(at, At::Granted | At::Leased | At::Lost)),
            model.count(|at| at == At::Idle),
            model.dials(),
            model.count(|at| matches!(at, At::Checking | At::Cleaning)),
            model.count(|at| matches!(at, At::Closing { .. })),
            model.queued(),
        ];
        assert_eq!(seen, expected, "active, idle, connecting, checking, closing, waiting");
        assert_eq!(self.bench.state.evidence(), model.health());
        assert_eq!(self.bench.state.is_open(), model.is_open());
        assert_eq!(self.bench.state.is_finished(), model.is_closed());
        let next = self.bench.state.next_deadline();
        if let Some(by) = model.tick_by() {
            assert!(next.is_some_and(|next| next <= by), "a tick is needed by {by}, the state wants one at {next:?}");
        }
        assert!(!model.is_closed() || next.is_none(), "closed, and yet there is a deadline at {next:?}");
        for (waiter, id) in &self.waiters {
            if !model.has_outcome(*waiter).0 {
                assert_eq!(self.bench.state.take_outcome(self.bench.now, *id), None, "waiter {waiter} is to wait on");
            }
        }
    }

    /// Which waiters have an outcome, by index.
    fn decided(&self) -> impl Iterator<Item = usize> {
        (0..self.waiters.len()).filter(|index| self.model.has_outcome(self.waiters[*index].0).0)
    }

    fn granted(&self) -> impl Iterator<Item = usize> {
        (0..self.waiters.len()).filter(|index| self.model.has_outcome(self.waiters[*index].0).1)
    }

    /// Whoever was told that it gets nothing leaves at once; only grants may lie around.
    fn hear(&mut self) {
        for (waiter, id) in std::mem::take(&mut self.waiters) {
            match self.model.has_outcome(waiter) {
                (true, false) => {
                    let outcome =
                        self.bench.state.take_outcome(self.bench.now, id).expect("the model says that there is an outcome");
                    let says = self.told(outcome);
                    assert_eq!(says, self.model.collect(waiter), "what waiter {waiter} is told");
                }
                (true, true) | (false, _) => self.waiters.push((waiter, id)),
            }
        }
    }

    fn name(&self, id: WaiterId) -> u32 {
        self.names.iter().find(|(_, other)| *other == id).expect("only those who wait are woken").0
    }

    /// The lowest number that no connection has and no token names.
    fn fresh_conn(&self) -> u32 {
        let is_taken = |conn: u32| {
            self.model.knows(conn)
                || self.loans.iter().any(|loan| loan.conn == conn)
                || self.checks.iter().any(|checkup| checkup.conn == conn)
                || self.closes.iter().any(|(_, other)| *other == conn)
        };
        (1..).find(|conn| !is_taken(*conn)).expect("numbers do not end")
    }

    /// Takes what the node's state has said since the last operation; its tokens stay here.
    fn take_said(&mut self) -> Vec<Said> {
        let mut said: Vec<_> = self.bench.wakes.iter().map(|id| Said::Wake(self.name(*id))).collect();
        self.bench.wakes.clear();
        said.extend(self.bench.connects.iter().map(|_| Said::Connect));
        self.connects.append(&mut self.bench.connects);
        said.extend(self.bench.checks.iter().map(|checkup| Said::Check(checkup.conn)));
        self.checks.append(&mut self.bench.checks);
        said.extend(self.bench.cleans.iter().map(|checkup| Said::Clean(checkup.conn)));
        self.checks.append(&mut self.bench.cleans);
        for (closing, conn, reason) in self.bench.closes.drain(..) {
            said.push(Said::Close(conn, reason));
            self.closes.push((closing, conn));
        }
        for closing in self.bench.kills.drain(..) {
            let id = closing.id.expect("what is killed is counted");
            let conn = self.conns.iter().find(|(other, _)| *other == id).expect("every connection has a number").1;
            said.push(Said::Kill(conn));
            self.closes.push((closing, conn));
        }
        said
    }
}

fn nth(mut among: impl Iterator<Item = usize>, n: usize) -> usize {
    let first = among.next().expect("the operation is allowed");
    among.take(n).last().unwrap_or(first)
}

fn waited(failure: &WaitFailure) -> u64 {
    assert_eq!(failure.waited.as_nanos() % BEAT.as_nanos(), 0, "waits begin and end with a beat");
    failure.waited.as_secs()
}

fn kind(word: Word) -> ReleaseKind {
    match word {
        Word::Sound => ReleaseKind::Sound,
        Word::Broken => ReleaseKind::Broken(CloseReason::Broken),
        Word::Stale => ReleaseKind::Stale,
        Word::Silent => ReleaseKind::Silent,
        Word::Soiled => ReleaseKind::Soiled,
    }
}

fn result(word: Word) -> CheckResult {
    match word {
        Word::Sound => CheckResult::Sound,
        Word::Broken | Word::Stale | Word::Soiled => CheckResult::Failed(String::from("no")),
        Word::Silent => CheckResult::Silent,
    }
}
