//! The task of a fake cluster: nodes tell each other what they believe, fall silent, and hold elections.

use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Poll;

use redis_manager_core::{Instant, Task, Timer};

use crate::testing::fake_cluster::shape::ClusterShape;
use crate::testing::fake_network::FakeNetwork;
use crate::testing::fake_redis_host::{ClusterBell, FakeRedis, SharedServer, catch_up};

/// A node, and whether it was removed: then it takes part no more.
pub(super) struct FakeMember {
    pub(super) redis: Arc<FakeRedis>,
    pub(super) is_removed: bool,
}

pub(super) struct SharedCluster {
    pub(super) network: FakeNetwork,
    pub(super) shape: ClusterShape,
    pub(super) bell: Arc<ClusterBell>,
    members: Mutex<Vec<FakeMember>>,
    moves: AtomicUsize,
}

/// A node that runs, and whom it can talk to.
struct Speaker {
    server: Arc<SharedServer>,
    group: Option<usize>,
    is_reachable: bool,
}

impl Speaker {
    fn hears(&self, other: &Self) -> bool {
        !Arc::ptr_eq(&self.server, &other.server) && self.group == other.group && self.is_reachable && other.is_reachable
    }
}

impl SharedCluster {
    pub(super) fn new(network: FakeNetwork, shape: ClusterShape) -> Self {
        Self { network, shape, bell: Arc::default(), members: Mutex::new(Vec::new()), moves: AtomicUsize::new(0) }
    }

    pub(super) fn members(&self) -> MutexGuard<'_, Vec<FakeMember>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn move_has_begun(&self) {
        self.moves.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn move_has_ended(&self) {
        self.moves.fetch_sub(1, Ordering::SeqCst);
    }

    pub(super) fn moves_under_way(&self) -> usize {
        self.moves.load(Ordering::SeqCst)
    }

    /// The nodes that were not removed.
    pub(super) fn servers(&self) -> Vec<Arc<SharedServer>> {
        let members = self.members();
        members.iter().filter(|member| !member.is_removed).map(|member| Arc::clone(member.redis.shared())).collect()
    }

    pub(super) fn primary_of(&self, slot: u16) -> Option<usize> {
        let members = self.members();
        let servers = members.iter().enumerate().filter(|(_, member)| !member.is_removed);
        let servers: Vec<_> = servers.map(|(number, member)| (number, Arc::clone(member.redis.shared()))).collect();
        drop(members);
        let running = servers.into_iter().filter(|(_, server)| server.is_running());
        let claims = running.filter_map(|(number, server)| Some((server.act(|server, _| server.claims(slot))?, number)));
        claims.max().map(|(_, number)| number)
    }

    fn speakers(&self) -> Vec<Speaker> {
        let running: Vec<_> = self.servers().into_iter().filter(|server| server.is_running()).collect();
        let speaker = |server: Arc<SharedServer>| {
            let (group, is_reachable) = (self.network.group_of(server.address()), server.is_reachable());
            Speaker { server, group, is_reachable }
        };
        running.into_iter().map(speaker).collect()
    }

    /// Each node that runs tells all that it reaches what it believes, and looks at what it has heard.
    pub(super) fn exchange(&self) {
        let speakers = self.speakers();
        let headers: Vec<_> = speakers.iter().map(|speaker| speaker.server.act(|server, _| server.header())).collect();
        for speaker in &speakers {
            let heard = speakers.iter().zip(&headers).filter(|(other, _)| speaker.hears(other));
            let heard: Vec<_> = heard.filter_map(|(_, header)| header.as_ref()).collect();
            speaker.server.act(|server, now| {
                server.told();
                heard.iter().for_each(|header| server.heard(now, header));
                server.cluster_tick(now);
            });
        }
    }

    /// Messages to channels go to all who hear it.
    fn publish(&self) {
        let speakers = self.speakers();
        for speaker in &speakers {
            let (id, messages) =
                speaker.server.act(|server, _| (server.node_id().unwrap_or_default().to_owned(), server.bus_messages()));
            for other in speakers.iter().filter(|other| other.hears(speaker) && !messages.is_empty()) {
                other.server.act(|server, _| server.take_bus_messages(&id, &messages));
            }
        }
    }

    /// Elections that are due: the votes of all who hear the candidate.
    fn elect(&self) {
        let speakers = self.speakers();
        for candidate in &speakers {
            let Some((request, is_graceful)) = candidate.server.act(|server, now| server.take_vote_request(now)) else {
                continue;
            };
            if is_graceful && !catch_up(&candidate.server) {
                continue;
            }
            let voters = speakers.iter().filter(|voter| voter.hears(candidate));
            let votes = voters.filter(|voter| voter.server.act(|server, now| server.votes_for(now, &request))).count();
            candidate.server.act(|server, now| server.elected(now, &request, votes));
            if is_graceful {
                // The former primary takes no writes meanwhile: it hears of it at once.
                self.exchange();
            }
        }
    }

    fn next_election(&self) -> Option<Instant> {
        self.speakers().iter().filter_map(|speaker| speaker.server.act(|server, _| server.election_at())).min()
    }
}

/// Lets the nodes talk until the cluster is dropped.
pub(super) async fn drive(shared: Weak<SharedCluster>) {
    let mut sleep: Option<(Instant, Task)> = None;
    let mut round_at: Option<Instant> = None;
    let mut told_at: Option<Instant> = None;
    let mut election_at: Option<Instant> = None;
    poll_fn(|cx| {
        loop {
            let Some(cluster) = shared.upgrade() else { return Poll::Ready(()) };
            let now = cluster.network.now();
            if cluster.bell.take(cx.waker()) {
                told_at.get_or_insert(now + cluster.shape.gossip_delay);
                election_at = cluster.next_election();
            }
            let round = *round_at.get_or_insert(now + cluster.shape.gossip_interval);
            let due = [told_at, election_at].into_iter().flatten().fold(round, Instant::min);
            if due <= now {
                if round <= now {
                    round_at = Some(now + cluster.shape.gossip_interval);
                }
                told_at = told_at.filter(|at| *at > now);
                cluster.publish();
                cluster.exchange();
                cluster.elect();
                election_at = cluster.next_election();
                continue;
            }
            let kept = sleep.take().filter(|(at, _)| *at == due);
            let (_, waiting) = sleep.insert(kept.unwrap_or_else(|| (due, cluster.network.sleep_until(due))));
            if waiting.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            sleep = None;
        }
    })
    .await;
}
