//! The topics that are wanted or are at the server, and the calls that wait for them.

use std::collections::{BTreeMap, BTreeSet};

use super::subscriber_io::{CallNumber, CallOutcome, LinkPlace};
use crate::subscriber::topic::{Topic, TopicKind, TopicVerb};

/// What the server has of a topic.
///
/// ```text
///  Absent --- SUBSCRIBE is sent ---> Subscribing --- confirmed ---> Present
///    |  '------ refused, lost ----------'                              |
///    '--- confirmed --- Unsubscribing <--- UNSUBSCRIBE is sent --------'
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServerSide {
    Absent,
    Subscribing,
    Present,
    Unsubscribing,
}

#[derive(Debug)]
pub(super) struct TopicEntry {
    pub(super) is_wanted: bool,
    pub(super) server: ServerSide,
    /// The connection at which the server has it, or is to have it; `None` while its slot has no owner.
    pub(super) place: Option<LinkPlace>,
    /// Its end is on its way only because it belongs elsewhere.
    pub(super) is_moving: bool,
    /// It was confirmed once: messages are missed while it is not there.
    pub(super) is_established: bool,
    /// The calls that wait, and for what.
    waiting: Vec<(CallNumber, TopicVerb)>,
}

#[derive(Debug, Default)]
struct OpenCall {
    left: BTreeSet<Topic>,
    outcome: CallOutcome,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct TopicTable {
    topics: BTreeMap<Topic, TopicEntry>,
    calls: BTreeMap<CallNumber, OpenCall>,
    ended: Vec<(CallNumber, CallOutcome)>,
}

impl TopicTable {
    pub(super) fn get(&mut self, topic: &Topic) -> Option<&mut TopicEntry> {
        self.topics.get_mut(topic)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Topic, &TopicEntry)> {
        self.topics.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.topics.len()
    }

    pub(super) fn wanted_of(&self, kind: TopicKind) -> Vec<Topic> {
        let wanted = self.topics.iter().filter(|(topic, entry)| topic.kind == kind && entry.is_wanted);
        wanted.map(|(topic, _)| topic.clone()).collect()
    }

    /// A call begins that wants this of these topics. The result is which of them are to be looked at.
    pub(super) fn begin(&mut self, number: CallNumber, verb: TopicVerb, topics: BTreeSet<Topic>) -> Vec<Topic> {
        let mut changed = Vec::new();
        let mut call = OpenCall::default();
        for topic in topics {
            let entry = match verb {
                TopicVerb::Subscribe => self.topics.entry(topic.clone()).or_insert(TopicEntry {
                    is_wanted: true,
                    server: ServerSide::Absent,
                    place: None,
                    is_moving: false,
                    is_established: false,
                    waiting: Vec::new(),
                }),
                // There is nothing to be ended.
                TopicVerb::Unsubscribe => match self.topics.get_mut(&topic) {
                    Some(entry) => entry,
                    None => continue,
                },
            };
            entry.is_wanted = verb == TopicVerb::Subscribe;
            if verb == TopicVerb::Subscribe && entry.server == ServerSide::Present {
                continue;
            }
            entry.waiting.push((number, verb));
            call.left.insert(topic.clone());
            changed.push(topic);
        }
        if call.left.is_empty() {
            self.ended.push((number, call.outcome));
        } else {
            self.calls.insert(number, call);
        }
        changed
    }

    /// The caller has left. The result is the topics that no call wants any more and that were never there.
    pub(super) fn leave(&mut self, number: CallNumber) -> Vec<Topic> {
        let Some(call) = self.calls.remove(&number) else { return Vec::new() };
        let mut unwanted = Vec::new();
        for topic in call.left {
            let Some(entry) = self.topics.get_mut(&topic) else { continue };
            let left = entry.waiting.contains(&(number, TopicVerb::Subscribe));
            entry.waiting.retain(|(waiting, _)| *waiting != number);
            let is_awaited = entry.waiting.iter().any(|(_, verb)| *verb == TopicVerb::Subscribe);
            if left && entry.is_wanted && !entry.is_established && !is_awaited {
                entry.is_wanted = false;
                unwanted.push(topic);
            }
        }
        unwanted
    }

    /// The calls that wait for this of a topic have got it.
    pub(super) fn satisfy(&mut self, topic: &Topic, verb: TopicVerb) {
        self.answer(topic, |waiting| waiting == verb, |_| ());
    }

    /// The calls that wait for this of a topic do not get it: the server has refused it.
    pub(super) fn refuse(&mut self, topic: &Topic, verb: TopicVerb, words: &str) {
        self.answer(topic, |waiting| waiting == verb, |outcome| outcome.refused.push((topic.clone(), words.to_owned())));
    }

    /// The calls that wait for this of a topic do not get it: a later call wants the opposite.
    pub(super) fn withdraw(&mut self, topic: &Topic, verb: TopicVerb) {
        self.answer(topic, |waiting| waiting == verb, |outcome| outcome.is_withdrawn = true);
    }

    /// The topic is neither wanted nor there.
    pub(super) fn remove(&mut self, topic: &Topic) {
        self.satisfy(topic, TopicVerb::Unsubscribe);
        self.withdraw(topic, TopicVerb::Subscribe);
        self.topics.remove(topic);
    }

    fn answer(&mut self, topic: &Topic, which: impl Fn(TopicVerb) -> bool, note: impl Fn(&mut CallOutcome)) {
        let Some(entry) = self.topics.get_mut(topic) else { return };
        if entry.waiting.is_empty() {
            return;
        }
        let (answered, waiting) = std::mem::take(&mut entry.waiting).into_iter().partition(|(_, verb)| which(*verb));
        entry.waiting = waiting;
        let answered: Vec<(CallNumber, TopicVerb)> = answered;
        for (number, _) in answered {
            let Some(call) = self.calls.get_mut(&number) else { continue };
            note(&mut call.outcome);
            call.left.remove(topic);
            if call.left.is_empty()
                && let Some(call) = self.calls.remove(&number)
            {
                self.ended.push((number, call.outcome));
            }
        }
    }

    /// Calls that have ended since this was asked last.
    pub(super) fn take_ended(&mut self) -> Vec<(CallNumber, CallOutcome)> {
        std::mem::take(&mut self.ended)
    }

    /// Whether each call waits for something, and each topic for calls that there are.
    pub(super) fn is_consistent(&self) -> bool {
        let calls = self.calls.iter().all(|(number, call)| {
            let waits = |topic| self.topics.get(topic).is_some_and(|entry| entry.waiting.iter().any(|(one, _)| one == number));
            !call.left.is_empty() && call.left.iter().all(waits)
        });
        calls && self.topics.values().flat_map(|entry| &entry.waiting).all(|(number, _)| self.calls.contains_key(number))
    }
}
