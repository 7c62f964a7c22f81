//! When all is healed: whoever waits is served, all that may be held can be held, and what a pool must do after a silence,
//! an outage and a jump of the clock is staged, one after the other, where nothing else disturbs.

use std::time::Duration;

use crate::close_reason::CloseReason;
use crate::config::OnNodeDown;
use crate::node_pool::NodePool;
use crate::runtime::Spawn;
use crate::testing::fake_connection::FakeConnector;
use crate::testing::fake_server::{FakeError, FakeMode};
use crate::testing::simulation::borrower::{COMMAND_TIMEOUT, lock};
use crate::testing::simulation::world::{Checked, SimulatedWorld, slack};

/// How long nobody asks for anything.
const REST: Duration = Duration::from_millis(1_500);

/// How soon after a server is back a pool with callers finds it: the longest pause between probes, and a little.
const PROBED_WITHIN: Duration = Duration::from_millis(600);

/// How long is watched what follows a jump of the clock.
const LOOK: Duration = Duration::from_millis(100);

impl SimulatedWorld<'_> {
    /// All heals: whoever waits is served or told, and the pool is whole again.
    pub(super) fn liveness(&mut self) -> Checked<()> {
        self.server.set_mode(FakeMode::Up);
        self.server.set_latency(Duration::ZERO);
        self.server.set_connect_latency(Duration::ZERO);
        self.server.set_close_latency(Duration::ZERO);
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
        self.metrics_checker.expect_other_gets();
        // A replica is known by its first answer, and at most once a second; one that leads to nobody, by the answer that does
        // not come. Then every connection is a new one.
        while !self.hold_all_there_can_be(&pool)? {
            self.run_for(Duration::from_millis(1_100))?;
        }
        self.stage_silence(&pool)?;
        self.stage_outage()?;
        self.hold_all_there_can_be(&pool)?;
        self.stage_jump()?;
        self.rest()?;
        let (wanted, closed) = (lock(&self.shared).discards, self.server.closes_for(CloseReason::Discarded));
        if wanted != closed {
            return self.fail(format!("I8: {wanted} connections were discarded, {closed} were closed for it"));
        }
        self.check()
    }

    /// The strongest test there is: exactly the limit can be held, and each of them answers with its own token. False if
    /// one is a replica, which it may be once after the pool has been told, or leads to nobody, of which the pool may not
    /// know the first time.
    fn hold_all_there_can_be(&mut self, pool: &NodePool<FakeConnector>) -> Checked<bool> {
        let mut leases = Vec::new();
        for n in 0..self.plan.limit() {
            match self.runtime.block_on(pool.get_timeout(Duration::from_secs(10))) {
                Ok(lease) => leases.push(lease),
                Err(error) => return self.fail(format!("C2: {n} of {} can be held: {error}", self.plan.limit())),
            }
        }
        let (mut replicas, mut silent) = (0, 0);
        for (token, lease) in leases.iter_mut().enumerate() {
            match self.runtime.block_on(lease.echo_timeout(token as u64, COMMAND_TIMEOUT)) {
                Ok(answer) if answer == token as u64 => {}
                Err(FakeError::Demoted) if self.demotions_left > 0 => replicas += 1,
                Err(FakeError::TimedOut) if self.silences_left > 0 && !lease.is_alive() => silent += 1,
                answer => return self.fail(format!("a wrong reply: {answer:?} for {token}")),
            }
        }
        if pool.try_get().is_ok() {
            return self.fail(format!("C1: more than {} can be held", self.plan.limit()));
        }
        drop(leases);
        self.run_for(Duration::ZERO)?;
        self.demotions_left = if replicas > 0 { self.demotions_left - 1 } else { 0 };
        self.silences_left = 0;
        Ok(replicas + silent == 0)
    }

    /// H6: the path is cut and open again, and one of the connections from before is asked in vain. From then on none is
    /// lent that has not answered since, whether it was idle at that time or out; and whoever asks is served by a new one,
    /// within the time of a check.
    ///
    /// Seen to bite: with silence that makes nobody distrusted, with distrust that is forgotten on return.
    fn stage_silence(&mut self, pool: &NodePool<FakeConnector>) -> Checked<()> {
        let mut leases = Vec::new();
        match self.runtime.block_on(pool.get_timeout(Duration::from_secs(10))) {
            Ok(lease) => leases.push(lease),
            Err(error) => return self.fail(format!("liveness: nothing is lent by a node that is up: {error}")),
        }
        while let Ok(lease) = pool.try_get() {
            leases.push(lease);
        }
        self.server.half_open(Duration::from_secs(60));
        self.tell(&format!("the path was cut, {} connections are half open", leases.len()));
        let after = leases.split_off(leases.len().div_ceil(2));
        let mut asked = leases.remove(0);
        let answer = self.runtime.block_on(asked.echo_timeout(0, COMMAND_TIMEOUT));
        if answer != Err(FakeError::TimedOut) {
            return self.fail(format!("a connection to nobody answers {answer:?}"));
        }
        drop(leases);
        drop(asked);
        drop(after);
        let since = self.runtime.now();
        let config = &self.plan.config;
        let bound = config.health_check_timeout() + self.slack();
        let lent = self.runtime.block_on(pool.get_timeout(Duration::from_secs(10)));
        let took = self.runtime.now().saturating_duration_since(since);
        let mut lease = match lent {
            Ok(lease) => lease,
            Err(error) => return self.fail(format!("H6: nothing is lent after a silence: {error}")),
        };
        if took > bound {
            return self
                .fail(format!("H6: after a silence the first connection was lent after {took:?}, the limit is {bound:?}"));
        }
        match self.runtime.block_on(lease.echo_timeout(1, COMMAND_TIMEOUT)) {
            Ok(1) => {}
            answer => {
                return self.fail(format!("H6: a connection was lent that has been silent since another one was: {answer:?}"));
            }
        }
        drop(lease);
        self.run_for(Duration::ZERO)
    }

    /// H4, H5: the server dies, callers come after a while, and it comes back: the first of them is served soon, the others
    /// by 1, 2 and then 4 dials at a time.
    ///
    /// Seen to bite: without a ramp, with several probes at once, with callers that do not hurry the probe.
    fn stage_outage(&mut self) -> Checked<()> {
        if self.plan.config.on_node_down() == OnNodeDown::FailFast {
            return Ok(());
        }
        let waiters = self.plan.limit().min(self.plan.config.max_waiters());
        self.tell(&format!("an outage; {waiters} callers wait"));
        self.server.kill();
        // Without callers the pauses between probes grow to their longest.
        self.run_for(Duration::from_secs(8))?;
        let back_at = self.runtime.now() + Duration::from_millis(100);
        let served_at = back_at + PROBED_WITHIN + Duration::from_secs(1);
        for number in 0..waiters {
            let patient = self.borrower(2_000 + number as u64);
            self.runtime.spawn(Box::pin(patient.wait_and_hold(Duration::from_secs(10), served_at + Duration::from_millis(100))));
        }
        self.run_for(back_at.saturating_duration_since(self.runtime.now()))?;
        self.server.set_mode(FakeMode::Up);
        self.server.set_connect_latency(Duration::from_millis(5));
        self.checker.expect_ramp(self.runtime.now() + PROBED_WITHIN + self.slack(), &self.server);
        self.run_for(served_at.saturating_duration_since(self.runtime.now()))?;
        self.checker.end_ramp();
        self.server.set_connect_latency(Duration::ZERO);
        let held = lock(&self.shared).held;
        if held != waiters {
            return self.fail(format!("H5: {held} of {waiters} callers hold a connection a second after the first probe"));
        }
        self.run_for(Duration::from_millis(200))
    }

    /// H11: the clock jumps ahead while all is quiet: what was in use a moment ago is neither closed nor dialled anew.
    ///
    /// Seen to bite: with a jump that expires all.
    fn stage_jump(&mut self) -> Checked<()> {
        let config = &self.plan.config;
        let (idle_time, lifetime) = (config.max_idle_time(), config.max_lifetime());
        // So that the pool has noted since when its connections have been idle.
        let quiet = (idle_time / 8).min(Duration::from_secs(2)) + self.slack();
        // After a jump the pool goes on where it was, at its next deadline, which is the next cleanup or sooner.
        let may_be_too_old = quiet + config.cleanup_interval() + LOOK * 2 + self.slack() >= idle_time;
        let one_by_one = (lifetime / 4 / u32::try_from(self.plan.limit()).unwrap_or(u32::MAX)).min(Duration::from_millis(334));
        let most_expired = 1 + (LOOK + self.slack()).as_nanos().div_ceil(one_by_one.as_nanos().max(1)) as usize;
        let closes = self.server.closes().len();
        self.run_for(quiet)?;
        let before = |reason: CloseReason| self.server.closes_for(reason);
        let (idle_ones, expired, dials) =
            (before(CloseReason::IdleTooLong), before(CloseReason::Expired), self.server.dial_count());
        self.tell("the clock jumps by an hour");
        self.runtime.jump_without_running(Duration::from_secs(3_600));
        self.run_for(LOOK)?;
        let idle_ones = self.server.closes_for(CloseReason::IdleTooLong) - idle_ones;
        let expired = self.server.closes_for(CloseReason::Expired) - expired;
        if idle_ones > 0 && !may_be_too_old {
            return self.fail(format!("H11: {idle_ones} connections were idle for too long after a jump of the clock"));
        }
        if expired > most_expired {
            return self.fail(format!("H11: {expired} connections expired within {LOOK:?} after a jump of the clock"));
        }
        let (dials, closes) = (self.server.dial_count() - dials, self.server.closes().len() - closes);
        if dials > closes {
            return self.fail(format!("H11: {dials} dials within {LOOK:?} after a jump of the clock, {closes} connections left"));
        }
        Ok(())
    }

    /// How much later than planned anything may be: sleeps end on the grid, and polls take time.
    fn slack(&self) -> Duration {
        slack(&self.plan.schedule)
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
        let cleanup_runs = self.plan.cleanup;
        let slack = grid * 4 + Duration::from_millis(20);
        let (born, dials, checks) = (self.server.births().0, self.server.dial_count(), self.server.checks());
        let idle_ones = self.server.closes_for(CloseReason::IdleTooLong);
        let closes = self.server.closes().len();
        self.run_for(REST)?;
        let pool = self.pool.clone().expect("the pool is there until the end");
        let counts = pool.node().counts();
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
        let rounds = |return_path: Duration| usize::try_from(REST.as_nanos() / return_path.as_nanos()).unwrap_or(usize::MAX);
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
}
