//! What one node believes: the nodes, who owns each slot, and whether the cluster serves.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use redis_manager_core::Instant;

use super::slots::SLOTS;

/// What a node answers where it tells where another node is: `cluster-preferred-endpoint-type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PreferredEndpoint {
    /// The address.
    #[default]
    Ip,
    /// The announced host name; `?` where none is announced.
    Hostname,
    /// Nothing: the client is to use the address that it has asked.
    UnknownEndpoint,
}

/// How a node behaves in its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FakeClusterSettings {
    /// `cluster-node-timeout`.
    pub node_timeout: Duration,
    /// `cluster-require-full-coverage`.
    pub require_full_coverage: bool,
    /// `cluster-allow-reads-when-down`.
    pub allow_reads_when_down: bool,
    /// How long a replica waits before it asks for votes; as much again at most is drawn.
    pub election_delay: Duration,
    /// `cluster-preferred-endpoint-type`.
    pub preferred_endpoint: PreferredEndpoint,
    /// Databases that SELECT can choose: `cluster-databases` of Valkey 9.
    pub databases: usize,
}

/// The number of a node in the list of one other node; 0 is that node itself.
pub(super) type NodeIndex = usize;

#[derive(Clone, Debug)]
pub(super) struct FakeKnownNode {
    pub(super) id: String,
    pub(super) ip: String,
    pub(super) port: u16,
    pub(super) hostname: String,
    /// The id of the primary that it follows; None: it is one.
    pub(super) primary: Option<String>,
    pub(super) config_epoch: u64,
    pub(super) offset: u64,
    pub(super) heard_at: Instant,
    /// Silent for the timeout: `fail?`.
    pub(super) is_suspected: bool,
    /// The majority has said so: `fail`.
    pub(super) failed_at: Option<Instant>,
    /// Who holds it for silent, and when that was said.
    pub(super) reports: BTreeMap<String, Instant>,
    /// When this node has voted for one of its replicas.
    pub(super) voted_at: Option<Instant>,
    /// Of the last header that was read.
    pub(super) version: u64,
    pub(super) is_forgotten: bool,
}

impl FakeKnownNode {
    pub(super) fn new(id: String, ip: String, port: u16, now: Instant) -> Self {
        Self {
            id,
            ip,
            port,
            hostname: String::new(),
            primary: None,
            config_epoch: 0,
            offset: 0,
            heard_at: now,
            is_suspected: false,
            failed_at: None,
            reports: BTreeMap::new(),
            voted_at: None,
            version: 0,
            is_forgotten: false,
        }
    }

    pub(super) fn is_ill(&self) -> bool {
        self.is_suspected || self.failed_at.is_some()
    }
}

/// A message on its way to other nodes.
#[derive(Clone, Debug)]
pub struct BusMessage {
    pub(super) channel: Vec<u8>,
    pub(super) text: Vec<u8>,
    /// SPUBLISH: to the nodes of the shard only.
    pub(super) is_sharded: bool,
}

/// An election that a replica holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FakeElection {
    /// When it asks for votes.
    pub(super) at: Instant,
    /// Voters are to vote although the primary lives.
    pub(super) is_forced: bool,
    /// It waits until it has all writes of its primary.
    pub(super) is_graceful: bool,
}

/// What a node believes of its cluster. The node itself is the first of `nodes`; none is ever taken out of the list.
#[derive(Clone, Debug)]
pub(in super::super) struct FakeClusterState {
    pub(super) settings: FakeClusterSettings,
    pub(super) nodes: Vec<FakeKnownNode>,
    pub(super) by_id: BTreeMap<String, NodeIndex>,
    pub(super) owners: Vec<Option<NodeIndex>>,
    runs: OnceLock<Vec<(RangeInclusive<u16>, NodeIndex)>>,
    /// How many slots each node owns, by its number.
    pub(super) counts: Vec<usize>,
    pub(super) current_epoch: u64,
    /// The last epoch that it has voted in.
    pub(super) voted_epoch: u64,
    pub(super) is_ok: bool,
    /// Not before that it serves again, as a primary.
    pub(super) ok_after: Instant,
    pub(super) migrating: BTreeMap<u16, NodeIndex>,
    pub(super) importing: BTreeMap<u16, NodeIndex>,
    pub(super) election: Option<FakeElection>,
    /// What it has found out and tells all at once: ids of nodes that have failed.
    pub(super) told_failed: Vec<String>,
    /// Those of which there are reports.
    pub(super) reported: BTreeSet<NodeIndex>,
    /// Ids that are not taken in before then.
    pub(super) banned: BTreeMap<String, Instant>,
    /// Changes with what the header says.
    pub(super) version: u64,
    /// Slots that its shard has lost, until their clients are told.
    pub(super) left: Vec<u16>,
    /// Messages for the other nodes.
    pub(super) bus: Vec<BusMessage>,
    /// The slots that the header says, and of which version.
    pub(super) told_slots: Option<(u64, Arc<[RangeInclusive<u16>]>)>,
    pub(super) seed: u64,
}

impl FakeClusterState {
    pub(super) fn new(settings: FakeClusterSettings, me: FakeKnownNode, seed: u64) -> Self {
        Self {
            settings,
            by_id: BTreeMap::from([(me.id.clone(), 0)]),
            nodes: vec![me],
            owners: vec![None; usize::from(SLOTS)],
            runs: OnceLock::new(),
            counts: vec![0],
            current_epoch: 0,
            voted_epoch: 0,
            is_ok: false,
            ok_after: Instant::ZERO,
            migrating: BTreeMap::new(),
            importing: BTreeMap::new(),
            election: None,
            told_failed: Vec::new(),
            reported: BTreeSet::new(),
            banned: BTreeMap::new(),
            version: 1,
            left: Vec::new(),
            bus: Vec::new(),
            told_slots: None,
            seed,
        }
    }

    /// Databases that SELECT can choose.
    pub(in super::super) fn databases(&self) -> usize {
        self.settings.databases.clamp(1, 16)
    }

    pub(super) fn me(&self) -> &FakeKnownNode {
        &self.nodes[0]
    }

    pub(super) fn index_of(&self, id: &str) -> Option<NodeIndex> {
        self.by_id.get(id).copied().filter(|index| !self.nodes[*index].is_forgotten)
    }

    pub(super) fn owner(&self, slot: u16) -> Option<NodeIndex> {
        self.owners[usize::from(slot)]
    }

    pub(super) fn slots_of(&self, node: NodeIndex) -> impl Iterator<Item = u16> {
        (0..SLOTS).filter(move |slot| self.owners[usize::from(*slot)] == Some(node))
    }

    pub(super) fn ranges_of(&self, node: NodeIndex) -> Vec<RangeInclusive<u16>> {
        self.runs().iter().filter(|(_, of)| *of == node).map(|(range, _)| range.clone()).collect()
    }

    /// Slots in ranges of one owner, counted anew after a change.
    pub(super) fn runs(&self) -> &[(RangeInclusive<u16>, NodeIndex)] {
        self.runs.get_or_init(|| {
            let mut runs = Vec::new();
            let mut start = 0;
            for same in self.owners.chunk_by(|slot, next| slot == next) {
                let end = start + u16::try_from(same.len()).unwrap_or(SLOTS);
                runs.extend(same[0].map(|owner| (start..=end - 1, owner)));
                start = end;
            }
            runs
        })
    }

    /// Gives a slot to a node, or takes it from all.
    pub(super) fn set_owner(&mut self, slot: u16, owner: Option<NodeIndex>) {
        let former = std::mem::replace(&mut self.owners[usize::from(slot)], owner);
        if former == owner {
            return;
        }
        self.runs.take();
        if former.is_some() && former == self.served() {
            self.left.push(slot);
        }
        if let Some(former) = former {
            self.counts[former] -= 1;
        }
        if let Some(owner) = owner {
            self.counts[owner] += 1;
        }
        if former == Some(0) || owner == Some(0) {
            self.version += 1;
        }
    }

    /// A slot of which no key is left here goes to a node; with the last one it becomes a replica of that.
    pub(super) fn give_slot(&mut self, slot: u16, to: &str) {
        let Some(index) = self.index_of(to) else { return };
        let was_own = self.owner(slot) == Some(0);
        self.migrating.remove(&slot);
        self.set_owner(slot, Some(index));
        if was_own && index != 0 && self.counts[0] == 0 {
            self.set_primary(Some(to.to_owned()));
        }
    }

    /// Becomes a replica of a node, or a primary.
    pub(super) fn set_primary(&mut self, primary: Option<String>) {
        self.nodes[0].primary = primary;
        self.election = None;
        self.importing.clear();
        self.migrating.clear();
        self.version += 1;
        self.read_anew();
    }

    /// What the others say is read again, although it may be what they have said before: this node looks at it otherwise now.
    pub(super) fn read_anew(&mut self) {
        self.nodes.iter_mut().for_each(|node| node.version = 0);
    }

    pub(super) fn add_node(&mut self, node: FakeKnownNode) -> NodeIndex {
        let index = self.nodes.len();
        self.by_id.insert(node.id.clone(), index);
        self.nodes.push(node);
        self.counts.push(0);
        index
    }

    /// The nodes that are not forgotten, with their numbers.
    pub(super) fn known(&self) -> impl Iterator<Item = (NodeIndex, &FakeKnownNode)> {
        self.nodes.iter().enumerate().filter(|(_, node)| !node.is_forgotten)
    }

    /// The replicas of a node.
    pub(super) fn replicas_of<'a>(&'a self, id: &'a str) -> impl Iterator<Item = (NodeIndex, &'a FakeKnownNode)> {
        self.known().filter(move |(_, node)| node.primary.as_deref() == Some(id))
    }

    /// A primary with slots: one that has a vote.
    pub(super) fn has_vote(&self, index: NodeIndex) -> bool {
        self.nodes[index].primary.is_none() && self.counts[index] > 0
    }

    /// How many votes there are.
    pub(super) fn size(&self) -> usize {
        self.known().filter(|(index, _)| self.has_vote(*index)).count()
    }

    pub(super) fn majority(&self) -> usize {
        self.size() / 2 + 1
    }

    /// Whether a slot is served here, or is on its way to here.
    pub(super) fn serves(&self, slot: u16) -> bool {
        self.is_ok && self.owner(slot).is_some() && (self.owner(slot) == self.served() || self.importing.contains_key(&slot))
    }

    /// Whose slots this node serves: its own number, or its primary's.
    pub(super) fn served(&self) -> Option<NodeIndex> {
        match &self.me().primary {
            None => Some(0),
            Some(id) => self.index_of(id),
        }
    }
}
