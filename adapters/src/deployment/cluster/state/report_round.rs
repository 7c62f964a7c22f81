//! One round of questions for the topology: which nodes are asked, in which order, and which answer is believed.
//!
//! ```text
//!  begin: 3 nodes are asked (1 if it is known to have a newer topology than others)
//!  after each 100 ms, and in place of each that fails: one more
//!  the first report with owners of slots ends the round; so does the last failure
//! ```

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use redis_manager_core::Instant;

use crate::deployment::cluster::error::ClusterError;
use crate::deployment::cluster::state::report::TopologyReport;

/// Nodes that are asked at the same time. After each pause one more is asked: the first ones may be silent.
const ASKED_AT_ONCE: usize = 3;
const BETWEEN_CANDIDATES: Duration = Duration::from_millis(100);

pub(crate) struct ReportRound {
    pub(crate) begun_at: Instant,
    waiting: VecDeque<Arc<str>>,
    asked: BTreeSet<Arc<str>>,
    /// How many may be asked at the same time.
    wanted: usize,
    next_at: Instant,
    failure: Option<ClusterError>,
    /// A report without owners: believed only if no node gives a better one, and nothing is known.
    poor: Option<TopologyReport>,
}

/// What an answer makes of the round.
#[derive(Debug)]
pub(crate) enum RoundProgress {
    GoesOn,
    Done(TopologyReport),
    Failed(ClusterError),
}

impl ReportRound {
    /// `first` has a newer topology than the others. Those that are `up` are asked before those that are not; startup nodes are
    /// asked in turn with the latter, so that many that are gone do not delay the one that is left.
    pub(crate) fn new(
        now: Instant,
        first: Option<Arc<str>>,
        up: Vec<Arc<str>>,
        others: Vec<Arc<str>>,
        startup: &[Arc<str>],
    ) -> Self {
        let wanted = if first.is_some() {
            1
        } else if up.is_empty() {
            ASKED_AT_ONCE
        } else {
            up.len().min(ASKED_AT_ONCE)
        };
        let mut waiting: VecDeque<Arc<str>> = first.into_iter().collect();
        // More of those that are said to be up need not be waited for.
        let (at_once, later) = up.split_at(up.len().min(ASKED_AT_ONCE));
        waiting.extend(at_once.iter().cloned());
        let mut rest = later.iter().cloned().chain(others);
        let mut startup = startup.iter().cloned();
        loop {
            let pair = (startup.next(), rest.next());
            if pair == (None, None) {
                break;
            }
            waiting.extend(pair.0.into_iter().chain(pair.1));
        }
        let mut seen = BTreeSet::new();
        waiting.retain(|address| seen.insert(Arc::clone(address)));
        let next_at = now + BETWEEN_CANDIDATES;
        Self { begun_at: now, waiting, asked: BTreeSet::new(), wanted, next_at, failure: None, poor: None }
    }

    /// The next node to be asked now. Called until there is none.
    pub(crate) fn poll_ask(&mut self, now: Instant) -> Option<Arc<str>> {
        while self.next_at <= now {
            self.next_at = now + BETWEEN_CANDIDATES;
            self.wanted = self.asked.len() + 1;
        }
        if self.asked.len() >= self.wanted {
            return None;
        }
        let address = self.waiting.pop_front()?;
        self.asked.insert(Arc::clone(&address));
        Some(address)
    }

    /// When one more is asked, if none answers.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        (!self.waiting.is_empty()).then_some(self.next_at)
    }

    /// A node has answered, or failed. `is_known`: there is a topology already. Answers of others are no matter.
    pub(crate) fn answered(&mut self, from: &str, answer: Result<TopologyReport, ClusterError>, is_known: bool) -> RoundProgress {
        if !self.asked.remove(from) {
            return RoundProgress::GoesOn;
        }
        match answer {
            Ok(report) if report.is_owned() => return RoundProgress::Done(report),
            Ok(report) => {
                self.poor.get_or_insert(report);
            }
            // A temporary error is kept rather than a permanent one.
            Err(error) => {
                if self.failure.as_ref().is_none_or(ClusterError::is_permanent) {
                    self.failure = Some(error);
                }
            }
        }
        self.end_if_over(is_known)
    }

    /// A round without any node to ask has failed.
    pub(crate) fn end_if_over(&mut self, is_known: bool) -> RoundProgress {
        if !(self.asked.is_empty() && self.waiting.is_empty()) {
            return RoundProgress::GoesOn;
        }
        match self.poor.take() {
            Some(report) if !is_known => RoundProgress::Done(report),
            Some(_) => RoundProgress::Failed(ClusterError::NoSlots),
            None => RoundProgress::Failed(self.failure.take().unwrap_or(ClusterError::NoNode)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize, prefix: &str) -> Vec<Arc<str>> {
        (0..count).map(|number| Arc::from(format!("{prefix}{number}:1"))).collect()
    }

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    fn asked(round: &mut ReportRound, millis: u64) -> Vec<String> {
        std::iter::from_fn(|| round.poll_ask(at(millis))).map(|name| name.to_string()).collect()
    }

    /// Seen to bite: with the startup nodes behind all others.
    #[test]
    fn startup_nodes_are_asked_in_turn_with_many_that_are_gone() {
        let mut round = ReportRound::new(at(0), None, names(300, "gone"), vec![], &names(2, "start"));
        assert_eq!(asked(&mut round, 0), ["gone0:1", "gone1:1", "gone2:1"]);
        assert_eq!(asked(&mut round, 99), Vec::<String>::new());
        assert_eq!(asked(&mut round, 100), ["start0:1"]);
        assert!(matches!(round.answered("gone0:1", Err(ClusterError::NoNode), true), RoundProgress::GoesOn));
        assert_eq!(asked(&mut round, 101), ["gone3:1"], "in place of the one that failed");
        assert_eq!(asked(&mut round, 200), ["start1:1"]);
        let mut round = ReportRound::new(at(0), None, names(1, "up"), names(9, "gone"), &names(2, "start"));
        assert_eq!(asked(&mut round, 0), ["up0:1"], "it is enough, while it answers");
        assert_eq!(asked(&mut round, 100), ["start0:1"]);
    }

    /// Seen to bite: with the first failure as the last word, and with a report without owners believed at once.
    #[test]
    fn the_first_report_with_owners_is_believed_and_a_temporary_error_is_told_rather_than_a_permanent_one() {
        let report = |owned: bool| {
            let text = format!("a 10.0.0.1:1@2 master - 0 0 1 connected{}", if owned { " 0-16383" } else { "" });
            let value = redis::Value::BulkString(text.into_bytes());
            let asked = super::super::report::Asked { address: "10.0.0.1:1", tls: false };
            super::super::report::read_report(None, Some(&value), None, asked).expect("it is well formed")
        };
        let refused = || ClusterError::NotACluster { address: String::from("a0:1"), error: String::from("no") };
        let mut round = ReportRound::new(at(0), None, names(3, "a"), vec![], &[]);
        assert_eq!(asked(&mut round, 0).len(), 3);
        assert!(matches!(round.answered("a0:1", Ok(report(false)), true), RoundProgress::GoesOn));
        assert!(matches!(round.answered("a1:1", Ok(report(true)), true), RoundProgress::Done(_)));
        let mut round = ReportRound::new(at(0), None, names(2, "a"), vec![], &[]);
        assert_eq!(asked(&mut round, 0).len(), 2);
        assert!(matches!(round.answered("a0:1", Err(refused()), false), RoundProgress::GoesOn));
        assert!(matches!(round.answered("b:1", Err(ClusterError::NoNode), false), RoundProgress::GoesOn), "it was not asked");
        let failed = round.answered("a1:1", Err(ClusterError::NoNode), false);
        assert!(matches!(failed, RoundProgress::Failed(ClusterError::NoNode)), "{failed:?}");
        let mut round = ReportRound::new(at(0), Some(Arc::from("new:1")), names(2, "a"), vec![], &[]);
        assert_eq!(asked(&mut round, 0), ["new:1"], "alone at first");
        assert!(matches!(round.answered("new:1", Ok(report(false)), false), RoundProgress::GoesOn));
        assert_eq!(asked(&mut round, 0), ["a0:1"]);
    }
}
