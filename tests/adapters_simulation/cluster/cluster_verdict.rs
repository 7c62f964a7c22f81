//! What the nodes have, compared with what the callers were told.

use std::collections::{BTreeMap, BTreeSet};

use redis_manager::ReadFrom;
use redis_manager::redis::{self, AsyncCommands, RedisResult};
use redis_manager_tests::cluster::slot_of;

use crate::cluster::cluster_world::{ClusterWorld, NAME, POOL_SIZE};
use crate::cluster::disturbance::Aftermath;

/// At rest nothing is on loan but the shared connections, and the servers have as many connections as the status says. Of nodes that
/// have vanished some connections may be half open.
///
/// Seen to bite: with a lease that is forgotten instead of returned.
pub(crate) fn is_at_rest(world: &ClusterWorld, aftermath: &Aftermath) -> Result<(), String> {
    let status = world.manager.cluster_status(NAME).map_err(|error| error.to_string())?;
    let addresses: Vec<_> = world.cluster.addresses().iter().map(ToString::to_string).collect();
    for seen in &status.nodes {
        let Some(number) = addresses.iter().position(|address| *address == seen.address) else {
            return Err(format!("K1: at rest {} is known, and is none of the cluster", seen.address));
        };
        let at_server = world.cluster.node(number).connections().len();
        let Some(pools) = &seen.pools else { continue };
        let open = pools.active + pools.idle + pools.checking + pools.cleaning + pools.lost + pools.closing;
        if at_server > open || (at_server < open && !aftermath.vanished.contains(&number)) {
            return Err(format!("T1: at rest {} has {at_server} connections, and the status says {open}", seen.address));
        }
        if pools.waiting != 0 {
            return Err(format!("T1: at rest {} calls wait for {}", pools.waiting, seen.address));
        }
        if !aftermath.vanished.contains(&number) {
            world.runtime.block_on(take_all(world, &seen.address))?;
        }
    }
    Ok(())
}

/// All connections that a node may have can be had at once, but for the shared one.
async fn take_all(world: &ClusterWorld, address: &str) -> Result<(), String> {
    let mut clients = Vec::new();
    for number in 0..POOL_SIZE - 1 {
        let client = world.manager.get_client_of_node(NAME, address).await;
        let mut client = client.map_err(|error| format!("C1: client {number} of {address} at rest: {error}"))?;
        let echo: RedisResult<usize> = redis::cmd("ECHO").arg(number).query_async(&mut client).await;
        if echo.as_ref().ok() != Some(&number) {
            return Err(format!("C1: client {number} of {address} at rest answers {echo:?}"));
        }
        clients.push(client);
    }
    Ok(())
}

/// Nothing was carried out twice or in spite of what was told, and what was acknowledged is there, unless the servers have lost it. How
/// many writes those are.
///
/// Seen to bite: with requests sent again that may have been carried out, and with a part of a command whose reply is made up.
pub(crate) fn compare(world: &ClusterWorld, aftermath: &Aftermath) -> Result<u64, String> {
    let carried_out = carried_out(world);
    if let Some((key, count)) = carried_out.iter().find(|(_, count)| **count > 1) {
        return Err(format!("K2: {key} was written {count} times{}", tell(world, key)));
    }
    let told = world.book.lock();
    if let Some((key, error)) = told.refused.iter().find(|(key, _)| carried_out.contains_key(*key)) {
        return Err(format!("K2: {key} was carried out, and its caller was told: {error}{}", tell(world, key)));
    }
    let keys: Vec<String> = told.acknowledged.iter().cloned().collect();
    drop(told);
    if let Some(key) = keys.iter().find(|key| !carried_out.contains_key(*key)) {
        return Err(format!("K2: {key} was acknowledged, and never carried out{}", tell(world, key)));
    }
    are_there(world, &keys, aftermath)
}

/// How often each key was written, by the journals of all nodes.
fn carried_out(world: &ClusterWorld) -> BTreeMap<String, usize> {
    let mut times = BTreeMap::new();
    for number in 0..world.cluster.nodes().len() {
        for seen in world.cluster.node(number).journal() {
            let step = match seen.command[0].as_slice() {
                b"INCRBY" => seen.command.len(),
                b"MSET" => 2,
                _ => continue,
            };
            let keys = seen.command.iter().skip(1).step_by(step).map(|key| String::from_utf8_lossy(key));
            for key in keys.filter(|key| seen.carried_out && key.starts_with("once:")) {
                *times.entry(key.into_owned()).or_default() += 1;
            }
        }
    }
    times
}

fn are_there(world: &ClusterWorld, keys: &[String], aftermath: &Aftermath) -> Result<u64, String> {
    let lost = world.cluster.lost_writes();
    let words = lost.iter().flat_map(|write| write.command.iter().skip(1));
    let lost: BTreeSet<String> = words.map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    let book = world.book.lock();
    // A replica may not have got it yet.
    if let Some(key) = book.absent.iter().find(|key| world.read_from == ReadFrom::Primary && !lost.contains(*key)) {
        return Err(format!("K5: {key} was not found, and is not lost{}", tell(world, key)));
    }
    drop(book);
    let client = world.runtime.block_on(world.node.get_shared_client());
    let mut client = client.map_err(|error| format!("after the heal: {error}"))?;
    let mut gone = 0;
    for some in keys.chunks(100) {
        // As a write it goes to the primary, whatever replicas may be read from.
        let mut counts = redis::pipe();
        for key in some {
            counts.incr(key, 0);
        }
        let mut counted: RedisResult<Vec<u64>> = world.runtime.block_on(counts.query_async(&mut client));
        // Each half open connection to a node that had vanished is found when it is used.
        for _ in 0..POOL_SIZE {
            if counted.is_err() {
                counted = world.runtime.block_on(counts.query_async(&mut client));
            }
        }
        let counts = match counted {
            Ok(counts) => counts.into_iter().map(Ok).collect(),
            Err(_) => some.iter().map(|key| world.runtime.block_on(client.incr(key, 0))).collect::<Vec<RedisResult<u64>>>(),
        };
        for (key, count) in some.iter().zip(counts) {
            match count {
                Ok(1) => {}
                Ok(0) if lost.contains(key) => gone += 1,
                Err(error) if matches!(error.code(), Some("ASK" | "MOVED")) && aftermath.may_be_half_moved(slot_of(key)) => {
                    gone += 1
                }
                other => return Err(format!("K2: {key} was acknowledged, and is {other:?}{}", tell(world, key))),
            }
        }
    }
    Ok(gone)
}

/// What the nodes have seen of a key, for those who look for the bug.
fn tell(world: &ClusterWorld, key: &str) -> String {
    if std::env::var_os("SIMULATION_TELLS").is_none() {
        return String::new();
    }
    let mut story = String::new();
    for seen in world.cluster.nodes() {
        story += &format!("\n{seen:?}");
        for entry in world.cluster.node(seen.number).journal() {
            let words: Vec<_> = entry.command.iter().map(|word| String::from_utf8_lossy(word)).collect();
            if words.iter().any(|word| word == key) {
                story += &format!("\n  {:?} on {}: {} ({})", entry.at, entry.connection, words.join(" "), entry.carried_out);
            }
        }
    }
    story
}
