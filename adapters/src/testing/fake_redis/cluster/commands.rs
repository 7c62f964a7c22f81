//! CLUSTER and its subcommands, ASKING, READONLY and READWRITE.

use super::super::reply::{Answer, Response};
use super::super::server::{ConnectionId, Server};
use super::super::words::{Bytes, Failure, SYNTAX, integer, upper, wrong_arity};
use super::failover::Failover;
use super::slots::{SLOTS, slot_of};
use super::state::{FakeClusterState, NodeIndex};

const DISABLED: &str = "ERR This instance has cluster support disabled";
const BAD_SLOT: &str = "ERR Invalid or out of range slot";

fn text(word: &[u8]) -> String {
    String::from_utf8_lossy(word).into_owned()
}

fn slot(word: &[u8]) -> Result<u16, Failure> {
    let slot = integer(word).ok().and_then(|number| u16::try_from(number).ok()).filter(|slot| *slot < SLOTS);
    slot.ok_or_else(|| BAD_SLOT.into())
}

fn state(server: &mut Server) -> Result<&mut FakeClusterState, Failure> {
    server.cluster.as_deref_mut().ok_or_else(|| DISABLED.into())
}

fn known(cluster: &FakeClusterState, id: &[u8], what: &str) -> Result<NodeIndex, Failure> {
    cluster.index_of(&text(id)).ok_or_else(|| Failure([b"ERR ", what.as_bytes(), b" ", id].concat()))
}

pub(in super::super) fn asking(server: &mut Server, id: ConnectionId, _args: &[Bytes]) -> Answer {
    state(server)?;
    server.session(id).is_asking = true;
    Ok(Response::OK)
}

pub(in super::super) fn readonly(server: &mut Server, id: ConnectionId, _args: &[Bytes]) -> Answer {
    state(server)?;
    server.session(id).reads_replica = true;
    Ok(Response::OK)
}

pub(in super::super) fn readwrite(server: &mut Server, id: ConnectionId, _args: &[Bytes]) -> Answer {
    state(server)?;
    server.session(id).reads_replica = false;
    Ok(Response::OK)
}

pub(in super::super) fn cluster(server: &mut Server, id: ConnectionId, args: &[Bytes]) -> Answer {
    let (now, unix_ms, offset) = (server.now, server.unix_ms(), server.history().offset);
    let cluster = state(server)?;
    match upper(&args[1]).as_str() {
        "SLOTS" => Ok(cluster.slots_reply(offset)),
        "SHARDS" => Ok(cluster.shards_reply(offset)),
        "NODES" => Ok(Response::Verbatim(cluster.nodes_text(now, unix_ms))),
        "INFO" => Ok(Response::Verbatim(cluster.info_text())),
        "MYID" => Ok(Response::text(cluster.me().id.as_str())),
        "KEYSLOT" => Ok(Response::count(slot_of(&args[2]).into())),
        "REPLICAS" | "SLAVES" => {
            let index = known(cluster, &args[2], "Unknown node")?;
            if cluster.nodes[index].primary.is_some() {
                return Err("ERR The specified node is not a master".into());
            }
            let id = cluster.nodes[index].id.clone();
            let lines = cluster.replicas_of(&id).map(|(index, _)| cluster.node_line(index, now, unix_ms).into_bytes());
            Ok(Response::bulks(lines))
        }
        "COUNT-FAILURE-REPORTS" => {
            let index = known(cluster, &args[2], "Unknown node")?;
            Ok(Response::count(cluster.nodes[index].reports.len()))
        }
        "BUMPEPOCH" => {
            cluster.take_new_epoch();
            Ok(Response::OK)
        }
        "SAVECONFIG" => Ok(Response::OK),
        "COUNTKEYSINSLOT" | "GETKEYSINSLOT" => keys_in_slot(server, id, args),
        "SETSLOT" => set_slot(server, args),
        "ADDSLOTS" | "ADDSLOTSRANGE" | "DELSLOTS" | "DELSLOTSRANGE" => assign(server, args),
        "FAILOVER" => failover(server, args),
        "REPLICATE" => replicate(server, args),
        _ => forget(server, args),
    }
}

fn keys_in_slot(server: &mut Server, id: ConnectionId, args: &[Bytes]) -> Answer {
    let slot = u16::try_from(integer(&args[2])?).ok().filter(|slot| *slot < SLOTS).ok_or("ERR Invalid slot")?;
    let own = server.session(id).database;
    let keys = server.keys_in_slot(slot).into_iter().filter(|(database, _)| *database == own);
    let keys: Vec<_> = keys.map(|(_, key)| key).collect();
    let Some(most) = args.get(3) else { return Ok(Response::count(keys.len())) };
    let most = usize::try_from(integer(most)?).map_err(|_| Failure::from("ERR Invalid slot or number of keys"))?;
    Ok(Response::bulks(keys.into_iter().take(most)))
}

fn set_slot(server: &mut Server, args: &[Bytes]) -> Answer {
    let now = server.now;
    let cluster = state(server)?;
    if cluster.me().primary.is_some() {
        return Err("ERR Please use SETSLOT only with masters.".into());
    }
    let slot = slot(&args[2])?;
    let (owner, action) = (cluster.owner(slot), upper(&args[3]));
    let target = |cluster: &FakeClusterState, what: &str| {
        let index = known(cluster, &args[4], what)?;
        if cluster.nodes[index].primary.is_some() { Err(Failure::from("ERR Target node is not a master")) } else { Ok(index) }
    };
    match (action.as_str(), args.len()) {
        ("MIGRATING", 5) if owner != Some(0) => return Err(format!("ERR I'm not the owner of hash slot {slot}").into()),
        ("MIGRATING", 5) => {
            let to = target(cluster, "I don't know about node")?;
            cluster.migrating.insert(slot, to);
        }
        ("IMPORTING", 5) if owner == Some(0) => {
            return Err(format!("ERR I'm already the owner of hash slot {slot}").into());
        }
        ("IMPORTING", 5) => {
            let from = target(cluster, "I don't know about node")?;
            cluster.importing.insert(slot, from);
        }
        ("STABLE", 4) => {
            cluster.migrating.remove(&slot);
            cluster.importing.remove(&slot);
            cluster.read_anew();
        }
        ("NODE", 5) => {
            let to = target(cluster, "Unknown node")?;
            let has_keys = !server.keys_in_slot(slot).is_empty();
            let cluster = state(server)?;
            if owner == Some(0) && to != 0 && has_keys {
                let why = "to a different node while I still hold keys for this hash slot.";
                return Err(format!("ERR Can't assign hashslot {slot} {why}").into());
            }
            let id = cluster.nodes[to].id.clone();
            cluster.give_slot(slot, &id);
            if to == 0 && cluster.importing.remove(&slot).is_some() {
                cluster.take_new_epoch();
            }
            cluster.update_state(now);
            server.make_cluster_news();
            server.follow_cluster(now);
        }
        _ => return Err("ERR Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER HELP".into()),
    }
    Ok(Response::OK)
}

fn assign(server: &mut Server, args: &[Bytes]) -> Answer {
    let (now, word) = (server.now, upper(&args[1]));
    let cluster = state(server)?;
    let mut slots = Vec::new();
    if word.ends_with("RANGE") {
        if !args.len().is_multiple_of(2) {
            return Err(wrong_arity(&format!("cluster|{}", word.to_ascii_lowercase())));
        }
        for pair in args[2..].chunks_exact(2) {
            slots.extend(slot(&pair[0])?..=slot(&pair[1])?);
        }
    } else {
        for word in &args[2..] {
            slots.push(slot(word)?);
        }
    }
    let adds = word.starts_with("ADD");
    for slot in &slots {
        match cluster.owner(*slot) {
            Some(_) if adds => return Err(format!("ERR Slot {slot} is already busy").into()),
            None if !adds => return Err(format!("ERR Slot {slot} is already unassigned").into()),
            Some(_) | None => {}
        }
    }
    slots.into_iter().for_each(|slot| cluster.set_owner(slot, adds.then_some(0)));
    cluster.update_state(now);
    server.make_cluster_news();
    server.follow_cluster(now);
    Ok(Response::OK)
}

fn failover(server: &mut Server, args: &[Bytes]) -> Answer {
    let how = match args.get(2).map(|word| upper(word)).as_deref() {
        None => Failover::Graceful,
        Some("FORCE") => Failover::Forced,
        Some("TAKEOVER") => Failover::TakeOver,
        Some(_) => return Err(SYNTAX.into()),
    };
    let now = server.now;
    if !server.fail_over(now, how) {
        return Err("ERR You should send CLUSTER FAILOVER to a replica".into());
    }
    Ok(Response::OK)
}

fn replicate(server: &mut Server, args: &[Bytes]) -> Answer {
    let now = server.now;
    let has_keys = server.databases.iter().any(|database| database.len() > 0);
    let cluster = state(server)?;
    let index = known(cluster, &args[2], "Unknown node")?;
    if index == 0 {
        return Err("ERR Can't replicate myself".into());
    }
    if cluster.nodes[index].primary.is_some() {
        return Err("ERR I can only replicate a master, not a replica.".into());
    }
    if cluster.me().primary.is_none() && (cluster.counts[0] > 0 || has_keys) {
        return Err("ERR To set a master the node must be empty and without assigned slots.".into());
    }
    server.replicate_node(now, &text(&args[2]));
    Ok(Response::OK)
}

fn forget(server: &mut Server, args: &[Bytes]) -> Answer {
    let now = server.now;
    let cluster = state(server)?;
    let index = known(cluster, &args[2], "Unknown node")?;
    if index == 0 {
        return Err("ERR I tried hard but I can't forget myself...".into());
    }
    if cluster.me().primary.as_deref() == Some(cluster.nodes[index].id.as_str()) {
        return Err("ERR Can't forget my master!".into());
    }
    server.forget_node(now, &text(&args[2]));
    Ok(Response::OK)
}
