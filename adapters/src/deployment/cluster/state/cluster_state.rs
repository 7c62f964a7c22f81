//! The state of a cluster: who owns which slot, which nodes live, and what is to be asked. No I/O, no clock, no lock.
//!
//! ```text
//!  handle(now, input)     one fact
//!  poll_output()          until there is none: what is to be done
//!  next_deadline()        when to handle a Tick
//!  owner, health, …       getters
//! ```
//!
//! Invariants, asserted after every input in debug builds:
//!
//!  Q1  a slot's owner is a known node, or none.
//!  Q2  after Tick(now), next_deadline() is later than now.
//!  Q3  at most one question of a kind is under way to a node.
//!  Q4  rounds of questions for the topology begin a second apart at least, once a topology is known.

mod getters;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use redis_manager_core::{Health, Instant};

use crate::deployment::cluster::error::ClusterError;
use crate::deployment::cluster::state::cluster_io::{ClusterInput, ClusterOutput};
use crate::deployment::cluster::state::liveness::Liveness;
use crate::deployment::cluster::state::report::TopologyReport;
use crate::deployment::cluster::state::report_round::{ReportRound, RoundProgress};
use crate::deployment::cluster::state::topology::{ClusterNodeId, KnownNode, Topology};
use crate::deployment::cluster_metrics::TopologyChange;
use crate::deployment::cluster_role::ClusterRole;
use crate::deployment::router::SLOTS;

/// Once a topology is known, it is asked for at most once in this time.
const BETWEEN_ROUNDS: Duration = Duration::from_secs(1);
/// The pause after a round that failed, while no topology is known.
const BEFORE_NEXT_TRY: Duration = Duration::from_millis(250);
/// How often the replicas of a primary that fails are asked whether one of them was promoted.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);
/// How long a primary with a replica that lives may fail before its slots count as lost: a failover takes the servers'
/// `cluster-node-timeout`, 15 s by default, and one or two seconds more.
const FOR_A_FAILOVER: Duration = Duration::from_secs(20);
/// How long a node that is no owner any more may take to answer earlier commands: it answers MOVED if it is alive.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// How the state is set up.
#[derive(Clone, Debug)]
pub(crate) struct ClusterSettings {
    pub(crate) startup: Vec<Arc<str>>,
    pub(crate) require_full_coverage: bool,
    /// Whether replicas are read from, and therefore checked.
    pub(crate) reads_replicas: bool,
    pub(crate) refresh_interval: Duration,
    pub(crate) check_interval: Duration,
}

pub(crate) struct ClusterState {
    settings: ClusterSettings,
    topology: Topology,
    is_known: bool,
    round: Option<ReportRound>,
    last_round_at: Option<Instant>,
    next_round_at: Instant,
    /// A round is wanted before `next_round_at`; the node has a newer topology than others.
    is_wanted: bool,
    wanted_from: Option<Arc<str>>,
    next_check_at: Instant,
    next_look_at: Instant,
    liveness: Liveness,
    /// The health at the last input, and when that was.
    health: Health,
    now: Instant,
    /// Former owners, and when their connections are cut.
    cuts: BTreeMap<ClusterNodeId, Instant>,
    last_error: Option<ClusterError>,
    /// Splits the intervals, so that a fleet does not ask at once: 0 to 1.
    jitter: f64,
    outputs: VecDeque<ClusterOutput>,
}

/// A node as the outside sees it.
#[derive(PartialEq)]
struct SeenNode {
    number: ClusterNodeId,
    role: ClusterRole,
    failed: bool,
    slots: usize,
    primary: Option<ClusterNodeId>,
}

impl ClusterState {
    pub(crate) fn new(settings: ClusterSettings, now: Instant) -> Self {
        Self {
            settings,
            topology: Topology::new(),
            is_known: false,
            round: None,
            last_round_at: None,
            next_round_at: now,
            is_wanted: false,
            wanted_from: None,
            next_check_at: now,
            next_look_at: now,
            liveness: Liveness::default(),
            health: Health::Down,
            now,
            cuts: BTreeMap::new(),
            last_error: None,
            jitter: 0.0,
            outputs: VecDeque::new(),
        }
    }

    /// Takes one fact. The outputs are polled afterwards.
    pub(crate) fn handle(&mut self, now: Instant, input: ClusterInput) {
        let may_change_owners =
            matches!(input, ClusterInput::Moved { .. } | ClusterInput::Reported { .. } | ClusterInput::Role { .. });
        match input {
            ClusterInput::Tick { jitter } => self.jitter = jitter,
            ClusterInput::Wanted => self.is_wanted = true,
            ClusterInput::Moved { slot, to } => self.moved(now, slot, &to),
            ClusterInput::Reported { from, report } => self.reported(now, &from, report),
            ClusterInput::Probed { node, alive } => {
                let is_known = self.topology.node(node).is_some();
                self.liveness.probed(node, alive || !is_known);
            }
            ClusterInput::Role { node, is_primary } => {
                self.liveness.role_told(node);
                if is_primary {
                    self.promoted(now, node);
                }
            }
            ClusterInput::Dials { failing } => self.liveness.dials(failing),
        }
        self.now = now;
        if self.liveness.note(now) {
            self.outputs.push_back(ClusterOutput::HealthChanged);
        }
        self.advance(now);
        let health = self.judge();
        if std::mem::replace(&mut self.health, health) != health {
            self.outputs.push_back(ClusterOutput::HealthChanged);
        }
        self.check(now, may_change_owners);
    }

    /// What is to be done next.
    pub(crate) fn poll_output(&mut self) -> Option<ClusterOutput> {
        self.outputs.pop_front()
    }

    /// When the state wants a `Tick`.
    pub(crate) fn next_deadline(&self) -> Instant {
        let round = match &self.round {
            Some(round) => round.next_deadline(),
            None => Some(self.round_due_at()),
        };
        let ailing = self.ailing();
        let look = (!ailing.is_empty()).then_some(self.next_look_at);
        let given_up = ailing.iter().filter_map(|node| self.liveness.ailing_since(*node)).map(|since| since + FOR_A_FAILOVER);
        let given_up = given_up.filter(|at| *at > self.now).min();
        let cut = self.cuts.values().min().copied();
        [round, Some(self.next_check_at), look, given_up, cut].into_iter().flatten().min().unwrap_or(self.next_check_at)
    }

    fn advance(&mut self, now: Instant) {
        // Before the round, which it may want.
        self.look_for_promotions(now);
        self.advance_round(now);
        if self.next_check_at <= now {
            self.next_check_at = now + self.spread(self.settings.check_interval);
            for node in self.checked() {
                if self.liveness.begin_probe(node) {
                    self.outputs.push_back(ClusterOutput::Probe(node));
                }
            }
        }
        let due: Vec<_> = self.cuts.iter().filter(|(_, at)| **at <= now).map(|(node, _)| *node).collect();
        for node in due {
            self.cuts.remove(&node);
            self.outputs.push_back(ClusterOutput::Cut(node));
        }
    }

    fn advance_round(&mut self, now: Instant) {
        if self.round.is_none() && self.round_due_at() <= now {
            let (up, others) = self.candidates(now);
            let round = ReportRound::new(now, self.wanted_from.take(), up, others, &self.settings.startup);
            self.is_wanted = false;
            self.last_round_at = Some(now);
            self.round = Some(round);
        }
        let Some(round) = &mut self.round else { return };
        while let Some(address) = round.poll_ask(now) {
            self.outputs.push_back(ClusterOutput::AskReport(address));
        }
        let progress = round.end_if_over(self.is_known);
        self.progress(now, progress);
    }

    /// The nodes that live, in an order that differs from round to round, and the others.
    fn candidates(&self, now: Instant) -> (Vec<Arc<str>>, Vec<Arc<str>>) {
        let is_well = |node: &ClusterNodeId| !self.is_ailing(*node) && self.topology.node(*node).is_some_and(|node| !node.failed);
        let all = self.topology.nodes().into_iter().map(|(node, _)| node);
        let (mut well, others): (Vec<_>, Vec<_>) = all.partition(is_well);
        if !well.is_empty() {
            let turn = (now.as_nanos() / 1_000) as usize % well.len();
            well.rotate_left(turn);
        }
        let address = |node: ClusterNodeId| self.topology.node(node).map(|node| Arc::clone(&node.address));
        let addresses = |nodes: Vec<ClusterNodeId>| nodes.into_iter().filter_map(address).collect();
        (addresses(well), addresses(others))
    }

    fn round_due_at(&self) -> Instant {
        match self.last_round_at {
            Some(last) if self.is_wanted && self.is_known => self.next_round_at.min(last + BETWEEN_ROUNDS),
            Some(_) | None => self.next_round_at,
        }
    }

    fn reported(&mut self, now: Instant, from: &str, report: Result<TopologyReport, ClusterError>) {
        let Some(round) = &mut self.round else { return };
        let progress = round.answered(from, report, self.is_known);
        self.progress(now, progress);
    }

    fn progress(&mut self, now: Instant, progress: RoundProgress) {
        let report = match progress {
            RoundProgress::GoesOn => return,
            RoundProgress::Failed(error) => {
                self.round = None;
                let pause = if self.is_known { BETWEEN_ROUNDS } else { BEFORE_NEXT_TRY };
                self.next_round_at = now + pause;
                self.last_error = Some(error);
                self.outputs.push_back(ClusterOutput::RoundEnded);
                return;
            }
            RoundProgress::Done(report) => report,
        };
        let asked_at = self.round.take().map_or(now, |round| round.begun_at);
        self.next_round_at = now + self.spread(self.settings.refresh_interval);
        self.last_error = None;
        let before = self.picture();
        let (owners, primaries) = (self.topology.owners().to_vec(), self.topology.primaries());
        let replicas: Vec<_> = primaries.iter().map(|primary| (*primary, self.topology.replicas_of(*primary).to_vec())).collect();
        let liveness = &self.liveness;
        self.topology.merge(report, asked_at, |node| liveness.is_ailing(node));
        // The node that has answered may be behind.
        self.is_wanted |= self.topology.has_moves();
        let is_first = !std::mem::replace(&mut self.is_known, true);
        for (slot, (old, new)) in (0..).zip(owners.iter().zip(self.topology.owners())) {
            if old != new {
                self.outputs.push_back(ClusterOutput::Owner { slot, node: *new });
            }
        }
        let owns = |node: &ClusterNodeId| self.topology.node(*node).is_some_and(|node| node.slots > 0);
        let is_replaced =
            |(primary, replicas): &&(ClusterNodeId, Vec<ClusterNodeId>)| !owns(primary) && replicas.iter().any(owns);
        let failovers = replicas.iter().filter(is_replaced).count();
        if before != self.picture() {
            self.outputs.push_back(ClusterOutput::Changed { cause: TopologyChange::Reported, failovers });
            let gone: Vec<_> = before.iter().map(|seen| seen.number).filter(|node| self.topology.node(*node).is_none()).collect();
            gone.into_iter().for_each(|node| self.forget(node));
        }
        primaries.iter().for_each(|node| self.cut_if_deserted(now, *node));
        if is_first {
            // Its nodes are asked for a sign of life from the start.
            self.next_check_at = now;
        }
        self.outputs.push_back(ClusterOutput::RoundEnded);
    }

    /// What the outside sees of the topology.
    fn picture(&self) -> Vec<SeenNode> {
        let seen = |(number, node): (ClusterNodeId, &KnownNode)| SeenNode {
            number,
            role: node.role,
            failed: node.failed,
            slots: node.slots,
            primary: self.topology.primary_of(node),
        };
        self.topology.nodes().into_iter().map(seen).collect()
    }

    fn forget(&mut self, node: ClusterNodeId) {
        self.liveness.forget(node);
        self.cuts.remove(&node);
        self.outputs.push_back(ClusterOutput::Forget(node));
    }

    /// A node has redirected a slot to another node: it is believed at once.
    fn moved(&mut self, now: Instant, slot: u16, to: &str) {
        self.is_wanted = true;
        if slot >= SLOTS {
            return;
        }
        let before = self.topology.owner(slot);
        if self.topology.move_slot(slot, to, now) {
            self.outputs.push_back(ClusterOutput::Owner { slot, node: self.topology.owner(slot) });
            self.outputs.push_back(ClusterOutput::Changed { cause: TopologyChange::Moved, failovers: 0 });
            self.cut_if_deserted(now, before);
        }
    }

    /// A replica says that it is a primary: if its own primary fails, it has taken that one's place.
    fn promoted(&mut self, now: Instant, replica: ClusterNodeId) {
        let Some(node) = self.topology.node(replica) else { return };
        let Some(primary) = self.topology.primary_of(node).filter(|primary| self.is_ailing(*primary)) else { return };
        self.is_wanted = true;
        self.wanted_from = Some(Arc::clone(&node.address));
        if self.topology.promote(replica, primary, now) {
            for slot in (0..SLOTS).filter(|slot| self.topology.owner(*slot) == replica) {
                self.outputs.push_back(ClusterOutput::Owner { slot, node: replica });
            }
            self.outputs.push_back(ClusterOutput::Changed { cause: TopologyChange::Promoted, failovers: 1 });
            self.cut_if_deserted(now, primary);
        }
    }

    /// A node that owned slots, and is neither an owner nor a replica now, gets no commands any more, and answers the earlier
    /// ones soon or never.
    fn cut_if_deserted(&mut self, now: Instant, node: ClusterNodeId) {
        if self.topology.node(node).is_some() && !self.is_part(node) {
            self.cuts.entry(node).or_insert(now + LAST_WORDS);
        } else {
            self.cuts.remove(&node);
        }
    }

    fn look_for_promotions(&mut self, now: Instant) {
        if self.next_look_at > now {
            return;
        }
        let ailing = self.ailing();
        if ailing.is_empty() {
            return;
        }
        self.next_look_at = now + BETWEEN_LOOKS;
        for primary in ailing {
            let replicas = self.topology.replicas_of(primary).to_vec();
            // Without a replica to ask, another node may know. With one, the question is saved for the moment of the promotion.
            self.is_wanted |= replicas.is_empty();
            for replica in replicas {
                if self.liveness.begin_role(replica) {
                    self.outputs.push_back(ClusterOutput::AskRole(replica));
                }
            }
        }
    }

    /// The nodes that are asked for signs of life.
    fn checked(&self) -> Vec<ClusterNodeId> {
        let is_checked = |number: &ClusterNodeId| {
            let node = self.topology.node(*number);
            node.is_some_and(|node| node.slots > 0 || (self.settings.reads_replicas && node.role == ClusterRole::Replica))
        };
        self.topology.nodes().into_iter().map(|(number, _)| number).filter(is_checked).collect()
    }

    fn spread(&self, interval: Duration) -> Duration {
        // All sums saturate: an interval may be `Duration::MAX`.
        interval.saturating_add((interval / 4).mul_f64(self.jitter))
    }

    /// The slots are looked through only when they may have changed: a debug build would do little else.
    fn check(&self, now: Instant, may_change_owners: bool) {
        if cfg!(debug_assertions) {
            if may_change_owners {
                let mut owners = self.topology.owners().to_vec();
                owners.dedup();
                let all_known = owners.iter().all(|owner| *owner == ClusterNodeId::NONE || self.topology.node(*owner).is_some());
                assert!(all_known, "Q1: a slot of a node that is not known");
            }
            assert!(self.next_deadline() > now, "Q2: something is due and was not done");
        }
    }
}

#[cfg(test)]
mod tests;
