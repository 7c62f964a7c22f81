//! A server in its cluster: how it joins, tells, hears and forgets, and becomes what the cluster says that it is.

use std::ops::RangeInclusive;
use std::time::Duration;

use redis_manager_core::Instant;

use super::super::keyspace::KeyEntry;
use super::super::replication::{LostWrite, ReplicaLink, forty_digits};
use super::super::server::Server;
use super::super::words::Bytes;
use super::gossip::NodeHeader;
use super::slots::slot_of;
use super::state::{FakeClusterSettings, FakeClusterState, FakeKnownNode};

/// How long a node that was forgotten is not taken in again.
const BANNED_FOR: Duration = Duration::from_secs(60);

impl Server {
    /// It becomes a node without slots, of a cluster of its own, at this address.
    pub fn enable_cluster(&mut self, now: Instant, settings: FakeClusterSettings, ip: &str, port: u16) {
        self.replication.keep_log();
        let seed = self.replication.history.id;
        let me = FakeKnownNode::new(forty_digits(seed), ip.to_owned(), port, now);
        self.cluster = Some(Box::new(FakeClusterState::new(settings, me, seed)));
    }

    /// Its id in its cluster.
    #[must_use]
    pub fn node_id(&self) -> Option<&str> {
        self.cluster.as_ref().map(|cluster| cluster.me().id.as_str())
    }

    /// Changes how it behaves in its cluster.
    pub fn set_cluster(&mut self, now: Instant, change: impl FnOnce(&mut FakeClusterSettings)) {
        if let Some(cluster) = &mut self.cluster {
            change(&mut cluster.settings);
            cluster.update_state(now);
        }
    }

    /// Takes slots in a new epoch, whoever has had them.
    pub fn take_slots(&mut self, now: Instant, slots: impl IntoIterator<Item = u16>) {
        if let Some(cluster) = &mut self.cluster {
            cluster.take_new_epoch();
            for slot in slots {
                cluster.importing.remove(&slot);
                cluster.set_owner(slot, Some(0));
            }
            cluster.read_anew();
            cluster.update_state(now);
            self.make_cluster_news();
            self.leave_slots(now);
        }
    }

    /// The epoch in which it owns a slot by its own belief.
    #[must_use]
    pub fn claims(&self, slot: u16) -> Option<u64> {
        let cluster = self.cluster.as_ref()?;
        (cluster.owner(slot) == Some(0)).then(|| cluster.me().config_epoch)
    }

    /// The slots that it owns by its own belief, and the id of the node that it is a replica of.
    #[must_use]
    pub fn own_slots(&self) -> (Vec<RangeInclusive<u16>>, Option<String>) {
        let Some(cluster) = &self.cluster else { return (Vec::new(), None) };
        let slots = cluster.ranges_of(0);
        (slots, cluster.me().primary.clone())
    }

    /// Whether it serves, as far as the cluster is concerned.
    #[must_use]
    pub fn cluster_is_ok(&self) -> bool {
        self.cluster.as_ref().is_some_and(|cluster| cluster.is_ok)
    }

    /// Begins to give a slot to another node, or to take it from one.
    pub fn begin_move(&mut self, slot: u16, other: &str, gives: bool) {
        if let Some(cluster) = &mut self.cluster
            && let Some(index) = cluster.index_of(other)
        {
            let moves = if gives { &mut cluster.migrating } else { &mut cluster.importing };
            moves.insert(slot, index);
        }
    }

    /// Its keys as a primary of slots that belong to others, and whether it awaits the slot.
    #[must_use]
    pub fn foreign_keys(&self) -> Vec<(u16, PlacedKey, bool)> {
        let Some(cluster) = self.cluster.as_ref().filter(|cluster| cluster.me().primary.is_none()) else { return Vec::new() };
        let keys = self.keys().into_iter().map(|placed| (slot_of(&placed.1), placed));
        let foreign = keys.filter(|(slot, _)| cluster.owner(*slot) != Some(0));
        foreign.map(|(slot, placed)| (slot, placed, cluster.importing.contains_key(&slot))).collect()
    }

    /// Whether it has this key.
    #[must_use]
    pub fn has_key(&self, (database, key): &PlacedKey) -> bool {
        self.databases[*database].contains(key)
    }

    /// Whether it is about to give this slot away.
    #[must_use]
    pub fn gives(&self, slot: u16, to: &str) -> bool {
        let cluster = self.cluster.as_ref();
        cluster.is_some_and(|cluster| cluster.migrating.get(&slot).is_some_and(|index| cluster.nodes[*index].id == to))
    }

    /// A key that it has and that nobody can read: its slot belongs to another node.
    #[must_use]
    pub fn stranded(&self, (_, key): PlacedKey) -> LostWrite {
        self.replication.stranded(self.now, vec![b"RESTORE".to_vec(), key])
    }

    /// Its own address and host name, as it tells them.
    pub fn announce(&mut self, ip: &str, port: u16, hostname: &str) {
        if let Some(cluster) = &mut self.cluster {
            let me = &mut cluster.nodes[0];
            (me.ip, me.port, me.hostname) = (ip.to_owned(), port, hostname.to_owned());
            cluster.version += 1;
            self.make_cluster_news();
        }
    }

    /// What it tells the others now.
    #[must_use]
    pub fn header(&mut self) -> Option<NodeHeader> {
        let offset = self.history().offset;
        Some(self.cluster.as_mut()?.header(offset))
    }

    /// What it has told so far was heard.
    pub fn told(&mut self) {
        if let Some(cluster) = &mut self.cluster {
            cluster.told_failed.clear();
        }
    }

    /// Another node says this.
    pub fn heard(&mut self, now: Instant, header: &NodeHeader) {
        let Some(cluster) = &mut self.cluster else { return };
        let version = cluster.version;
        let lost = cluster.heard(now, header);
        let (has_changed, has_left) = (cluster.version != version, !cluster.left.is_empty());
        if !lost.is_empty() {
            self.drop_slots(now, &lost);
        }
        if has_changed {
            self.make_cluster_news();
        }
        if has_changed || has_left {
            self.follow_cluster(now);
        }
    }

    /// Time has passed: what has become of the others, and of the cluster.
    pub fn cluster_tick(&mut self, now: Instant) {
        let offset = self.replication.history.offset;
        if let Some(cluster) = &mut self.cluster {
            let (told, had_election) = (cluster.told_failed.len(), cluster.election);
            cluster.tick(now, offset);
            if self.replication.link == ReplicaLink::Never && cluster.election.is_some_and(|election| !election.is_forced) {
                // It has no data of its primary.
                cluster.election = None;
            }
            if cluster.told_failed.len() != told || cluster.election != had_election {
                self.make_cluster_news();
            }
            self.follow_cluster(now);
        }
    }

    /// The process has started again.
    pub(in super::super) fn restart_cluster(&mut self, now: Instant) {
        if let Some(cluster) = &mut self.cluster {
            cluster.restarted(now);
        }
    }

    /// Follows the primary that its cluster says, or none.
    pub(super) fn follow_cluster(&mut self, now: Instant) {
        self.leave_slots(now);
        let Some(cluster) = &self.cluster else { return };
        let primary = match &cluster.me().primary {
            None => None,
            Some(id) => match cluster.index_of(id) {
                Some(index) => Some((cluster.nodes[index].ip.clone(), cluster.nodes[index].port)),
                None => return,
            },
        };
        self.follow(now, primary);
    }

    /// Becomes a replica of the node with this id, which must be known; it gives up its slots.
    pub fn replicate_node(&mut self, now: Instant, id: &str) {
        let Some(cluster) = &mut self.cluster else { return };
        for slot in cluster.slots_of(0).collect::<Vec<_>>() {
            cluster.set_owner(slot, None);
        }
        cluster.set_primary(Some(id.to_owned()));
        self.make_cluster_news();
        self.follow_cluster(now);
    }

    /// Forgets a node, and does not take it in again for a minute. False if it is not known, or this one itself.
    pub fn forget_node(&mut self, now: Instant, id: &str) -> bool {
        let Some(cluster) = &mut self.cluster else { return false };
        let Some(index) = cluster.index_of(id).filter(|index| *index != 0) else { return false };
        for slot in cluster.slots_of(index).collect::<Vec<_>>() {
            cluster.set_owner(slot, None);
        }
        let node = &mut cluster.nodes[index];
        node.is_forgotten = true;
        cluster.read_anew();
        cluster.banned.insert(id.to_owned(), now + BANNED_FOR);
        cluster.update_state(now);
        self.leave_slots(now);
        true
    }

    /// Gives a slot to a node that has taken it.
    pub fn give_slot(&mut self, now: Instant, slot: u16, to: &str) {
        let Some(cluster) = &mut self.cluster else { return };
        cluster.give_slot(slot, to);
        cluster.update_state(now);
        self.make_cluster_news();
        self.follow_cluster(now);
    }

    /// All keys, in order.
    #[must_use]
    pub fn keys(&self) -> Vec<PlacedKey> {
        let keys = self.databases.iter().enumerate();
        keys.flat_map(|(number, database)| database.keys().map(move |key| (number, key.clone()))).collect()
    }

    /// The keys of a slot, in order.
    #[must_use]
    pub fn keys_in_slot(&self, slot: u16) -> Vec<PlacedKey> {
        self.keys().into_iter().filter(|(_, key)| slot_of(key) == slot).collect()
    }

    /// Takes a key out, to be given to another node.
    pub fn take_key(&mut self, now: Instant, placed: &PlacedKey) -> Option<MovedKey> {
        self.tick(now);
        let entry = self.databases[placed.0].remove(&placed.1)?;
        self.settle();
        Some(MovedKey { placed: placed.clone(), entry })
    }

    /// Puts a key in that another node has given.
    pub fn put_key(&mut self, now: Instant, moved: MovedKey) {
        self.tick(now);
        let (number, key) = moved.placed;
        self.note_write(0, &[b"RESTORE".to_vec(), key.clone()]);
        let database = &mut self.databases[number];
        database.put(&key, moved.entry.value);
        database.set_expiry(&key, moved.entry.expires_at);
        self.settle();
        self.run_all();
    }

    /// The keys of slots that another node has now.
    fn drop_slots(&mut self, now: Instant, slots: &[u16]) {
        self.tick(now);
        for placed in self.keys().into_iter().filter(|(_, key)| slots.contains(&slot_of(key))) {
            self.databases[placed.0].remove(&placed.1);
            let write = self.stranded(placed);
            self.replication.lost.push(write);
        }
        self.settle();
    }
}

/// The number of a database, and a key there.
type PlacedKey = (usize, Bytes);

/// A key with its value, on the way from one node to another.
#[derive(Debug)]
pub struct MovedKey {
    placed: PlacedKey,
    entry: KeyEntry,
}
