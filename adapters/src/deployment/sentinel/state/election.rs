//! Which of the told primaries is believed: a function of what sentinels have said last.

use std::collections::BTreeMap;

use crate::deployment::host_port::HostPort;
use crate::deployment::sentinel::state::answer::SentinelAnswer;

/// A told primary, and what speaks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) place: HostPort,
    /// The most recent one in which it was told.
    pub(crate) epoch: u64,
    /// Sentinels that tell it.
    pub(crate) votes: usize,
}

/// What is kept in mind beside the answers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Beliefs<'a> {
    /// The primary so far.
    pub(crate) current: Option<&'a HostPort>,
    /// A server that has just said that it is no primary.
    pub(crate) refuted: Option<&'a HostPort>,
}

/// The best of the told primaries: of those that most sentinels tell, or of which others know at least as a replica, the one of
/// the most recent epoch. The first sentinel that learns of a failover is believed at once so, and one that tells a foreign
/// server is outvoted, whatever epoch it tells, also while the server that the others tell says that it is no primary.
pub(crate) fn elect<'a>(answers: impl Iterator<Item = &'a SentinelAnswer> + Clone, beliefs: Beliefs<'_>) -> Option<Candidate> {
    let mut candidates: BTreeMap<&HostPort, (u64, usize)> = BTreeMap::new();
    let mut all = 0;
    for answer in answers.clone() {
        if let Some(place) = &answer.primary {
            all += 1;
            let (epoch, votes) = candidates.entry(place).or_default();
            *epoch = (*epoch).max(answer.epoch);
            *votes += 1;
        }
    }
    let is_replica_elsewhere = |place: &HostPort| {
        let mut others = answers.clone().filter(|answer| answer.primary.as_ref() != Some(place));
        others.any(|answer| answer.has_replica(place))
    };
    let ranked = candidates.into_iter().map(|(place, (epoch, votes))| {
        let is_known = votes * 2 > all || is_replica_elsewhere(place);
        let is_refuted = beliefs.refuted == Some(place);
        let has_replicas = answers.clone().any(|answer| answer.primary.as_ref() == Some(place) && !answer.replicas.is_empty());
        let rank = (is_known, !is_refuted, epoch, votes, has_replicas, beliefs.current == Some(place));
        (rank, Candidate { place: place.clone(), epoch, votes })
    });
    ranked.max_by(|(one, _), (other, _)| one.cmp(other)).map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::sentinel::state::answer::ReportedReplica;

    fn place(port: u16) -> HostPort {
        HostPort::new("h", port).expect("a place")
    }

    fn says(port: u16, epoch: u64, replicas: &[u16]) -> SentinelAnswer {
        let replicas = replicas.iter().map(|port| ReportedReplica { place: place(*port), is_down: false }).collect();
        SentinelAnswer { primary: Some(place(port)), epoch, replicas, ..SentinelAnswer::default() }
    }

    fn elected(answers: &[SentinelAnswer], beliefs: Beliefs<'_>) -> Option<u16> {
        elect(answers.iter(), beliefs).map(|candidate| candidate.place.port)
    }

    /// Seen to bite: with the majority alone, with the epoch alone, without the look at replicas.
    #[test]
    fn s3_the_first_that_learns_of_a_failover_is_believed_and_one_that_lies_is_outvoted() {
        let none = Beliefs::default();
        assert_eq!(elected(&[says(1, 4, &[2, 3]), says(2, 5, &[1, 3]), says(1, 4, &[2, 3])], none), Some(2), "promoted");
        assert_eq!(elected(&[says(1, 4, &[2, 3]), says(9, 99, &[]), says(1, 4, &[2, 3])], none), Some(1), "a foreign server");
        assert_eq!(elected(&[says(2, 5, &[1]), says(2, 5, &[1]), says(1, 4, &[2])], none), Some(2), "a late one");
        assert_eq!(elected(&[says(9, 0, &[])], none), Some(9), "the only word that there is");
        let unknown = SentinelAnswer::default();
        assert_eq!(elected(&[unknown.clone(), unknown.clone()], none), None);
        assert_eq!(elected(&[unknown, says(1, 0, &[])], none), Some(1));
    }

    /// Seen to bite: with the current one not preferred, with a refuted one believed like any other.
    #[test]
    fn of_two_equal_words_the_present_one_holds_and_a_refuted_one_comes_last() {
        let split = [says(1, 4, &[]), says(2, 4, &[])];
        for port in [1, 2] {
            let present = place(port);
            assert_eq!(elected(&split, Beliefs { current: Some(&present), refuted: None }), Some(port));
            assert_eq!(elected(&split, Beliefs { current: Some(&present), refuted: Some(&present) }), Some(3 - port));
        }
        let present = place(1);
        let other_has_replicas = [says(1, 0, &[]), says(2, 0, &[3])];
        assert_eq!(elected(&other_has_replicas, Beliefs { current: Some(&present), refuted: None }), Some(2), "it has replicas");
        let refuted = place(1);
        assert_eq!(elected(&[says(1, 4, &[])], Beliefs { current: None, refuted: Some(&refuted) }), Some(1), "there is no other");
    }
}
