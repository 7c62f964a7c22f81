//! The scan of a whole cluster while it changes.

use std::collections::BTreeSet;

use redis_manager::ScanOptions;
use redis_manager::redis::{AsyncCommands, RedisResult};
use redis_manager::runtime::Timer;
use redis_manager::testing::SlotMigration;

use crate::cluster::cluster_story::{CLUSTER, SEEDS, StoryCluster};
use crate::story::{MS, SECOND};

/// What changes during the scan.
#[derive(Clone, Copy, Debug)]
enum ScanDisturbance {
    Nothing,
    Gradual,
    Atomic,
    Killed,
    Frozen,
}

/// Guards against: slots that were scanned at the node that had lost them, or not at the one that got them.
#[test]
fn k5_a_scan_returns_every_key_that_stays_whatever_its_slot_does() {
    use ScanDisturbance::{Atomic, Frozen, Gradual, Killed, Nothing};
    for (seed, change) in SEEDS.zip([Gradual, Atomic, Killed, Frozen, Nothing].into_iter().cycle()) {
        let story = StoryCluster::begin(seed);
        let mut client = story.client();
        let keys: BTreeSet<String> = (0..300).map(|number| format!("key:{number}")).collect();
        let pairs: Vec<_> = keys.iter().map(|key| (key, 1)).collect();
        let () = story.runtime.block_on(client.mset(&pairs)).expect("all of them");
        story.runtime.advance(100 * MS);
        let (manager, network) = (story.manager.clone(), story.network.clone());
        let scanned = story.spawn(async move {
            let mut scan = manager.scan(CLUSTER, ScanOptions::default().count(10)).await.expect("it is up");
            let mut seen = BTreeSet::new();
            while let Some(key) = scan.next().await {
                seen.insert(String::from_utf8(key?).expect("text"));
                network.sleep(MS).await;
            }
            RedisResult::Ok(seen)
        });
        story.runtime.advance(30 * MS);
        match change {
            Nothing => {}
            Gradual => {
                story.cluster.move_slots(0..=200, 2, SlotMigration::Gradual(MS));
                story.cluster.move_slots(6_000..=6_200, 0, SlotMigration::Gradual(MS));
                story.cluster.move_slots(11_000..=11_200, 1, SlotMigration::Gradual(MS));
            }
            Atomic => {
                for step in 0..6_u16 {
                    let first = step * 2_500;
                    story.cluster.move_slots(first..=first + 1_000, usize::from(step) % 3, SlotMigration::Atomic);
                    story.runtime.advance(40 * MS);
                }
            }
            Killed => story.cluster.kill(1),
            Frozen => story.cluster.freeze(1),
        }
        story.runtime.advance(30 * SECOND);
        let (seen, _) = scanned.take().unwrap_or_else(|| panic!("seed {seed}, {change:?}: it has not ended"));
        let seen = seen.unwrap_or_else(|error| panic!("seed {seed}, {change:?}: {error}"));
        let missed: Vec<_> = keys.difference(&seen).collect();
        assert!(missed.is_empty(), "seed {seed}, {change:?}: {} missed: {missed:?}", missed.len());
    }
}
