//! Unit tests of the node's state: inputs and outputs as plain values; a connection is a number.

mod ending;
mod events;
mod exhaustive;
mod healing;
mod lending;
mod lost;
mod machine;
mod metering;
mod model;
mod op;
mod pair;
mod quota;
mod walk;
mod wear;

use std::time::Duration;

use crate::close_reason::CloseReason;
use crate::config::{NodeConfig, NodeConfigBuilder};
use crate::state::{
    Acquired, Action, Checkup, Closing, DialFailure, DialFailureKind, Input, Loan, NodeState, NodeStatus, Outcome, ReleaseKind,
    Returned, Ticket, WaiterId,
};
use crate::time::Instant;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// A node's state on a bench: every token it hands out lies here until the test gives it back.
struct Bench {
    state: NodeState<u32>,
    now: Instant,
    connects: Vec<Ticket>,
    checks: Vec<Checkup<u32>>,
    cleans: Vec<Checkup<u32>>,
    closes: Vec<(Closing, u32, CloseReason)>,
    kills: Vec<Closing>,
    wakes: Vec<WaiterId>,
    /// Connections made so far; also the number of the last one.
    made: u32,
}

impl Bench {
    /// A node's state that has had its first tick.
    fn new(builder: NodeConfigBuilder) -> Self {
        Self::seeded(builder, 7)
    }

    fn seeded(builder: NodeConfigBuilder, seed: u64) -> Self {
        let mut bench = Self::at_rest(builder, seed);
        bench.put(Input::Tick);
        bench
    }

    /// The same before its first tick.
    fn at_rest(builder: NodeConfigBuilder, seed: u64) -> Self {
        let config = builder.build().expect("the test's settings are valid");
        Self {
            state: NodeState::new(config, seed),
            now: Instant::ZERO,
            connects: Vec::new(),
            checks: Vec::new(),
            cleans: Vec::new(),
            closes: Vec::new(),
            kills: Vec::new(),
            wakes: Vec::new(),
            made: 0,
        }
    }

    /// One pool of `limit` connections, `limit` of them open and idle.
    fn full(limit: usize) -> Self {
        let mut bench = Self::new(one_pool(limit).min_idle(limit));
        bench.accept_all();
        bench
    }

    fn status(&self) -> NodeStatus {
        self.state.status(self.now)
    }

    fn put(&mut self, input: Input<u32>) {
        self.state.handle(self.now, input);
        self.collect();
    }

    /// Takes all that the node's state has to say.
    fn collect(&mut self) {
        self.wakes.extend(std::iter::from_fn(|| self.state.poll_wake()));
        while let Some(action) = self.state.poll_action() {
            match action {
                Action::Connect(ticket) => self.connects.push(ticket),
                Action::Check(checkup) => self.checks.push(checkup),
                Action::Clean(checkup) => self.cleans.push(checkup),
                Action::Close(closing, conn, reason) => self.closes.push((closing, conn, reason)),
                Action::Kill(closing) => self.kills.push(closing),
            }
        }
    }

    /// Lets time pass as a driver does: a tick at every deadline, none of them late.
    fn pass(&mut self, length: Duration) {
        let end = self.now + length;
        while let Some(next) = self.state.next_deadline().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.tick();
        }
        self.now = end;
    }

    fn tick(&mut self) {
        self.put(Input::Tick);
        let next = self.state.next_deadline();
        assert!(next.is_none_or(|next| next > self.now), "I3: after a tick at {} the next is at {next:?}", self.now);
    }

    fn acquire(&mut self, timeout: Duration) -> Acquired<u32> {
        let acquired = self.state.acquire(self.now, self.now + timeout);
        self.collect();
        acquired
    }

    #[track_caller]
    fn borrow(&mut self) -> Loan<u32> {
        match self.acquire(SECOND) {
            Acquired::Loan(loan) => loan,
            other @ (Acquired::Waiting(_) | Acquired::Saturated { .. } | Acquired::Down(_) | Acquired::Closed) => {
                panic!("a connection was expected to idle: {other:?}")
            }
        }
    }

    #[track_caller]
    fn wait(&mut self, timeout: Duration) -> WaiterId {
        match self.acquire(timeout) {
            Acquired::Waiting(id) => id,
            other @ (Acquired::Loan(_) | Acquired::Saturated { .. } | Acquired::Down(_) | Acquired::Closed) => {
                panic!("a place in queue was expected: {other:?}")
            }
        }
    }

    /// The connection that a waiter was granted.
    #[track_caller]
    fn granted(&mut self, id: WaiterId) -> Loan<u32> {
        match self.state.take_outcome(self.now, id) {
            Some(Outcome::Granted(loan, _)) => loan,
            other => panic!("a grant was expected: {other:?}"),
        }
    }

    fn release(&mut self, loan: Loan<u32>) {
        self.put(Input::Release(loan, ReleaseKind::Sound));
    }

    /// The fast way back, as the node takes it; the loan, if it is not for that one.
    fn put_back(&mut self, loan: Loan<u32>) -> Option<Loan<u32>> {
        self.state.end_use(self.now, loan.id);
        match self.state.put_back(loan) {
            Returned::Idle => None,
            Returned::HandedOver(waiter) => {
                self.wakes.push(waiter);
                None
            }
            Returned::Refused(loan) => Some(loan),
        }
    }

    /// The oldest dial succeeds.
    fn accept(&mut self) -> u32 {
        let ticket = self.connects.remove(0);
        self.made += 1;
        self.put(Input::Connected(ticket, self.made));
        self.made
    }

    /// All dials succeed, those included that follow from it.
    fn accept_all(&mut self) {
        while !self.connects.is_empty() {
            self.accept();
        }
    }

    /// The oldest dial fails.
    fn refuse(&mut self, kind: DialFailureKind) {
        let ticket = self.connects.remove(0);
        self.put(Input::ConnectFailed(ticket, DialFailure::new(String::from("refused"), kind)));
    }

    /// Lets time pass until the next dial is ordered.
    #[track_caller]
    fn until_dial(&mut self) {
        let end = self.now + 10 * SECOND;
        while self.connects.is_empty() {
            assert!(self.now < end, "no dial within 10 s");
            self.pass(MS);
        }
    }

    /// All ordered closes are done; why they were ordered.
    fn close_all(&mut self) -> Vec<CloseReason> {
        let mut reasons = Vec::new();
        while !self.closes.is_empty() {
            let (closing, _, reason) = self.closes.remove(0);
            reasons.push(reason);
            self.put(Input::Closed(closing));
        }
        reasons
    }
}

/// One pool, nothing kept warm.
fn one_pool(limit: usize) -> NodeConfigBuilder {
    NodeConfig::builder().max_connection_size(limit).max_pools_per_node(1).min_idle(0)
}
