//! What goes wrong with a cluster, and what is put right again.

use std::collections::BTreeSet;
use std::io;
use std::ops::RangeInclusive;

use redis_manager::testing::{Cut, Failover, FakeCluster, SeededRng, SlotMigration};

use crate::borrower::MS;
use crate::cluster::cluster_world::NODES;

/// What has been done to a cluster, and may leave something behind.
#[derive(Debug, Default)]
pub(crate) struct Aftermath {
    /// Nodes whose machine has lost its power: connections to them are half open until they are used or checked.
    pub(crate) vanished: BTreeSet<usize>,
    /// Slots that moved one by one: where that was broken off, nodes may send clients to each other until an operator ends the move.
    half_moved: Vec<RangeInclusive<u16>>,
}

impl Aftermath {
    pub(crate) fn may_be_half_moved(&self, slot: u16) -> bool {
        self.half_moved.iter().any(|range| range.contains(&slot))
    }
}

/// One thing that goes wrong, or is put right.
pub(crate) fn disturb(rng: &mut SeededRng, cluster: &FakeCluster, aftermath: &mut Aftermath) {
    let number = rng.index(NODES);
    match rng.index(16) {
        0 | 1 => cluster.kill(number),
        2..=4 => drop(cluster.restart(number)),
        5 => cluster.freeze(number),
        6 | 7 => cluster.thaw(number),
        8 => cluster.partition(&[&[number, (number + 1) % NODES]]),
        9 => cluster.heal(),
        10 | 11 => drop(cluster.failover(number, [Failover::Graceful, Failover::Forced, Failover::TakeOver][rng.index(3)])),
        12 | 13 => move_some(rng, cluster, number, aftermath),
        14 => cluster.node(number).host().cut([Cut::Reset, Cut::End][rng.index(2)]),
        _ => {
            cluster.node(number).vanish();
            aftermath.vanished.insert(number);
        }
    }
}

/// Some slots move to a node, if that can have any.
fn move_some(rng: &mut SeededRng, cluster: &FakeCluster, number: usize, aftermath: &mut Aftermath) {
    let first = u16::try_from(rng.index(16_000)).unwrap_or(0);
    let (length, how) = if rng.index(2) == 0 { (300, SlotMigration::Atomic) } else { (30, SlotMigration::Gradual(MS * 4)) };
    let seen = &cluster.nodes()[number];
    if seen.primary.is_none() && seen.is_running {
        if how != SlotMigration::Atomic {
            aftermath.half_moved.push(first..=first + length);
        }
        cluster.move_slots(first..=first + length, number, how);
    }
}

/// All nodes run, and reach each other and their clients.
pub(crate) fn put_right(cluster: &FakeCluster) -> io::Result<()> {
    cluster.heal();
    for number in 0..NODES {
        cluster.thaw(number);
        cluster.restart(number)?;
        cluster.node(number).host().heal();
    }
    Ok(())
}
