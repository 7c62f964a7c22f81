//! One run: safety while anything may fail, liveness when all is healed, and the end.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::connector::CloseReason;
use crate::node_pool::NodePool;
use crate::runtime::Spawn;
use crate::state::chance::Chance;
use crate::state::{Loop, Marks};
use crate::testing::simulation::borrower::{Borrower, ON_PURPOSE, Shared, lock};
use crate::testing::simulation::checker::Checker;
use crate::testing::simulation::neighbours::Neighbours;
use crate::testing::simulation::{Ending, Failure, Fault, Plan, Report, Trigger};
use crate::testing::{FakeConnector, FakeMode, FakeRuntime, FakeServer};
use crate::time::Instant;

/// How long nobody asks for anything.
const REST: Duration = Duration::from_millis(1_500);

/// How much of what happened last is told of a failure.
const TIMELINE: usize = 40;

pub(super) struct World<'a> {
    plan: &'a Plan,
    runtime: FakeRuntime,
    server: FakeServer,
    pool: Option<NodePool<FakeConnector>>,
    shared: Arc<Mutex<Shared>>,
    neighbours: Option<Neighbours>,
    checker: Checker,
    faults: VecDeque<(Trigger, Fault)>,
    struck: usize,
    last_fault_at: Instant,
    timeline: VecDeque<String>,
    marks: Marks,
}

type Checked<T> = Result<T, Box<Failure>>;

impl<'a> World<'a> {
    pub(super) fn new(plan: &'a Plan) -> Self {
        let runtime = FakeRuntime::with_schedule(plan.seed, plan.schedule);
        let server = FakeServer::new(&runtime);
        let pool = NodePool::new(server.connector(), plan.config.clone(), Arc::new(runtime.clone()));
        pool.set_cleanup(plan.cleanup);
        let shared = Arc::new(Mutex::new(Shared::new(plan.borrowers)));
        let neighbours = plan.neighbours.then(|| Neighbours::new(&runtime, &plan.config, &shared, plan.seed));
        Self {
            plan,
            runtime,
            server,
            pool: Some(pool),
            shared,
            neighbours,
            checker: Checker::new(plan),
            faults: plan.faults.iter().copied().collect(),
            struck: 0,
            last_fault_at: Instant::ZERO,
            timeline: VecDeque::new(),
            marks: Marks::default(),
        }
    }

    pub(super) fn live(&mut self) -> Checked<Report> {
        for number in 0..self.plan.borrowers {
            let borrower = self.borrower(number as u64);
            self.runtime.spawn(Box::pin(borrower.go_on(self.plan.rounds)));
        }
        for number in 0..3 {
            if let Some(neighbours) = &self.neighbours {
                self.runtime.spawn(Box::pin(neighbours.one_of_many(number).go_on(self.plan.rounds / 2)));
            }
        }
        self.safety()?;
        self.liveness()?;
        self.part_from_neighbours()?;
        self.end()?;
        let tally = lock(&self.shared).tally;
        Ok(Report {
            steps: self.runtime.steps(),
            tally,
            dials: self.server.dial_count(),
            checks: self.server.checks(),
            faults: self.struck,
            marks: self.marks,
            ended_at: self.runtime.now(),
            hash: self.checker.hash(),
        })
    }

    fn borrower(&self, number: u64) -> Borrower {
        let schedule = self.plan.schedule;
        Borrower {
            runtime: self.runtime.clone(),
            pool: self.pool.clone().expect("the pool is there until the end"),
            shared: Arc::clone(&self.shared),
            // The driver's sleep ends on the grid, and whoever is ready before the caller may take its time first.
            slack: schedule.grid + schedule.poll_cost * 1_000,
            chance: Chance::new(self.plan.seed.wrapping_mul(31).wrapping_add(number)),
        }
    }

    /// Until all borrowers are done, or all faults have struck and some time has passed.
    fn safety(&mut self) -> Checked<()> {
        let limit = Instant::ZERO + Duration::from_secs(7 * 24 * 3_600);
        while lock(&self.shared).busy > 0 && self.runtime.now() < limit {
            let planned = match self.faults.front() {
                Some((Trigger::After(pause), _)) => Some(self.last_fault_at + *pause),
                Some(_) | None => None,
            };
            if planned.is_some_and(|at| at <= self.runtime.now()) {
                self.strike();
                continue;
            }
            if self.runtime.step() {
                self.check()?;
                self.strike_if_triggered();
            } else {
                self.check_at_rest()?;
                if !self.runtime.fire_next(planned.unwrap_or(limit)) {
                    match planned {
                        Some(at) => self.runtime.fire(at),
                        None => break,
                    }
                }
            }
        }
        Ok(())
    }

    /// All heals: whoever waits is served or told, and the pool is whole again.
    fn liveness(&mut self) -> Checked<()> {
        self.server.set_mode(FakeMode::Up);
        self.server.set_latency(Duration::ZERO);
        self.server.set_connect_latency(Duration::ZERO);
        self.server.set_most_clients(usize::MAX);
        self.tell("all is healed");
        lock(&self.shared).stop = true;
        // The longest wait there is, a dial into the void, and the slowest pace of probes.
        let patience = Duration::from_secs(10) + self.plan.config.connect_timeout() + Duration::from_secs(10);
        self.run_for(patience)?;
        let busy = lock(&self.shared).busy;
        if busy > 0 {
            return self.fail(format!("liveness: {busy} borrowers still wait {patience:?} after all was healed"));
        }
        let pool = self.pool.clone().expect("the pool is there until the end");
        if !pool.is_open() {
            return match self.plan.may_kill_tasks {
                true => Ok(()),
                false => self.fail(String::from("liveness: the pool is closed and nobody closed it")),
            };
        }
        let mut leases = Vec::new();
        for n in 0..self.plan.limit() {
            match self.runtime.block_on(pool.get_timeout(Duration::from_secs(10))) {
                Ok(lease) => leases.push(lease),
                Err(error) => return self.fail(format!("C2: {n} of {} can be held: {error}", self.plan.limit())),
            }
        }
        for (token, lease) in leases.iter_mut().enumerate() {
            let answer = self.runtime.block_on(lease.echo(token as u64));
            if answer != Ok(token as u64) {
                return self.fail(format!("a wrong reply: {answer:?} for {token}"));
            }
        }
        if pool.try_get().is_ok() {
            return self.fail(format!("C1: more than {} can be held", self.plan.limit()));
        }
        drop(leases);
        self.run_for(Duration::ZERO)?;
        self.rest()?;
        let (wanted, closed) = (lock(&self.shared).discards, self.server.closes_for(CloseReason::Discarded));
        if wanted != closed {
            return self.fail(format!("I8: {wanted} connections were discarded, {closed} were closed for it"));
        }
        self.check()
    }

    /// Each of them can be used once more, and then nothing of them is left.
    fn part_from_neighbours(&mut self) -> Checked<()> {
        let Some(neighbours) = self.neighbours.take() else { return Ok(()) };
        if self.plan.may_kill_tasks {
            return Ok(());
        }
        let closed = neighbours.close();
        closed.or_else(|rule| self.fail(rule))?;
        match neighbours.held() {
            0 => Ok(()),
            left => self.fail(format!("E1: {left} connections to neighbours are held by somebody")),
        }
    }

    /// Nobody asks for anything: what is too old or idle for too long goes, the minimum stays, and each connection is
    /// checked at its pace.
    ///
    /// Seen to bite: with cleanup below the minimum (I10), with a cleanup that comes once, with a check that counts as
    /// use (H9), with checks at twice the pace or none (H2), with lifetimes that are not kept.
    fn rest(&mut self) -> Checked<()> {
        let (config, grid, limit) = (&self.plan.config, self.plan.schedule.grid, self.plan.limit());
        let (at_start, minimum) = (config.connection_pools_per_node_at_start(), config.min_idle());
        let (idle_time, sweep) = (config.max_idle_time(), config.cleanup_interval());
        let (interval, lifetime) = (config.health_check_interval(), config.max_lifetime());
        let cleanup_runs = self.plan.cleanup == Loop::Running;
        let slack = grid * 4 + Duration::from_millis(20);
        let (born, dials, checks) = (self.server.births().0, self.server.dial_count(), self.server.checks());
        let idle_ones = self.server.closes_for(CloseReason::IdleTooLong);
        let closes = self.server.closes().len();
        self.run_for(REST)?;
        let pool = self.pool.clone().expect("the pool is there until the end");
        let counts = pool.door().counts();
        let gone_idle = self.server.closes_for(CloseReason::IdleTooLong) - idle_ones;
        let nothing_else = self.server.closes().len() - closes == gone_idle;
        if cleanup_runs && idle_time + idle_time / 16 + sweep + slack * 2 < REST && counts.idle > at_start * minimum {
            return self.fail(format!("cleanup: after a rest of {REST:?} more than the minimum of {minimum} idle: {counts:?}"));
        }
        let dialled = self.server.dial_count() - dials;
        if nothing_else && dialled > 0 {
            return self.fail(format!("I10: {dialled} dials at rest, {gone_idle} connections were idle too long"));
        }
        let checked = self.server.checks() - checks;
        let rounds = |pace: Duration| usize::try_from(REST.as_nanos() / pace.as_nanos()).unwrap_or(usize::MAX);
        if nothing_else && checked > limit * (rounds(interval) + 1) {
            return self.fail(format!("H2: {checked} checks of {limit} connections within {REST:?}, one each {interval:?}"));
        }
        let stayed = counts.idle + counts.checking;
        if nothing_else && checked < stayed * rounds(interval * 21 / 16 + slack).saturating_sub(1) {
            return self.fail(format!("H2: {checked} checks of {stayed} connections within {REST:?}, one each {interval:?}"));
        }
        let oldest = self.server.births().1.unwrap_or(u64::MAX);
        let longest = lifetime * 5 / 4 + (slack + grid) * u32::try_from(limit).unwrap_or(u32::MAX);
        if longest < REST && oldest <= born {
            return self.fail(format!("max_lifetime: a connection has lived for {REST:?}, longer than {lifetime:?}"));
        }
        Ok(())
    }

    /// However it ends, nothing is left.
    fn end(&mut self) -> Checked<()> {
        self.tell(&format!("the end: {:?}", self.plan.ending));
        {
            let mut shared = lock(&self.shared);
            shared.stop = false;
            shared.busy = self.plan.borrowers;
        }
        for number in 0..self.plan.borrowers {
            let borrower = self.borrower(1_000 + number as u64);
            self.runtime.spawn(Box::pin(borrower.go_on(10)));
        }
        self.run_for(Duration::from_millis(40))?;
        // In the thick of it, not when all is quiet.
        self.runtime.fire_next(self.runtime.now() + Duration::from_millis(40));
        for _ in 0..self.plan.seed % 8 {
            self.runtime.step();
            self.check()?;
        }
        let pool = self.pool.take().expect("it ends only once");
        self.marks = self.marks.and(pool.marks());
        match self.plan.ending {
            Ending::Close(timeout) => {
                let held = pool.try_get();
                let began_at = self.runtime.now();
                let closed = pool.close_timeout(timeout);
                let counts = pool.door().counts();
                if counts.idle + counts.granted + counts.waiting > 0 {
                    return self.fail(format!("E1: a closed pool keeps idle connections or waiters: {counts:?}"));
                }
                self.runtime.block_on(closed);
                let took = self.runtime.now().saturating_duration_since(began_at);
                if took > timeout + Duration::from_secs(2) + self.plan.schedule.grid * 2 {
                    return self.fail(format!("E1: closing within {timeout:?} took {took:?}"));
                }
                if self.server.connections() > 0 {
                    return self.fail(format!("E1: {} connections are left when it says done", self.server.connections()));
                }
                drop(held);
            }
            Ending::Drop => {}
            Ending::ShutDown => self.runtime.shut_down(),
        }
        let marks = self.marks;
        lock(&self.shared).stop = true;
        let watched = pool.door().clone();
        drop(pool);
        self.runtime.advance(Duration::from_secs(60));
        self.marks = marks.and(watched.marks());
        let counts = watched.counts();
        drop(watched);
        self.runtime.advance(Duration::from_secs(1));
        self.check_panics()?;
        if counts.total() + counts.waiting > 0 {
            return self.fail(format!("I7: the ledger still waits for tokens at the end: {counts:?}"));
        }
        let (born, closed) = (self.server.births().0, self.server.closes().len());
        if born != closed as u64 {
            return self.fail(format!("I8: of {born} connections {closed} left by a close"));
        }
        let left = (self.runtime.tasks(), self.runtime.timers(), self.server.held());
        if left != (0, 0, 0) {
            return self.fail(format!("E2: tasks, timers and connections left at the end: {left:?}"));
        }
        // A task that is killed, and a runtime that ends, take their connections with them.
        let all_closed = !self.plan.may_kill_tasks && self.plan.ending != Ending::ShutDown;
        let (accepted, closed) = (self.server.accepted(), self.server.closes().len());
        if all_closed && accepted != closed {
            return self.fail(format!("I8: {accepted} connections were made and {closed} were closed by their connector"));
        }
        Ok(())
    }

    fn run_for(&mut self, length: Duration) -> Checked<()> {
        let end = self.runtime.now() + length;
        loop {
            if self.runtime.step() {
                self.check()?;
                continue;
            }
            self.check_at_rest()?;
            if !self.runtime.fire_next(end) {
                self.runtime.fire(end);
                if !self.runtime.step() {
                    return Ok(());
                }
            }
        }
    }

    fn strike(&mut self) {
        if let Some((_, fault)) = self.faults.pop_front() {
            self.last_fault_at = self.runtime.now();
            self.struck += 1;
            self.tell(&format!("{fault:?}"));
            if matches!(fault, Fault::Jump(_)) {
                // Nobody can hear while the clock jumps.
                self.forgive_waits(fault);
            }
            fault.strike(&self.server, &self.runtime);
        }
    }

    fn forgive_waits(&self, fault: Fault) {
        if let Fault::Jump(length) = fault {
            lock(&self.shared).waits.values_mut().for_each(|wait| wait.due = wait.due + length);
        }
    }

    fn strike_if_triggered(&mut self) {
        let Some(pool) = &self.pool else { return };
        let counts = pool.door().counts();
        let due = match self.faults.front() {
            Some((Trigger::WhileConnecting, _)) => counts.connecting > 0,
            Some((Trigger::WhileGranted, _)) => counts.granted > 0,
            Some((Trigger::WhileWaiting, _)) => counts.waiting > 0,
            Some((Trigger::WhileChecking, _)) => counts.checking > 0,
            Some((Trigger::After(_), _)) | None => false,
        };
        if due {
            self.strike();
        }
    }

    fn check(&mut self) -> Checked<()> {
        let Some(pool) = &self.pool else { return Ok(()) };
        let (now, counts) = (self.runtime.now(), pool.door().counts());
        self.check_panics()?;
        let (told, broken) = {
            let mut shared = lock(&self.shared);
            (self.checker.step(now, counts, &self.server, &shared), shared.broken.take())
        };
        match (told, broken) {
            (Err(rule), _) | (Ok(()), Some(rule)) => self.fail(rule),
            (Ok(()), None) => Ok(()),
        }
    }

    /// No task panics, but borrowers that mean it: the pool's own do so only if an invariant is broken.
    fn check_panics(&mut self) -> Checked<()> {
        match self.runtime.take_panic() {
            Some(words) if words != ON_PURPOSE => self.fail(words),
            Some(_) | None => Ok(()),
        }
    }

    fn check_at_rest(&mut self) -> Checked<()> {
        let Some(pool) = &self.pool else { return Ok(()) };
        let counts = pool.door().counts();
        let told = self.checker.at_rest(self.runtime.now(), counts, &self.server, &lock(&self.shared));
        told.or_else(|rule| self.fail(rule))
    }

    fn tell(&mut self, what: &str) {
        let Some(pool) = &self.pool else { return };
        let line = format!("{:>14}  {what}; {:?}", self.runtime.now().to_string(), pool.door().counts());
        self.timeline.push_back(line);
        if self.timeline.len() > TIMELINE {
            self.timeline.pop_front();
        }
    }

    pub(super) fn fail<T>(&mut self, rule: String) -> Checked<T> {
        self.tell("it breaks");
        let timeline = self.timeline.iter().cloned().collect();
        Err(Box::new(Failure { seed: self.plan.seed, rule, at: self.runtime.now(), timeline }))
    }
}
