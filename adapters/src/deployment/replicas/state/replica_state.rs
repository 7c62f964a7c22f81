//! The state of the replicas of a primary: what each server said last, and which of them may be read from.
//!
//! ```text
//!  a round: the primary is asked --> its answer, or its failure --> all replicas are asked --> their answers
//! ```
//!
//! So a lag is never overstated: it is what a replica lacks of what the primary had just before.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use redis_manager_core::Instant;

use crate::deployment::host_port::HostPort;
use crate::deployment::replicas::state::replica_io::{ReplicaInput, ReplicaOutput};
use crate::deployment::replicas::state::server_report::{ServerReport, Unfitness};

/// How long a replica that refused a read is not read from.
const REFUSED_FOR: Duration = Duration::from_secs(1);

/// One server.
#[derive(Clone, Debug)]
struct KnownServer {
    place: HostPort,
    /// What it said last; it stays while it does not answer.
    report: Option<ServerReport>,
    /// Why it has not answered when it was asked last.
    fault: Option<String>,
    is_asked: bool,
    refused_until: Instant,
}

impl KnownServer {
    fn new(place: HostPort) -> Self {
        Self { place, report: None, fault: None, is_asked: false, refused_until: Instant::ZERO }
    }
}

/// A replica that may be read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FitReplica {
    pub(crate) place: HostPort,
    pub(crate) zone: Option<Arc<str>>,
}

/// Where reads may go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReadPlaces {
    pub(crate) replicas: Vec<FitReplica>,
    /// The zone of the primary.
    pub(crate) zone: Option<Arc<str>>,
    /// Whether the primary has answered when it was asked last.
    pub(crate) primary_answers: bool,
}

impl ReadPlaces {
    pub(crate) fn has(&self, place: &HostPort) -> bool {
        self.replicas.iter().any(|replica| replica.place == *place)
    }
}

/// The state of the replicas of a primary.
pub(crate) struct ReplicaState {
    max_lag: u64,
    check_interval: Duration,
    primary: Option<KnownServer>,
    replicas: Vec<KnownServer>,
    /// Replicas are asked when the primary has answered.
    replicas_are_due: bool,
    next_round_at: Instant,
    places: ReadPlaces,
    outputs: VecDeque<ReplicaOutput>,
}

/// Inputs.
impl ReplicaState {
    /// The first round is due at once.
    pub(crate) fn new(max_lag: u64, check_interval: Duration, now: Instant) -> Self {
        Self {
            max_lag,
            check_interval,
            primary: None,
            replicas: Vec::new(),
            replicas_are_due: false,
            next_round_at: now,
            places: ReadPlaces::default(),
            outputs: VecDeque::new(),
        }
    }

    /// Takes one fact in.
    pub(crate) fn handle(&mut self, now: Instant, input: ReplicaInput) {
        match input {
            ReplicaInput::Servers { primary, replicas } => self.take_servers(now, primary, replicas),
            ReplicaInput::Doubted { place } => self.ask_where(|server| server.place == place),
            ReplicaInput::Refused { place } => {
                for replica in self.replicas.iter_mut().filter(|replica| replica.place == place) {
                    replica.refused_until = now + REFUSED_FOR;
                }
                self.ask_where(|server| server.place == place);
            }
            ReplicaInput::Answered { from, answer } => self.on_answered(&from, answer),
        }
        if self.next_round_at <= now {
            self.begin_round(now);
        }
        self.publish(now);
    }

    fn take_servers(&mut self, now: Instant, primary: Option<HostPort>, replicas: Vec<HostPort>) {
        let mut known: Vec<KnownServer> = std::mem::take(&mut self.replicas);
        let old_primary = self.primary.take();
        let was = old_primary.as_ref().map(|server| server.place.clone());
        let mut take = |place: &HostPort| {
            let found = known.iter().position(|server| server.place == *place).map(|at| known.swap_remove(at));
            let before = old_primary.as_ref().filter(|server| server.place == *place).cloned();
            found.or(before)
        };
        let mut has_new = was != primary;
        self.primary = primary.map(|place| take(&place).unwrap_or_else(|| KnownServer::new(place)));
        for place in replicas {
            let is_primary = self.primary.as_ref().is_some_and(|primary| primary.place == place);
            if is_primary || self.replicas.iter().any(|replica| replica.place == place) {
                continue;
            }
            let server = take(&place);
            has_new |= server.is_none();
            self.replicas.push(server.unwrap_or_else(|| KnownServer::new(place)));
        }
        self.outputs.extend(known.into_iter().map(|server| ReplicaOutput::Left(server.place)));
        // The one that was promoted is a replica no more.
        if was != self.primary.as_ref().map(|server| server.place.clone()) {
            self.outputs.extend(self.primary.as_ref().map(|server| ReplicaOutput::Left(server.place.clone())));
        }
        if has_new {
            self.next_round_at = now;
        }
    }

    fn begin_round(&mut self, now: Instant) {
        self.next_round_at = now + self.check_interval;
        self.replicas_are_due = true;
        match &self.primary {
            Some(primary) => {
                let place = primary.place.clone();
                self.ask_where(|server| server.place == place);
            }
            None => self.ask_replicas(),
        }
    }

    fn ask_replicas(&mut self) {
        if std::mem::take(&mut self.replicas_are_due) {
            let primary = self.primary.as_ref().map(|primary| primary.place.clone());
            self.ask_where(|server| Some(&server.place) != primary.as_ref());
        }
    }

    fn ask_where(&mut self, is_meant: impl Fn(&KnownServer) -> bool) {
        for server in self.primary.iter_mut().chain(&mut self.replicas).filter(|server| !server.is_asked && is_meant(server)) {
            server.is_asked = true;
            self.outputs.push_back(ReplicaOutput::Ask(server.place.clone()));
        }
    }

    fn on_answered(&mut self, from: &HostPort, answer: Result<ServerReport, String>) {
        let is_primary = self.primary.as_ref().is_some_and(|primary| primary.place == *from);
        let mut servers = self.primary.iter_mut().chain(&mut self.replicas);
        let Some(server) = servers.find(|server| server.place == *from) else { return };
        server.is_asked = false;
        match answer {
            Ok(report) => {
                server.report = Some(report);
                server.fault = None;
            }
            Err(words) => server.fault = Some(words),
        }
        if is_primary {
            self.ask_replicas();
        }
    }

    fn publish(&mut self, now: Instant) {
        let fit = self.replicas.iter().filter(|replica| self.fitness(replica, now).is_ok());
        let zone = |server: &KnownServer| server.report.as_ref().and_then(|report| report.zone.clone());
        let places = ReadPlaces {
            replicas: fit.map(|replica| FitReplica { place: replica.place.clone(), zone: zone(replica) }).collect(),
            zone: self.primary.as_ref().and_then(zone),
            primary_answers: self.primary_answers(),
        };
        if places != self.places {
            self.places = places;
            self.outputs.push_back(ReplicaOutput::Changed);
        }
    }

    fn primary_answers(&self) -> bool {
        self.primary.as_ref().is_some_and(|primary| primary.report.is_some() && primary.fault.is_none())
    }

    fn fitness(&self, replica: &KnownServer, now: Instant) -> Result<u64, Unfitness> {
        if let Some(words) = &replica.fault {
            return Err(Unfitness::NoAnswer(words.clone()));
        }
        if now < replica.refused_until {
            return Err(Unfitness::Refuses);
        }
        let report = replica.report.as_ref().ok_or(Unfitness::NotAsked)?;
        let primary = self.primary.as_ref().and_then(|primary| primary.report.as_ref());
        report.fitness(primary, self.primary_answers(), self.max_lag)
    }
}

/// Outputs and getters.
impl ReplicaState {
    pub(crate) fn poll_output(&mut self) -> Option<ReplicaOutput> {
        self.outputs.pop_front()
    }

    /// When something is due by time alone.
    pub(crate) fn next_deadline(&self, now: Instant) -> Instant {
        let pauses = self.replicas.iter().map(|replica| replica.refused_until).filter(|until| *until > now);
        pauses.fold(self.next_round_at, Instant::min)
    }

    pub(crate) fn places(&self) -> &ReadPlaces {
        &self.places
    }

    pub(crate) fn primary(&self) -> Option<&HostPort> {
        self.primary.as_ref().map(|primary| &primary.place)
    }

    /// Each replica: how many bytes it lacks, or why it is not read from.
    pub(crate) fn verdicts(&self, now: Instant) -> Vec<(HostPort, Result<u64, Unfitness>)> {
        self.replicas.iter().map(|replica| (replica.place.clone(), self.fitness(replica, now))).collect()
    }
}

#[cfg(test)]
mod tests;
