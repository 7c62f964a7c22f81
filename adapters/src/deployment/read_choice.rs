//! Which node gets a read: a function of the choice of the user and of the nodes that are fit.

use crate::deployment::read_from::ReadFrom;

/// A node that a read may go to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadCandidate<'a, T> {
    pub(crate) node: T,
    pub(crate) zone: Option<&'a str>,
}

/// The node for a read: the best ones first, those of equal worth in turn. All replicas are fit.
pub(crate) fn choose_reader<T: Copy>(
    from: &ReadFrom,
    primary: ReadCandidate<'_, T>,
    replicas: &[ReadCandidate<'_, T>],
    turn: usize,
) -> Option<T> {
    let any_replica = || replicas.get(turn % replicas.len().max(1)).map(|replica| replica.node);
    match from {
        ReadFrom::Primary => Some(primary.node),
        ReadFrom::PreferReplica => any_replica().or(Some(primary.node)),
        ReadFrom::Replica => any_replica(),
        ReadFrom::Any => Some(replicas.get(turn % (replicas.len() + 1)).unwrap_or(&primary).node),
        ReadFrom::Zone(zone) => {
            let all = replicas.iter().chain([&primary]);
            let here: Vec<_> = all.filter(|node| node.zone == Some(zone.as_str())).collect();
            let in_turn = here.get(turn % here.len().max(1)).map(|node| node.node);
            in_turn.or_else(any_replica).or(Some(primary.node))
        }
    }
}
