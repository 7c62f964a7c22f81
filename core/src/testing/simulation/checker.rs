//! The rules, watched from outside at every step: what the node's state says against what the server and the callers see.

use std::time::Duration;

use crate::config::OnNodeDown;
use crate::state::{CheckerCounts, Health};
use crate::testing::fake_server::{FakeMode, FakeServer};
use crate::testing::simulation::borrower::{BorrowerLog, BorrowerWait};
use crate::testing::simulation::plan::SeedPlan;
use crate::time::Instant;

/// A window for the count of dials.
const WINDOW: Duration = Duration::from_secs(15);
/// Dials in that window at most, of a node that refuses all of them. Full jitter below 500 ms makes 60 on average and more
/// than 80, the usual limit, in one window of 20 000; so many seeds see so many windows that only a number that chance does
/// not reach (one in 10^11) tells of a fault. Without a back-off there are thousands.
const MOST_DIALS: usize = 100;

/// So many pauses between dials of the same length are not chance.
const MOST_EQUAL_PAUSES: usize = 5;
/// Pauses that are shorter say nothing: several dials may have been under way when the first one failed.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
/// Pauses that differ by less are equal: polls take time.
const EQUAL: Duration = Duration::from_millis(2);

pub(super) struct Checker {
    limit: usize,
    max_waiters: usize,
    on_node_down: OnNodeDown,
    pauses: Pauses,
    /// Since when the server has refused every dial, and how many it had seen by then.
    refusing: Option<(Instant, usize)>,
    ramp: Option<Ramp>,
    hash: u64,
}

/// What is expected of a pool whose server is back, with callers in the queue.
struct Ramp {
    /// When the first dial must have been accepted.
    first_by: Instant,
    /// How many connections the server had accepted before.
    accepted_before: usize,
}

impl Ramp {
    /// H4: after the probe that succeeds there is 1 dial at a time, then 2, then 4, each width for as many successes.
    fn judge(&self, now: Instant, server: &FakeServer) -> Result<(), String> {
        let (accepted, at_once) = (server.accepted() - self.accepted_before, server.dials_under_way());
        let width = match accepted {
            0 | 1 => 1,
            2 | 3 => 2,
            4..8 => 4,
            8.. => usize::MAX,
        };
        if at_once > width {
            return Err(format!("H4: {at_once} dials at once, {accepted} have succeeded since the server is back"));
        }
        if accepted == 0 && now > self.first_by {
            return Err(format!("H5: no dial has succeeded until {}", self.first_by));
        }
        Ok(())
    }
}

/// The pauses between the dials of a server that refuses them.
#[derive(Default)]
struct Pauses {
    dials: usize,
    last_dial: Option<Instant>,
    last_pause: Duration,
    equal: usize,
}

impl Pauses {
    fn note(&mut self, dials: usize, at: Option<Instant>) -> Result<(), String> {
        if dials == self.dials {
            return Ok(());
        }
        self.dials = dials;
        let (Some(at), Some(before)) = (at, self.last_dial) else {
            self.last_dial = at;
            return Ok(());
        };
        let pause = at.saturating_duration_since(before);
        self.last_dial = Some(at);
        if pause < SHORTEST_PAUSE {
            return Ok(());
        }
        self.equal = if pause.abs_diff(self.last_pause) < EQUAL { self.equal + 1 } else { 0 };
        self.last_pause = pause;
        match self.equal {
            MOST_EQUAL_PAUSES.. => Err(format!("H4: {} dials in a row at a distance of {pause:?}, without jitter", self.equal)),
            _ => Ok(()),
        }
    }
}

impl Checker {
    pub(super) fn new(plan: &SeedPlan) -> Self {
        Self {
            limit: plan.limit(),
            max_waiters: plan.config.max_waiters(),
            on_node_down: plan.config.on_node_down(),
            pauses: Pauses::default(),
            refusing: None,
            ramp: None,
            hash: 0xCBF2_9CE4_8422_2325,
        }
    }

    /// The server is back and callers wait: what was dialled before does not matter.
    pub(super) fn expect_ramp(&mut self, first_by: Instant, server: &FakeServer) {
        self.ramp = Some(Ramp { first_by, accepted_before: server.accepted() });
    }

    pub(super) fn end_ramp(&mut self) {
        self.ramp = None;
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    /// After every step.
    ///
    /// Seen to bite: with a dial into a full pool (C1), with a slot freed before its close (C6), with a release that
    /// idle stacks beside a waiter (I2), without a pause between probes (H4).
    pub(super) fn step(
        &mut self,
        now: Instant,
        counts: CheckerCounts,
        server: &FakeServer,
        shared: &BorrowerLog,
    ) -> Result<(), String> {
        self.note(now, &counts);
        let held = server.held();
        let booked = counts.idle + counts.granted + counts.leased + counts.checking;
        let transient = counts.connecting + counts.closing;
        if counts.total() > self.limit {
            return Err(format!("C1: {} connections, the limit is {}: {counts:?}", counts.total(), self.limit));
        }
        // After a close by force there are loans that the node's state counts no more.
        if held < booked || (counts.open && held > booked + transient) {
            return Err(format!("T1: the server's side counts {held} connections, the state says {counts:?}"));
        }
        if counts.waiting > 0 && counts.idle > 0 {
            return Err(format!("I2: {} wait beside {} idle", counts.waiting, counts.idle));
        }
        if counts.health == Health::Down && counts.open && counts.connecting == 0 && !counts.probe_armed {
            return Err(String::from("I9: the node is down and no probe is armed"));
        }
        if !counts.open && counts.idle + counts.granted + counts.waiting > 0 {
            return Err(format!("E1: a closed pool keeps idle connections or waiters: {counts:?}"));
        }
        self.compare_with_borrowers(&counts, shared)?;
        if let Some(ramp) = &self.ramp {
            ramp.judge(now, server)?;
        }
        self.count_dials(now, server)
    }

    /// Seen to bite: with a caller that leaves and stays in the queue (W3), with checks booked as leases (T1), with a queue
    /// without a bound (W7).
    fn compare_with_borrowers(&self, counts: &CheckerCounts, shared: &BorrowerLog) -> Result<(), String> {
        let waits = shared.waits.len();
        if counts.waiting + counts.granted > waits {
            return Err(format!("W3: {waits} callers wait, the state says {counts:?}"));
        }
        // After a close by force there are loans that the node's state counts no more.
        if counts.open && counts.leased != shared.held {
            return Err(format!("T1: borrowers hold {} connections, the state says {counts:?}", shared.held));
        }
        // Those whose grant was broken go back into a queue that has been filled up since.
        if counts.waiting > self.max_waiters + self.limit {
            return Err(format!("W7: {} wait, max_waiters is {}", counts.waiting, self.max_waiters));
        }
        Ok(())
    }

    /// Whenever nothing is ready to run.
    ///
    /// Seen to bite: with a hand-over that wakes nobody (W2), with a driver that is not woken (W6), with a queue that is
    /// served from its end (I6), with room that nobody dials for (I4), with a monitor that is not heard (H1), with a grant
    /// that outlives its deadline (W9), with a dead loan that is taken for a sign of life (H13).
    pub(super) fn at_rest(
        &self,
        now: Instant,
        counts: CheckerCounts,
        server: &FakeServer,
        shared: &BorrowerLog,
    ) -> Result<(), String> {
        let waits = || shared.waits.values();
        if let Some(late) = waits().find(|wait| wait.watched && wait.due < now) {
            return Err(format!("W6: a get() was due at {} and has not heard", late.due));
        }
        let overtaken = |wait: &&BorrowerWait| wait.watched && !wait.sent_back && wait.overtaken_by.is_some();
        if let Some(wait) = waits().find(overtaken) {
            return Err(format!("I6: somebody who came later was served first: {wait:?}"));
        }
        // Those who go on polling have collected what they were granted.
        let forgotten = waits().filter(|wait| !wait.watched && wait.due >= now).count();
        if counts.granted > forgotten {
            return Err(format!("W9: {} grants are kept for {forgotten} who may still collect them", counts.granted));
        }
        if !counts.open {
            return Ok(());
        }
        let has_room = counts.total() < self.limit && counts.connecting == 0;
        if counts.waiting > 0 && counts.health == Health::Up && has_room {
            return Err(format!("I4: somebody waits, there is room, and nothing is dialled: {counts:?}"));
        }
        if counts.waiting > 0 && counts.health == Health::Down && self.on_node_down == OnNodeDown::FailFast {
            return Err(format!("FailFast: {} wait for a node that is down", counts.waiting));
        }
        let has_life = counts.idle + counts.granted + counts.leased > counts.lost;
        if counts.lost > 0 && !has_life && counts.health == Health::Up {
            return Err(format!("H13: nothing but dead connections on loan, and the node is up: {counts:?}"));
        }
        let dead = server.known_dead();
        if dead > counts.leased + counts.checking + counts.closing {
            return Err(format!("H1: {dead} connections are known to be dead and kept: {counts:?}"));
        }
        if server.has_seen_a_sound_one_closed() {
            return Err(String::from("I7: a sound connection was closed as broken"));
        }
        Ok(())
    }

    fn count_dials(&mut self, now: Instant, server: &FakeServer) -> Result<(), String> {
        let dials = server.dial_count();
        if server.mode() != FakeMode::Refusing {
            self.refusing = None;
            self.pauses = Pauses { dials, ..Pauses::default() };
            return Ok(());
        }
        self.pauses.note(dials, server.last_dial())?;
        let (since, before) = *self.refusing.get_or_insert((now, dials));
        if now.saturating_duration_since(since) > WINDOW {
            self.refusing = Some((now, dials));
        }
        match dials - before {
            many if many > MOST_DIALS => Err(format!("H4: {many} dials within {WINDOW:?} of a node that refuses them")),
            _ => Ok(()),
        }
    }

    fn note(&mut self, now: Instant, counts: &CheckerCounts) {
        let CheckerCounts { idle, granted, leased, connecting, checking, closing, waiting, .. } = *counts;
        let words = [now.as_nanos() as usize, idle, granted, leased, connecting, checking, closing, waiting];
        for word in words {
            self.hash = (self.hash ^ word as u64).wrapping_mul(0x0000_0100_0000_01B3).rotate_left(5);
        }
    }
}
