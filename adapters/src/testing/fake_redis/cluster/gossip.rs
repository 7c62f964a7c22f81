//! What nodes tell each other, and what a node makes of it: who owns which slot, who is silent, whether the cluster serves.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use redis_manager_core::Instant;

use super::slots::SLOTS;
use super::state::{FakeClusterState, FakeElection, FakeKnownNode, NodeIndex};

/// How long a primary that starts takes no commands: `CLUSTER_WRITABLE_DELAY`.
const STARTS_AFTER: Duration = Duration::from_secs(2);

/// What a node says of itself, and of those that it hears no more.
#[derive(Clone, Debug)]
pub struct NodeHeader {
    id: String,
    ip: String,
    port: u16,
    hostname: String,
    primary: Option<String>,
    config_epoch: u64,
    current_epoch: u64,
    slots: Arc<[RangeInclusive<u16>]>,
    offset: u64,
    version: u64,
    suspects: Vec<String>,
    failed: Vec<String>,
}

impl FakeClusterState {
    pub(super) fn header(&mut self, offset: u64) -> NodeHeader {
        let slots = self.own_ranges();
        let me = self.me();
        let config_epoch = self.served().map_or(me.config_epoch, |served| self.nodes[served].config_epoch);
        let ill = |(_, node): &(NodeIndex, &FakeKnownNode)| node.is_ill();
        NodeHeader {
            id: me.id.clone(),
            ip: me.ip.clone(),
            port: me.port,
            hostname: me.hostname.clone(),
            primary: me.primary.clone(),
            config_epoch,
            current_epoch: self.current_epoch,
            slots,
            offset,
            version: self.version,
            suspects: self.known().filter(ill).map(|(_, node)| node.id.clone()).collect(),
            failed: self.told_failed.clone(),
        }
    }

    /// The slots that it tells, counted anew after a change.
    fn own_ranges(&mut self) -> Arc<[RangeInclusive<u16>]> {
        if let Some((version, told)) = &self.told_slots
            && *version == self.version
        {
            return Arc::clone(told);
        }
        let is_owner = self.me().primary.is_none() && self.counts[0] > 0;
        let told: Arc<[_]> = if is_owner { self.ranges_of(0).into() } else { Arc::new([]) };
        self.told_slots = Some((self.version, Arc::clone(&told)));
        told
    }

    /// Reads what another node says. The result are slots that this node has lost to it, and the keys of which it is to drop.
    pub(super) fn heard(&mut self, now: Instant, header: &NodeHeader) -> Vec<u16> {
        if !self.banned.is_empty() {
            self.banned.retain(|_, until| *until > now);
        }
        if header.id == self.me().id || self.banned.contains_key(&header.id) {
            return Vec::new();
        }
        let new = || FakeKnownNode::new(header.id.clone(), header.ip.clone(), header.port, now);
        let known = self.by_id.get(&header.id).copied();
        let index = known.unwrap_or_else(|| self.add_node(new()));
        self.current_epoch = self.current_epoch.max(header.current_epoch);
        let may_clear = header.primary.is_some() || self.counts[index] == 0;
        let node_timeout = self.settings.node_timeout;
        let node = &mut self.nodes[index];
        node.is_forgotten = false;
        (node.heard_at, node.is_suspected, node.offset) = (now, false, header.offset);
        if node.failed_at.is_some_and(|at| may_clear || now > at + node_timeout * 2) {
            node.failed_at = None;
        }
        self.read_reports(now, index, header);
        if std::mem::replace(&mut self.nodes[index].version, header.version) == header.version {
            return Vec::new();
        }
        self.read_changes(index, header)
    }

    fn read_reports(&mut self, now: Instant, from: NodeIndex, header: &NodeHeader) {
        for id in &header.failed {
            if let Some(index) = self.index_of(id).filter(|index| *index != 0) {
                self.nodes[index].failed_at.get_or_insert(now);
            }
        }
        if !self.has_vote(from) {
            return;
        }
        for index in &self.reported {
            let node = &mut self.nodes[*index];
            if !header.suspects.contains(&node.id) {
                node.reports.remove(&header.id);
            }
        }
        for index in header.suspects.iter().filter_map(|id| self.index_of(id)).collect::<Vec<_>>() {
            self.nodes[index].reports.insert(header.id.clone(), now);
            self.reported.insert(index);
        }
    }

    fn read_changes(&mut self, index: NodeIndex, header: &NodeHeader) -> Vec<u16> {
        let was_primary = self.nodes[index].primary.is_none();
        let node = &mut self.nodes[index];
        (node.ip, node.port, node.hostname) = (header.ip.clone(), header.port, header.hostname.clone());
        node.primary = header.primary.clone();
        node.config_epoch = node.config_epoch.max(header.config_epoch);
        if header.primary.is_some() && was_primary && self.counts[index] > 0 {
            for slot in self.slots_of(index).collect::<Vec<_>>() {
                self.set_owner(slot, None);
            }
            self.read_anew();
            self.nodes[index].version = header.version;
        }
        let lost = if header.primary.is_none() { self.read_slots(index, header) } else { Vec::new() };
        // A replica of a replica follows the one above it.
        let above = self.me().primary.as_ref().and_then(|id| self.nodes[self.index_of(id)?].primary.clone());
        if let Some(above) = above.filter(|above| *above != self.me().id) {
            self.set_primary(Some(above));
        }
        self.part_epochs(index);
        lost
    }

    /// The slots that a primary says are its own; the higher epoch is right.
    fn read_slots(&mut self, sender: NodeIndex, header: &NodeHeader) -> Vec<u16> {
        let served = self.served();
        let mut lost = Vec::new();
        let mut is_own_shard = false;
        let is_new = |range: &&RangeInclusive<u16>| {
            let owners = &self.owners[usize::from(*range.start())..=usize::from(*range.end())];
            owners.iter().any(|owner| *owner != Some(sender))
        };
        let new: Vec<_> = header.slots.iter().filter(is_new).cloned().collect();
        for slot in new.into_iter().flatten() {
            let owner = self.owner(slot);
            // While it is taken over here, only what is without an owner changes; Redis 7.0 leaves that, too, without one.
            if owner == Some(sender) || owner.is_some() && self.importing.contains_key(&slot) {
                continue;
            }
            if owner.is_none_or(|owner| self.nodes[owner].config_epoch < header.config_epoch) {
                is_own_shard |= owner.is_some() && owner == served;
                if owner == Some(0) {
                    self.migrating.remove(&slot);
                    lost.push(slot);
                }
                self.set_owner(slot, Some(sender));
            }
        }
        if is_own_shard && served.is_some_and(|served| self.counts[served] == 0) {
            self.set_primary(Some(header.id.clone()));
            // It gets all data of its new primary.
            lost.clear();
        }
        lost
    }

    /// Two primaries of the same epoch: the one with the smaller id takes a new one.
    fn part_epochs(&mut self, other: NodeIndex) {
        let (mine, theirs) = (self.me(), &self.nodes[other]);
        let are_primaries = mine.primary.is_none() && theirs.primary.is_none();
        if are_primaries && mine.config_epoch == theirs.config_epoch && mine.config_epoch > 0 && mine.id < theirs.id {
            self.take_new_epoch();
        }
    }

    pub(super) fn take_new_epoch(&mut self) {
        self.current_epoch += 1;
        self.nodes[0].config_epoch = self.current_epoch;
        self.version += 1;
    }

    /// Time has passed: nodes fall silent, the cluster is down or up, and elections are called.
    pub(super) fn tick(&mut self, now: Instant, offset: u64) {
        let node_timeout = self.settings.node_timeout;
        let (majority, has_vote) = (self.majority(), self.has_vote(0));
        for index in 1..self.nodes.len() {
            let node = &mut self.nodes[index];
            if node.is_forgotten || node.failed_at.is_some() {
                continue;
            }
            if now.saturating_duration_since(node.heard_at) <= node_timeout {
                continue;
            }
            node.is_suspected = true;
            node.reports.retain(|_, at| now <= *at + node_timeout * 2);
            let reporters: Vec<_> = self.nodes[index].reports.keys().filter_map(|id| self.index_of(id)).collect();
            let reports = reporters.into_iter().filter(|reporter| self.has_vote(*reporter)).count();
            if reports + usize::from(has_vote) >= majority {
                let node = &mut self.nodes[index];
                (node.is_suspected, node.failed_at) = (false, Some(now));
                self.told_failed.push(self.nodes[index].id.clone());
            }
        }
        let nodes = &self.nodes;
        self.reported.retain(|index| !nodes[*index].reports.is_empty());
        self.update_state(now);
        self.call_election(now, offset);
    }

    /// Whether the cluster serves, as far as this node sees.
    pub(super) fn update_state(&mut self, now: Instant) {
        let covered: usize = self.known().filter(|(_, node)| node.failed_at.is_none()).map(|(index, _)| self.counts[index]).sum();
        let voters = self.known().filter(|(index, node)| self.has_vote(*index) && !node.is_ill()).count();
        let mut is_ok = !self.settings.require_full_coverage || covered == usize::from(SLOTS);
        if voters < self.majority() {
            is_ok = false;
            // Before it takes writes again it is to hear what has happened meanwhile.
            let rejoins_after = self.settings.node_timeout.clamp(Duration::from_millis(500), Duration::from_secs(5));
            self.ok_after = self.ok_after.max(now + rejoins_after);
        }
        if is_ok && !self.is_ok && self.me().primary.is_none() && now < self.ok_after {
            return;
        }
        self.is_ok = is_ok;
    }

    /// A replica of a primary that has failed asks for votes, after a while; those that have fewer writes later.
    fn call_election(&mut self, now: Instant, offset: u64) {
        let Some(primary) = self.served().filter(|served| *served != 0) else { return };
        let has_failed = self.nodes[primary].failed_at.is_some() && self.counts[primary] > 0;
        match self.election {
            Some(election) if !has_failed && !election.is_forced => self.election = None,
            None if has_failed => {
                let id = &self.nodes[primary].id;
                let is_ahead =
                    |(index, node): &(NodeIndex, &FakeKnownNode)| *index != 0 && !node.is_ill() && node.offset > offset;
                let rank = u32::try_from(self.replicas_of(id).filter(is_ahead).count()).unwrap_or(u32::MAX);
                let delay = self.settings.election_delay;
                let drawn = super::super::replication::mixed(self.seed ^ now.as_nanos()) % 1_000;
                let chance = delay * u32::try_from(drawn).unwrap_or(0) / 1_000;
                let at = now + delay + chance + (delay * 2).saturating_mul(rank);
                self.election = Some(FakeElection { at, is_forced: false, is_graceful: false });
            }
            Some(_) | None => {}
        }
    }

    /// The process has started again: what it knew is in its file, but who lives it must hear anew.
    pub(super) fn restarted(&mut self, now: Instant) {
        for node in &mut self.nodes {
            node.heard_at = now;
            node.is_suspected = false;
            node.reports.clear();
        }
        self.election = None;
        self.is_ok = false;
        self.ok_after = now + STARTS_AFTER;
    }
}
