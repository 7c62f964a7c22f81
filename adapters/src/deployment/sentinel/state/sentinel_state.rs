//! The state of a sentinel deployment: which sentinels there are, what each said last, and who the primary is.
//!
//! ```text
//!  NotAsked -- a majority names it, or a round has ended --> Known(place, epoch) -- a later epoch, or a majority --> Known(…)
//!  Known stays as it is while no sentinel answers.
//! ```

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use redis_manager_core::Instant;

use crate::deployment::host_port::HostPort;
use crate::deployment::sentinel::state::answer::{ReportedReplica, SentinelAnswer, SentinelFault};
use crate::deployment::sentinel::state::election::{Beliefs, Candidate, elect};
use crate::deployment::sentinel::state::sentinel_io::{SentinelInput, SentinelOutput};

/// Rounds that are asked for because dials fail begin no closer than this after one another.
const BETWEEN_ROUNDS: Duration = Duration::from_millis(100);
/// How long a server that says that it is no primary is believed last.
const REFUTED_FOR: Duration = Duration::from_secs(1);
/// Sentinels beside the given ones, at most.
const MOST_DISCOVERED: usize = 64;

/// What the state is made with.
#[derive(Clone, Debug)]
pub(crate) struct SentinelSettings {
    /// At least one; never dropped.
    pub(crate) given: Vec<HostPort>,
    pub(crate) poll_interval: Duration,
}

/// One sentinel.
#[derive(Clone, Debug)]
pub(crate) struct KnownSentinel {
    pub(crate) place: HostPort,
    is_given: bool,
    id: Option<Arc<str>>,
    /// What it said last; none if it has not answered when it was asked last.
    pub(crate) said: Option<SentinelAnswer>,
    /// Why it has not answered.
    pub(crate) fault: Option<SentinelFault>,
    asking: AskPhase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AskPhase {
    No,
    Yes,
    /// It is asked once more when it has answered.
    Again,
}

/// The state of a sentinel deployment.
pub(crate) struct SentinelState {
    settings: SentinelSettings,
    /// In the order in which they are asked: the one that answered last comes first.
    sentinels: Vec<KnownSentinel>,
    primary: Option<(HostPort, u64)>,
    refuted: Option<(HostPort, Instant)>,
    /// A former primary that has named the present one, and the epoch until which sentinels that name it are behind.
    disowned: Option<(HostPort, u64)>,
    /// While a round is going on.
    is_asking: bool,
    round_begun_at: Option<Instant>,
    next_round_at: Instant,
    outputs: std::collections::VecDeque<SentinelOutput>,
}

/// Inputs.
impl SentinelState {
    /// The first round is due at once.
    pub(crate) fn new(settings: SentinelSettings, now: Instant) -> Self {
        let mut state = Self {
            sentinels: Vec::new(),
            primary: None,
            refuted: None,
            disowned: None,
            is_asking: false,
            round_begun_at: None,
            next_round_at: now,
            outputs: std::collections::VecDeque::new(),
            settings,
        };
        for place in state.settings.given.clone() {
            state.add(place, None, true);
        }
        state
    }

    /// Takes one fact in.
    pub(crate) fn handle(&mut self, now: Instant, input: SentinelInput) {
        match input {
            SentinelInput::Tick => {}
            SentinelInput::Wanted => self.want(now),
            SentinelInput::Hinted { from } => self.ask_one(&from),
            SentinelInput::Redirected { from, to } => self.on_redirected(now, &from, to),
            SentinelInput::Refuted { place } => {
                if self.primary() == Some(&place) {
                    self.disowned = None;
                }
                self.refuted = Some((place, now + REFUTED_FOR));
                self.decide(now);
                self.want(now);
            }
            SentinelInput::Answered { from, answer } => self.on_answered(now, &from, answer),
        }
        if self.next_round_at <= now {
            self.begin_round(now);
        }
    }

    /// A server that no sentinel has named is not followed to.
    fn on_redirected(&mut self, now: Instant, from: &HostPort, to: HostPort) {
        let answers = || self.sentinels.iter().filter_map(|sentinel| sentinel.said.as_ref());
        let names_it = |answer: &SentinelAnswer| answer.primary.as_ref() == Some(&to) || answer.has_replica(&to);
        let is_known = answers().any(names_it) || self.settings.given.contains(&to);
        if let Some((primary, epoch)) = self.primary.as_mut().filter(|(primary, _)| primary == from && *primary != to)
            && is_known
        {
            self.disowned = Some((from.clone(), *epoch));
            let before = Some(std::mem::replace(primary, to.clone()));
            self.outputs.push_back(SentinelOutput::Publish { place: to, before });
        }
        self.want(now);
    }

    fn want(&mut self, now: Instant) {
        let soonest = self.round_begun_at.map_or(now, |begun_at| begun_at + BETWEEN_ROUNDS);
        self.next_round_at = self.next_round_at.min(soonest.max(now));
    }

    fn begin_round(&mut self, now: Instant) {
        self.round_begun_at = Some(now);
        self.next_round_at = now + self.settings.poll_interval;
        self.is_asking = true;
        for sentinel in &mut self.sentinels {
            if sentinel.asking == AskPhase::No {
                sentinel.asking = AskPhase::Yes;
                self.outputs.push_back(SentinelOutput::Ask(sentinel.place.clone()));
            }
        }
    }

    fn ask_one(&mut self, place: &HostPort) {
        let Some(sentinel) = self.sentinels.iter_mut().find(|sentinel| sentinel.place == *place) else { return };
        match sentinel.asking {
            AskPhase::No => {
                sentinel.asking = AskPhase::Yes;
                self.is_asking = true;
                self.outputs.push_back(SentinelOutput::Ask(place.clone()));
            }
            // What it answers may be older than the hint.
            AskPhase::Yes | AskPhase::Again => sentinel.asking = AskPhase::Again,
        }
    }

    fn on_answered(&mut self, now: Instant, from: &HostPort, answer: Result<SentinelAnswer, SentinelFault>) {
        let Some(at) = self.sentinels.iter().position(|sentinel| sentinel.place == *from) else { return };
        let asked_again = self.sentinels[at].asking == AskPhase::Again;
        self.sentinels[at].asking = AskPhase::No;
        match answer {
            Ok(answer) => self.note_answer(at, answer),
            Err(fault) => self.note_fault(at, fault),
        }
        if asked_again {
            self.ask_one(from);
        }
        self.decide(now);
        if self.is_asking && self.sentinels.iter().all(|sentinel| sentinel.asking == AskPhase::No) {
            self.is_asking = false;
            self.decide(now);
            self.outputs.push_back(SentinelOutput::RoundEnded);
        }
    }

    fn note_answer(&mut self, at: usize, answer: SentinelAnswer) {
        let mut sentinel = self.sentinels.remove(at);
        sentinel.id = answer.id.clone().or(sentinel.id);
        if let Some(id) = &sentinel.id {
            // The same one under the address by which others know it.
            self.drop_where(|other| !other.is_given && other.id.as_ref() == Some(id));
        }
        let told = answer.sentinels.clone();
        sentinel.fault = None;
        sentinel.said = Some(answer);
        self.sentinels.insert(0, sentinel);
        for (place, id) in told {
            self.discover(place, id);
        }
    }

    fn note_fault(&mut self, at: usize, fault: SentinelFault) {
        let sentinel = &mut self.sentinels[at];
        sentinel.fault = Some(fault);
        sentinel.said = None;
        let (place, is_given) = (sentinel.place.clone(), sentinel.is_given);
        let names_it = |answer: &SentinelAnswer| answer.sentinels.iter().any(|(other, _)| *other == place);
        let is_named = self.sentinels.iter().filter_map(|sentinel| sentinel.said.as_ref()).any(names_it);
        if !is_given && !is_named {
            self.drop_where(|other| other.place == place);
        }
    }

    fn drop_where(&mut self, is_dropped: impl Fn(&KnownSentinel) -> bool) {
        let outputs = &mut self.outputs;
        self.sentinels.retain(|sentinel| {
            let stays = !is_dropped(sentinel);
            if !stays {
                outputs.push_back(SentinelOutput::Forget(sentinel.place.clone()));
            }
            stays
        });
    }

    fn discover(&mut self, place: HostPort, id: Option<Arc<str>>) {
        let is_known = |sentinel: &KnownSentinel| sentinel.place == place || (id.is_some() && sentinel.id == id);
        let is_full = self.sentinels.len() >= self.settings.given.len() + MOST_DISCOVERED;
        if !is_full && !self.sentinels.iter().any(is_known) {
            self.add(place.clone(), id, false);
            self.ask_one(&place);
        }
    }

    fn add(&mut self, place: HostPort, id: Option<Arc<str>>, is_given: bool) {
        self.outputs.push_back(SentinelOutput::Listen(place.clone()));
        self.sentinels.push(KnownSentinel { place, is_given, id, said: None, fault: None, asking: AskPhase::No });
    }

    fn decide(&mut self, now: Instant) {
        self.refuted.take_if(|(_, until)| *until <= now);
        let current = self.primary.as_ref().map(|(place, _)| place);
        let beliefs = Beliefs { current, refuted: self.refuted.as_ref().map(|(place, _)| place) };
        let answers = self.sentinels.iter().filter_map(|sentinel| sentinel.said.as_ref());
        let answers: Vec<_> = answers.map(|answer| self.corrected(answer)).collect();
        let elected = elect(answers.iter().map(|answer| &**answer), beliefs);
        drop(answers);
        let Some(elected) = elected else { return };
        if !self.is_convincing(&elected) {
            return;
        }
        let before = self.primary.replace((elected.place.clone(), elected.epoch)).map(|(place, _)| place);
        if before.as_ref() != Some(&elected.place) {
            self.disowned = None;
            self.outputs.push_back(SentinelOutput::Publish { place: elected.place, before });
        }
    }

    /// A sentinel that is behind, and names a server that is the primary no more by its own word, has a vote for its successor:
    /// without it one that lies would outvote the others.
    fn corrected<'a>(&self, answer: &'a SentinelAnswer) -> Cow<'a, SentinelAnswer> {
        let is_behind = |(place, epoch): &(HostPort, u64)| answer.primary.as_ref() == Some(place) && answer.epoch <= *epoch;
        if !self.disowned.as_ref().is_some_and(is_behind) {
            return Cow::Borrowed(answer);
        }
        Cow::Owned(SentinelAnswer { primary: self.primary().cloned(), ..answer.clone() })
    }

    /// The first one must be told by most sentinels, or the round must have ended: others may know better. One of a former
    /// epoch must be told by most of them: they were set up anew.
    fn is_convincing(&self, elected: &Candidate) -> bool {
        let has_most = elected.votes * 2 > self.sentinels.len();
        match &self.primary {
            None => has_most || !self.is_asking,
            Some((_, epoch)) => has_most || elected.epoch >= *epoch,
        }
    }
}

/// Outputs and getters.
impl SentinelState {
    pub(crate) fn poll_output(&mut self) -> Option<SentinelOutput> {
        self.outputs.pop_front()
    }

    /// When the next `Tick` is due.
    pub(crate) fn next_deadline(&self) -> Instant {
        self.next_round_at
    }

    pub(crate) fn primary(&self) -> Option<&HostPort> {
        self.primary.as_ref().map(|(place, _)| place)
    }

    /// All of them, the one that answered last first.
    pub(crate) fn sentinels(&self) -> &[KnownSentinel] {
        &self.sentinels
    }

    /// The replicas of the primary, by the sentinel of the most recent epoch.
    pub(crate) fn replicas(&self) -> Vec<ReportedReplica> {
        let said = self.sentinels.iter().filter_map(|sentinel| sentinel.said.as_ref()).map(|answer| self.corrected(answer));
        let of_primary: Vec<_> = said.filter(|answer| answer.primary.as_ref() == self.primary()).collect();
        // Of several, the one that answered last.
        let Some(best) = of_primary.iter().rev().max_by_key(|answer| answer.epoch) else { return Vec::new() };
        let mut replicas: Vec<_> =
            best.replicas.iter().filter(|replica| Some(&replica.place) != self.primary()).cloned().collect();
        if let Some((former, _)) = self.disowned.as_ref().filter(|(former, _)| !best.has_replica(former)) {
            replicas.push(ReportedReplica { place: former.clone(), is_down: false });
        }
        replicas
    }
}

#[cfg(test)]
mod seeds;
#[cfg(test)]
mod tests;
