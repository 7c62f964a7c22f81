//! Elections as the node lives through them: when it asks, what the answers lead to, and CLUSTER FAILOVER.

use redis_manager_core::Instant;

use super::super::server::Server;
use super::election::VoteRequest;
use super::state::FakeElection;

impl Server {
    /// The votes that it asks for now, if an election is due, and whether its primary must have given it all before.
    pub fn take_vote_request(&mut self, now: Instant) -> Option<(VoteRequest, bool)> {
        let cluster = self.cluster.as_mut()?;
        let election = cluster.election.filter(|election| election.at <= now)?;
        // If it is not elected it tries again later.
        let again_at = now + cluster.settings.node_timeout * 2;
        cluster.election = Some(FakeElection { at: again_at, ..election });
        if election.is_graceful {
            cluster.election = None;
        }
        Some((cluster.request(election.is_forced)?, election.is_graceful))
    }

    /// When an election is due.
    #[must_use]
    pub fn election_at(&self) -> Option<Instant> {
        self.cluster.as_ref()?.election.map(|election| election.at)
    }

    /// Whether it votes for another node.
    pub fn votes_for(&mut self, now: Instant, request: &VoteRequest) -> bool {
        self.cluster.as_mut().is_some_and(|cluster| cluster.vote(now, request))
    }

    /// So many have voted for it.
    pub fn elected(&mut self, now: Instant, request: &VoteRequest, votes: usize) {
        let Some(cluster) = &mut self.cluster else { return };
        if votes >= cluster.majority() && cluster.current_epoch == request.epoch {
            cluster.take_place(request.epoch);
            cluster.update_state(now);
            self.make_cluster_news();
            self.follow_cluster(now);
        }
    }

    /// As CLUSTER FAILOVER: false if it is no replica in a cluster.
    pub fn fail_over(&mut self, now: Instant, how: Failover) -> bool {
        let Some(cluster) = &mut self.cluster else { return false };
        if cluster.me().primary.is_none() {
            return false;
        }
        match how {
            Failover::TakeOver => {
                let epoch = cluster.current_epoch + 1;
                cluster.take_place(epoch);
                cluster.update_state(now);
                self.make_cluster_news();
                self.follow_cluster(now);
            }
            Failover::Graceful | Failover::Forced => {
                let is_graceful = how == Failover::Graceful;
                cluster.election = Some(FakeElection { at: now, is_forced: true, is_graceful });
                self.make_cluster_news();
            }
        }
        true
    }
}

/// How a replica is told to take the place of its primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failover {
    /// `CLUSTER FAILOVER`: after it has got all writes; nothing is lost. Without its primary nothing happens.
    Graceful,
    /// `CLUSTER FAILOVER FORCE`: without the primary, with the votes of the majority.
    Forced,
    /// `CLUSTER FAILOVER TAKEOVER`: without the primary and without votes.
    TakeOver,
}
