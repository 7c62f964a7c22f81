//! The last failover: a primary of a cluster that is well ends, and writes to its slots go on at its replica.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis_manager::RedisErrorExt;
use redis_manager::redis::{AsyncCommands, RedisResult};
use redis_manager::runtime::{Instant, Spawn, Timer};
use redis_manager::testing::SeededRng;
use redis_manager_tests::cluster::slot_of;

use crate::borrower::MS;
use crate::cluster::cluster_world::ClusterWorld;

/// From the promotion until the first write succeeds.
const FIRST_WRITE_WITHIN: Duration = Duration::from_millis(500);
/// Timers, and the looks at the cluster, may be late.
const SLACK: Duration = Duration::from_millis(30);
/// The timeout of the nodes, two rounds of what they tell each other, and the delay of the election, with much to spare.
const PROMOTED_WITHIN: Duration = Duration::from_secs(8);

/// Ends a primary that has a replica, and waits for the promotion and the first write after it.
///
/// Seen to bite: with a topology that learns of no promotion before its next regular question, and with a silent primary that is
/// believed.
pub(crate) fn fail_over(world: &ClusterWorld, rng: &mut SeededRng) -> Result<(), String> {
    let nodes = world.cluster.nodes();
    let has_replica = |number: usize| nodes.iter().any(|node| node.primary == Some(number));
    let able: Vec<_> = nodes.iter().filter(|node| !node.slots.is_empty() && has_replica(node.number)).collect();
    let Some(ending) = able.get(rng.index(able.len().max(1))) else { return Ok(()) };
    let is_its = |slot: u16| ending.slots.iter().any(|range| range.contains(&slot));
    let Some(key) = (0..200_000).map(|number| format!("last:{number}")).find(|key| is_its(slot_of(key))) else { return Ok(()) };
    let last = write_on(world, &key)?;
    world.runtime.advance(100 * MS);
    let how = rng.index(3);
    match how {
        0 => world.cluster.kill(ending.number),
        1 => world.cluster.freeze(ending.number),
        _ => world.cluster.node(ending.number).vanish(),
    }
    let how = ["killed", "frozen", "gone"][how];
    let begun_at = world.runtime.now();
    while world.cluster.primary_of(slot_of(&key)).is_none_or(|number| number == ending.number) {
        world.runtime.advance(5 * MS);
        if world.runtime.now() > begun_at + PROMOTED_WITHIN {
            // The servers do not agree on it: what they believe of slots that moved while they did not hear each other is not the same.
            return Ok(());
        }
    }
    let promoted_at = world.runtime.now();
    world.runtime.advance(FIRST_WRITE_WITHIN + SLACK);
    let last = lock(&last);
    if last.success_at < promoted_at {
        return Err(format!(
            "K3: no write by {} to node {}, {how}, which was replaced at {promoted_at}: {last:?}",
            world.runtime.now(),
            ending.number
        ));
    }
    Ok(())
}

/// The latest write, and the latest that has succeeded.
#[derive(Debug)]
struct LastWrites {
    begun_at: Instant,
    success_at: Instant,
    errors: Vec<(Instant, String)>,
}

/// Writes a key until the seed ends.
fn write_on(world: &ClusterWorld, key: &str) -> Result<Arc<Mutex<LastWrites>>, String> {
    let client = world.runtime.block_on(world.node.get_shared_client());
    let mut client = client.map_err(|error| format!("after the heal: {error}"))?;
    let now = world.runtime.now();
    let last = Arc::new(Mutex::new(LastWrites { begun_at: now, success_at: now, errors: Vec::new() }));
    let (network, key, place, until) = (world.network.clone(), String::from(key), Arc::clone(&last), now + 2 * PROMOTED_WITHIN);
    world.network.spawn(Box::pin(async move {
        while network.now() < until {
            lock(&place).begun_at = network.now();
            let written: RedisResult<()> = client.set(&key, 1).await;
            match written {
                Ok(()) => lock(&place).success_at = network.now(),
                Err(error) if error.is_closed() => return,
                Err(error) => lock(&place).errors.push((network.now(), error.to_string())),
            }
            network.sleep(20 * MS).await;
        }
    }));
    Ok(last)
}

fn lock(writes: &Mutex<LastWrites>) -> MutexGuard<'_, LastWrites> {
    writes.lock().unwrap_or_else(PoisonError::into_inner)
}
