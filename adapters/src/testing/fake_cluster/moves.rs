//! Slots on their way from one node of a fake cluster to another.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::{Arc, Weak};
use std::time::Duration;

use redis_manager_core::Timer;

use crate::testing::fake_cluster::driver::SharedCluster;
use crate::testing::fake_redis::{LostWrite, slot_of};
use crate::testing::fake_redis_host::{SharedServer, hear_each_other};

/// How slots move from one node to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotMigration {
    /// As `redis-cli` does it: slot by slot, the owner `MIGRATING` and the other one `IMPORTING`, key by key, each key and each slot
    /// after so much time. Clients get `ASK` for keys that have gone, and `TRYAGAIN` for several keys of which some have.
    Gradual(Duration),
    /// As Valkey 9 does it: all slots with all keys at one instant, without `ASK`; a burst of `MOVED`.
    Atomic,
}

impl SharedCluster {
    fn server(&self, number: usize) -> Arc<SharedServer> {
        Arc::clone(self.members()[number].redis.shared())
    }

    /// The one that owns a slot, if it runs, and is heard by the one that takes it.
    fn giver(&self, slot: u16, to: &Arc<SharedServer>) -> Option<Arc<SharedServer>> {
        let owner = self.server(self.primary_of(slot)?);
        (to.is_running() && !Arc::ptr_eq(&owner, to) && hear_each_other(&owner, to)).then_some(owner)
    }

    pub(super) fn move_at_once(&self, slots: &RangeInclusive<u16>, to: usize) {
        let to = self.server(to);
        let mut givers: Vec<(Arc<SharedServer>, BTreeSet<u16>)> = Vec::new();
        for slot in slots.clone() {
            let Some(giver) = self.giver(slot, &to) else { continue };
            match givers.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &giver)) {
                Some((_, given)) => drop(given.insert(slot)),
                None => givers.push((giver, BTreeSet::from([slot]))),
            }
        }
        for (giver, given) in &givers {
            for key in giver.act(|server, _| server.keys()) {
                if given.contains(&slot_of(&key.1)) {
                    move_key(giver, &to, &key);
                }
            }
            to.act(|server, now| server.take_slots(now, given.iter().copied()));
        }
        let header = to.act(|server, _| server.header());
        for (giver, _) in &givers {
            giver.act(|server, now| header.iter().for_each(|header| server.heard(now, header)));
        }
    }

    /// What moves that were broken off have left on nodes that do not own it.
    pub(super) fn stranded(&self) -> Vec<LostWrite> {
        let mut stranded = Vec::new();
        for server in self.servers() {
            let (id, foreign) = server.act(|server, _| (server.node_id().unwrap_or_default().to_owned(), server.foreign_keys()));
            for (slot, key, is_awaited) in foreign {
                let owner = self.primary_of(slot).map(|owner| self.server(owner));
                let is_reached = owner.is_some_and(|owner| {
                    owner.act(|owner, _| (is_awaited && owner.gives(slot, &id)) || (!is_awaited && owner.has_key(&key)))
                });
                if !is_reached {
                    stranded.push(server.act(|server, _| server.stranded(key)));
                }
            }
        }
        stranded
    }

    /// Ends the move of a slot without keys: first the one that takes it knows, then the one that gives it.
    fn settle_slot(giver: &SharedServer, to: &SharedServer, slot: u16) {
        let id = to.act(|server, now| {
            server.take_slots(now, [slot]);
            server.node_id().unwrap_or_default().to_owned()
        });
        giver.act(|server, now| server.give_slot(now, slot, &id));
    }
}

fn move_key(from: &SharedServer, to: &SharedServer, key: &(usize, Vec<u8>)) {
    if let Some(moved) = from.act(|server, now| server.take_key(now, key)) {
        to.act(|server, now| server.put_key(now, moved));
    }
}

fn id_of(server: &SharedServer) -> String {
    server.act(|server, _| server.node_id().unwrap_or_default().to_owned())
}

/// Moves slots one after the other; stops where it is when a node ends, or they do not hear each other.
pub(super) async fn move_gradually(shared: Weak<SharedCluster>, slots: RangeInclusive<u16>, to: usize, pace: Duration) {
    for slot in slots {
        let Some(cluster) = shared.upgrade() else { return };
        let target = cluster.server(to);
        if cluster.primary_of(slot) == Some(to) {
            continue;
        }
        let Some(giver) = cluster.giver(slot, &target) else { break };
        let (from_id, to_id) = (id_of(&giver), id_of(&target));
        target.act(|server, _| server.begin_move(slot, &from_id, false));
        giver.act(|server, _| server.begin_move(slot, &to_id, true));
        drop(cluster);
        if !move_keys(&shared, &giver, slot, to, pace).await {
            break;
        }
    }
    if let Some(cluster) = shared.upgrade() {
        cluster.move_has_ended();
    }
}

/// All keys of a slot, and then the slot; false if that was not possible.
async fn move_keys(shared: &Weak<SharedCluster>, giver: &Arc<SharedServer>, slot: u16, to: usize, pace: Duration) -> bool {
    loop {
        let Some(cluster) = shared.upgrade() else { return false };
        let sleep = cluster.network.sleep(pace);
        drop(cluster);
        sleep.await;
        let Some(cluster) = shared.upgrade() else { return false };
        let target = cluster.server(to);
        let is_same = cluster.giver(slot, &target).is_some_and(|now| Arc::ptr_eq(&now, giver));
        if !is_same || target.act(|server, _| server.primary().is_some()) {
            return false;
        }
        match giver.act(|server, _| server.keys_in_slot(slot).first().cloned()) {
            Some(key) => move_key(giver, &target, &key),
            None => {
                SharedCluster::settle_slot(giver, &target, slot);
                return true;
            }
        }
    }
}
